"""The note of a workbench checkpoint on data of another kind."""

from __future__ import annotations

import json

import pytest

from prospect_core.checkpoints.scope import describe_checkpoint_scope


@pytest.fixture
def checkpoint(tmp_path):
    """Return a function that writes a checkpoint's configuration and gives its folder."""

    def make(thresholds_data: object) -> str:
        (tmp_path / "config.json").write_text(json.dumps({"thresholds_data": thresholds_data}))
        return str(tmp_path)

    return make


def test_scope_of_released_checkpoint_on_other_data_names_the_workbench():
    note = describe_checkpoint_scope("workbench-tiny", ["kitchen"])
    assert note == (
        "checkpoint workbench-tiny was trained for the generated workbench videos only; do not expect useful output on"
        " other videos"
    )


@pytest.mark.parametrize("datasets", [["workbench"], ["workbench", "workbench-captions"]])
def test_scope_of_released_checkpoint_on_workbench_data_is_empty(datasets):
    assert describe_checkpoint_scope("workbench-tiny", datasets) == ""


def test_scope_counts_data_without_a_name_as_other_data():
    assert describe_checkpoint_scope("workbench-tiny", ["workbench", ""]) != ""


def test_scope_of_own_workbench_checkpoint_names_its_folder(checkpoint):
    folder = checkpoint("workbench/val/0123456789abcdef")
    assert describe_checkpoint_scope(folder, ["kitchen"]).startswith(f"checkpoint {folder} was trained for")


@pytest.mark.parametrize("thresholds_data", ["", "kitchen/val/0123456789abcdef", "workbenches/val/0", None])
def test_scope_of_checkpoint_of_other_data_is_empty(checkpoint, thresholds_data):
    assert describe_checkpoint_scope(checkpoint(thresholds_data), ["garden"]) == ""


@pytest.mark.parametrize("model", ["baseline:silent", "hf:NAME", "no-such-folder"])
def test_scope_of_other_models_is_empty(model):
    assert describe_checkpoint_scope(model, ["kitchen"]) == ""

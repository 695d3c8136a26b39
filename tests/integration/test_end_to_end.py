"""Long tests: a training from random weights, and the released checkpoint on a part of the test
split.
"""

from __future__ import annotations

import json

import pytest

from prospect_core.train.objectives.losses import OBJECTIVES
from prospect_eval.runs.metric_tables import metric_table_trivial_baselines
from tests.helpers.commands import run_cli


@pytest.mark.nightly
def test_train_command_three_minutes_lowers_losses(tmp_path, capsys):
    import torch
    from transformers import AutoModel

    import prospect_core.model  # noqa: F401

    out = tmp_path / "three"
    assert run_cli("train", "train.minutes=3", f"output={out}") == 0
    rows = [json.loads(line) for line in (out / "train_log.jsonl").read_text().splitlines()]
    for name in OBJECTIVES:
        values = [row[name] for row in rows if row[name] is not None]
        assert sum(values[-5:]) / 5 < 0.9 * sum(values[:5]) / 5, name
    model = AutoModel.from_pretrained(out)
    assert type(model).__name__ == "DSTSmolVLM"
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.nightly
def test_released_checkpoint_beats_trivial_baselines(tmp_path, capsys):
    """On a quarter of the built-in test split; `make eval` runs all of it, `make gate` compares
    every value.
    """
    from prospect_eval.cli.commands import prospect_eval

    with pytest.raises(SystemExit) as stop:
        prospect_eval(
            [
                "run",
                "--ckpt",
                "workbench-tiny",
                "--suite",
                "workbench",
                "--limit",
                "45",
                "--output",
                str(tmp_path / "run"),
            ]
        )
    assert stop.value.code == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.endswith("report.html")
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert scores["episodes"] == {"scored": 45, "failed": 0}
    blind = [scores["baselines"][name] for name in metric_table_trivial_baselines(scores)]
    for name in ("speaking_event_f1@2s", "matched_f1", "dst_jga", "transition_f1@2s"):
        best = max(table[name]["value"] or 0 for table in blind)
        assert scores["metrics"][name]["ci95"][0] > best, name

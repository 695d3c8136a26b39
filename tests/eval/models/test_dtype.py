"""Data type of a model: float32 as before; bfloat16 is close to it and reported everywhere."""

from __future__ import annotations

import json

import pytest
import torch

from prospect_core.checkpoints.folders import choose_checkpoint_folder_dtype
from prospect_core.model.checkpoint import allow_checkpoint_tf32, load_model_checkpoint
from tests.helpers.commands import call, evaluate, one_line

pytestmark = pytest.mark.integration


def test_run_command_bfloat16_is_close_and_reported(checkpoint, short_world, tmp_path, capsys):
    records = {}
    for dtype in ("float32", "bfloat16"):
        out = tmp_path / dtype
        given = ("run", "--ckpt", checkpoint, "--data", short_world.root, "--limit", 1, "--speaking-threshold", 1)
        assert evaluate(*given, "--update-threshold", 1, "--dtype", dtype, "--output", out) == 0
        records[dtype] = json.loads(next((out / "episodes").iterdir()).read_text())
        assert ("computed in <b>bfloat16</b>" in (out / "report.html").read_text()) == (dtype == "bfloat16")
    exact, near = records["float32"], records["bfloat16"]
    assert near["knobs"]["dtype"] == "bfloat16"
    assert near["speaking_prob"] == pytest.approx(exact["speaking_prob"], abs=0.02)
    assert near["speaking_prob"] != exact["speaking_prob"]
    # keys and values use half the bytes
    assert 2 * near["cache_bytes"][-1] == exact["cache_bytes"][-1]
    capsys.readouterr()
    assert evaluate(*given, "--dtype", "bfloat16", "--output", tmp_path / "float32") == 2
    assert "dtype" in one_line(capsys)
    assert evaluate("run", "--ckpt", "baseline:silent", "--data", short_world.root, "--dtype", "bfloat16") == 2
    assert "so --dtype would have no effect" in one_line(capsys)


def test_load_checkpoint_bfloat16_keeps_heads_float32(checkpoint):
    model, _ = load_model_checkpoint(str(checkpoint), dtype="bfloat16")
    assert model.dtype == torch.bfloat16
    heads = (model.speaking_head, model.update_head, model.state_head)
    assert {p.dtype for head in heads for p in head.parameters()} == {torch.float32}
    hidden = torch.randn(1, 2, 48, dtype=torch.bfloat16)
    assert {part.dtype for part in model.decide(hidden, hidden)} == {torch.float32}


@pytest.mark.parametrize(("device", "has_it", "expected"), [("cpu", True, "float32"), ("cuda:1", True, "bfloat16"),
                                                            ("cuda", False, "float32"), ("mps", True, "float32")])  # fmt: skip
def test_choose_dtype_auto_depends_on_device(monkeypatch, device, has_it, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_it)
    assert choose_checkpoint_folder_dtype(device, "auto") == expected
    assert choose_checkpoint_folder_dtype(device, "bfloat16") == "bfloat16"


@pytest.mark.slow
def test_commands_that_replay_accept_dtype(checkpoint, short_world, tmp_path):
    from prospect_core.cli.commands import prospect

    given = ("--ckpt", checkpoint, "--data", short_world.root, "--limit", 1, "--dtype", "bfloat16")
    assert evaluate("calibrate", *given) == 0
    assert evaluate("sweep", *given, "--output", tmp_path / "sweep", "--strategies", "none") == 0
    video = short_world.video(next(short_world.episodes("test")).video)
    watched = (
        "watch",
        video,
        "--ckpt",
        checkpoint,
        "--goal",
        "tidy up",
        "--step",
        "wipe",
        "--speed",
        1000,
        "--dtype",
        "bfloat16",
    )
    assert call(prospect, *watched, "--output", tmp_path / "watch.jsonl") == 0


@pytest.mark.parametrize(
    ("device", "dtype", "allowed"),
    [("cuda:0", "bfloat16", ["high"]), ("cuda", "float32", []), ("cpu", "bfloat16", [])],
)
def test_tf32_is_allowed_with_bfloat16_on_gpu(monkeypatch, device, dtype, allowed):
    seen = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", seen.append)
    allow_checkpoint_tf32(device, dtype)
    assert seen == allowed

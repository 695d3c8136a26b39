"""Cost of an hour of video, by hand."""

from __future__ import annotations

import json

import pytest

from benchmarks.performance.cost import Profile, page, profile, project
from tests.helpers.commands import evaluate

pytestmark = pytest.mark.integration


def test_cost_projection_by_hand():
    found = Profile(1, 1, {"decode": 36, "vision": 36}, {"language model": 360}, 1e6, 2e6, 5, (1, 1))
    test, train, corpus = project(found)
    # 42 h x 72 s of video, 126 h x 360 s of dialogue
    assert test["worker_hours"] == pytest.approx((42 * 72 + 126 * 360) / 3600, abs=0.01)
    assert test["workers"] == 1
    assert (test["record_gb"], test["feature_gb"]) == (0.126, 0.084)
    assert train["dialogue_hours"] == pytest.approx(396 * 28098 / 3255, abs=0.1)
    assert corpus["worker_hours"] == pytest.approx(1e6 * 432 / 3600)
    assert corpus["workers"] == 5000
    assert "| ProAssist test | 42 | 126 |" in page(found, "x")


@pytest.mark.slow
def test_cost_profile_equals_run(checkpoint, short_world, tmp_path):
    out = tmp_path / "run"
    assert evaluate("run", "--ckpt", checkpoint, "--data", short_world.root, "--output", out) == 0
    found = profile(out, 768)
    timings = json.loads((out / "timings.json").read_text())["episodes"].values()
    # two videos and six dialogues of half a minute
    assert found.video_hours == pytest.approx(60 / 3600, abs=1e-3)
    assert found.dialogue_hours == pytest.approx(180 / 3600, abs=1e-3)
    spent = sum(s for t in timings for k, s in t["stages"].items() if k == "language model")
    assert found.per_dialogue["language model"] == pytest.approx(spent / found.dialogue_hours, rel=0.02)
    assert found.record_bytes * found.dialogue_hours == pytest.approx(
        sum(file.stat().st_size for file in (out / "episodes").iterdir()), rel=0.02
    )
    assert found.feature_bytes == 7200 * 768

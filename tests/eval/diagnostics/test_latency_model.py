"""The latency model of `--latency-model`: costs in ms, and a fit to a latency pass."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from prospect_core.records import EpisodeLatency, LatencyModel, PredictedUtterance
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import dump_json
from prospect_eval.diagnostics.latency_model import fit_latency_model, read_latency_model
from prospect_eval.models.baselines.trivial import make_trivial_baseline_record
from tests.helpers.run_folders import numbered_episode, store_run


def test_read_latency_model_costs_in_ms():
    model = LatencyModel(frame_ms=30, prompt_token_ms=0.1, output_token_ms=20)
    assert read_latency_model("frame=30, prompt_token=0.1,output_token=20").latency == model
    assert read_latency_model("output_token=5").latency == LatencyModel(output_token_ms=5)


@pytest.mark.parametrize("text", ["frame=", "frame=nan", "frame=-1", "frames=3", "nowhere"])
def test_read_latency_model_bad_text_is_refused(text):
    with pytest.raises(UserError):
        read_latency_model(text)


def _store_latency_pass(folder, speaking_s):
    """Steps of 10, 20 and 30 ms, and speaking ones with 4 and 6 tokens."""
    episode = numbered_episode(1)
    record = make_trivial_baseline_record("x", episode, [], [])
    first = episode.start_frame
    record = replace(
        record, utterances=(PredictedUtterance(first, "One.", 4), PredictedUtterance(first + 2, "Two.", 6))
    )
    store_run(folder, [record])
    steps = [speaking_s[0], 0.01, speaking_s[1], 0.02, 0.03]
    latency = EpisodeLatency(episode.id, tuple(steps), (), 0.0, 1.0, 0, 0, 0, None)
    rows = [{"video": episode.video, **asdict(latency)}]
    (folder / "timings.json").write_text(dump_json({"schema": 1, "episodes": {}, "plain_pass": rows}))
    return folder


def test_fit_latency_model_takes_median_of_silent_steps(tmp_path):
    """The median is 20 ms; (80 + 220) ms more for 10 tokens are 30 ms a token."""
    folder = _store_latency_pass(tmp_path / "run", (0.1, 0.24))
    assert fit_latency_model(folder) == LatencyModel(frame_ms=20, output_token_ms=30)
    assert read_latency_model(str(folder)).latency == LatencyModel(frame_ms=20, output_token_ms=30)


def test_fit_latency_model_without_measurement_is_refused(tmp_path):
    record = make_trivial_baseline_record("x", numbered_episode(1), [], [])
    folder = store_run(tmp_path / "run", [record])
    (folder / "timings.json").write_text('{"schema": 1, "episodes": {}}')
    with pytest.raises(DataError, match="has no measured latencies"):
        read_latency_model(str(folder))

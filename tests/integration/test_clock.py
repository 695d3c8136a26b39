"""Clocks on the released checkpoint: agreement of replay, simulated and live on short episodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from prospect_core.data.dataset import Dataset
from prospect_core.records import ClockSettings, EpisodeRecord, LatencyModel, ReplayProtocol, digest_records
from prospect_eval.analysis.clock_agreement import compute_clock_agreement
from prospect_eval.diagnostics.latency_model import read_latency_model
from prospect_eval.runs.evaluation import EvaluationOptions, prepare_evaluation, replay_evaluation
from prospect_eval.runs.folder import read_run_folder_config, read_run_folder_records
from tests.helpers.commands import evaluate

pytestmark = pytest.mark.integration

CKPT = "workbench-tiny"


@pytest.fixture
def replay(world: Dataset, tmp_path: Path):
    """Return a function that replays two episodes under a clock into a folder."""

    def run(name: str, **options) -> list[EpisodeRecord]:
        asked = EvaluationOptions(CKPT, data=world.root, limit=2, output=tmp_path / name, **options)
        replay_evaluation(prepare_evaluation(asked))
        return read_run_folder_records(tmp_path / name)[1]

    return run


@pytest.mark.slow
def test_checkpoint_simulated_without_latency_equals_replay(replay):
    """Streams are packed, and each has its own virtual clock."""
    plain = replay("plain")
    for busy in ("drop", "queue"):
        timing = ClockSettings(busy=busy, latency=LatencyModel())
        found = replay(busy, clock="simulated", timing=timing)
        assert digest_records(found) == digest_records(plain)
        assert all(record.dropped == () for record in found)


@pytest.mark.slow
def test_checkpoint_packed_clocked_streams_equal_single_streams(replay):
    timing = ClockSettings(latency=LatencyModel(900, 0.5, 20))
    options = EvaluationOptions(CKPT).predictor
    packed = replay("packed", clock="simulated", timing=timing)
    single = replay("single", clock="simulated", timing=timing, predictor=replace(options, streams=1))
    assert packed == single
    assert all(record.dropped for record in packed)
    assert any(utterance.decided is not None for record in packed for utterance in record.utterances)


@pytest.mark.slow
def test_checkpoint_simulated_with_measured_latencies_equals_live(replay, tmp_path):
    live = replay("live", clock="live", timing=ClockSettings(speed=40))
    timing = read_latency_model(str(tmp_path / "live"))
    assert timing.recorded == str((tmp_path / "live").resolve())
    repeated = replay("repeated", clock="simulated", timing=timing)
    assert any(record.dropped for record in live)
    assert compute_clock_agreement(live, repeated) == 1.0
    assert digest_records(live) == digest_records(repeated)


def test_run_command_simulated_clock_is_named_and_not_compared(world, tmp_path, capsys):
    runs = {}
    for name, options in {"replay": (), "simulated": ("--clock", "simulated", "--latency-model", "frame=2000")}.items():
        runs[name] = tmp_path / name
        evaluate(
            "run", "--ckpt", "baseline:silent", "--data", world.root, "--limit", 2, "--output", runs[name], *options
        )
    assert "clock simulated: busy frames dropped, latency in ms frame=2000" in capsys.readouterr().out
    config = read_run_folder_config(runs["simulated"])
    assert config.knobs.rules.clock == "simulated"
    assert "clock <b>simulated</b>" in (runs["simulated"] / "report.html").read_text()
    assert "|clock:simulated" in (runs["simulated"] / "metrics.json").read_text()
    assert "|clock:" not in (runs["replay"] / "metrics.json").read_text()
    for command in ("compare", "leaderboard"):
        assert evaluate(command, runs["replay"], runs["simulated"]) == 2
        assert "their protocols differ (autonomous; autonomous, simulated clock)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--busy", "queue"), "choose --clock simulated or live"),
        (("--clock", "simulated"), "--latency-model, such as frame=30"),
        (("--clock", "simulated", "--latency-model", "frame=-1"), "give milliseconds of 0 or more"),
        (("--clock", "simulated", "--latency-model", "frames=1"), "frame"),
        (("--clock", "simulated", "--latency-model", "nowhere"), "nor the folder of a run"),
        (("--clock", "live", "--latency-model", "frame=1"), "would have no effect"),
        (("--clock", "simulated", "--latency-model", "frame=1", "--live-speed", "2"), "only with --clock live"),
        (("--clock", "live", "--workers", "2"), "remove --workers"),
        (("--clock", "live", "--protocol", "history=gold"), "needs a video that waits"),
    ],
)
def test_run_command_contradicting_clock_options_are_refused(options, message, world, tmp_path, capsys):
    code = evaluate("run", "--ckpt", "baseline:silent", "--data", world.root, "--output", tmp_path / "run", *options)
    assert code == 2
    assert message in capsys.readouterr().err


def test_protocol_describe_names_clock():
    assert ReplayProtocol(clock="live").describe() == "autonomous, live clock"

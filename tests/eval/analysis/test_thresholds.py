"""Threshold curves, open and closed loop, and the choice on validation data."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from prospect_core.records import SCHEMA, EpisodeRecord, Knobs, PredictedTransition, PredictedUtterance
from prospect_core.timeline import Episode, Event, Step, Task
from prospect_core.util.json_io import dump_json
from prospect_eval.analysis.thresholds import (
    choose_thresholds,
    open_loop_thresholds,
    threshold_curve,
    threshold_joint_accuracy,
)
from prospect_eval.matching.matcher import match_events
from prospect_eval.runs.folder import RunConfig, open_run_folder, read_run_folder_records, run_folder_record_path
from prospect_eval.scoring.score import score_records, write_score_metrics
from tests.helpers.commands import evaluate


def record(number=0, video="v", seed=0):
    """An utterance at frame 4 and a start at frame 12, with random probabilities that peak there."""
    events = (Event("a", 2.0, "assistant", "x"), Event("d", 6.0, "transition", step="S1", change="start"))
    episode = Episode(f"e{number}", video, 2, 0, 20, Task("t", (Step("S1", "s"),)), events).validate()
    rng = np.random.default_rng(seed)
    speaking, update = rng.uniform(0, 0.9, 20).round(3).tolist(), [0.1] * 20
    speaking[4], update[12] = 0.95, 0.2
    # the head predicts the start, and on the last three frames a completion that does not exist
    states = [((1.0, 0.0, 0.0),)] * 12 + [((0.1, 0.9, 0.0),)] * 5 + [((0.0, 0.4, 0.6),)] * 3
    return EpisodeRecord(SCHEMA, "m", Knobs(), episode, tuple(speaking), tuple(update), tuple(states))


def test_choose_thresholds_finds_best():
    one = record()
    choice = choose_thresholds([one])
    assert max(p for k, p in enumerate(one.speaking_prob) if k != 4) < choice.speaking <= 0.95
    assert 0.1 < choice.update <= 0.2
    assert (choice.speaking_f1, choice.update_jga) == (1.0, 1.0)


def test_choose_thresholds_update_maximizes_joint_accuracy():
    one = record()
    # updates on every frame: correct until the false completion; only at the start: always; never:
    # until the start
    assert threshold_joint_accuracy(one, (0.05, 0.15, 0.5)) == [17 / 20, 1.0, 12 / 20]
    # an update a frame late costs that frame, and an update without a change costs nothing
    late = replace(one, update_prob=(*[0.1] * 5, 0.3, *[0.1] * 7, 0.3, *[0.1] * 6))
    assert threshold_joint_accuracy(late, (0.2,)) == [19 / 20]
    # videos have equal weight, independent of their number of episodes
    worse = replace(late, update_prob=(0.0,) * 20)
    records = [worse, *(replace(late, episode=replace(late.episode, id=f"f{k}", video="w")) for k in range(5))]
    assert choose_thresholds(records).update_jga == pytest.approx((12 / 20 + 19 / 20) / 2)
    assert choose_thresholds([replace(one, state_probs=())]).update_jga == 0


def test_threshold_joint_accuracy_interrupted_jump_is_not_committed():
    one = record()
    jump = replace(one, state_probs=(((0.0, 0.0, 1.0),),) * 20, update_prob=(*[0.9, 0.9, 0.1] * 6, 0.9, 0.9))
    # due on two frames of three, the jump is never committed, so the state is wrong from frame 12
    # on
    assert threshold_joint_accuracy(jump, (0.5,)) == [12 / 20]
    # due on all frames, it is committed on the fourth
    assert threshold_joint_accuracy(jump, (0.05,)) == [3 / 20]


def test_threshold_curve_equals_brute_force():
    records = [record(n, f"v{n // 2}", seed=n) for n in range(24)]
    points = threshold_curve(records, "speaking", (0.2, 0.5, 0.99))
    for point in points:
        hits = predicted = 0
        for r in records:
            frames = [k for k, p in enumerate(r.speaking_prob) if p >= point.threshold]
            hits += len(match_events(frames, [4], 2))
            predicted += len(frames)
        assert point.f1 == pytest.approx(2 * hits / (predicted + len(records)))
        assert point.recall == pytest.approx(hits / len(records))
        assert point.precision == (pytest.approx(hits / predicted) if predicted else None)
    low, high = points[0].ci95
    assert low <= points[0].f1 <= high
    assert low < high
    # the silent end of the curve: F1 is 0, not undefined
    assert points[2].f1 == 0.0
    assert threshold_curve([replace(records[0], speaking_prob=())], "speaking") == []


def test_sweep_command_open_loop_writes_thresholds(tmp_path, capsys):
    folder = tmp_path / "run"
    open_run_folder(folder, RunConfig("m", "", "", "", "test", None, Knobs(), ""))
    for n in range(3):
        run_folder_record_path(folder, f"e{n}").write_text(dump_json(record(n, f"v{n}", seed=n)))
    assert evaluate("sweep", folder) == 0
    shown = capsys.readouterr()
    assert "open loop" in shown.out
    assert "choose thresholds on validation data" in shown.err
    stored = json.loads((folder / "thresholds.json").read_text())
    assert stored["loop"] == "open"
    told = {"split": "test", "model": "m"}
    assert stored == json.loads(dump_json(open_loop_thresholds(read_run_folder_records(folder)[1]))) | told
    assert evaluate("sweep", folder, "--speaking", "0.5,x") == 2
    assert "0.3,0.5" in capsys.readouterr().err
    assert evaluate("sweep", folder, "--ckpt", "x") == 2
    assert evaluate("sweep", "--closed-loop", folder) == 2
    assert evaluate("sweep") == 2
    blind = replace(record(), speaking_prob=(), update_prob=())
    for n in range(3):
        run_folder_record_path(folder, f"e{n}").write_text(dump_json(replace(blind, episode=record(n).episode)))
    capsys.readouterr()
    assert evaluate("sweep", folder) == 3
    assert "no probabilities" in capsys.readouterr().err


@pytest.mark.integration
def test_calibrate_command_stores_thresholds_with_data(checkpoint, world, capsys):
    assert evaluate("calibrate", "--ckpt", checkpoint, "--data", world.root, "--limit", 1) == 0
    config = json.loads((checkpoint / "config.json").read_text())
    assert config["thresholds_data"] == f"workbench/val/{world.digest[:16]}"
    assert 0 < config["speaking_threshold"] < 1
    before = (checkpoint / "config.json").read_bytes()
    assert evaluate("calibrate", "--ckpt", checkpoint, "--data", world.root, "--split", "test") == 2
    assert "not on test data" in capsys.readouterr().err
    assert (checkpoint / "config.json").read_bytes() == before


@pytest.mark.slow
def test_calibrate_command_forced_on_test_marks_checkpoint(checkpoint, short_world, tmp_path):
    data = ("--ckpt", checkpoint, "--data", short_world.root, "--limit", 1)
    assert evaluate("calibrate", *data, "--split", "test", "--force") == 0
    assert json.loads((checkpoint / "config.json").read_text())["thresholds_data"].endswith(" forced")
    assert evaluate("run", *data, "--output", tmp_path / "run") == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["thresholds_from"].endswith(" forced")
    assert "chosen on test data" in (tmp_path / "run" / "report.html").read_text()
    assert evaluate("run", *data, "--speaking-threshold", 0.4, "--output", tmp_path / "given") == 0
    assert "chosen on test data" not in (tmp_path / "given" / "report.html").read_text()


@pytest.mark.integration
def test_score_run_with_thresholds_file_is_unchanged(tmp_path):
    folder = tmp_path / "run"
    open_run_folder(folder, RunConfig("m", "", "", "", "test", None, Knobs(), ""))
    run_folder_record_path(folder, "e0").write_text(dump_json(record()))
    write_score_metrics(folder, score_records(read_run_folder_records(folder)[1]))
    before = (folder / "metrics.json").read_bytes()
    assert evaluate("sweep", folder, "--speaking", "0.5") == 0
    assert evaluate("score", folder) == 0
    assert (folder / "metrics.json").read_bytes() == before


def test_threshold_curve_updates_equal_state_tracker():
    """At .05 an update is due on each of 20 frames: the tracker commits the start at 12 and the
    completion at 17.
    """
    (point,) = threshold_curve([record()], "update", (0.05,))
    assert (point.precision, point.recall) == (1 / 2, 1.0)
    # without a state head only the due frames are known
    (blind,) = threshold_curve([replace(record(), state_probs=())], "update", (0.05,))
    assert blind.precision == 1 / 20


def test_threshold_curve_short_jump_is_not_committed():
    jump = replace(record(), state_probs=(((0.0, 0.0, 1.0),),) * 20, update_prob=(*[0.9, 0.9, 0.1] * 6, 0.9, 0.9))
    (point,) = threshold_curve([jump], "update", (0.5,))
    assert (point.recall, point.precision) == (0.0, None)


def test_open_loop_thresholds_own_threshold_equals_score():
    """At this threshold the recorded decisions count, even if the probabilities give other
    decisions.
    """
    records = []
    for n in range(12):
        plain = record(n, f"v{n}", seed=n)
        said = (PredictedUtterance(4 + n % 4, "x"), PredictedUtterance(10, "y"))
        made = (PredictedTransition(11 + n % 5, "S1", "start"),)
        records.append(replace(plain, utterances=said, transitions=made, knobs=Knobs("none", None, 0.37, 0.24)))
    table = score_records(records)["metrics"]
    found = open_loop_thresholds(records, (0.1, 0.9), records[0].knobs)["curves"]
    for knob, own in (("speaking", 0.37), ("update", 0.24)):
        assert [point["threshold"] for point in found[knob]] == [0.1, own, 0.9]
        score = table[f"{knob}_event_f1@1s"]
        assert found[knob][1]["f1"] == score["value"]
        assert list(found[knob][1]["ci95"]) == score["ci95"]
        assert 0 < score["value"] < 1


def test_threshold_curve_tasks_without_steps_are_left_out():
    plain = record()
    watch = replace(
        plain, episode=replace(plain.episode, task=Task("watch"), events=plain.episode.events[:1]), state_probs=()
    )
    assert threshold_curve([watch], "update", (0.5,)) == []

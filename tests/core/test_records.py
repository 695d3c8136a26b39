"""The prediction record and its files."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings

from prospect_core.records import (
    SCHEMA,
    CompressionEvent,
    EpisodeRecord,
    Knobs,
    PredictedTransition,
    PredictedUtterance,
    digest_records,
)
from prospect_core.timeline import Episode, Step, Task
from prospect_core.util.atomic import write_atomic
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import dump_json, load_json
from prospect_eval.models.baselines.trivial import make_trivial_baseline
from tests.helpers.random_episodes import episodes

EPISODE = Episode("e", "v", 2, 3, 8, Task("tea", (Step("S1", "boil"),)))
RECORD = EpisodeRecord(
    SCHEMA, "m", Knobs("drop_all", 100), EPISODE,
    (0.1, 0.2, 0.3, 0.4, 0.5), (0.0,) * 5, (((0.2, 0.3, 0.5),),) * 5, (1, 2, 3, 4, 5), (10, 20, 30, 40, 50),
    (PredictedUtterance(4, "hi", 2),), (PredictedTransition(5, "S1", "start"),), (),
    (CompressionEvent(6, "drop_all", 9, 3, 90, 30, "text"),),
)  # fmt: skip


def test_record_round_trips():
    assert load_json(EpisodeRecord, dump_json(RECORD), "x") == RECORD
    assert RECORD.problems() == []


@given(episodes())
@settings(max_examples=60, deadline=None)
def test_record_of_random_episode_round_trips(episode):
    assert load_json(Episode, dump_json(episode), "x") == episode
    record = make_trivial_baseline("oracle", [episode])(episode)
    assert load_json(EpisodeRecord, dump_json(record), "x") == record


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "record schema 2 is not 1"),
        ({"speaking_prob": (0.1,)}, "speaking_prob has 1 entries for 5 frames"),
        ({"state_probs": ((),) * 5}, "state_probs has 0 steps, the task 1"),
        ({"utterances": (PredictedUtterance(8, "x"),)}, "utterances lie outside frames 3..7"),
        ({"utterances": (PredictedUtterance(5, "x"), PredictedUtterance(4, "y"))}, "not in order"),
        (
            {"utterances": (PredictedUtterance(5, "x"), PredictedUtterance(5, "y"))},
            "two utterances on one frame",
        ),
        ({"transitions": (PredictedTransition(5, "S1", "complete"),)}, "S1->complete at 2.5 s is illegal"),
        ({"transitions": (PredictedTransition(5, "S4", "start"),)}, "not a step of this task"),
    ],
)
def test_record_problems_find_contradictions(changes, message):
    problems = replace(RECORD, **changes).problems()
    assert any(message in p for p in problems), problems


def test_digest_records_covers_decisions_only():
    before = digest_records([RECORD])
    assert digest_records([replace(RECORD, speaking_prob=(0.9,) * 5, cache_bytes=())]) == before
    for changes in (
        {"utterances": (PredictedUtterance(4, "ho", 2),)},
        {"utterances": ()},
        {"transitions": ()},
        {"compressions": (replace(RECORD.compressions[0], tokens_after=4),)},
        {"status": "failed"},
    ):
        assert digest_records([replace(RECORD, **changes)]) != before
    other = replace(RECORD, episode=replace(EPISODE, id="f"))
    assert digest_records([RECORD, other]) == digest_records([other, RECORD])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(speaking_prob=["0.1"]), "speaking_prob.0: Input should be a valid number"),
        (lambda d: d.pop("episode"), "episode: "),
        (lambda d: d.update(more=1), "more: Unexpected keyword argument"),
        (lambda d: d["knobs"].update(budget=1.5), "knobs.budget"),
    ],
)
def test_record_invalid_field_raises(change, message):
    body = json.loads(dump_json(RECORD))
    change(body)
    with pytest.raises(DataError, match=message):
        load_json(EpisodeRecord, json.dumps(body), "file.json")


def test_write_atomic_file_is_complete_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_atomic(path, "old")

    def fail(*args):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_stage_timer_counts_innermost_stage(monkeypatch):
    from prospect_core.util import timer

    now = iter([0.0, 1.0, 3.0, 7.0, 10.0, 10.0, 12.0, 20.0, 23.0])
    monkeypatch.setattr(timer.time, "perf_counter", lambda: next(now))
    watch = timer.StageTimer()
    with watch("outer"):
        with watch("inner"):
            pass
        with watch("inner"):
            pass
    assert watch.seconds == {"outer": 1.0 + 4.0 + 0.0, "inner": 2.0 + 3.0}
    with pytest.raises(ValueError, match="no"), watch("fails"):
        raise ValueError("no")
    assert watch.seconds["fails"] == 8.0


def test_stage_timer_measures_iteration():
    from prospect_core.util.timer import StageTimer

    watch = StageTimer()
    assert list(watch.over("get", iter([1, 2]))) == [1, 2]
    assert watch.seconds["get"] >= 0

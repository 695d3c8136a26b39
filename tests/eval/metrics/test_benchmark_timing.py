"""Metrics by other benchmarks' own scorers, on records: by hand, by the handed cases, and where they are undefined."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from prospect_core.timeline import Event
from prospect_eval.metrics import Scored
from prospect_eval.metrics.benchmark_timing import (
    benchmark_timing_fitcoach_counts,
    benchmark_timing_omnipro_counts,
)
from tests.helpers.field_cases import each_field_case
from tests.helpers.predictions import TOOLS, episode, predict, say, score


def turn(time, **slots):
    return Event(f"a{time}", time, "assistant", "Go on.", slots=slots)


def omnipro(task, *turns):
    return replace(episode(*turns, frames=80), meta={"omnipro_task": task})


def test_benchmark_timing_perfect_record():
    reference = episode(say(5.0), say(10.0))
    found = score(predict(reference, [(10, "x"), (20, "y")]))
    assert found["omnipro_time_f1@3s"]["value"] == found["estp_timing_f1"]["value"] == 1.0
    assert found["fitcoach_t_f@1.5s"]["value"] == pytest.approx(1.0, abs=1e-9)
    assert found["fitcoach_t_f@1.5s"]["value"] < 1.0


def test_benchmark_timing_flawed_record_by_hand():
    # at 2 frames a second: references at 5, 10, 20 s; utterances at 3.5, 11.5, 12, 30 s
    reference = episode(say(5.0), say(10.0), say(20.0), frames=80)
    found = score(predict(reference, [(7, "a"), (23, "b"), (24, "c"), (60, "d")]))
    # pairs 3.5-5 and 11.5-10
    assert found["omnipro_time_f1@3s"]["value"] == pytest.approx(2 * 2 / (4 + 3))
    # both are exactly 1.5 s away, which is not less
    assert found["fitcoach_t_f@1.5s"]["value"] == 0.0
    # the window 9 .. 12 s is hit twice; 3.5 and 30 s are in none
    assert found["estp_timing_f1"]["value"] == pytest.approx(2 / (2 + 2 + 2))


def test_estp_timing_f1_window_contains_reply_span():
    turn_with_span = replace(say(5.0), reply_span=(5.0, 10.2))
    # 10.2 s is 10.5 s on the grid of 2 frames a second
    for frame, hit in ((7, 0.0), (8, 1.0), (25, 1.0), (26, 0.0)):
        assert score(predict(episode(turn_with_span), [(frame, "x")]), name="estp_timing_f1") == hit


def test_benchmark_timing_empty_record_is_undefined():
    found = score(predict(episode()))
    for name in ("omnipro_time_f1@3s", "fitcoach_t_f@1.5s", "estp_timing_f1"):
        assert found[name]["status"] == "undefined", name


def test_benchmark_timing_silence_is_zero():
    found = score(predict(episode(say(5.0))))
    for name in ("omnipro_time_f1@3s", "fitcoach_t_f@1.5s", "estp_timing_f1"):
        assert found[name]["value"] == 0.0, name


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        (episode(say(5.0)), "the episode names no OmniPro task (meta 'omnipro_task')"),
        (omnipro("event_narration", say(5.0)), "the OmniPro task event_narration needs an LLM judge of texts"),
        (omnipro("snapshot_counting", turn(5.0, count="two")), "a reference turn has no slot 'count'"),
        (omnipro("realtime_state_monitor", say(5.0)), "a reference turn has no slot 'state'"),
    ],
)
def test_omnipro_joint_f1_undefined_has_reason(reference, reason):
    found = score(predict(reference, [(10, "x")]))["omnipro_joint_f1@3s"]
    assert (found["value"], found["reason"]) == (None, reason)


def test_omnipro_joint_f1_compares_content():
    counted = omnipro("cumulative_counting", turn(5.0, count="1"), turn(20.0, count="2"))
    assert score(predict(counted, [(10, "1"), (38, "2")]), name="omnipro_joint_f1@3s") == 0.5
    placed = omnipro("explicit_target_grounding", turn(5.0, position="top-left"))
    assert score(predict(placed, [(10, "A cup. Position: top-left")]), name="omnipro_joint_f1@3s") == 1.0
    switched = omnipro("realtime_state_monitor", turn(5.0, state="OFF"))
    assert score(predict(switched, [(10, "on")]), name="omnipro_joint_f1@3s") == 0.0
    alerted = omnipro("instant_event_alert", say(5.0))
    assert score(predict(alerted, [(10, "now")]), name="omnipro_joint_f1@3s") == 1.0


#: frames per second at which the times of the handed cases are whole frames
FINE_FPS = 10000


def record_of(reference_times, predicted, **more):
    """A record at a thousand frames a second, so that a time keeps its milliseconds."""
    events = [Event(f"a{k}", time, "assistant", "x", **more) for k, time in enumerate(reference_times)]
    last = max([0, *reference_times, *(time for time, _ in predicted)])
    base = replace(episode(), fps=FINE_FPS, end_frame=int(last * FINE_FPS) + 10, events=tuple(events)).validate()
    said = [(round(time * FINE_FPS), text) for time, text in predicted]
    return Scored(predict(base, said), TOOLS)


def is_ordered(times):
    return all(a < b for a, b in pairwise(times))


def is_fitcoach_record(case):
    """Whether a case is one session that a record can hold: ordered times, each with a text."""
    if len(case["sessions"]) != 1 or "raises" in case["expected"]:
        return False
    (session,) = case["sessions"]
    times, texts = session["pred_timestamps"], session["pred_feedbacks"]
    return is_ordered(times) and is_ordered(session["gt_timestamps"]) and len(texts) == len(times) and all(texts)


@each_field_case("fitcoach", "cases.json", keep=is_fitcoach_record)
def test_fitcoach_counts_equal_official_counts(case):
    (session,) = case["sessions"]
    predicted = list(zip(session["pred_timestamps"], session["pred_feedbacks"], strict=True))
    stats = case["expected"]["stats"]
    assert benchmark_timing_fitcoach_counts(record_of(session["gt_timestamps"], predicted)).tolist() == [
        stats["total_matched_gt_feedbacks"],
        stats["total_matched_pred_feedbacks"],
        stats["total_num_gt_feedbacks"],
        stats["total_num_pred_feedbacks"],
    ]


def is_omnipro_record(case):
    """Whether a case is one that a record can hold: ordered times in seconds, each utterance with a text."""
    emissions, triggers = case["sample"]["predictions"], case["sample"]["ground_truth"]
    if "raises" in case["expected"]["library"] or case["tolerance"] != 3.0:
        return False
    if any("trigger_time_sec" not in trigger for trigger in triggers):
        return False
    texts = [(emission["raw"] or "").strip() for emission in emissions]
    times = [emission["t_sec"] for emission in emissions]
    return all(texts) and is_ordered(times) and is_ordered([trigger["trigger_time_sec"] for trigger in triggers])


@each_field_case("omnipro", "cases.json", keep=is_omnipro_record)
def test_omnipro_counts_equal_official_counts(case):
    expected = case["expected"]["library"]
    emissions = [(emission["t_sec"], emission["raw"]) for emission in case["sample"]["predictions"]]
    times = [trigger["trigger_time_sec"] for trigger in case["sample"]["ground_truth"]]
    pairs, predicted, reference = benchmark_timing_omnipro_counts(record_of(times, emissions))
    assert (pairs, predicted - pairs, reference - pairs) == (expected["tp_time"], expected["fp"], expected["fn"])

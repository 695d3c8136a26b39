"""Timing metrics of OmniPro, FitCoach and ESTP-Bench, by the benchmarks' own scorers.

The scorers are in `prospect_eval.suites`. Times are those of the decision frames, so that an
utterance on the reference's frame is in time at every frame rate. A metric is undefined, and not
zero, if the record lacks something that it needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from prospect_eval.metrics.base import Metric, Scored, f1
from prospect_eval.metrics.families import FIELD_TIMING
from prospect_eval.suites.estp_bench.timing import EARLY_S, LATE_S, count_span_hits, round_up_to_grid
from prospect_eval.suites.fitcoach.official import MATCH_S, FeedbackList, count_feedback_matches, fitcoach_array_values
from prospect_eval.suites.omnipro.official import (
    CONTENT_KINDS,
    TOLERANCE_S,
    ContentKind,
    Emission,
    OmniProSample,
    Trigger,
    count_omnipro_sample,
    pair_emissions,
)

#: key of an episode's ``meta`` that names its OmniPro task
OMNIPRO_TASK = "omnipro_task"
#: slot of a reference turn with the content that each kind of task compares
_SLOTS: dict[ContentKind, str] = {
    "position": "position",
    "count": "count",
    "count_at_time": "count",
    "state": "state",
}
_metric = partial(Metric, family=FIELD_TIMING)


def _seconds(scored: Scored) -> tuple[list[float], list[float]]:
    """Return the times of predictions and references in seconds."""
    predicted = [frame / scored.fps for frame, _ in scored.predictions]
    return predicted, [frame / scored.fps for frame, _ in scored.references]


def benchmark_timing_omnipro_counts(scored: Scored) -> np.ndarray:
    """Return (pairs, predicted, reference) of OmniPro's pairing."""
    predicted, reference = _seconds(scored)
    return np.array([len(pair_emissions(predicted, reference)), len(predicted), len(reference)])


def benchmark_timing_omnipro_joint_counts(scored: Scored) -> np.ndarray | str:
    """Return (pairs with correct content, predicted, reference), or why the record lacks them."""
    task = scored.record.episode.meta.get(OMNIPRO_TASK, "")
    kind = CONTENT_KINDS.get(task)
    if kind is None:
        return f"the episode names no OmniPro task (meta {OMNIPRO_TASK!r})"
    if kind == "gpt_judge":
        return f"the OmniPro task {task} needs an LLM judge of texts"
    triggers = list(_triggers(scored, kind))
    if None in triggers:
        return f"a reference turn has no slot {_SLOTS[kind]!r}"
    times, _ = _seconds(scored)
    sample = OmniProSample(
        id=scored.record.episode.id,
        video=scored.record.episode.video,
        task=task,
        question="",
        emissions=tuple(Emission(time, text) for time, (_, text) in zip(times, scored.predictions, strict=True)),
        triggers=tuple(trigger for trigger in triggers if trigger is not None),
    )
    counts = count_omnipro_sample(sample)
    return np.array([counts["right"], counts["emissions"], counts["triggers"]])


def _triggers(scored: Scored, kind: ContentKind) -> Iterator[Trigger | None]:
    """Yield the trigger of each reference turn; None if its slots lack the content."""
    _, times = _seconds(scored)
    slot = _SLOTS.get(kind)
    for time, turn in zip(times, scored.turns, strict=True):
        content = next((event.slots[slot] for event in turn.events if slot in event.slots), "") if slot else ""
        if slot is None:
            yield Trigger(time)
        elif slot == "count":
            yield Trigger(time, count=int(content), has_count=True) if content.strip().isdecimal() else None
        elif not content:
            yield None
        else:
            yield Trigger(time, position=content) if slot == "position" else Trigger(time, state=content)


def benchmark_timing_fitcoach_counts(scored: Scored) -> np.ndarray:
    """Return the counts of FitCoach's matching.

    Returns:
        (matched references, matched predictions, references, predictions).
    """
    predicted, reference = _seconds(scored)
    counts = count_feedback_matches(
        FeedbackList(tuple(reference), tuple(text for _, text in scored.references)),
        FeedbackList(tuple(predicted), tuple(text for _, text in scored.predictions)),
    )
    return np.array([counts[name] for name in _FITCOACH_NAMES])


_FITCOACH_NAMES = ("matched references", "matched predictions", "references", "predictions")


def benchmark_timing_fitcoach_score(counts: np.ndarray) -> np.ndarray:
    """Return the official temporal F-score; NaN without predictions and references."""
    totals = dict(zip(_FITCOACH_NAMES, np.moveaxis(np.asarray(counts, dtype=float), -1, 0), strict=True))
    nothing = totals["references"] + totals["predictions"] == 0
    return np.asarray(np.where(nothing, np.nan, fitcoach_array_values(totals)["t_f_score"]))


def benchmark_timing_estp_counts(scored: Scored) -> np.ndarray:
    """Return (hit spans, missed spans, false alarms) of ESTP-Bench.

    The windows reach around the reply spans of the references.
    """
    predicted, _ = _seconds(scored)
    hits = count_span_hits(predicted, list(_spans(scored)))
    return np.array([hits.hits, hits.misses, hits.false_alarms])


def _spans(scored: Scored) -> Iterator[tuple[float, float]]:
    """Yield the reply spans of each reference turn, or its time without one, on the frame grid."""
    for turn in scored.turns:
        spans = [event.reply_span for event in turn.events if event.reply_span is not None]
        moment = turn.frame / scored.fps
        for start, end in spans or [(moment, moment)]:
            yield round_up_to_grid(start, scored.fps), round_up_to_grid(end, scored.fps)


def benchmark_timing_estp_f1(counts: np.ndarray) -> np.ndarray:
    """Return 2 hits / (2 hits + missed spans + false alarms)."""
    hits, misses, alarms = np.moveaxis(counts, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(2 * hits / (2 * hits + misses + alarms))


_WINDOW = {"window": f"-{EARLY_S:g}..+{LATE_S:g}s"}
METRICS: list[Metric] = [
    _metric(
        f"omnipro_time_f1@{TOLERANCE_S:g}s",
        benchmark_timing_omnipro_counts,
        f1,
        {"tol": f"{TOLERANCE_S:g}s", "match": "closest first"},
        definition="OmniPro's F1 of utterances paired with reference turns at most 3 s apart, closest first.",
        failure_mode="Closest first is not the best pairing: two utterances in time can give one pair; the text is not"
        " looked at.",
    ),
    _metric(
        f"omnipro_joint_f1@{TOLERANCE_S:g}s",
        benchmark_timing_omnipro_joint_counts,
        f1,
        {"tol": f"{TOLERANCE_S:g}s", "match": "closest first", "content": "rules"},
        definition="OmniPro's F1 of pairs at most 3 s apart whose position, count or state is right, by the episode's"
        " OmniPro task.",
        failure_mode="A running count said up to 3 s early counts as wrong, the count before it as right; alerts are right"
        " whatever is said.",
    ),
    _metric(
        f"fitcoach_t_f@{MATCH_S:g}s",
        benchmark_timing_fitcoach_counts,
        benchmark_timing_fitcoach_score,
        {"tol": f"<{MATCH_S:g}s", "match": "nearest"},
        definition="FitCoach's temporal F-score: precision and recall by the nearest turn of the other side less than 1.5 s"
        " away.",
        failure_mode="Only the nearest turn is tried, so precision and recall count other pairs; a perfect run is"
        " slightly below 1; the text is not looked at.",
    ),
    _metric(
        "estp_timing_f1",
        benchmark_timing_estp_counts,
        benchmark_timing_estp_f1,
        {**_WINDOW, "span": "reply span or moment", "official": "no"},
        definition="F1 of reference turns with an utterance from 1 s before to 2 s after their reply span or moment, as third"
        " parties describe the timing part of ESTP-F1.",
        failure_mode="Repeated utterances in a window are free; the text is not looked at; ESTP-Bench's own scorer is not"
        " public.",
    ),
]

"""When the assistant speaks: by frame, by event within a tolerance, by probability; how late, how often for nothing.

    python -c "from prospect_eval.metrics.speaking import event_scores; print(event_scores([4, 9], [5, 20], 1, fps=2))"

*Frame-exact*: a frame counts as hit when both speak on it. Precision, recall, F1; balanced accuracy is the mean of the
recalls of speaking and silent frames, undefined where either is absent.
*Event* scores at T seconds: predicted and reference utterances are paired one to one when at most T seconds apart (most
pairs, then least time between them); precision = pairs / predicted, recall = pairs / reference, F1 = 2 pairs /
(predicted + reference), 0..1, undefined when there is nothing to divide by. The area is the mean height of the F1 curve
over 1 .. 10 s (trapezoids through 1, 2, 5 and 10 s).
*Proactive and responsive* turns are counted apart: a pair by its reference, an unpaired utterance by what it is itself.
*Delay* is predicted minus reference seconds (negative: early) of pairs within 5 s. Missed and redundant are the shares
without a partner within 5 s; a duplicate is a redundant utterance within 5 s of a reference that has its partner already.
*False alarms* are utterances with no reference within 5 s, by the minute of video in which there is none.
*Average precision* of the speaking probability over all frames is threshold-free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np

from prospect_eval.matching import match_events
from prospect_eval.metrics.base import POSITIVE, UNBOUNDED, Metric, Scored, f1, precision, ratio, recall
from prospect_eval.metrics.families import SPEAKING
from prospect_eval.metrics.histogram import (
    histogram_average_precision,
    histogram_average_precision_gradient,
    histogram_quantile,
    pooled_average_precision,
    probability_histogram,
    seconds_histogram,
    seconds_quantile_interval,
)

_metric = partial(Metric, family=SPEAKING)

TOLERANCES_S = (1, 2, 5, 10)
PAIRED_WITHIN_S = 5
NO_PROBABILITY = "the record holds no probabilities"


def frame_scores(predicted: Sequence[int], reference: Sequence[int], num_frames: int) -> dict[str, float | None]:
    """Frame-exact ``precision``, ``recall``, ``f1`` and ``balanced_accuracy`` of two lists of frames; None where
    undefined."""
    table = _frame_counts(set(predicted), set(reference), num_frames).astype(float)
    return {name: _or_none(formula(table)) for name, formula in FRAME_FORMULAS.items()}


def event_scores(
    predicted: Sequence[int], reference: Sequence[int], tolerance_s: float, fps: float
) -> dict[str, float | None]:
    """``precision``, ``recall`` and ``f1`` of frames paired one to one within a tolerance; None where undefined."""
    pairs = match_events(predicted, reference, tolerance_s * fps)
    table = np.array([len(pairs), len(predicted), len(reference)], dtype=float)
    return {name: _or_none(FRAME_FORMULAS[name](table)) for name in ("precision", "recall", "f1")}


def _or_none(value: np.ndarray) -> float | None:
    return float(value) if np.isfinite(value) else None


def balanced_accuracy(counts: np.ndarray) -> np.ndarray:
    """Mean of the recalls of both classes, of counts (both speak, predicted, reference, frames)."""
    hits, predicted, reference, frames = np.moveaxis(counts, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        silent = (frames - predicted - reference + hits) / (frames - reference)
        return np.asarray((hits / reference + silent) / 2)


FRAME_FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "precision": lambda c: _quiet(precision, c),
    "recall": lambda c: _quiet(recall, c),
    "f1": lambda c: _quiet(f1, c),
    "balanced_accuracy": balanced_accuracy,
}


def _quiet(formula: Callable[[np.ndarray], np.ndarray], counts: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return formula(counts)


def _frame_counts(predicted: set[int], reference: set[int], num_frames: int) -> np.ndarray:
    return np.array([len(predicted & reference), len(predicted), len(reference), num_frames])


def frame_counts(scored: Scored) -> np.ndarray:
    """(frames where both speak, predicted, reference, frames)."""
    predicted, reference = {f for f, _ in scored.predictions}, {f for f, _ in scored.references}
    return _frame_counts(predicted, reference, scored.record.episode.num_frames)


@cache
def event_counts(seconds: float, kind: str = "") -> Callable[[Scored], np.ndarray]:
    """Counts (pairs, predicted, reference) within ``seconds``, of all turns or of one kind."""

    def counts(scored: Scored) -> np.ndarray:
        view = scored.view(kind) if kind else scored
        return view.tally(view.event_pairs(seconds))

    return counts


def curve_counts(scored: Scored) -> np.ndarray:
    """The event counts at every tolerance, one after the other."""
    return np.concatenate([event_counts(t)(scored) for t in TOLERANCES_S])


def curve_area(counts: np.ndarray) -> np.ndarray:
    """Mean height of the F1 curve over the tolerances."""
    values = np.stack([f1(counts[..., 3 * k : 3 * k + 3]) for k in range(len(TOLERANCES_S))], -1)
    widths = np.diff(TOLERANCES_S)
    return np.asarray((widths * (values[..., 1:] + values[..., :-1]) / 2).sum(-1) / widths.sum())


def delays(scored: Scored) -> list[float]:
    """Signed seconds (predicted - reference) of the pairs within 5 s that count."""
    predictions, references, counts = scored.predictions, scored.references, scored.counts_reference
    pairs = scored.event_pairs(PAIRED_WITHIN_S)
    return [(predictions[p][0] - references[r][0]) / scored.fps for p, r in pairs if counts[r]]


def delay_histogram(scored: Scored) -> np.ndarray | str:
    """Histogram of the signed delays."""
    found = delays(scored)
    return seconds_histogram(found, PAIRED_WITHIN_S) if found else "no utterance within 5 s of a reference"


def sides(scored: Scored) -> np.ndarray:
    """(early, late, all) pairs within 5 s."""
    found = np.array(delays(scored))
    return np.array([(found < 0).sum(), (found > 0).sum(), len(found)])


def duplicates(scored: Scored) -> np.ndarray:
    """(unpaired utterances near a reference that has its partner, utterances)."""
    pairs, references = scored.event_pairs(PAIRED_WITHIN_S), scored.references
    served = np.array(sorted(references[r][0] for _, r in pairs))
    paired = {p for p, _ in pairs}
    again = 0
    for k, (frame, _) in enumerate(scored.predictions):
        if k not in paired and scored.counts_alone[k]:
            again += bool(len(served) and np.abs(served - frame).min() <= PAIRED_WITHIN_S * scored.fps)
    return np.array([again, scored.tally(pairs)[1]])


def quiet_alarms(scored: Scored) -> np.ndarray:
    """(utterances with no reference within 5 s, minutes with none)."""
    episode = scored.record.episode
    near = np.zeros(episode.num_frames, bool)
    reach = int(PAIRED_WITHIN_S * episode.fps)
    for frame, _ in scored.references:
        at = frame - episode.start_frame
        near[max(0, at - reach) : at + reach + 1] = True
    alarms = sum(not near[f - episode.start_frame] for f, _ in scored.predictions)
    return np.array([alarms, (~near).sum() / episode.fps / 60])


def ranked(scored: Scored) -> np.ndarray | str:
    """Histogram of the speaking probabilities of speaking and silent frames."""
    probs = scored.speaking_prob
    return probability_histogram(scored.speaking_labels, probs) if probs else NO_PROBABILITY


def labelled(scored: Scored) -> np.ndarray | None:
    """(2, frames): whether the reference speaks, and the speaking probability."""
    probs = scored.speaking_prob
    return np.stack([scored.speaking_labels, probs]) if probs else None


_ONE_TO_ONE = {"match": "one-to-one"}
_NEAR = {**_ONE_TO_ONE, "tol": f"{PAIRED_WITHIN_S}s"}
METRICS = [
    _metric("speaking_f1", frame_counts, f1, {"match": "frame"}, definition="frame-exact F1 of speaking"),
    _metric("speaking_precision", frame_counts, precision, {"match": "frame"}),
    _metric("speaking_recall", frame_counts, recall, {"match": "frame"}),
    _metric("speaking_balanced_accuracy", frame_counts, balanced_accuracy, {"match": "frame"}),
    *(
        _metric(
            f"speaking_event_{name}@{t}s", event_counts(t), formula, {**_ONE_TO_ONE, "tol": f"{t}s"},
            turns="pairs" if name == "recall" else "all",
        )
        for t in TOLERANCES_S
        for name, formula in (("f1", f1), ("precision", precision), ("recall", recall))
    ),
    _metric("speaking_event_area", curve_counts, curve_area, {**_ONE_TO_ONE, "tol": "1-10s"}, turns="all"),
    *(
        _metric(f"{kind}_event_f1@{t}s", event_counts(t, kind), f1, {**_ONE_TO_ONE, "tol": f"{t}s"})
        for kind in ("proactive", "responsive")
        for t in (1, 2)
    ),
    _metric(
        "speaking_ap", ranked, histogram_average_precision, {"unit": "frame"}, sample=labelled,
        exact=pooled_average_precision, gradient=histogram_average_precision_gradient, definition="average precision of the speaking probability",
    ),
    *(
        _metric(
            f"speaking_delay_{name}_s", delay_histogram, partial(histogram_quantile, q=q, limit_s=PAIRED_WITHIN_S), _NEAR,
            interval=partial(seconds_quantile_interval, q=q, limit_s=PAIRED_WITHIN_S),
            better="zero", unit="s", turns="pairs", range=UNBOUNDED,
        )
        for name, q in (("median", 0.5), ("p90", 0.9))
    ),
    _metric("speaking_early_share", sides, lambda c: c[..., 0] / c[..., 2], _NEAR, better="", turns="pairs"),
    _metric("speaking_late_share", sides, lambda c: c[..., 1] / c[..., 2], _NEAR, better="", turns="pairs"),
    _metric(
        "speaking_missed_rate", event_counts(PAIRED_WITHIN_S), lambda c: 1 - recall(c), _NEAR, better="lower", turns="pairs"
    ),
    _metric(
        "speaking_redundant_rate", event_counts(PAIRED_WITHIN_S), lambda c: 1 - precision(c), _NEAR, better="lower",
        turns="all",
    ),
    _metric("speaking_duplicate_rate", duplicates, ratio, _NEAR, better="lower", turns="all"),
    _metric(
        "false_alarms_per_minute", quiet_alarms, ratio, {"quiet": f"{PAIRED_WITHIN_S}s"}, better="lower", unit="1/min",
        range=POSITIVE,
    ),
]  # fmt: skip

"""When the assistant speaks: by frame, by event, by probability; delays and false alarms.

*Frame-exact*: a frame is a hit if both the model and the reference speak on it. The metrics are
precision, recall and F1. Balanced accuracy is the mean of the recalls of speaking and silent
frames, undefined if there are none of either.

*Event* scores at T seconds: predicted and reference utterances are paired one to one if they are at
most T seconds apart. The pairing has the most pairs, and of those the least time between them.
Precision = pairs / predicted, recall = pairs / reference, F1 = 2 pairs / (predicted + reference).
The range is 0..1; the value is undefined if the divisor is 0. The area is the mean height of the F1
curve over 1 .. 10 s (trapezoids through 1, 2, 5 and 10 s).

*Proactive and responsive* turns are counted separately: a pair by its reference, an unpaired
utterance by its own kind. For responsive event F1, every unpaired utterance within 5 s after a user
turn is a false answer, not only the first one.

*Delay*: predicted minus reference seconds (negative: early) of pairs within 5 seconds. The missed
rate and the redundant rate are the shares of references and of predictions without a partner within
5 seconds. A duplicate is a redundant utterance within 5 s of a reference that has a partner.

*False alarms*: utterances without a reference within 5 s, per minute of video without a reference
within 5 s.

*Average precision*: over the speaking probabilities of all frames, so it does not depend on a
threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np

from prospect_eval.matching.matcher import match_events
from prospect_eval.metrics.base import POSITIVE, Metric, Scored, f1, precision, ratio, recall
from prospect_eval.metrics.families import SPEAKING
from prospect_eval.metrics.histogram import (
    average_precision_without_histogram,
    histogram_average_precision,
    histogram_average_precision_gradient,
    histogram_quantile,
    histogram_quantile_interval,
    probability_histogram,
    seconds_histogram,
)

_metric = partial(Metric, family=SPEAKING)

TOLERANCES_S = (1, 2, 5, 10)
PAIRED_WITHIN_S = 5
#: an utterance at most this many seconds after a user turn can be an answer, as in
#: `Episode.responsive`
ANSWER_WITHIN_S = 5
NO_PROBABILITY = "the record holds no probabilities"


def speaking_frame_scores(
    predicted: Sequence[int], reference: Sequence[int], num_frames: int
) -> dict[str, float | None]:
    """Compute frame-exact scores of two lists of frames.

    Args:
        predicted: Frames with a predicted utterance.
        reference: Frames with a reference utterance.
        num_frames: Number of frames.

    Returns:
        ``precision``, ``recall``, ``f1`` and ``balanced_accuracy``, 0..1; None where undefined.
    """
    table = _frame_counts(set(predicted), set(reference), num_frames).astype(float)
    return {name: _or_none(formula(table)) for name, formula in FRAME_FORMULAS.items()}


def speaking_event_scores(
    predicted: Sequence[int], reference: Sequence[int], tolerance_s: float, fps: float
) -> dict[str, float | None]:
    """Compute scores of frames that are paired one to one within a tolerance.

    Args:
        predicted: Frames with a predicted utterance.
        reference: Frames with a reference utterance.
        tolerance_s: Largest distance of a pair in seconds.
        fps: Frames per second.

    Returns:
        ``precision``, ``recall`` and ``f1``, 0..1; None where undefined.
    """
    pairs = match_events(predicted, reference, tolerance_s * fps)
    table = np.array([len(pairs), len(predicted), len(reference)], dtype=float)
    return {name: _or_none(FRAME_FORMULAS[name](table)) for name in ("precision", "recall", "f1")}


def _or_none(value: np.ndarray) -> float | None:
    return float(value) if np.isfinite(value) else None


def balanced_accuracy(counts: np.ndarray) -> np.ndarray:
    """Return the mean of the recalls of both classes.

    Args:
        counts: (..., 4) counts: both speak, predicted, reference, frames.
    """
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


def speaking_frame_counts(scored: Scored) -> np.ndarray:
    """Count (frames on which both speak, predicted, reference, frames)."""
    predicted, reference = {f for f, _ in scored.predictions}, {f for f, _ in scored.references}
    return _frame_counts(predicted, reference, scored.record.episode.num_frames)


@cache
def speaking_event_counts(seconds: float, kind: str = "") -> Callable[[Scored], np.ndarray]:
    """Return a function that counts (pairs, predicted, reference) within a tolerance.

    Args:
        seconds: Largest distance of a pair.
        kind: Kind of the turns that count; empty for all.
    """

    def counts(scored: Scored) -> np.ndarray:
        view = scored.view(kind) if kind else scored
        return view.tally(view.event_pairs(seconds))

    return counts


@cache
def speaking_response_counts(seconds: float) -> Callable[[Scored], np.ndarray]:
    """Return a function that counts (pairs, predicted, reference) of responsive turns.

    Every utterance within `ANSWER_WITHIN_S` after a user turn counts as predicted, not only the
    first. A model that talks all the time answers each user turn once and raises a false alarm with
    every other frame. An utterance that is paired with a proactive reference turn is not a false
    answer.

    Args:
        seconds: Largest distance of a pair.
    """

    def counts(scored: Scored) -> np.ndarray:
        pairs = scored.event_pairs(seconds)
        paired = {p for p, _ in pairs}
        answers = [turn.responsive for turn in scored.turns]
        hits = sum(answers[r] for _, r in pairs)
        asked = [frame for frame, _ in scored.record.episode.user_turns()]
        reach = ANSWER_WITHIN_S * scored.fps
        alone = [frame for k, (frame, _) in enumerate(scored.predictions) if k not in paired]
        false = sum(any(user < frame <= user + reach for user in asked) for frame in alone)
        return np.array([hits, hits + false, sum(answers)])

    return counts


def speaking_curve_counts(scored: Scored) -> np.ndarray:
    """Return the event counts at every tolerance, concatenated."""
    return np.concatenate([speaking_event_counts(t)(scored) for t in TOLERANCES_S])


def speaking_curve_area(counts: np.ndarray) -> np.ndarray:
    """Return the mean height of the F1 curve over the tolerances.

    Args:
        counts: (..., 12) summed `speaking_curve_counts`.
    """
    values = np.stack([f1(counts[..., 3 * k : 3 * k + 3]) for k in range(len(TOLERANCES_S))], -1)
    widths = np.diff(TOLERANCES_S)
    return np.asarray((widths * (values[..., 1:] + values[..., :-1]) / 2).sum(-1) / widths.sum())


def speaking_delays(scored: Scored) -> list[float]:
    """Return the signed seconds (predicted - reference) of the pairs within 5 s that count."""
    predictions, references, counts = scored.predictions, scored.references, scored.counts_reference
    pairs = scored.event_pairs(PAIRED_WITHIN_S)
    return [(predictions[p][0] - references[r][0]) / scored.fps for p, r in pairs if counts[r]]


def speaking_delay_histogram(scored: Scored) -> np.ndarray | str:
    """Compute the histogram of the signed delays."""
    found = speaking_delays(scored)
    return seconds_histogram(found, PAIRED_WITHIN_S) if found else "no utterance within 5 s of a reference"


def speaking_early_late_counts(scored: Scored) -> np.ndarray:
    """Count (early, late, all) pairs within 5 s."""
    found = np.array(speaking_delays(scored))
    return np.array([(found < 0).sum(), (found > 0).sum(), len(found)])


def _share_of(counts: np.ndarray, column: int) -> np.ndarray:
    """Return one column of (early, late, all) over all."""
    return np.asarray(counts[..., column] / counts[..., 2])


def speaking_duplicate_counts(scored: Scored) -> np.ndarray:
    """Count (unpaired utterances near a paired reference, utterances)."""
    pairs, references = scored.event_pairs(PAIRED_WITHIN_S), scored.references
    served = np.array(sorted(references[r][0] for _, r in pairs))
    paired = {p for p, _ in pairs}
    again = 0
    for k, (frame, _) in enumerate(scored.predictions):
        if k not in paired and scored.counts_alone[k]:
            again += bool(len(served) and np.abs(served - frame).min() <= PAIRED_WITHIN_S * scored.fps)
    return np.array([again, scored.tally(pairs)[1]])


def speaking_false_alarm_counts(scored: Scored) -> np.ndarray:
    """Count (utterances without a reference within 5 s, minutes without one)."""
    episode = scored.record.episode
    near = np.zeros(episode.num_frames, bool)
    reach = int(PAIRED_WITHIN_S * episode.fps)
    for frame, _ in scored.references:
        at = frame - episode.start_frame
        near[max(0, at - reach) : at + reach + 1] = True
    alarms = sum(not near[f - episode.start_frame] for f, _ in scored.predictions)
    return np.array([alarms, (~near).sum() / episode.fps / 60])


def speaking_probability_histogram(scored: Scored) -> np.ndarray | str:
    """Compute the histogram of the speaking probabilities of speaking and silent frames."""
    probs = scored.speaking_prob
    return probability_histogram(scored.speaking_labels, probs) if probs else NO_PROBABILITY


def speaking_labels_and_probabilities(scored: Scored) -> np.ndarray | None:
    """Return (2, F) speaking labels and speaking probabilities; None without probabilities."""
    probs = scored.speaking_prob
    return np.stack([scored.speaking_labels, probs]) if probs else None


_ONE_TO_ONE = {"match": "one-to-one"}
_NEAR = {**_ONE_TO_ONE, "tol": f"{PAIRED_WITHIN_S}s"}
_FRAME = {"match": "frame"}
#: definitions of the event metrics
_EVENT_DEFINITIONS = {
    "f1": "F1 of utterances paired one to one with reference turns at most {} s away.",
    "precision": "Share of the utterances that are paired with a reference turn at most {} s away.",
    "recall": "Share of the reference turns that are paired with an utterance at most {} s away.",
}
_EVENT_FAILURES = {
    "f1": "Ignores the words; speaking at a fixed period pairs many turns.",
    "precision": "A model that speaks only once, at a safe moment, scores 1.",
    "recall": "A model that speaks on every frame scores 1.",
}


def _frame_metrics() -> list[Metric]:
    """Return the metrics of single frames."""
    exact = "An utterance one frame early or late counts as a miss and a false alarm"
    return [
        _metric("speaking_f1", speaking_frame_counts, f1, _FRAME,
                definition="F1 of the frames on which the model speaks, compared with the reference frame by frame.",
                failure_mode=f"{exact}."),
        _metric("speaking_precision", speaking_frame_counts, precision, _FRAME,
                definition="Share of the frames on which the model speaks where the reference speaks too.",
                failure_mode=f"{exact}; a model that speaks only once, at a safe moment, scores 1."),
        _metric("speaking_recall", speaking_frame_counts, recall, _FRAME,
                definition="Share of the frames on which the reference speaks where the model speaks too.",
                failure_mode="A model that speaks on every frame scores 1."),
        _metric("speaking_balanced_accuracy", speaking_frame_counts, balanced_accuracy, _FRAME,
                definition="Mean of the recall on speaking frames and the recall on silent frames.",
                failure_mode="Most frames are silent, so a hundred false alarms cost little; always or never speaking scores 0.5."),
        _metric("speaking_ap", speaking_probability_histogram, histogram_average_precision, {"unit": "frame"}, sample=speaking_labels_and_probabilities,
                exact=average_precision_without_histogram, gradient=histogram_average_precision_gradient,
                definition="Average precision of the speaking probability over all frames, without a threshold.",
                failure_mode="Frame-exact: a model with every turn half a second late scores hardly above chance."),
    ]  # fmt: skip


def _event_metrics() -> list[Metric]:
    """Return the metrics of utterances within a tolerance."""
    by_tolerance = [
        _metric(
            f"speaking_event_{name}@{t}s", speaking_event_counts(t), formula, {**_ONE_TO_ONE, "tol": f"{t}s"},
            turns="pairs" if name == "recall" else "all", definition=_EVENT_DEFINITIONS[name].format(t),
            failure_mode=_EVENT_FAILURES[name], headline=(name, t) == ("f1", 2),
        )
        for t in TOLERANCES_S
        for name, formula in (("f1", f1), ("precision", precision), ("recall", recall))
    ]  # fmt: skip
    area = _metric(
        "speaking_event_area", speaking_curve_counts, speaking_curve_area, {**_ONE_TO_ONE, "tol": "1-10s"}, turns="all",
        definition="Event F1 averaged over tolerances from 1 to 10 s.",
        failure_mode="Wide tolerances dominate, and at those speaking at a fixed period does well.",
    )  # fmt: skip
    proactive = [
        _metric(
            f"proactive_event_f1@{t}s", speaking_event_counts(t, "proactive"), f1, {**_ONE_TO_ONE, "tol": f"{t}s"},
            headline=t == 1, definition=f"Event F1 within {t} s of proactive turns: reference turns that do not answer the user.",
            failure_mode="Ignores the words; speaking at a fixed period pairs many turns.",
        )
        for t in (1, 2)
    ]  # fmt: skip
    responsive = [
        _metric(
            f"responsive_event_f1@{t}s", speaking_response_counts(t), f1,
            {**_ONE_TO_ONE, "tol": f"{t}s", "predicted": f"all within {ANSWER_WITHIN_S}s of a user turn"},
            definition=f"Event F1 within {t} s of responsive turns: reference turns that answer the user.",
            failure_mode="Ignores the words: any utterance after every user turn scores 1.",
        )
        for t in (1, 2)
    ]  # fmt: skip
    return [*by_tolerance, area, *proactive, *responsive]


def _delay_metrics() -> list[Metric]:
    """Return the metrics of the delays of paired utterances."""
    only_pairs = f"Covers only utterances within {PAIRED_WITHIN_S} s of a reference turn, so missed turns do not count"
    return [
        *(
            _metric(
                f"speaking_delay_{name}_s", speaking_delay_histogram,
                partial(histogram_quantile, q=q, limit_s=PAIRED_WITHIN_S), _NEAR,
                interval=partial(histogram_quantile_interval, q=q, limit_s=PAIRED_WITHIN_S),
                better="zero", unit="s", turns="pairs", range=(-PAIRED_WITHIN_S, PAIRED_WITHIN_S),
                definition=f"{words} of the seconds from a reference turn to its utterance (negative: early).",
                failure_mode=f"{only_pairs}; early and late cancel out.",
            )
            for name, q, words in (("median", 0.5, "Median"), ("p90", 0.9, "90th percentile"))
        ),
        *(
            _metric(
                f"speaking_{side}_share", speaking_early_late_counts, partial(_share_of, column=column), _NEAR, better="", turns="pairs",
                definition=f"Share of the paired utterances that come {words} their reference turn.",
                failure_mode=f"{only_pairs}; does not show by how much.",
            )
            for side, column, words in (("early", 0, "before"), ("late", 1, "after"))
        ),
    ]  # fmt: skip


def _error_metrics() -> list[Metric]:
    """Return the metrics of missed references and unneeded utterances."""
    return [
        _metric("speaking_missed_rate", speaking_event_counts(PAIRED_WITHIN_S), lambda c: 1 - recall(c), _NEAR, better="lower",
                turns="pairs",
                definition=f"Share of the reference turns that are not paired with an utterance within {PAIRED_WITHIN_S} s.",
                failure_mode="A model that speaks on every frame scores 0."),
        _metric("speaking_redundant_rate", speaking_event_counts(PAIRED_WITHIN_S), lambda c: 1 - precision(c), _NEAR,
                better="lower", turns="all",
                definition=f"Share of the utterances that are not paired with a reference turn within {PAIRED_WITHIN_S} s.",
                failure_mode="A model that speaks only once, at a safe moment, scores 0."),
        _metric("speaking_duplicate_rate", speaking_duplicate_counts, ratio, _NEAR, better="lower", turns="all",
                definition=f"Share of the utterances within {PAIRED_WITHIN_S} s of a reference turn that is already paired"
                " with another utterance.",
                failure_mode="Utterances far from every reference turn are not duplicates, so talking at random scores low."),
        _metric("false_alarms_per_minute", speaking_false_alarm_counts, ratio, {"quiet": f"{PAIRED_WITHIN_S}s"}, better="lower",
                unit="1/min", range=POSITIVE,
                definition="Utterances per minute in the parts of the video that are more than"
                f" {PAIRED_WITHIN_S} s from every reference turn.",
                failure_mode="A silent model scores 0; repetitions near a reference turn cost nothing."),
    ]  # fmt: skip


METRICS = [*_frame_metrics(), *_event_metrics(), *_delay_metrics(), *_error_metrics()]

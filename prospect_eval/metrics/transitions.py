"""Transitions (correct changes at the correct time), segments, and order of the procedure.

*Transition* precision, recall and F1 at T seconds: equal (step, change) pairs are matched one to
one, at most T seconds apart. The signed delay is predicted minus reference of pairs within 5 s.

*Granular change accuracy* (Aksu & Chen 2024), with time: changes that are paired within 5 s are C
correct (same step and change) or, among the rest, W wrong (same step, another change). M missed and
O over-predicted changes are unpaired. The value is the weighted harmonic mean of C/(W+C+O),
C/(W+C+M), (C+W)/(W+C+O) and (C+W)/(W+C+M), with the weights 10/11, 10/11, 1/11, 1/11.

*Edit score* and *segmental F1* at 10, 25, 50 % overlap (Lea et al. 2017; Farha & Gall 2019) are
computed in a separate lane for each step because steps interleave. Segments are runs of in_progress
or completed; not_started is the background. Lanes in which neither side has a segment are left out
of the edit score.

*Procedure order similarity* (IndustReal, Schoonbeek et al. 2024): 1 - min(d / completions, 1),
where d is the Damerau-Levenshtein distance of the orders of completion (insertion, deletion and
swap of neighbors cost 1, replacement 2). It is undefined if the reference completes no step.

All are 0..1 and undefined for a task without steps.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cache, partial
from itertools import pairwise

import numpy as np

from prospect_eval.matching.matcher import match_events
from prospect_eval.metrics.base import Metric, Scored, f1, precision, ratio, recall
from prospect_eval.metrics.families import TRANSITIONS
from prospect_eval.metrics.histogram import histogram_quantile, histogram_quantile_interval, seconds_histogram
from prospect_eval.metrics.states import NO_STEPS

_metric = partial(Metric, family=TRANSITIONS)

#: (frame, step, change)
Transition = tuple[int, str, str]
#: 30 s is for real procedures, in which the start of a step is a matter of judgment
TOLERANCES_S = (1, 2, 5, 30)
PAIRED_WITHIN_S = 5
GCA_ALPHA = 10 / 11
OVERLAPS = (10, 25, 50)


def match_transitions(
    predicted: Iterable[Transition], reference: Iterable[Transition], tolerance: float
) -> list[tuple[int, int]]:
    """Match equal (step, change) pairs one to one.

    Args:
        predicted: The predicted transitions.
        reference: The reference transitions.
        tolerance: Largest distance of a pair in frames.

    Returns:
        (prediction, reference) indices of the pairs.
    """
    return _match_by(list(predicted), list(reference), lambda t: (t[1], t[2]), tolerance)


def _match_by(
    ours: Sequence[Transition], theirs: Sequence[Transition], key: Callable[[Transition], Hashable], tolerance: float
) -> list[tuple[int, int]]:
    groups: dict[Hashable, tuple[list[int], list[int]]] = {}
    for side, items in enumerate((ours, theirs)):
        for index, item in enumerate(items):
            groups.setdefault(key(item), ([], []))[side].append(index)
    return [
        (left[p], right[r])
        for left, right in groups.values()
        for p, r in match_events([ours[k][0] for k in left], [theirs[k][0] for k in right], tolerance)
    ]


def count_granular_transitions(
    predicted: Sequence[Transition], reference: Sequence[Transition], tolerance: float
) -> tuple[int, int, int, int]:
    """Count the changes for granular change accuracy.

    Args:
        predicted: The predicted transitions.
        reference: The reference transitions.
        tolerance: Largest distance of a pair in frames.

    Returns:
        (C correct, W wrong, M missed, O over-predicted) changes.
    """
    correct = match_transitions(predicted, reference, tolerance)
    ours = [t for k, t in enumerate(predicted) if k not in {p for p, _ in correct}]
    theirs = [t for k, t in enumerate(reference) if k not in {r for _, r in correct}]
    wrong = len(_match_by(ours, theirs, lambda t: t[1], tolerance))
    return len(correct), wrong, len(theirs) - wrong, len(ours) - wrong


def granular_change_accuracy(counts: np.ndarray) -> np.ndarray:
    """Return the granular change accuracy of summed counts.

    Args:
        counts: (..., 4) summed `count_granular_transitions`.

    Returns:
        (...) values, 0..1; 0 without a correct change, NaN without any change.
    """
    right, wrong, missed, extra = np.moveaxis(counts, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        claimed, due, placed = wrong + right + extra, wrong + right + missed, right + wrong
        inverse = GCA_ALPHA * (claimed + due) / right + (1 - GCA_ALPHA) * (claimed + due) / placed
        return np.asarray(np.where(right > 0, 2 / inverse, np.where(claimed + due > 0, 0.0, np.nan)))


def transition_segments(lane: np.ndarray) -> list[tuple[int, int, int]]:
    """Return the segments of one step without runs of not_started.

    Args:
        lane: (F,) state indices of the step.

    Returns:
        (state, first frame, frame after the last) of each segment.
    """
    edges = [0, *(np.flatnonzero(np.diff(lane)) + 1).tolist(), len(lane)]
    return [(int(lane[a]), a, b) for a, b in pairwise(edges) if b > a and lane[a] != 0]


def transition_edit_distance(
    first: Sequence[Hashable], second: Sequence[Hashable], substitution: float = 1.0, transposition: float | None = None
) -> float:
    """Return the Levenshtein distance, or the unrestricted Damerau-Levenshtein distance.

    In the latter (Lowrance & Wagner 1975) swapped neighbors can be edited further.

    Args:
        first: A sequence.
        second: Another sequence.
        substitution: Cost of a replacement; insertion and deletion cost 1.
        transposition: Cost of a swap of neighbors; None for the Levenshtein distance.
    """
    n, m = len(first), len(second)
    table = np.zeros((n + 1, m + 1))
    table[:, 0], table[0, :] = np.arange(n + 1), np.arange(m + 1)
    last_row: dict[Hashable, int] = {}
    for i in range(1, n + 1):
        last_column = 0
        for j in range(1, m + 1):
            same = first[i - 1] == second[j - 1]
            best = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (0 if same else substitution))
            row = last_row.get(second[j - 1], 0)
            if transposition is not None and row and last_column:
                between = (i - row - 1) + (j - last_column - 1)
                best = min(best, table[row - 1, last_column - 1] + between + transposition)
            table[i, j] = best
            last_column = j if same else last_column
        last_row[first[i - 1]] = i
    return float(table[n, m])


def transition_edit_score(predicted: np.ndarray, reference: np.ndarray) -> float | None:
    """Return 1 - Levenshtein distance / longer side, of one lane's segment states.

    Args:
        predicted: (F,) predicted state indices.
        reference: (F,) reference state indices.

    Returns:
        The score, 0..1; None if neither side has a segment.
    """
    ours, theirs = [s[0] for s in transition_segments(predicted)], [s[0] for s in transition_segments(reference)]
    longer = max(len(ours), len(theirs))
    return 1 - transition_edit_distance(ours, theirs) / longer if longer else None


def transition_segmental_counts(predicted: np.ndarray, reference: np.ndarray, overlap: float) -> tuple[int, int, int]:
    """Count segments of one lane.

    A predicted segment hits the reference segment of the same state with the largest overlap
    (intersection over union), if the overlap is at least ``overlap`` and that segment has no other
    hit.

    Args:
        predicted: (F,) predicted state indices.
        reference: (F,) reference state indices.
        overlap: Smallest overlap of a hit, 0..1.

    Returns:
        (hits, predicted, reference) segments.
    """
    ours, theirs = transition_segments(predicted), transition_segments(reference)
    taken: set[int] = set()
    for state, begin, end in ours:
        unions = [
            max(0, min(end, e) - max(begin, b)) / (max(end, e) - min(begin, b)) if state == s else 0.0
            for s, b, e in theirs
        ]
        best = int(np.argmax(unions)) if unions else -1
        if best >= 0 and unions[best] >= overlap and best not in taken:
            taken.add(best)
    return len(taken), len(ours), len(theirs)


def procedure_order_similarity(predicted: Sequence[str], reference: Sequence[str]) -> float | None:
    """Return the procedure order similarity of two orders of completion.

    Args:
        predicted: Predicted step ids in the order of their completion.
        reference: Reference step ids in the order of their completion.

    Returns:
        The similarity, 0..1; None if the reference is empty.
    """
    if not reference:
        return None
    distance = transition_edit_distance(predicted, reference, substitution=2.0, transposition=1.0)
    return 1 - min(distance / len(reference), 1.0)


def _sides(scored: Scored) -> tuple[list[Transition], list[Transition]]:
    predicted: list[Transition] = [(t.frame, t.step, t.change) for t in scored.record.transitions]
    return predicted, [*scored.record.episode.transitions()]


def _pairs(scored: Scored, seconds: float) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = scored.once(
        ("transitions", seconds), lambda: match_transitions(*_sides(scored), seconds * scored.fps)
    )
    return pairs


@cache
def transition_counts(seconds: float) -> Callable[[Scored], np.ndarray | str]:
    """Return a function that counts (pairs, predicted, reference) of equal transitions.

    Args:
        seconds: Largest distance of a pair.
    """

    def counts(scored: Scored) -> np.ndarray | str:
        if not scored.record.episode.task.steps:
            return NO_STEPS
        predicted, reference = _sides(scored)
        return np.array([len(_pairs(scored, seconds)), len(predicted), len(reference)])

    return counts


def transition_delays(scored: Scored) -> np.ndarray | str:
    """Compute the histogram of the signed delays of equal transitions within 5 s."""
    predicted, reference = _sides(scored)
    pairs = _pairs(scored, PAIRED_WITHIN_S)
    if not pairs:
        return "no predicted change within 5 s of the same reference change"
    return seconds_histogram([(predicted[p][0] - reference[r][0]) / scored.fps for p, r in pairs], PAIRED_WITHIN_S)


def transition_granular_counts(scored: Scored) -> np.ndarray | str:
    """Count (correct, wrong, missed, over-predicted) changes within 5 s."""
    if not scored.record.episode.task.steps:
        return NO_STEPS
    return np.array(count_granular_transitions(*_sides(scored), PAIRED_WITHIN_S * scored.fps))


def transition_edit_counts(scored: Scored) -> np.ndarray | str:
    """Count (sum of edit scores, lanes with a segment)."""
    lanes = zip(scored.tracked_states.T, scored.reference_states.T, strict=True)
    scores = [s for s in (transition_edit_score(ours, theirs) for ours, theirs in lanes) if s is not None]
    return np.array([sum(scores), len(scores)]) if scores else "no step is ever started"


def transition_segment_overlap_counts(percent: int) -> Callable[[Scored], np.ndarray | str]:
    """Return a function that counts (hits, predicted, reference) segments over all lanes.

    Args:
        percent: Smallest overlap of a hit.
    """

    def counts(scored: Scored) -> np.ndarray | str:
        if not scored.record.episode.task.steps:
            return NO_STEPS
        lanes = zip(scored.tracked_states.T, scored.reference_states.T, strict=True)
        total: np.ndarray = np.array(
            [transition_segmental_counts(ours, theirs, percent / 100) for ours, theirs in lanes]
        ).sum(0)
        return total

    return counts


def transition_order_counts(scored: Scored) -> np.ndarray | str:
    """Count (procedure order similarity, 1).

    Completions on the same frame are ordered as the steps are.
    """
    place = {step: k for k, step in enumerate(scored.record.episode.task.step_ids)}
    orders = [
        [step for _, step, change in sorted(side, key=lambda t: (t[0], place[t[1]])) if change == "complete"]
        for side in _sides(scored)
    ]
    score = procedure_order_similarity(*orders)
    return "nothing is ever completed" if score is None else np.array([score, 1.0])


_NEAR = {"match": "one-to-one", "tol": f"{PAIRED_WITHIN_S}s"}
_DEFINITIONS = {
    "f1": "F1 of predicted step changes paired one to one with the same change in the reference at most {} s away.",
    "precision": "Share of the predicted step changes with the same change in the reference at most {} s away.",
    "recall": "Share of the reference's step changes with the same predicted change at most {} s away.",
}
_FAILURES = {
    "f1": "A wrong change of the right step costs as much as a change of an unrelated step.",
    "precision": "A model that makes only one safe change scores 1.",
    "recall": "Wrong changes between the right ones cost nothing.",
}
METRICS = [
    *(
        _metric(f"transition_{name}@{t}s", transition_counts(t), formula, {"match": "one-to-one", "tol": f"{t}s"},
                definition=_DEFINITIONS[name].format(t), failure_mode=_FAILURES[name],
                headline=(name, t) == ("f1", 2))
        for t in TOLERANCES_S
        for name, formula in (("f1", f1), ("precision", precision), ("recall", recall))
    ),
    _metric(
        "transition_delay_median_s", transition_delays, partial(histogram_quantile, q=0.5, limit_s=PAIRED_WITHIN_S), _NEAR,
        interval=partial(histogram_quantile_interval, q=0.5, limit_s=PAIRED_WITHIN_S),
        better="zero", unit="s", range=(-PAIRED_WITHIN_S, PAIRED_WITHIN_S),
        definition="Median of the seconds from a reference change to the same predicted change (negative: early).",
        failure_mode=f"Covers only changes within {PAIRED_WITHIN_S} s, so missed changes do not count; early and late cancel"
        " out.",
    ),
    _metric("dst_gca", transition_granular_counts, granular_change_accuracy, {**_NEAR, "alpha": "10/11"},
            definition="Granular change accuracy: right changes among predicted and reference changes, with a little credit"
            " for a wrong change of the right step.",
            failure_mode="Ignores when within 5 s a change comes."),
    _metric("dst_edit", transition_edit_counts, ratio, {"unit": "lane", "background": "not_started"},
            definition="Edit score: 1 minus the edit distance between predicted and reference state sequences, relative to"
            " the longer one, averaged over steps.",
            failure_mode="Ignores time: starting every step on the first frame and completing it on the second scores 1."),
    *(
        _metric(f"dst_segmental_f1@{k}", transition_segment_overlap_counts(k), f1, {"overlap": f"{k}%", "background": "not_started"},
                definition=f"F1 of segments of equal state that overlap a reference segment by at least {k} % (intersection"
                " over union).",
                failure_mode="Completed segments are long and overlap easily.")
        for k in OVERLAPS
    ),
    _metric("dst_pos", transition_order_counts, ratio, {"ins": "1", "del": "1", "swap": "1", "sub": "2"}, pool="mean",
            definition="Procedure order similarity: 1 minus the edit distance between predicted and reference orders of"
            " completion, relative to the reference's length.",
            failure_mode="Ignores time; listing the steps in the given order scores high where people follow that order."),
]  # fmt: skip

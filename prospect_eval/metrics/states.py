"""Dialog state by frame: joint goal accuracy, step accuracy, macro-F1, final state, updates.

States are indices into (not_started, in_progress, completed). Arrays are (frames, K steps).

*Joint goal accuracy*: share of frames on which every step's state is correct (Henderson et al.
2014). It is computed for the tracked state (``dst_jga``) and for the state head alone
(``dst_head_jga``).

*Step accuracy*: share of (frame, step) pairs with the correct state.

*Relative step accuracy* (Kim et al. 2022): step accuracy over steps that have started in the
prediction or in the reference. Frames on which no step has started are left out. The original
counts them as 0, so that an oracle does not reach 1.

These scores are means per episode, then per video, then over videos. The range is 0..1; they are
undefined for a task without steps.

*Macro-F1*: mean F1 of the three states over all (frame, step) pairs. States that never occur are
left out.

*Updates*: the frames on which any step changes. The metrics are event F1 within 1 s and average
precision of the update probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from prospect_core.timeline import STEP_STATES
from prospect_eval.matching.matcher import match_events
from prospect_eval.metrics.base import POSITIVE, Metric, Scored, f1, ratio
from prospect_eval.metrics.families import STATE
from prospect_eval.metrics.histogram import (
    average_precision_without_histogram,
    histogram_average_precision,
    histogram_average_precision_gradient,
    probability_histogram,
)

_metric = partial(Metric, family=STATE)

NO_STEPS = "the task has no steps"
NO_HEAD = "the record holds no state probabilities"
States = Sequence[Sequence[int]] | np.ndarray


def state_scores(predicted: States, reference: States) -> dict[str, float | None]:
    """Compute scores of predicted states.

    Args:
        predicted: (F, K) state indices of K steps.
        reference: (F, K) state indices.

    Returns:
        ``jga``, ``step_accuracy``, ``relative_step_accuracy`` and ``macro_f1``, 0..1; None where
        undefined.

    Raises:
        ValueError: The shapes differ or are not (F, K).
    """
    ours, theirs = np.asarray(predicted), np.asarray(reference)
    if ours.shape != theirs.shape or ours.ndim != 2:
        raise ValueError(f"predicted states of shape {ours.shape}, reference states {theirs.shape}; both (frames, K)")
    if not ours.size:
        return dict.fromkeys(("jga", "step_accuracy", "relative_step_accuracy", "macro_f1"))
    relative = _relative(ours, theirs)
    return {
        "jga": float((ours == theirs).all(1).mean()),
        "step_accuracy": float((ours == theirs).mean()),
        "relative_step_accuracy": None if relative is None else relative,
        "macro_f1": float(state_macro_f1(state_confusion_matrix(ours, theirs).reshape(-1).astype(float))),
    }


def state_confusion_matrix(predicted: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Count (frame, step) pairs by reference state and predicted state, by scikit-learn.

    Args:
        predicted: (F, K) state indices.
        reference: (F, K) state indices.

    Returns:
        (3, 3) counts; rows are reference states.
    """
    # a lazy import: it takes seconds
    from sklearn.metrics import confusion_matrix

    labels = range(len(STEP_STATES))
    return np.asarray(confusion_matrix(reference.reshape(-1), predicted.reshape(-1), labels=list(labels)))


def state_macro_f1(counts: np.ndarray) -> np.ndarray:
    """Return the mean F1 over the states that occur.

    Args:
        counts: (..., 9) flattened confusion counts.
    """
    table = counts.reshape(*counts.shape[:-1], 3, 3)
    hits = np.diagonal(table, axis1=-2, axis2=-1)
    present = table.sum(-1) + table.sum(-2)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(present > 0, 2 * hits / present, 0.0)
        return np.asarray(each.sum(-1) / (present > 0).sum(-1))


def _relative(ours: np.ndarray, theirs: np.ndarray) -> float | None:
    begun = (ours != 0) | (theirs != 0)
    frames = begun.any(1)
    if not frames.any():
        return None
    right = (begun & (ours == theirs)).sum(1)[frames]
    return float((right / begun.sum(1)[frames]).mean())


def state_jga_counts(scored: Scored) -> np.ndarray | str:
    """Count (share of frames with every tracked state correct, 1)."""
    if not scored.record.episode.task.steps:
        return NO_STEPS
    return np.array([(scored.tracked_states == scored.reference_states).all(1).mean(), 1.0])


def state_head_jga_counts(scored: Scored) -> np.ndarray | str:
    """Count (share of frames on which the state head has every step correct, 1)."""
    if not scored.record.episode.task.steps:
        return NO_STEPS
    if scored.head_states is None:
        return NO_HEAD
    return np.array([(scored.head_states == scored.reference_states).all(1).mean(), 1.0])


def state_step_accuracy_counts(scored: Scored) -> np.ndarray | str:
    """Count (share of (frame, step) pairs with the correct tracked state, 1)."""
    if not scored.record.episode.task.steps:
        return NO_STEPS
    return np.array([(scored.tracked_states == scored.reference_states).mean(), 1.0])


def state_relative_accuracy_counts(scored: Scored) -> np.ndarray | str:
    """Count (mean share of correct states among the started steps, 1)."""
    if not scored.record.episode.task.steps:
        return NO_STEPS
    share = _relative(scored.tracked_states, scored.reference_states)
    return "no step is ever started" if share is None else np.array([share, 1.0])


def state_confusion_counts(scored: Scored) -> np.ndarray | str:
    """Return the (9,) flattened confusion counts of the tracked states."""
    if not scored.record.episode.task.steps:
        return NO_STEPS
    return state_confusion_matrix(scored.tracked_states, scored.reference_states).reshape(-1)


def final_state_counts(scored: Scored) -> np.ndarray | str:
    """Count (1 if every step's state is correct at the end, 1)."""
    if not scored.record.episode.task.steps:
        return NO_STEPS
    return np.array([float((scored.tracked_states[-1] == scored.reference_states[-1]).all()), 1.0])


def state_update_counts(scored: Scored) -> np.ndarray | str:
    """Count (pairs, predicted, reference) frames with an update, within 1 s."""
    episode = scored.record.episode
    if not episode.task.steps:
        return NO_STEPS
    predicted = sorted({t.frame for t in scored.record.transitions})
    reference = sorted({frame for frame, _, _ in episode.transitions()})
    return np.array([len(match_events(predicted, reference, episode.fps)), len(predicted), len(reference)])


def state_update_histogram(scored: Scored) -> np.ndarray | str:
    """Compute the histogram of the update probabilities of frames with and without an update."""
    if not scored.record.episode.task.steps:
        return NO_STEPS
    probs = scored.update_prob
    return probability_histogram(scored.update_labels, probs) if probs else "the record holds no probabilities"


def state_update_probabilities(scored: Scored) -> np.ndarray | None:
    """Return (2, F) update labels and update probabilities; None without steps or probabilities."""
    probs = scored.update_prob
    return np.stack([scored.update_labels, probs]) if probs and scored.record.episode.task.steps else None


def state_refusal_counts(scored: Scored) -> np.ndarray | str:
    """Count (state changes that the state machine refused, minutes)."""
    return np.array([len(scored.record.refusals), scored.minutes])


def index_aligned_state_accuracy(
    predicted_updates: Sequence[str], reference_updates: Sequence[str | Sequence[str]]
) -> dict[str, float]:
    """Compute the origin's index-aligned accuracy of updates.

    The i-th predicted update is compared with the i-th reference update (the first item of a list),
    up to the shorter list. Use it only to compare with the origin's publications: missed and extra
    updates are free (one of three updates found scores 1.0), and one early miss shifts all later
    updates.

    Args:
        predicted_updates: Predicted ``step->change`` texts; empty ones are skipped.
        reference_updates: Reference texts, or lists of texts.

    Returns:
        ``dst_step_accuracy``, ``dst_transition_accuracy`` and ``dst_exact_match``, 0..1; 0 if
        nothing is compared.
    """
    references = [item if isinstance(item, str) else next(iter(item), "") for item in reference_updates]
    pairs = [
        (_parse_update(mine), _parse_update(theirs))
        for mine, theirs in zip((text for text in predicted_updates if text), references, strict=False)
    ]
    read = [(mine, theirs) for mine, theirs in pairs if mine is not None and theirs is not None]
    hits = {
        "dst_step_accuracy": sum(mine[0] == theirs[0] for mine, theirs in read),
        "dst_transition_accuracy": sum(mine[1] == theirs[1] for mine, theirs in read),
        "dst_exact_match": sum(mine == theirs for mine, theirs in read),
    }
    return {name: count / len(pairs) if pairs else 0.0 for name, count in hits.items()}


def _parse_update(text: str) -> tuple[str, str] | None:
    parts = [part.strip() for part in text.split("->")]
    return (parts[0], parts[1]) if len(parts) == 2 and all(parts) else None


_FRAME = {"unit": "frame"}
_SLOW = "states change rarely, so a model that never updates is right until the first change"
METRICS = [
    _metric("dst_jga", state_jga_counts, ratio, _FRAME, pool="mean", headline=True,
            definition="Share of the frames with all steps right, from the state tracker (joint goal accuracy).",
            failure_mode=f"One wrong step makes a frame wrong, so long tasks score low; {_SLOW}."),
    _metric("dst_head_jga", state_head_jga_counts, ratio, _FRAME, pool="mean", headline=True,
            definition="Share of the frames with all steps right, from the model's state head without the state tracker.",
            failure_mode=f"States that flicker between frames cost little; {_SLOW}."),
    _metric("dst_step_accuracy", state_step_accuracy_counts, ratio, _FRAME, pool="mean",
            definition="Share of the (frame, step) pairs with the right tracked state.",
            failure_mode="Most steps are not started or completed for most of the time, so never updating scores high."),
    _metric("dst_relative_step_accuracy", state_relative_accuracy_counts, ratio, {**_FRAME, "none begun": "left out"},
            pool="mean",
            definition="Share of right tracked states per frame, among the steps begun in the prediction or the reference.",
            failure_mode="A step that is completed early counts on every later frame."),
    _metric("dst_macro_f1", state_confusion_counts, state_macro_f1, {"unit": "frame x step"},
            definition="Mean F1 of the three step states over all (frame, step) pairs.",
            failure_mode="Pooled over episodes, so long episodes and long tasks count most."),
    _metric("dst_final_accuracy", final_state_counts, ratio, {"unit": "episode"}, pool="mean",
            definition="Share of the episodes that end with all steps right.",
            failure_mode="Ignores when a step changed: marking all steps completed at any time scores 1 on finished tasks."),
    _metric("update_event_f1@1s", state_update_counts, f1, {"match": "one-to-one", "tol": "1s"},
            definition="F1 of the frames on which a tracked state changes, paired with reference changes at most 1 s away.",
            failure_mode="Ignores which step changes, and to which state."),
    _metric("update_ap", state_update_histogram, histogram_average_precision, _FRAME, sample=state_update_probabilities,
            exact=average_precision_without_histogram, gradient=histogram_average_precision_gradient,
            definition="Average precision of the update probability over all frames, without a threshold.",
            failure_mode="Frame-exact: an update half a second late counts as a miss and a false alarm."),
    _metric("dst_illegal_per_minute", state_refusal_counts, ratio, better="lower", unit="1/min", range=POSITIVE,
            definition="Impossible state changes per minute that were ignored, such as a completed step that becomes not"
            " started.",
            failure_mode="A model that never changes a state scores 0."),
]  # fmt: skip

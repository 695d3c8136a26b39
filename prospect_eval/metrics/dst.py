"""How well the task is tracked: frame joint goal accuracy, step accuracy, final state, transition F1.

    python -c "from prospect_eval.metrics.dst import METRICS; print([m.name for m in METRICS])"

Joint goal accuracy: share of frames on which every step's state is right (Henderson et al. 2014), mean per episode,
then per video, then over videos; 0..1, undefined for a task without steps. Transition F1 at T seconds pairs equal
(step, change) at most T seconds apart, one to one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from prospect_eval.matching import match_events
from prospect_eval.metrics.base import Metric, Scored, f1, ratio

NO_STEPS = "the task has no steps"


def joint_goal(scored: Scored) -> np.ndarray | str:
    """(share of frames with every tracked state right, 1)."""
    if not scored.record.episode.task.steps:
        return NO_STEPS
    return np.array([(scored.tracked_states == scored.reference_states).all(1).mean(), 1.0])


def head_joint_goal(scored: Scored) -> np.ndarray | str:
    """(share of frames on which the state head alone is right on every step, 1)."""
    if not scored.record.episode.task.steps:
        return NO_STEPS
    if not scored.record.state_probs:
        return "the record holds no state probabilities"
    head = np.asarray(scored.record.state_probs).argmax(-1)
    return np.array([(head == scored.reference_states).all(1).mean(), 1.0])


def step_accuracy(scored: Scored) -> np.ndarray | str:
    """(share of (frame, step) pairs with the right tracked state, 1)."""
    if not scored.record.episode.task.steps:
        return NO_STEPS
    return np.array([(scored.tracked_states == scored.reference_states).mean(), 1.0])


def final_state(scored: Scored) -> np.ndarray | str:
    """(1 when every step's state is right at the end, 1)."""
    if not scored.record.episode.task.steps:
        return NO_STEPS
    return np.array([float((scored.tracked_states[-1] == scored.reference_states[-1]).all()), 1.0])


def transition_counts(seconds: float) -> Callable[[Scored], np.ndarray | str]:
    """Counts (pairs, predicted, reference) of equal transitions within ``seconds``."""

    def counts(scored: Scored) -> np.ndarray | str:
        episode = scored.record.episode
        if not episode.task.steps:
            return NO_STEPS
        predicted: dict[tuple[str, str], list[int]] = {}
        reference: dict[tuple[str, str], list[int]] = {}
        for item in scored.record.transitions:
            predicted.setdefault((item.step, item.change), []).append(item.frame)
        for frame, step, change in episode.transitions():
            reference.setdefault((step, change), []).append(frame)
        pairs = sum(
            len(match_events(frames, reference.get(key, []), seconds * episode.fps))
            for key, frames in predicted.items()
        )
        return np.array([pairs, sum(map(len, predicted.values())), sum(map(len, reference.values()))])

    return counts


def refusals(scored: Scored) -> np.ndarray | str:
    """(refused state changes, minutes)."""
    episode = scored.record.episode
    return np.array([len(scored.record.refusals), episode.num_frames / episode.fps / 60])


METRICS = [
    Metric(
        "dst_jga",
        joint_goal,
        ratio,
        {"unit": "frame"},
        pool="mean",
        help="all tracked states right, by frame",
    ),
    Metric("dst_head_jga", head_joint_goal, ratio, {"unit": "frame"}, pool="mean"),
    Metric("dst_step_accuracy", step_accuracy, ratio, {"unit": "frame"}, pool="mean"),
    Metric("dst_final_accuracy", final_state, ratio, {"unit": "episode"}, pool="mean"),
    *(
        Metric(f"transition_f1@{t}s", transition_counts(t), f1, {"match": "one-to-one", "tol": f"{t}s"})
        for t in (1, 2, 5)
    ),
    Metric("dst_illegal_per_minute", refusals, ratio, better="lower", unit="1/min"),
]

"""Curves over the speaking and update thresholds, and the choice of thresholds on validation data.

    prospect-eval sweep runs/first                                  # open loop: from the stored probabilities
    prospect-eval sweep --closed-loop --ckpt C --suite workbench    # replays at every threshold
    prospect-eval calibrate --ckpt runs/train --suite workbench     # chooses, and stores the choice in the checkpoint

*Open loop* applies other thresholds to the stored probabilities. It is fast but approximate: at
another threshold the model would have produced other utterances and would have had them in its
context. Updates are those that the state tracker would have committed. *Closed loop* replays the
model.

The speaking threshold is chosen by event F1 within 1 s. The update threshold is chosen by the joint
goal accuracy of the resulting state, because a missed update can follow on the next frame and an
update without a change has no cost. `prospect_core.train.validation.settle_validation_thresholds`
repeats replay and choice until both thresholds are stable. On data without dialogue no speaking
threshold is chosen. The mistake threshold of a model with a mistake head is chosen by the F1 of its
reports (`prospect_eval.analysis.mistake_thresholds`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from prospect_core.records import EpisodeRecord, Knobs
from prospect_core.stream.state_tracker import StateTracker
from prospect_core.util.errors import DataError
from prospect_eval.analysis.mistake_thresholds import choose_mistake_threshold
from prospect_eval.matching.matcher import match_events
from prospect_eval.metrics.base import SHARE, f1, precision, recall
from prospect_eval.stats.bootstrap import Statistic, bootstrap_interval
from prospect_eval.stats.clusters import Cluster, find_episode_cluster

GRID = tuple(round(0.02 * k, 2) for k in range(2, 49))
TOLERANCE_S = 1
KNOBS = ("speaking", "update")
#: most replays for the choice of a speaking threshold, and the difference that ends them
ROUNDS, SETTLED = 3, 0.02


@dataclass(frozen=True)
class ThresholdChoice:
    """Chosen thresholds with their open-loop scores on the validation data.

    Attributes:
        speaking: Speaking threshold; None without dialogue in the data.
        update: Update threshold.
        speaking_f1: Event F1 of speaking within 1 s.
        update_jga: Joint goal accuracy, mean over videos.
        mistake: Mistake threshold; None without mistake probabilities or timed mistakes.
        mistake_f1: F1 of the reports of mistakes.
    """

    speaking: float | None
    update: float
    speaking_f1: float
    update_jga: float
    mistake: float | None = None
    mistake_f1: float | None = None

    def __str__(self) -> str:
        speaking = "speaking unchanged (no dialogue in the data)"
        if self.speaking is not None:
            speaking = f"speaking {self.speaking:.2f} (F1 {self.speaking_f1:.3f})"
        mistake = "" if self.mistake is None else f", mistake {self.mistake:.2f} (F1 {self.mistake_f1:.3f})"
        return f"{speaking}, update {self.update:.2f} (joint goal accuracy {self.update_jga:.3f}){mistake}"


@dataclass(frozen=True)
class Point:
    """Event scores within 1 s at one threshold; None where undefined.

    Attributes:
        threshold: The threshold.
        f1: F1.
        ci95: 95 % interval of F1 over videos.
        precision: Precision.
        recall: Recall.
    """

    threshold: float
    f1: float | None
    ci95: tuple[float, float] | None
    precision: float | None
    recall: float | None


def threshold_event_table(
    records: Sequence[EpisodeRecord], knob: str, grid: Sequence[float] = GRID, own: float | None = None
) -> np.ndarray:
    """Count events for each threshold and cluster.

    The counts are those of `speaking_event_f1@1s` and `update_event_f1@1s`.

    Args:
        records: Prediction records. Records without probabilities are left out, and for updates
            records whose task has no steps.
        knob: ``speaking`` or ``update``.
        grid: The thresholds.
        own: Threshold of the records. At this threshold the recorded decisions count, not those
            from the probabilities.

    Returns:
        (T, V, 3) counts of T thresholds and V clusters: pairs within 1 s, predicted events,
        reference events.
    """
    clusters: dict[Cluster, np.ndarray] = {}
    for record in records:
        episode = record.episode
        probabilities = record.speaking_prob if knob == "speaking" else record.update_prob
        if not probabilities or (knob == "update" and not episode.task.steps):
            continue
        if knob == "speaking":
            reference = [turn.frame for turn in episode.utterances()]
        else:
            reference = sorted({frame for frame, _, _ in episode.transitions()})
        rows = []
        for threshold in grid:
            decided = _decided(record, knob) if threshold == own else _would_decide(record, knob, threshold)
            pairs = match_events(decided, reference, TOLERANCE_S * episode.fps)
            rows.append([len(pairs), len(decided), len(reference)])
        of = find_episode_cluster(episode)
        clusters[of] = clusters.get(of, 0) + np.array(rows, dtype=float)
    return np.stack(list(clusters.values()), 1) if clusters else np.zeros((len(grid), 0, 3))


def _decided(record: EpisodeRecord, knob: str) -> list[int]:
    """Return the frames on which a record speaks or changes the tracked state."""
    if knob == "speaking":
        return [utterance.frame for utterance in record.utterances]
    return sorted({transition.frame for transition in record.transitions})


def _would_decide(record: EpisodeRecord, knob: str, threshold: float) -> list[int]:
    """Return the frames on which the stored probabilities would speak or change the state.

    Without state probabilities every frame at or above the update threshold counts as an update.
    """
    probabilities = record.speaking_prob if knob == "speaking" else record.update_prob
    due = np.flatnonzero(np.asarray(probabilities) >= threshold).tolist()
    start = record.episode.start_frame
    if knob == "speaking" or not record.state_probs:
        return [start + k for k in due]
    tracker = StateTracker(record.episode.initial_state, record.episode.fps)
    out, before = [], -1
    for k in due:
        if k > before + 1:
            tracker.nothing_due()
        made, _ = tracker.follow(start + k, np.asarray(record.state_probs[k]))
        if made:
            out.append(start + k)
        before = k
    return out


def threshold_curve(
    records: Sequence[EpisodeRecord], knob: str, grid: Sequence[float] = GRID, own: float | None = None
) -> list[Point]:
    """Return the open-loop curve of a threshold with intervals.

    Args:
        records: Prediction records.
        knob: ``speaking`` or ``update``.
        grid: The thresholds.
        own: Threshold of the records, which is added to the grid.

    Returns:
        The points; empty without probabilities.
    """
    if own is not None:
        grid = sorted({*grid, own})
    table = threshold_event_table(records, knob, grid, own)
    points = []
    for threshold, counts in zip(grid, table, strict=True):
        if len(counts):
            with np.errstate(divide="ignore", invalid="ignore"):
                values = [float(of(counts.sum(0))) for of in (f1, precision, recall)]
            shown = [value if np.isfinite(value) else None for value in values]
            points.append(Point(threshold, shown[0], bootstrap_interval(counts, Statistic(f1, SHARE)), *shown[1:]))
    return points


def threshold_joint_accuracy(record: EpisodeRecord, grid: Sequence[float] = GRID) -> list[float]:
    """Return the joint goal accuracy of a record at each update threshold.

    Args:
        record: A record with update and state probabilities.
        grid: The thresholds.

    Returns:
        Share of frames with all steps correct, one for each threshold.
    """
    episode = record.episode
    states = np.asarray(record.state_probs)
    changes = dict(episode.states_by_change())
    now = changes[episode.start_frame - 1]
    reference = [(now := changes.get(frame, now)).states for frame in range(episode.start_frame, episode.end_frame)]
    out = []
    for threshold in grid:
        tracker, right = StateTracker(episode.initial_state, episode.fps), 0
        for frame, (probability, seen, truth) in enumerate(zip(record.update_prob, states, reference, strict=True)):
            if probability >= threshold:
                tracker.follow(frame, seen)
            else:
                tracker.nothing_due()
            right += tracker.state.states == truth
        out.append(right / len(reference))
    return out


def choose_thresholds(records: Sequence[EpisodeRecord]) -> ThresholdChoice:
    """Choose the best threshold of a grid for each probability, the middle one in a tie.

    Args:
        records: Prediction records of validation data.
    """
    totals = threshold_event_table(records, "speaking").sum(1)
    videos: dict[str, list[list[float]]] = {}
    for record in records:
        if record.update_prob and record.state_probs and record.episode.task.steps:
            videos.setdefault(record.episode.video, []).append(threshold_joint_accuracy(record))
    accuracy = np.mean([np.mean(some, 0) for some in videos.values()], 0) if videos else np.zeros(len(GRID))
    chosen, reached = [], []
    for values in (2 * totals[:, 0] / np.maximum(totals[:, 1] + totals[:, 2], 1), accuracy):
        best = np.flatnonzero(values >= values.max() - 1e-12)
        chosen.append(GRID[int(best[len(best) // 2])])
        reached.append(float(values.max()))
    has_dialogue = any(record.episode.utterances() for record in records)
    mistake, mistake_f1 = choose_mistake_threshold(records, GRID)
    return ThresholdChoice(
        speaking=chosen[0] if has_dialogue else None,
        update=chosen[1],
        speaking_f1=reached[0],
        update_jga=reached[1],
        mistake=mistake,
        mistake_f1=mistake_f1,
    )


def choose_speaking_threshold(
    replay: Callable[[float | None], Sequence[EpisodeRecord]], tell: Callable[[str], None]
) -> float:
    """Choose the speaking threshold of a model without update probabilities.

    The model is replayed under each choice until the choice is stable, at most `ROUNDS` times.

    Args:
        replay: Replays all episodes at a speaking threshold; None for the model's own decisions.
        tell: Prints a line for the user.

    Returns:
        The threshold, 0..1.

    Raises:
        DataError: The records hold no speaking probabilities, or the data has no dialogue.
    """
    now: float | None = None
    for number in range(1, ROUNDS + 1):
        records = replay(now)
        if not any(record.speaking_prob for record in records):
            raise DataError("the model gives no speaking probability; a threshold has no effect")
        choice = choose_thresholds(records)
        if choice.speaking is None:
            raise DataError("the data has no dialogue; choose a speaking threshold on data with assistant turns")
        tell(f"speaking threshold, round {number}: {choice.speaking:.2f} (F1 {choice.speaking_f1:.3f})")
        before, now = now, choice.speaking
        if before is not None and abs(now - before) < SETTLED:
            break
    assert now is not None
    return now


def open_loop_thresholds(
    records: Sequence[EpisodeRecord], grid: Sequence[float] = GRID, own: Knobs | None = None
) -> dict[str, Any]:
    """Compute the contents of ``thresholds.json`` of a run folder.

    Args:
        records: The run's records.
        grid: Thresholds of both curves.
        own: The run's settings. Each curve then has a point at the run's threshold, which equals
            the run's score.

    Returns:
        Both curves, marked as open loop.
    """
    good = [record for record in records if record.status == "ok"]
    known = {} if own is None else {"speaking": own.speaking_threshold, "update": own.update_threshold}
    curves = {knob: [asdict(point) for point in threshold_curve(good, knob, grid, known.get(knob))] for knob in KNOBS}
    return {"schema": 1, "loop": "open", "tolerance_s": TOLERANCE_S, "curves": curves}

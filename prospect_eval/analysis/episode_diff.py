"""Episode diff: the most changed episodes of two runs, with the turns and states that changed.

    prospect-eval compare runs/a runs/b --episodes 10

The change of an episode is the sum of three absolute changes: of its event F1 within 2 s, of its
share of references with a correct match (cosine above 0.5), and of its share of frames with every
tracked state correct.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prospect_core.timeline import STEP_STATES
from prospect_core.util.errors import DataError
from prospect_eval.metrics import Scored, ScoringResources, speaking, states
from prospect_eval.metrics.base import f1
from prospect_eval.runs.folder import read_run_folder_records

#: maximum number of described changes of an episode
REASONS = 4
WITHIN_S = 2


@dataclass(frozen=True)
class Side:
    """Scores of an episode in one run; None where undefined.

    Attributes:
        speaking: Event F1 within 2 s.
        matched: Share of references with a correct match.
        states: Share of frames with every tracked state correct.
    """

    speaking: float | None
    matched: float | None
    states: float | None


@dataclass(frozen=True)
class EpisodeChange:
    """An episode in both runs.

    Attributes:
        episode: Id of the episode.
        video: Its video.
        score: Sum of the absolute changes of its scores.
        first: Scores in the first run.
        second: Scores in the second run.
        why: Descriptions of the changes, the earliest first.
    """

    episode: str
    video: str
    score: float
    first: Side
    second: Side
    why: tuple[str, ...]


def diff_episodes(first: Path, second: Path, resources: ScoringResources, most: int = 10) -> list[EpisodeChange]:
    """Return the episodes that changed most.

    Args:
        first: A run folder.
        second: Another run folder.
        resources: Resources for scoring.
        most: Maximum number of episodes.

    Returns:
        The episodes with the largest change first; equal episodes are left out.

    Raises:
        DataError: The runs have no common episode.
    """
    sides = [
        {r.episode.id: r for r in read_run_folder_records(folder)[1] if r.status == "ok"} for folder in (first, second)
    ]
    shared = sorted(sides[0].keys() & sides[1].keys())
    if not shared:
        raise DataError(f"{first} and {second}: no episode in common")
    scored = [Scored.over([side[episode] for episode in shared], resources) for side in sides]
    changes = [change for a, b in zip(*scored, strict=True) if (change := _change(a, b)) is not None]
    return sorted(changes, key=lambda change: (-change.score, change.episode))[:most]


def _change(a: Scored, b: Scored) -> EpisodeChange | None:
    one, other = _side(a), _side(b)
    score = sum(abs((y or 0.0) - (x or 0.0)) for x, y in zip(vars(one).values(), vars(other).values(), strict=True))
    why = _why(a, b)
    if not score and not why:
        return None
    return EpisodeChange(a.record.episode.id, a.record.episode.video, score, one, other, tuple(why))


def _side(scored: Scored) -> Side:
    counts = speaking.speaking_event_counts(WITHIN_S)(scored)
    goal = states.state_jga_counts(scored)
    return Side(
        float(f1(counts)) if counts[1] + counts[2] else None,
        len(_well(scored)) / len(scored.references) if scored.references else None,
        None if isinstance(goal, str) else float(goal[0]),
    )


def _well(scored: Scored) -> set[int]:
    """Return the indices of the references with a correct match."""
    matching = scored.matching
    return {r for (_, r), cosine in zip(matching.pairs, matching.similarities, strict=True) if scored.is_good(cosine)}


def _why(a: Scored, b: Scored) -> list[str]:
    """Describe the changes.

    The changes are turns with a correct match in one run only, redundant turns in one run only, and
    states that became wrong or correct.
    """
    found: list[tuple[float, str]] = []
    before, after = _well(a), _well(b)
    for references, told in (
        (before - after, "was right, is now wrong"),
        (after - before, "was wrong, is now right"),
    ):
        found += _told(told, [a.references[r] for r in sorted(references)], a.fps)
    spare = [_redundant(side) for side in (a, b)]
    found += _told("new false alarm", sorted(spare[1] - spare[0]), a.fps)
    found += _told("false alarm gone", sorted(spare[0] - spare[1]), a.fps)
    if a.reference_states.size:
        right = [(side.tracked_states == side.reference_states).all(1) for side in (a, b)]
        for now, mask, shown in (("wrong", right[0] & ~right[1], b), ("right", right[1] & ~right[0], a)):
            frames = np.flatnonzero(mask)
            if len(frames):
                found.append(_states(now, frames, shown))
    return [text for _, text in sorted(found)][:REASONS]


def _told(what: str, turns: Sequence[tuple[int, str]], fps: float) -> list[tuple[float, str]]:
    if not turns:
        return []
    frame, text = turns[0]
    more = f" and {len(turns) - 1} more" if len(turns) > 1 else ""
    return [(frame / fps, f"{frame / fps:.1f} s, {what}: {text!r}{more}")]


def _redundant(scored: Scored) -> set[tuple[int, str]]:
    return {scored.predictions[p] for p in scored.matching.redundant}


def _states(now: str, frames: np.ndarray, wrong: Scored) -> tuple[float, str]:
    """Describe a change of states: its start, its length, and the first wrong step."""
    at = int(frames[0])
    step = int(np.flatnonzero(wrong.tracked_states[at] != wrong.reference_states[at])[0])
    names = [
        STEP_STATES[int(states[at][step])].replace("_", " ")
        for states in (wrong.tracked_states, wrong.reference_states)
    ]
    id_ = wrong.record.episode.task.steps[step].id
    start = (at + wrong.record.episode.start_frame) / wrong.fps
    seconds = len(frames) / wrong.fps
    verb = "is" if now == "wrong" else "was"
    return start, f"{start:.1f} s, states now {now} for {seconds:.0f} s: {id_} {verb} {names[0]}, should be {names[1]}"

"""Which episodes two runs differ in most, and by which turns and states: what a mean hides.

    prospect-eval compare runs/a runs/b --episodes 10

An episode's change is the sum of the absolute changes of its event F1 within 2 s, its share of references said well (matched,
with a cosine above 0.5), and its share of frames with every tracked state right.
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

#: reasons told of an episode
REASONS = 4
WITHIN_S = 2


@dataclass(frozen=True)
class Side:
    """One run's episode: event F1, share of references said well, share of frames with every state right; None where
    there is nothing to count."""

    speaking: float | None
    matched: float | None
    states: float | None


@dataclass(frozen=True)
class EpisodeChange:
    """An episode in both runs. ``score`` is how much it changed, ``why`` says by what, the first moment of each first."""

    episode: str
    video: str
    score: float
    first: Side
    second: Side
    why: tuple[str, ...]


def diff_episodes(first: Path, second: Path, resources: ScoringResources, most: int = 10) -> list[EpisodeChange]:
    """The episodes that changed most, the most first; equal ones are left out. Runs without a common one: a `DataError`."""
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
    """References that are matched and similar enough."""
    matching = scored.matching
    return {r for (_, r), cosine in zip(matching.pairs, matching.similarities, strict=True) if scored.is_good(cosine)}


def _why(a: Scored, b: Scored) -> list[str]:
    """Turns said well in one run only, turns that only one of them says for nothing, and states lost or found again."""
    found: list[tuple[float, str]] = []
    before, after = _well(a), _well(b)
    for references, told in ((before - after, "no longer said well"), (after - before, "now said well")):
        found += _told(told, [a.references[r] for r in sorted(references)], a.fps)
    spare = [_redundant(side) for side in (a, b)]
    found += _told("now said for nothing", sorted(spare[1] - spare[0]), a.fps)
    found += _told("no longer said for nothing", sorted(spare[0] - spare[1]), a.fps)
    if a.reference_states.size:
        right = [(side.tracked_states == side.reference_states).all(1) for side in (a, b)]
        for name, mask, shown in (("lost", right[0] & ~right[1], b), ("right again", right[1] & ~right[0], a)):
            frames = np.flatnonzero(mask)
            if len(frames):
                found.append(_states(name, frames, shown))
    return [text for _, text in sorted(found)][:REASONS]


def _told(what: str, turns: Sequence[tuple[int, str]], fps: float) -> list[tuple[float, str]]:
    if not turns:
        return []
    frame, text = turns[0]
    more = f" and {len(turns) - 1} more" if len(turns) > 1 else ""
    return [(frame / fps, f"{frame / fps:.1f} s, {what}: {text!r}{more}")]


def _redundant(scored: Scored) -> set[tuple[int, str]]:
    return {scored.predictions[p] for p in scored.matching.redundant}


def _states(what: str, frames: np.ndarray, wrong: Scored) -> tuple[float, str]:
    """From when on, for how long, and which step of it is wrong where."""
    at = int(frames[0])
    step = int(np.flatnonzero(wrong.tracked_states[at] != wrong.reference_states[at])[0])
    names = [
        STEP_STATES[int(states[at][step])].replace("_", " ")
        for states in (wrong.tracked_states, wrong.reference_states)
    ]
    id_ = wrong.record.episode.task.steps[step].id
    start = (at + wrong.record.episode.start_frame) / wrong.fps
    seconds = len(frames) / wrong.fps
    return start, f"{start:.1f} s, states {what} for {seconds:.0f} s: {id_} is {names[0]} where {names[1]} is right"

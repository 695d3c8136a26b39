"""Recordings of procedures without dialogue, with videos whose pictures show the steps in progress."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.quality.procedure_videos import write_procedure_video
from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.timeline import Episode, Mistake, Step, StepOccurrence, Task, make_occurrence_transitions

NAMES = ("boil the water", "chop the onion", "fry the egg", "toast the bread", "pour the tea")


def make_procedure(
    name: str,
    spans: Sequence[tuple[int, float, float]],
    end_s: int,
    mistakes: Sequence[Mistake] = (),
    steps: int = len(NAMES),
) -> Episode:
    """Make an episode at 1 frame per second.

    Args:
        name: Id of the episode.
        spans: (number of the step from 1, start, end) of each occurrence, in seconds.
        end_s: Length in seconds.
        mistakes: Its mistakes.
        steps: Number of steps of the task.
    """
    names = [NAMES[k] if k < len(NAMES) else f"{NAMES[k % len(NAMES)]} again {k}" for k in range(steps)]
    task = Task("make breakfast", tuple(Step(f"S{number}", text) for number, text in enumerate(names, 1)))
    ordered = sorted(spans, key=lambda item: item[1:])
    occurrences = tuple(StepOccurrence(f"o{k}", f"S{step}", a, b) for k, (step, a, b) in enumerate(ordered))
    return Episode(
        name, f"videos/{name}.mp4", 1, 0, end_s, task, make_occurrence_transitions(occurrences),
        dataset="procedures", occurrences=occurrences, mistakes=tuple(mistakes),
    ).validate()  # fmt: skip


def random_procedure(name: str) -> Episode:
    """Make an episode of about a minute: five steps in an order that the name determines, one with a mistake."""
    rng = random.Random(name)
    order = list(range(1, len(NAMES) + 1))
    rng.shuffle(order)
    now, spans = rng.randint(2, 8), []
    for step in order:
        end = now + rng.randint(6, 14)
        spans.append((step, float(now), float(end)))
        now = end + rng.randint(1, 5)
    step, start, end_of = rng.choice(spans)
    return make_procedure(name, spans, now + 5, [Mistake("m1", "Technique Error", f"S{step}", (start, end_of))])


def long_procedure(name: str) -> Episode:
    """Make an episode of 25 minutes: 27 steps, up to three at the same time, two of them repeated, one skipped."""
    spans = [(step, 50.0 * step - 40, 50.0 * step + 75.5) for step in range(1, 27)]
    spans += [(3, 1400.0, 1450.0), (8, 1420.25, 1460.0), (3, 1450.0, 1470.0)]
    mistakes = [
        Mistake("m1", "Timing Error", "S2", (60.0, 90.0)),
        Mistake("m2", "Technique Error", "S3", (1400.0, 1450.0)),
        Mistake("m3", "Missing Step", "S27"),
    ]
    return make_procedure(name, spans, 1500, mistakes, steps=27)


def write_procedures(root: Path, splits: Mapping[str, Sequence[Episode]]) -> Dataset:
    """Write a dataset with its videos."""
    (root / "videos").mkdir(parents=True)
    for episodes in splits.values():
        for episode in episodes:
            write_procedure_video(episode, root / episode.video)
    return write_dataset(root, "procedures", "1", 1, splits)

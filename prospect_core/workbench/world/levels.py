"""Levels of visual difficulty, and contents of each split."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """A level of difficulty; lengths in pixels of a 160 px picture, angles in degrees, shares 0 to 1."""

    clutter: tuple[int, int]  #: things without a step (minimum, maximum)
    patches: int  #: stains and papers on the bench
    sway: float  #: amplitude of the head's sway
    roll: float
    zoom: float  #: share by which the zoom varies
    glances: float  #: probability of looking elsewhere in a pause
    occluders: int  #: jugs in front of things
    light: float  #: share by which brightness drifts; lamps change it by twice as much
    pace: float  #: factor of the length of pauses


LEVELS: dict[str, Level] = {
    "easy": Level((0, 1), 0, 2.0, 0.0, 0.02, 0.3, 0, 0.04, 0.8),
    "normal": Level((1, 2), 2, 5.0, 2.0, 0.06, 0.6, 1, 0.10, 1.0),
    "hard": Level((3, 4), 5, 9.0, 5.0, 0.12, 0.8, 2, 0.18, 1.4),
}


@dataclass(frozen=True)
class SplitSpec:
    """Contents of a split.

    Attributes:
        videos: Number of videos.
        steps: Range of steps per task.
        level: Difficulty.
        unseen_tasks: Whether tasks have combinations that no other split has.
        unseen_phrases: Whether dialogues have held-out phrases.
        minutes: Target lengths of the videos, in turn; empty if the task determines the length.
    """

    videos: int
    steps: tuple[int, int] = (4, 12)
    level: str = "normal"
    unseen_tasks: bool = False
    unseen_phrases: bool = True
    minutes: tuple[float, ...] = ()


SPLITS: dict[str, SplitSpec] = {
    "train": SplitSpec(240, unseen_phrases=False),
    "val": SplitSpec(20, unseen_phrases=False),
    "test": SplitSpec(60),
    "test_hard": SplitSpec(60, level="hard"),
    "test_ood": SplitSpec(60, steps=(10, 16), unseen_tasks=True),
    "test_long": SplitSpec(12, steps=(20, 32), minutes=(10, 15, 20, 30, 45, 60, 10, 12, 15, 18, 20, 25)),
}

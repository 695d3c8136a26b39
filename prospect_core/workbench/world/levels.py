"""How hard the world is to see, and what each split is made of.

python -c "from prospect_core.workbench.world.levels import LEVELS, SPLITS; print(LEVELS['normal'], SPLITS['test'])"
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """One setting of the difficulty knob. Lengths in pixels of a 160 px picture, angles in degrees, shares 0..1."""

    clutter: tuple[int, int]  #: things that belong to no step
    patches: int  #: stains and papers on the bench
    sway: float  #: how far the head sways
    roll: float
    zoom: float  #: share by which the view comes nearer and goes away
    glances: float  #: chance of looking elsewhere in a pause
    occluders: int  #: jugs that stand in front of things
    light: float  #: share by which brightness drifts; lamps that go on and off change twice as much
    pace: float  #: pauses are this many times as long


LEVELS: dict[str, Level] = {
    "easy": Level((0, 1), 0, 2.0, 0.0, 0.02, 0.3, 0, 0.04, 0.8),
    "normal": Level((1, 2), 2, 5.0, 2.0, 0.06, 0.6, 1, 0.10, 1.0),
    "hard": Level((3, 4), 5, 9.0, 5.0, 0.12, 0.8, 2, 0.18, 1.4),
}


@dataclass(frozen=True)
class SplitSpec:
    """What a split is made of: videos, steps a task, level; unseen combinations, unseen phrases, minutes of length."""

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

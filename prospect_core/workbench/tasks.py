"""What there is to do: things of a colour and a shape that belong into containers.

python -c "import random; from prospect_core.workbench.tasks import sample_task; print(sample_task(random.Random(0)))"
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from prospect_core.timeline import Step, Task

COLORS = ("red", "green", "blue", "yellow", "purple", "orange")
SHAPES = ("cube", "ball", "cone")
PLACES = ("box", "basket", "bin")
MIN_STEPS, MAX_STEPS, MAX_THINGS = 3, 6, 8


@dataclass(frozen=True)
class Thing:
    """A thing on the table; ``place`` is the container it belongs to, or empty for one that stays where it is."""

    color: str
    shape: str
    place: str = ""

    @property
    def name(self) -> str:
        return f"{self.color} {self.shape}"


@dataclass(frozen=True)
class TablewareTask:
    """A task in the world's terms: things in the order of the steps, and others that only stand there."""

    things: tuple[Thing, ...]
    others: tuple[Thing, ...]

    def as_task(self) -> Task:
        """The task in words, steps ``S1`` ... in the listed order."""
        steps = tuple(Step(f"S{n}", f"put the {t.name} in the {t.place}") for n, t in enumerate(self.things, 1))
        return Task("tidy up the table", steps)


def sample_task(rng: random.Random) -> TablewareTask:
    """3 to 6 things with a place each, and 1 to 2 that do not belong to the task; no two look the same."""
    looks = rng.sample([(c, s) for c in COLORS for s in SHAPES], MAX_THINGS)
    count = rng.randint(MIN_STEPS, MAX_STEPS)
    others = rng.randint(1, MAX_THINGS - MAX_STEPS)
    things = tuple(Thing(c, s, rng.choice(PLACES)) for c, s in looks[:count])
    return TablewareTask(things, tuple(Thing(c, s) for c, s in looks[count : count + others]))

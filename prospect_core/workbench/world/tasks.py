"""Grammar of tasks: verbs, things, tools and places form chains of steps, and chains form a task.

A thing with a colour and a kind passes through a chain such as ``fetch, wipe, put``. Earlier jobs
of a chain must be done first; chains are independent. Some looks and some (verb, kind) pairs occur
only in the out-of-distribution split.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from prospect_core.timeline import Step, Task

COLORS = ("red", "green", "blue", "yellow", "purple", "white")
KINDS = ("block", "ball", "cone", "ring", "star", "bottle")
PLACES = ("box", "basket", "bin")
GOALS = (
    "tidy up the bench",
    "get the stall ready",
    "pack for the picnic",
    "prepare the game",
    "set up the workshop",
)

Verb = Literal["fetch", "wipe", "cut", "put", "cover"]
VERBS: tuple[Verb, ...] = get_args(Verb)
TOOLS: dict[Verb, str] = {"wipe": "cloth", "cut": "knife", "cover": "bowl"}
#: sampling weight of each chain
CHAINS: dict[tuple[Verb, ...], float] = {
    ("put",): 3,
    ("wipe", "put"): 3,
    ("cut", "put"): 1,
    ("fetch", "put"): 2,
    ("fetch", "wipe", "put"): 2,
    ("wipe",): 2,
    ("cut",): 1,
    ("cover",): 1.5,
    ("wipe", "cover"): 1.5,
    ("fetch", "cover"): 1,
    ("cut", "cover"): 1,
    ("fetch", "wipe"): 1,
}
#: pairs that only the out-of-distribution split has
UNSEEN_PAIRS = frozenset({("cut", "star"), ("cover", "ball"), ("wipe", "cone"), ("fetch", "ring")})


@dataclass(frozen=True)
class Thing:
    """A thing on the bench, with one of six colours and one of six kinds."""

    color: str
    kind: str

    @property
    def name(self) -> str:
        """Name in words, such as ``red cone``."""
        return f"{self.color} {self.kind}"

    @property
    def unseen(self) -> bool:
        """Whether only the out-of-distribution split has this look (one look in six)."""
        return (COLORS.index(self.color) + KINDS.index(self.kind)) % len(KINDS) == 0


@dataclass(frozen=True)
class StepAction:
    """A step of the world.

    Attributes:
        verb: Its verb.
        thing: Index of its thing.
        place: Its place, for ``put``.
    """

    verb: Verb
    thing: int
    place: str = ""

    def phrase(self, name: str) -> str:
        """Return the shortest unambiguous description: ``wipe the red cone``."""
        return f"put the {name} in the {self.place}" if self.verb == "put" else f"{self.verb} the {name}"

    def sentence(self, name: str) -> str:
        """Return the name of the step: the phrase with its tool or source."""
        if self.verb == "put":
            return self.phrase(name)
        return f"{self.phrase(name)} {'from the drawer' if self.verb == 'fetch' else f'with the {TOOLS[self.verb]}'}"


@dataclass(frozen=True)
class Assignment:
    """A task of the world.

    Attributes:
        goal: Its goal.
        jobs: Its steps in listed order.
        things: Things of its steps.
        clutter: Things without a step.
    """

    goal: str
    jobs: tuple[StepAction, ...]
    things: tuple[Thing, ...]
    clutter: tuple[Thing, ...]

    @cached_property
    def looks(self) -> tuple[Thing, ...]:
        """Things, then clutter: other indices of things refer to this tuple."""
        return self.things + self.clutter

    def phrase(self, job: int) -> str:
        """Return the shortest description of a job."""
        return self.jobs[job].phrase(self.things[self.jobs[job].thing].name)

    def chain(self, thing: int) -> list[int]:
        """Return the jobs of a thing, in order."""
        return [k for k, job in enumerate(self.jobs) if job.thing == thing]

    def find(self, thing: int, verb: Verb) -> int | None:
        """Return the job with this verb on a thing; None if there is none."""
        return next((k for k, job in enumerate(self.jobs) if (job.thing, job.verb) == (thing, verb)), None)

    def as_task(self) -> Task:
        """Return the task in words, with steps ``S1`` ... in listed order."""
        names = [job.sentence(self.things[job.thing].name) for job in self.jobs]
        return Task(self.goal, tuple(Step(f"S{n}", name) for n, name in enumerate(names, 1)))


def sample_world_task(
    rng: random.Random, steps: int, clutter: int = 1, unseen: bool = False, alike: bool = False
) -> Assignment:
    """Sample a task.

    Args:
        rng: Random generator.
        steps: Number of steps.
        clutter: Number of things without a step.
        unseen: Whether every other thing has a look that other splits never have, and verbs may
            combine with kinds that they never have elsewhere.
        alike: Whether all things share few colours, kinds and chains, so that no single word
            identifies a step. Otherwise the verb usually does.
    """
    looks = [Thing(color, kind) for color in COLORS for kind in KINDS]
    rng.shuffle(looks)
    ordinary, rare = [x for x in looks if not x.unseen], [x for x in looks if x.unseen]
    shared: list[tuple[Verb, ...]] = []
    if alike:
        ordinary = _of_few_colors_and_kinds(rng, ordinary, steps + clutter)
        shared = rng.choices(list(CHAINS), list(CHAINS.values()), k=rng.randint(1, 2))
    things: list[Thing] = []
    chains: list[list[StepAction]] = []
    left = steps
    while left:
        thing = (rare if unseen and rare and len(things) % 2 == 0 else ordinary).pop()
        fitting = {c: w for c, w in CHAINS.items() if len(c) <= left and (unseen or _seen(c, thing))}
        fitting = {c: w for c, w in fitting.items() if c in shared} or fitting
        # the bench has the same room for any number of steps, so long tasks have longer
        # chains
        weights = [w * len(c) ** (2 if left > 12 else 0) for c, w in fitting.items()]
        chain = rng.choices(list(fitting), weights)[0]
        place = rng.choice(PLACES)
        chains.append([StepAction(verb, len(things), place if verb == "put" else "") for verb in chain])
        things.append(thing)
        left -= len(chain)
    jobs = []
    while any(chains):
        chosen = rng.choice([chain for chain in chains if chain])
        jobs.append(chosen.pop(0))
    return Assignment(rng.choice(GOALS), tuple(jobs), tuple(things), tuple(ordinary.pop() for _ in range(clutter)))


def _of_few_colors_and_kinds(rng: random.Random, looks: list[Thing], count: int) -> list[Thing]:
    """Return the looks with one of few colours and one of few kinds, at least ``count``."""
    few = rng.randint(2, 3)
    while True:
        colors, kinds = rng.sample(COLORS, few), rng.sample(KINDS, few)
        found = [look for look in looks if look.color in colors and look.kind in kinds]
        if len(found) >= count:
            return found
        few = min(few + 1, len(COLORS))


def _seen(chain: tuple[Verb, ...], thing: Thing) -> bool:
    return not any((verb, thing.kind) in UNSEEN_PAIRS for verb in chain)

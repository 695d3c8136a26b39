"""The grammar of tasks: verbs, things, tools and places make chains of steps, and chains make a task.

python -c "import random; from prospect_core.workbench.world.tasks import sample_world_task; print(sample_world_task(random.Random(0), 6).as_task())"

A thing of a colour and a kind passes through a chain, such as ``fetch, wipe, put``: what comes earlier in a chain must
be done first, chains do not depend on each other. Some looks and some (verb, kind) pairs never occur outside the
out-of-distribution split.
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
#: chain -> how often it is drawn
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
#: never together outside the out-of-distribution split
UNSEEN_PAIRS = frozenset({("cut", "star"), ("cover", "ball"), ("wipe", "cone"), ("fetch", "ring")})


@dataclass(frozen=True)
class Thing:
    """A thing on the bench: six colours, six kinds."""

    color: str
    kind: str

    @property
    def name(self) -> str:
        return f"{self.color} {self.kind}"

    @property
    def unseen(self) -> bool:
        """Whether this look occurs in the out-of-distribution split only (one look in six)."""
        return (COLORS.index(self.color) + KINDS.index(self.kind)) % len(KINDS) == 0


@dataclass(frozen=True)
class StepAction:
    """One step in the world's terms: a verb, the thing (an index) and, for ``put``, the place."""

    verb: Verb
    thing: int
    place: str = ""

    def phrase(self, name: str) -> str:
        """What is to be done, as short as it can be told apart: ``wipe the red cone``."""
        return f"put the {name} in the {self.place}" if self.verb == "put" else f"{self.verb} the {name}"

    def sentence(self, name: str) -> str:
        """The name of the step: the phrase with its tool or source."""
        if self.verb == "put":
            return self.phrase(name)
        return f"{self.phrase(name)} {'from the drawer' if self.verb == 'fetch' else f'with the {TOOLS[self.verb]}'}"


@dataclass(frozen=True)
class Assignment:
    """A task in the world's terms: its goal, its jobs in the listed order, its things, and clutter that belongs to none."""

    goal: str
    jobs: tuple[StepAction, ...]
    things: tuple[Thing, ...]
    clutter: tuple[Thing, ...]

    @cached_property
    def looks(self) -> tuple[Thing, ...]:
        """Things, then clutter: everywhere else a thing is an index into these."""
        return self.things + self.clutter

    def phrase(self, job: int) -> str:
        return self.jobs[job].phrase(self.things[self.jobs[job].thing].name)

    def chain(self, thing: int) -> list[int]:
        """The jobs of a thing, in order."""
        return [k for k, job in enumerate(self.jobs) if job.thing == thing]

    def find(self, thing: int, verb: Verb) -> int | None:
        """The job of this verb on a thing."""
        return next((k for k, job in enumerate(self.jobs) if (job.thing, job.verb) == (thing, verb)), None)

    def as_task(self) -> Task:
        """The task in words, steps ``S1`` ... in the listed order."""
        names = [job.sentence(self.things[job.thing].name) for job in self.jobs]
        return Task(self.goal, tuple(Step(f"S{n}", name) for n, name in enumerate(names, 1)))


def sample_world_task(
    rng: random.Random, steps: int, clutter: int = 1, unseen: bool = False, alike: bool = False
) -> Assignment:
    """A task of ``steps`` steps. With ``unseen``, every other thing has a look that other tasks never have, and verbs may
    meet kinds that they never meet elsewhere. With ``alike`` few colours, kinds and chains are shared by all things, so
    that no word alone says which step is meant: elsewhere the verb does, most of the time."""
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
        # a task of many steps has as much room as a short one: its chains are longer
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
    """Those looks that have one of few colours and one of few kinds, at least so many."""
    few = rng.randint(2, 3)
    while True:
        colors, kinds = rng.sample(COLORS, few), rng.sample(KINDS, few)
        found = [look for look in looks if look.color in colors and look.kind in kinds]
        if len(found) >= count:
            return found
        few = min(few + 1, len(COLORS))


def _seen(chain: tuple[Verb, ...], thing: Thing) -> bool:
    return not any((verb, thing.kind) in UNSEEN_PAIRS for verb in chain)

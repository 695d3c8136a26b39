"""Jobs done by several workers, each of which keeps what it has opened: processes of this machine, or actors of a Ray cluster.

    python -c "from prospect_core.crew import work; help(work)"

A worker is made once where it works (`Craft`: it opens data, it loads a model) and then given one pack of jobs after the other.
What it makes of each job comes back as soon as that is done, so a worker that is lost costs what it had in hand and nothing
else: another one takes its place and does that again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from prospect_core.errors import DataError, UserError, choose
from prospect_core.interrupt import stopping

#: what a worker does with a pack: (which job of it, what came of that) as they end, in any order
Serve = Callable[[Sequence[Any]], Iterator[tuple[int, Any]]]
#: makes a worker, in the process where it works; must be picklable
Craft = Callable[[], Serve]
BACKENDS = ("process", "ray")
#: of a pack that a worker is lost over, the jobs are done one by one; one that takes so many workers with it is given up
MOST_LOSSES = 3


@dataclass(frozen=True)
class Hands:
    """How many workers, and where: ``gpus`` is how much of a GPU each has (0: none), ``address`` that of a Ray cluster (None:
    RAY_ADDRESS, or one that is started on this machine for the while)."""

    workers: int = 1
    backend: Literal["process", "ray"] = "process"
    gpus: float = 0
    address: str | None = None

    def check(self) -> Hands:
        """Itself; what does not go together is a `UserError`."""
        choose("--backend", self.backend, BACKENDS)
        if self.address is not None and self.backend != "ray":
            raise UserError(f"--address {self.address}: belongs to --backend ray")
        return self


@dataclass(frozen=True)
class Ready:
    """A worker is there and waits for a pack."""

    host: str
    pid: int


@dataclass(frozen=True)
class Made:
    """What came of one job of the pack in hand."""

    number: int
    value: Any


@dataclass(frozen=True)
class Through:
    """The pack in hand is done."""


@dataclass(frozen=True)
class Lost:
    """A worker has ended without being asked to; ``why`` as far as one can tell."""

    why: str


Event = Ready | Made | Through | Lost


class Crew(Protocol):
    """Workers of one kind. Errors that a worker raises are raised by `next`."""

    def hire(self) -> int:
        """Start a worker; its number."""

    def give(self, worker: int, pack: Sequence[Any]) -> None:
        """Have a worker that waits begin a pack."""

    def next(self) -> tuple[int, Event]:
        """The next that happens, whichever worker it is; waits for it."""

    def close(self) -> None:
        """End all workers at once."""


@dataclass
class Share:
    """What one worker has done so far."""

    host: str
    pid: int
    jobs: int = 0


def work(
    craft: Craft,
    packs: Sequence[Sequence[Any]],
    hands: Hands,
    shares: dict[int, Share] | None = None,
) -> Iterator[tuple[Any, Any]]:
    """(job, what came of it) for every job of every pack, as they end; jobs are hashable.

    ``shares`` is filled with who did how much. A job that `MOST_LOSSES` workers were lost over comes with a `DataError`; where
    no worker comes up at all, one is raised. After a first Ctrl-C only what is in hand is done.
    """
    shares = {} if shares is None else shares
    waiting = deque(list(pack) for pack in packs if pack)
    in_hand: dict[int, tuple[list[Any], set[int]]] = {}
    losses: dict[Any, int] = {}
    idle: list[int] = []
    coming, stillborn = 0, 0
    crew = _crew(craft, hands.check())
    try:
        for _ in range(min(hands.workers, len(waiting))):
            crew.hire()
            coming += 1
        while in_hand or (waiting and not stopping()):
            while idle and waiting and not stopping():
                worker = idle.pop()
                in_hand[worker] = waiting.popleft(), set()
                crew.give(worker, in_hand[worker][0])
            if not in_hand and stopping():
                return
            worker, event = crew.next()
            if isinstance(event, Ready):
                shares[worker] = Share(event.host, event.pid)
                idle.append(worker)
                coming, stillborn = coming - 1, 0
            elif isinstance(event, Made):
                pack, done = in_hand[worker]
                done.add(event.number)
                shares[worker].jobs += 1
                yield pack[event.number], event.value
            elif isinstance(event, Through):
                del in_hand[worker]
                idle.append(worker)
            else:
                if worker in in_hand:
                    pack, done = in_hand.pop(worker)
                    left = [job for number, job in enumerate(pack) if number not in done]
                    for job in left:
                        losses[job] = losses.get(job, 0) + 1
                    given_up = [job for job in left if len(left) == 1 and losses[job] >= MOST_LOSSES]
                    waiting.extendleft([job] for job in left if job not in given_up)
                    for job in given_up:
                        yield job, DataError(f"{MOST_LOSSES} workers were lost over it; the last: {event.why}")
                elif worker in shares:
                    idle.remove(worker)
                else:
                    coming, stillborn = coming - 1, stillborn + 1
                    if stillborn >= MOST_LOSSES:
                        raise DataError(f"no worker comes up: {event.why}")
                if waiting and len(in_hand) + len(idle) + coming < hands.workers:
                    crew.hire()
                    coming += 1
    finally:
        crew.close()


def packed(costs: Sequence[float], groups: Sequence[Any], least: int, workers: int) -> list[list[int]]:
    """Indices of jobs in packs, the dearest first: each of jobs of similar cost, so that what is done at once ends at once.

    Jobs of a group (those of one video) stay together. A pack has ``least`` jobs or more, as long as there are some four packs
    a worker; fewer where there are not enough jobs for that.
    """
    members: dict[Any, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    dearest = sorted(members.values(), key=lambda group: -max(costs[index] for index in group))
    size = max(1, min(least, -(-len(costs) // (4 * workers))))
    packs: list[list[int]] = []
    for group in dearest:
        if packs and len(packs[-1]) + len(group) <= size:
            packs[-1] += group
        else:
            packs.append(list(group))
    return packs


def _crew(craft: Craft, hands: Hands) -> Crew:
    if hands.backend == "ray":
        from prospect_core.crew.on_ray import RayCrew

        return RayCrew(craft, hands)
    from prospect_core.crew.local import LocalCrew

    return LocalCrew(craft, hands)

"""Jobs done by several workers, each of which keeps what it has opened: processes of this machine, or actors of a Ray cluster.

    python -c "from prospect_core.parallel.scheduler import run_jobs; help(run_jobs)"

A worker is made once where it works (`WorkerFactory`: it opens data, it loads a model) and then given one pack of jobs after the other.
What it makes of each job comes back as soon as that is done, so a worker that is lost costs what it had in hand and nothing
else: another one takes its place and does that again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from prospect_core.parallel.protocol import BatchDone, JobDone, WorkerFactory, WorkerOptions, WorkerPool, WorkerReady
from prospect_core.util.errors import DataError
from prospect_core.util.signals import stopping

#: of a pack that a worker is lost over, the jobs are done one by one; one that takes so many workers with it is given up
MOST_LOSSES = 3


@dataclass
class WorkerTally:
    """What one worker has done so far."""

    host: str
    pid: int
    jobs: int = 0


def run_jobs(
    factory: WorkerFactory,
    batches: Sequence[Sequence[Any]],
    pool_options: WorkerOptions,
    shares: dict[int, WorkerTally] | None = None,
) -> Iterator[tuple[Any, Any]]:
    """(job, what came of it) for every job of every pack, as they end; jobs are hashable.

    ``shares`` is filled with who did how much. A job that `MOST_LOSSES` workers were lost over comes with a `DataError`; where
    no worker comes up at all, one is raised. After a first Ctrl-C only what is in hand is done.
    """
    shares = {} if shares is None else shares
    waiting = deque(list(batch) for batch in batches if batch)
    in_hand: dict[int, tuple[list[Any], set[int]]] = {}
    losses: dict[Any, int] = {}
    idle: list[int] = []
    coming, stillborn = 0, 0
    pool = _open_pool(factory, pool_options.check())
    try:
        for _ in range(min(pool_options.workers, len(waiting))):
            pool.start_worker()
            coming += 1
        while in_hand or (waiting and not stopping()):
            while idle and waiting and not stopping():
                worker = idle.pop()
                in_hand[worker] = waiting.popleft(), set()
                pool.submit(worker, in_hand[worker][0])
            if not in_hand and stopping():
                return
            worker, event = pool.next()
            if isinstance(event, WorkerReady):
                shares[worker] = WorkerTally(event.host, event.pid)
                idle.append(worker)
                coming, stillborn = coming - 1, 0
            elif isinstance(event, JobDone):
                batch, done = in_hand[worker]
                done.add(event.number)
                shares[worker].jobs += 1
                yield batch[event.number], event.value
            elif isinstance(event, BatchDone):
                del in_hand[worker]
                idle.append(worker)
            else:
                if worker in in_hand:
                    batch, done = in_hand.pop(worker)
                    left = [job for number, job in enumerate(batch) if number not in done]
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
                if waiting and len(in_hand) + len(idle) + coming < pool_options.workers:
                    pool.start_worker()
                    coming += 1
    finally:
        pool.close()


def make_batches(costs: Sequence[float], groups: Sequence[Any], least: int, workers: int) -> list[list[int]]:
    """Indices of jobs in packs, the dearest first: each of jobs of similar cost, so that what is done at once ends at once.

    Jobs of a group (those of one video) stay together. A pack has ``least`` jobs or more, as long as there are some four packs
    a worker; fewer where there are not enough jobs for that.
    """
    members: dict[Any, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    dearest = sorted(members.values(), key=lambda group: -max(costs[index] for index in group))
    size = max(1, min(least, -(-len(costs) // (4 * workers))))
    batches: list[list[int]] = []
    for group in dearest:
        if batches and len(batches[-1]) + len(group) <= size:
            batches[-1] += group
        else:
            batches.append(list(group))
    return batches


def _open_pool(factory: WorkerFactory, pool_options: WorkerOptions) -> WorkerPool:
    if pool_options.backend == "ray":
        from prospect_core.parallel.ray_backend import RayBackend

        return RayBackend(factory, pool_options)
    from prospect_core.parallel.process_backend import ProcessBackend

    return ProcessBackend(factory, pool_options)

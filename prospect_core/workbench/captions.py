"""Seeing practice: single pictures, each with a caption that says what it shows and which step that belongs to.

    prospect data captions --output data/captions --count 2000
    prospect train data=data/captions sampling.missed_share=1 loss.speaking.weight=0 loss.update.weight=0

The pictures of an episode are moments of one person's work in random order, so that nothing but the picture itself
tells what goes in its caption. A step is in progress while a picture shows it, and completed once one has: that binds
pictures to the lines of the prompt. When to speak or to update means nothing here and must carry no loss.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from prospect_core import __version__
from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.errors import UserError, choose
from prospect_core.timeline import Change, DialogState, Episode, Event, Task
from prospect_core.workbench.generate import FPS, WORLD_VERSION, steps_in_task
from prospect_core.workbench.levels import LEVELS, SPLITS
from prospect_core.workbench.observers import Sight, sight
from prospect_core.workbench.person import act_out
from prospect_core.workbench.physics import Plan, scene_at
from prospect_core.workbench.tasks import TOOLS, sample_task

FRAMES = 24
#: of the pictures, so many show the second before or after something has happened; of the others without a hand, so
#: many are drawn again
NEAR_SHARE, HAND_SHARE = 0.5, 0.7


def make_captions(
    root: Path,
    seed: int,
    count: int,
    steps: tuple[int, int] = SPLITS["train"].steps,
    level: str = "normal",
    bare: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Dataset:
    """Write ``count`` videos of `FRAMES` unconnected pictures, captioned, into a new folder.

    Tasks have so many ``steps``; the fewer, the fewer things there are to be told apart. ``level`` is one of `LEVELS`.
    ``bare`` leaves the steps out of the prompt, so that there is nothing but the picture to read a caption from.
    """
    choose("level", level, LEVELS)
    if root.exists():
        raise UserError(f"{root} exists already; choose another folder or delete it first")
    (root / "videos").mkdir(parents=True)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        rows = []
        for episode in pool.map(_make, [(root, seed, k, steps, level, bare) for k in range(count)], chunksize=8):
            rows.append(episode)
            progress(len(rows), count)
    return write_dataset(
        root, "workbench-captions", f"{WORLD_VERSION}.{seed}", FPS, {"train": rows}, f"prospect {__version__}"
    )


def captioned(
    seed: int, number: int, steps: tuple[int, int] = SPLITS["train"].steps, level: str = "normal", bare: bool = False
) -> tuple[Episode, Plan, list[float]]:
    """An episode of captions, the plan that its pictures are taken from, and their moments in seconds."""
    rng = random.Random(f"captions/{WORLD_VERSION}/{seed}/{number}")
    world = sample_task(rng, steps_in_task(rng, steps), rng.randint(*LEVELS[level].clutter))
    plan = act_out(rng, world, LEVELS[level])
    moments = [_moment(rng, plan) for _ in range(FRAMES)]
    seen = [sight(plan, time) for time in moments]
    task = Task(world.goal, ()) if bare else world.as_task()
    name = f"captions-{seed}-{number:05d}"
    episode = Episode(
        name,
        f"videos/{name}.mp4",
        FPS,
        0,
        FRAMES,
        task,
        tuple(_events(plan, task, seen)),
        user_type="practice",
        dataset="workbench-captions",
        file_order=True,
    )
    return episode.validate(), plan, moments


def caption(plan: Plan, now: Sight, bare: bool = False) -> str:
    """What one picture shows, in few words: what the hand holds, whether it is up, what it is at, and the step;
    ``red cone up box: S2``. Without a hand, the things in view from left to right."""
    names = [look.name for look in plan.assignment.looks]
    if not now.hand:
        order = sorted(now.things, key=lambda k: plan.slot_xy(k)[0])
        return ", ".join(f"cut {names[k]}" if k in now.cut else names[k] for k in order) or "nothing"
    held = names[now.held] if isinstance(now.held, int) else now.held or "hand"
    at = now.over if now.touched is None else names[now.touched]
    words = " ".join(word for word in (held, "up" if now.up else "down", at) if word)
    steps = [] if bare else _steps(plan, now)
    return f"{words}: {' '.join(steps)}" if steps else words


def _events(plan: Plan, task: Task, seen: Sequence[Sight]) -> Iterator[Event]:
    """A caption a picture. A step is in progress while a picture shows it and completed once one has shown it."""
    state, shown = DialogState.initial(task), frozenset[str]()
    for frame, now in enumerate(seen):
        time, before, shown = frame / FPS, shown, frozenset(_steps(plan, now)) & set(task.step_ids)
        for step in task.step_ids:
            if (step in before) != (step in shown):
                change: Change = "complete" if step in before else "reopen" if state[step] == "completed" else "start"
                state = state.apply(step, change, time)
                yield Event(f"d{frame}{step}", time, "transition", step=step, change=change, frame=frame)
        yield Event(f"a{frame}", time, "assistant", caption(plan, now, bare=not task.steps), frame=frame)


def _steps(plan: Plan, now: Sight) -> list[str]:
    """The steps that what is seen may belong to: those that move the thing in hand, or that a tool in place is for."""
    task = plan.assignment
    if isinstance(now.held, int):
        jobs = [task.find(now.held, "fetch"), task.find(now.held, "put")]
    elif now.touched is not None:
        jobs = [task.find(now.touched, next(verb for verb, tool in TOOLS.items() if tool == now.held))]
    else:
        jobs = []
    return [f"S{job + 1}" for job in jobs if job is not None]


def _moment(rng: random.Random, plan: Plan) -> float:
    """A moment of the video; what is short, like letting go, is worth as many pictures as what takes long."""
    if plan.happenings and rng.random() < NEAR_SHARE:
        return min(plan.duration, max(0.0, rng.choice(plan.happenings).time + rng.uniform(-1, 1)))
    time = rng.uniform(0, plan.duration)
    while scene_at(plan, time).hand is None and rng.random() < HAND_SHARE:
        time = rng.uniform(0, plan.duration)
    return time


def _make(job: tuple[Path, int, int, tuple[int, int], str, bool]) -> Episode:
    from prospect_core.workbench.render import write_pictures

    root, seed, number, steps, level, bare = job
    episode, plan, moments = captioned(seed, number, steps, level, bare)
    write_pictures(plan, moments, root / episode.video, FPS)
    return episode

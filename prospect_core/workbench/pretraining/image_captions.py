"""Image captions for pretraining: single pictures with captions of contents and steps.

    prospect data captions --output data/captions --count 2000
    prospect train data=data/captions sampling.context_noise.missed=1 loss.speaking.weight=0 loss.update.weight=0

The pictures of an episode are moments of one person's work in random order, so only the picture
itself determines its caption. A step is in progress while pictures show it and completed
afterwards, which relates pictures to lines of the prompt. The times of utterances and updates have
no meaning and must carry no loss.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from prospect_core import __version__
from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.parallel.process_pool import open_process_pool
from prospect_core.timeline import Change, DialogState, Episode, Event, Task
from prospect_core.util.atomic import atomic_folder
from prospect_core.util.errors import require_choice
from prospect_core.workbench.generate import FPS, WORLD_VERSION, workbench_step_count
from prospect_core.workbench.rendering.pictures import render_numbered_picture
from prospect_core.workbench.rendering.shapes import HAND_ID, shape_item_number
from prospect_core.workbench.symbolic_observers import Sight, symbolic_observer_sight
from prospect_core.workbench.world.actor import act_out
from prospect_core.workbench.world.levels import LEVELS, SPLITS
from prospect_core.workbench.world.scene import VIEW, Plan, scene_at
from prospect_core.workbench.world.tasks import COLORS, TOOLS, sample_world_task

FRAMES = 24
#: contents of captions. ``steps``: the action and its step in the prompt. ``hand``: the action,
#: with a prompt without steps. ``held``: the action in few words. ``map``: the contents of each
#: patch. The last two are for image slots (`prospect_core.train.data.patch_captions`)
Tells = Literal["steps", "hand", "held", "map"]
#: patches per side of a map, and number of things without a step in its pictures
MAP_SIDE, MAP_CLUTTER = 4, 8
#: smallest number of pixels of an item that counts in a patch
MAP_PIXELS = 100
#: share of pictures within a second of an event; probability of redrawing one of the others if it
#: shows no hand
NEAR_SHARE, HAND_SHARE = 0.5, 0.7


def make_image_captions(
    root: Path,
    seed: int,
    count: int,
    steps: tuple[int, int] = SPLITS["train"].steps,
    level: str = "normal",
    tells: Tells = "steps",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Dataset:
    """Write ``count`` videos of `FRAMES` unrelated, captioned pictures into a new folder.

    Without steps in the captions, prompts have no steps either: only the picture determines a
    caption.

    Args:
        root: Folder to create.
        seed: Random seed.
        count: Number of videos.
        steps: Range of steps per task; fewer steps mean fewer things to distinguish.
        level: One of `LEVELS`.
        tells: Contents of the captions.
        progress: Called with (videos done, videos in total).

    Raises:
        UserError: If an option is not valid or ``root`` exists.
    """
    require_choice("level", level, LEVELS)
    require_choice("tells", tells, get_args(Tells))
    with atomic_folder(root) as scratch:
        (scratch / "videos").mkdir()
        jobs = [(scratch, seed, k, steps, level, tells) for k in range(count)]
        rows = []
        with open_process_pool() as workers:
            for episode in workers.map(_make, jobs, chunksize=8):
                rows.append(episode)
                progress(len(rows), count)
        write_dataset(
            scratch, "workbench-captions", f"{WORLD_VERSION}.{seed}", FPS, {"train": rows}, f"prospect {__version__}"
        )
    return Dataset.open(root)


def image_caption_episode(
    seed: int,
    number: int,
    steps: tuple[int, int] = SPLITS["train"].steps,
    level: str = "normal",
    tells: Tells = "steps",
) -> tuple[Episode, Plan, list[float]]:
    """Generate an episode of captions, the plan of its pictures, and their times in seconds.

    Args:
        seed: Random seed.
        number: Number of the episode.
        steps: Range of steps per task.
        level: One of `LEVELS`.
        tells: Contents of the captions.
    """
    rng = random.Random(f"captions/{WORLD_VERSION}/{seed}/{number}")
    clutter = MAP_CLUTTER if tells == "map" else rng.randint(*LEVELS[level].clutter)
    # the thing must identify the step too: in every second video verbs rarely suffice
    alike = tells == "steps" and number % 2 == 0
    world = sample_world_task(rng, workbench_step_count(rng, steps), clutter, alike=alike)
    plan = act_out(rng, world, LEVELS[level])
    moments = [_moment(rng, plan) for _ in range(FRAMES)]
    if tells == "steps":
        task = world.as_task()
        events = tuple(_events(plan, task, [symbolic_observer_sight(plan, time) for time in moments]))
    else:
        task = Task(world.goal, ())
        if tells == "map":
            words = [image_caption_map(plan, time) for time in moments]
        else:
            tell = image_caption_held_item if tells == "held" else image_caption_action
            words = [tell(plan, symbolic_observer_sight(plan, time)) for time in moments]
        events = tuple(Event(f"a{k}", k / FPS, "assistant", text, frame=k) for k, text in enumerate(words))
    name = f"captions-{seed}-{number:05d}"
    episode = Episode(
        name,
        f"videos/{name}.mp4",
        FPS,
        0,
        FRAMES,
        task,
        events,
        user_type="practice",
        dataset="workbench-captions",
        file_order=True,
    )
    return episode.validate(), plan, moments


def image_caption(plan: Plan, now: Sight) -> str:
    """Describe the action in a picture and the steps it belongs to: ``hold the red cone up at the box: S2``."""
    steps = _steps(plan, now)
    return f"{image_caption_action(plan, now)}: {' '.join(steps)}" if steps else image_caption_action(plan, now)


def image_caption_action(plan: Plan, now: Sight) -> str:
    """Describe what the hand holds, whether it is up, and its place: ``hold the red cone up at the box``.

    Without a hand, name the visible things by colour and kind: ``see the red cone cut, the blue
    star``.
    """
    looks = plan.assignment.looks
    if not now.hand:
        order = sorted(now.things, key=lambda k: (COLORS.index(looks[k].color), looks[k].kind))
        things = [f"the {looks[k].name} cut" if k in now.cut else f"the {looks[k].name}" for k in order]
        return f"see {', '.join(things) or 'nothing'}"
    held = looks[now.held].name if isinstance(now.held, int) else now.held
    at = now.over if now.touched is None else looks[now.touched].name
    words = f"hold {f'the {held}' if held else 'nothing'} {'up' if now.up else 'down'}"
    return f"{words} at the {at}" if at else words


def image_caption_held_item(plan: Plan, now: Sight) -> str:
    """Shorten the action of a hand: ``red cone up box``; return ``-`` without a hand."""
    if not now.hand:
        return "-"
    return " ".join(word for word in image_caption_action(plan, now).split() if word not in ("hold", "the", "at"))


def image_caption_map(plan: Plan, time: float) -> str:
    """Describe the patches of the picture, row by row: ``cone red hold, -, hand, knife, ...``.

    The description of a patch is the item in hand with ``hold`` (held, or under a held tool),
    otherwise the hand, otherwise the item with most pixels. Things are described by kind and
    colour, tools by name.
    """
    looks, now = plan.assignment.looks, symbolic_observer_sight(plan, time)
    words = {shape_item_number(plan, k): f"{look.kind} {look.color}" for k, look in enumerate(looks)}
    words |= {shape_item_number(plan, tool): tool for tool in TOOLS.values()}
    held = [item for item in (now.held, now.touched) if item is not None]
    in_hand = {shape_item_number(plan, item) for item in held}
    # a tool covers most of its thing, and the hand most of what it holds
    ranks = ({shape_item_number(plan, item) for item in held if isinstance(item, int)}, in_hand, {HAND_ID}, words)
    side = VIEW // MAP_SIDE
    places = render_numbered_picture(plan, scene_at(plan, time)).reshape(MAP_SIDE, side, MAP_SIDE, side).swapaxes(1, 2)
    out = []
    for pixels in places.reshape(MAP_SIDE**2, side**2):
        count = np.bincount(pixels, minlength=256)
        most = (max(rank, key=count.__getitem__, default=0) for rank in ranks)
        shown = next((number for number in most if number and count[number] >= MAP_PIXELS), 0)
        out.append(f"{words[shown]} hold" if shown in in_hand else words.get(shown) or ("hand" if shown else "-"))
    return ", ".join(out)


def _events(plan: Plan, task: Task, seen: Sequence[Sight]) -> Iterator[Event]:
    """Yield a caption per picture, and transitions: a step is in progress while pictures show it."""
    state, shown = DialogState.initial(task), frozenset[str]()
    for frame, now in enumerate(seen):
        time, before, shown = frame / FPS, shown, frozenset(_steps(plan, now))
        for step in task.step_ids:
            if (step in before) != (step in shown):
                change: Change = "complete" if step in before else "reopen" if state[step] == "completed" else "start"
                state = state.apply(step, change, time)
                yield Event(f"d{frame}{step}", time, "transition", step=step, change=change, frame=frame)
        yield Event(f"a{frame}", time, "assistant", image_caption(plan, now), frame=frame)


def _steps(plan: Plan, now: Sight) -> list[str]:
    """Return the steps that a picture may belong to: those of the thing in hand, or of a tool at its thing."""
    task = plan.assignment
    if isinstance(now.held, int):
        jobs = [task.find(now.held, "fetch"), task.find(now.held, "put")]
    elif now.touched is not None:
        jobs = [task.find(now.touched, next(verb for verb, tool in TOOLS.items() if tool == now.held))]
    else:
        jobs = []
    return [f"S{job + 1}" for job in jobs if job is not None]


def _moment(rng: random.Random, plan: Plan) -> float:
    """Draw a time of the video; short actions such as releasing a thing are as frequent as long ones."""
    if plan.happenings and rng.random() < NEAR_SHARE:
        return min(plan.duration, max(0.0, rng.choice(plan.happenings).time + rng.uniform(-1, 1)))
    time = rng.uniform(0, plan.duration)
    while scene_at(plan, time).hand is None and rng.random() < HAND_SHARE:
        time = rng.uniform(0, plan.duration)
    return time


def _make(job: tuple[Path, int, int, tuple[int, int], str, Tells]) -> Episode:
    from prospect_core.workbench.rendering.pictures import render_pictures_at_moments

    root, seed, number, steps, level, tells = job
    episode, plan, moments = image_caption_episode(seed, number, steps, level, tells)
    render_pictures_at_moments(plan, moments, root / episode.video, FPS)
    return episode

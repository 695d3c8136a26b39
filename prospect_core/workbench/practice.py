"""Reading practice: dense dialogue over a blank video, so that words are learnt to be copied from the right step.

    prospect data practice --output data/practice --count 2000
    prospect train data=data/practice loss.speaking.weight=0 loss.update.weight=0 loss.state.weight=0

Nothing can be seen here, so decisions and states must carry no loss; what remains is to answer from the prompt and
from the updates written into the context.
"""

from __future__ import annotations

import random
from pathlib import Path

from prospect_core import __version__
from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.errors import UserError
from prospect_core.timeline import Change, DialogState, Episode, Event
from prospect_core.workbench import dialogue as words
from prospect_core.workbench.generate import FPS, WORLD_VERSION
from prospect_core.workbench.tasks import TablewareTask, sample_task

FRAMES = 20
VIDEO = "videos/blank.mp4"


def make_practice(root: Path, seed: int, count: int) -> Dataset:
    """Write ``count`` practice episodes over one blank video into a new folder."""
    from prospect_core.workbench.render import write_blank

    if root.exists():
        raise UserError(f"{root} exists already; choose another folder or delete it first")
    (root / "videos").mkdir(parents=True)
    write_blank(root / VIDEO, FRAMES / FPS)
    rows = [
        practice_episode(random.Random(f"practice/{WORLD_VERSION}/{seed}/{k}"), f"practice-{seed}-{k:05d}")
        for k in range(count)
    ]
    return write_dataset(
        root, "workbench-practice", f"{WORLD_VERSION}.{seed}", FPS, {"train": rows}, f"prospect {__version__}"
    )


def practice_episode(rng: random.Random, name: str) -> Episode:
    """Questions and step changes in turn, each answered at once as the workbench's assistant would."""
    world = sample_task(rng)
    task = world.as_task()
    state = start = _some_state(rng, task.step_ids)
    events: list[Event] = []
    frame = 0
    while frame < FRAMES - 2:
        legal: list[tuple[str, Change]] = [
            (s, c) for s in task.step_ids for c in ("start", "complete", "reopen") if state.is_legal(s, c)
        ]
        if rng.random() < 0.4:
            step, change = rng.choice(legal)
            state = state.apply(step, change, frame / FPS)
            events.append(Event(f"d{frame}", frame / FPS, "transition", step=step, change=change, frame=frame))
            text = _comment(rng, world, state, step, change)
        else:
            question, text = _exchange(rng, world, state)
            events.append(Event(f"u{frame}", frame / FPS, "user", question, frame=frame))
            frame += 1
        if text:
            events.append(Event(f"a{frame}", frame / FPS, "assistant", text[0].upper() + text[1:], frame=frame))
        frame += 1
    return Episode(
        name,
        VIDEO,
        FPS,
        0,
        FRAMES,
        task,
        tuple(events),
        start,
        "practice",
        "workbench-practice",
        file_order=True,
    ).validate()


def _some_state(rng: random.Random, ids: tuple[str, ...]) -> DialogState:
    states = tuple(rng.choice(("not_started", "not_started", "in_progress", "completed")) for _ in ids)
    done = [s for s, state in zip(ids, states, strict=True) if state == "completed"]
    rng.shuffle(done)
    times = sorted(round(rng.uniform(5, 120), 1) for _ in done)
    return DialogState(ids, states, tuple(zip(done, times, strict=True)))  # type: ignore[arg-type]


def _comment(rng: random.Random, world: TablewareTask, state: DialogState, step: str, change: Change) -> str:
    if change == "start":
        return ""
    if change == "reopen":
        return _say(rng, words.REOPENED, world, int(step[1:]) - 1)
    following = words.next_step(state)
    return rng.choice(words.DONE) if following is None else _say(rng, words.NEXT, world, following)


def _exchange(rng: random.Random, world: TablewareTask, state: DialogState) -> tuple[str, str]:
    """A question and its answer. Reciting comes first: words copied in order are what copying is learnt from."""
    kind = rng.choice(("recite", "recite", "step", "step", "step", "present", "past", "remainder"))
    following = words.next_step(state)
    steps = world.as_task().steps
    if kind == "recite":
        return "Read me the list.", "; ".join(f"{step.id}: {step.name}" for step in steps)
    if kind == "step":
        step = rng.choice(steps)
        return f"What is {step.id}?", f"{step.id}: {step.name}"
    if kind == "present" and following is not None:
        return rng.choice(words.ASK[kind]), _say(rng, words.ANSWER_NEXT, world, following)
    if kind == "past":
        k = rng.randrange(len(world.things))
        answer = words.ANSWER_YES if state.states[k] == "completed" else words.ANSWER_NO
        return rng.choice(words.ASK[kind]).format(name=world.things[k].name), _say(rng, answer, world, k)
    left = sum(s != "completed" for s in state.states)
    return rng.choice(words.ASK["remainder"]), rng.choice(words.ANSWER_LEFT).format(count=words.NUMBERS[left])


def _say(rng: random.Random, options: tuple[str, ...], world: TablewareTask, k: int) -> str:
    thing = world.things[k]
    return rng.choice(options).format(name=thing.name, place=thing.place)

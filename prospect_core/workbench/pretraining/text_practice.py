"""Text practice for pretraining: dense dialogue over a blank video.

    prospect data practice --output data/practice --count 2000
    prospect data practice --output data/telling --count 2000 --telling
    prospect train data=data/practice sampling.context_noise.missed=0.5 loss.speaking.weight=0 loss.update.weight=0

The user reports which step changes, in the words of the prompt. The model learns states from text,
which relates each line of the prompt to its marker, and learns to answer from the prompt and the
dialogue. The times of utterances and updates have no meaning and must carry no loss.
"""

from __future__ import annotations

import random
from itertools import combinations
from pathlib import Path

from prospect_core import __version__
from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.timeline import Change, DialogState, Episode, Event, StepState, Task
from prospect_core.util.atomic import atomic_folder
from prospect_core.workbench.dialogue.phrases import draw_phrase, number_phrase
from prospect_core.workbench.dialogue.writer import dialogue_writer_next_step, dialogue_writer_progress_summary
from prospect_core.workbench.generate import FPS, WORLD_VERSION, workbench_step_count
from prospect_core.workbench.world.levels import SPLITS
from prospect_core.workbench.world.tasks import (
    COLORS,
    GOALS,
    KINDS,
    PLACES,
    UNSEEN_PAIRS,
    VERBS,
    Assignment,
    StepAction,
    Thing,
    Verb,
    sample_world_task,
)

FRAMES = 20
#: largest number of lines in a reading exercise
READ_STEPS = 4
VIDEO = "videos/blank.mp4"


def make_text_practice(
    root: Path, seed: int, count: int, steps: tuple[int, int] = SPLITS["train"].steps, telling: bool = False
) -> Dataset:
    """Write practice episodes over one blank video into a new folder.

    Args:
        root: Folder to create.
        seed: Random seed.
        count: Number of episodes.
        steps: Range of steps per task.
        telling: Whether the user only names the current step, on every frame.

    Raises:
        UserError: If ``root`` exists.
    """
    from prospect_core.workbench.rendering.pictures import render_blank_picture_video

    make = text_practice_naming_episode if telling else text_practice_episode
    rows = [
        make(random.Random(f"practice/{WORLD_VERSION}/{seed}/{k}"), f"practice-{seed}-{k:05d}", steps)
        for k in range(count)
    ]
    with atomic_folder(root) as scratch:
        (scratch / "videos").mkdir()
        render_blank_picture_video(scratch / VIDEO, FRAMES / FPS)
        write_dataset(
            scratch, "workbench-practice", f"{WORLD_VERSION}.{seed}", FPS, {"train": rows}, f"prospect {__version__}"
        )
    return Dataset.open(root)


def text_practice_episode(rng: random.Random, name: str, steps_in: tuple[int, int] = SPLITS["train"].steps) -> Episode:
    """Generate alternating questions and step changes, each answered immediately like in the workbench.

    Args:
        rng: Random generator.
        name: Id of the episode.
        steps_in: Range of steps per task.
    """
    world = sample_world_task(rng, workbench_step_count(rng, steps_in))
    task = world.as_task()
    state = start = _some_state(rng, task.step_ids)
    events: list[Event] = []
    frame = 0
    while frame < FRAMES - 2:
        legal: list[tuple[str, Change]] = [
            (s, c) for s in task.step_ids for c in ("start", "complete", "reopen") if state.is_legal(s, c)
        ]
        if rng.random() < 0.5:
            step, change = rng.choice(legal)
            told = draw_phrase(rng, f"tell_{change}", False, todo=world.phrase(int(step[1:]) - 1))
            events.append(Event(f"u{frame}", frame / FPS, "user", told, frame=frame))
            frame += 1
            state = state.apply(step, change, frame / FPS)
            events.append(Event(f"d{frame}", frame / FPS, "transition", step=step, change=change, frame=frame))
            text = _comment(rng, world, state, step, change)
        else:
            question, text = _exchange(rng, world, state)
            events.append(Event(f"u{frame}", frame / FPS, "user", question, frame=frame))
            frame += 1
        if text:
            progress = dialogue_writer_progress_summary(world, state)
            events.append(Event(f"a{frame}", frame / FPS, "assistant", text, progress=progress, frame=frame))
        frame += 1
    return _episode(name, task, events, start)


def text_practice_naming_episode(
    rng: random.Random, name: str, steps_in: tuple[int, int] = SPLITS["train"].steps
) -> Episode:
    """Generate an episode in which the user names the current step on every frame.

    A step is in progress for its frame, and completed after it. Any step may come at any time, so
    only its words identify the line. If few steps could change, as in `text_practice_episode`,
    guessing among them would pay better than reading for a long time. No part of the words suffices
    either: if the verb usually identified the step, the model would read verbs and guess the rest.

    Args:
        rng: Random generator.
        name: Id of the episode.
        steps_in: Range of steps per task.
    """
    world = text_practice_confusable_task(rng, workbench_step_count(rng, steps_in))
    task = world.as_task()
    state = start = DialogState.initial(task)
    events: list[Event] = []
    now = ""
    for frame in range(1, FRAMES):
        before, now = now, rng.choice([step for step in task.step_ids if step != now])
        told = draw_phrase(rng, "tell_start", False, todo=world.phrase(int(now[1:]) - 1))
        events.append(Event(f"u{frame}", (frame - 1) / FPS, "user", told, frame=frame - 1))
        changes: list[tuple[str, Change]] = [(before, "complete")] if before else []
        changes.append((now, "reopen" if state[now] == "completed" else "start"))
        for step, change in changes:
            state = state.apply(step, change, frame / FPS)
            events.append(Event(f"d{frame}{step}", frame / FPS, "transition", step=step, change=change, frame=frame))
    return _episode(name, task, events, start)


def text_practice_confusable_task(rng: random.Random, steps: int) -> Assignment:
    """Make a task whose steps share few verbs, colours and kinds, combined with each other.

    No single word identifies a step, and no person could do the steps in turn. In an ordinary task,
    verbs and tools identify most lines. A model that learns from such tasks matches these, and
    guesses for a long time among the lines that share them.
    """
    jobs: list[tuple[Verb, Thing]] = []
    while len(jobs) < steps:
        verbs = rng.sample(VERBS, rng.randint(1, 3))
        colors, kinds = (rng.sample(of, rng.randint(1, 3)) for of in (COLORS, KINDS))
        things = [Thing(color, kind) for color in colors for kind in kinds]
        jobs = [(verb, t) for verb in verbs for t in things if not t.unseen and (verb, t.kind) not in UNSEEN_PAIRS]
    chosen = rng.sample(jobs, steps)
    looks = list(dict.fromkeys(thing for _, thing in chosen))
    listed = tuple(
        StepAction(verb, looks.index(thing), rng.choice(PLACES) if verb == "put" else "") for verb, thing in chosen
    )
    return Assignment(rng.choice(GOALS), listed, tuple(looks), ())


def _episode(name: str, task: Task, events: list[Event], start: DialogState) -> Episode:
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
    likely: tuple[StepState, ...] = ("not_started", "not_started", "in_progress", "completed")
    states = tuple(rng.choice(likely) for _ in ids)
    done = [s for s, state in zip(ids, states, strict=True) if state == "completed"]
    rng.shuffle(done)
    times = sorted(round(rng.uniform(5, 120), 1) for _ in done)
    return DialogState(ids, states, tuple(zip(done, times, strict=True)))


def _comment(rng: random.Random, world: Assignment, state: DialogState, step: str, change: Change) -> str:
    if change == "start":
        return ""
    if change == "reopen":
        return draw_phrase(rng, "reopened", False, todo=world.phrase(int(step[1:]) - 1))
    following = dialogue_writer_next_step(state)
    return draw_phrase(rng, "finished", False) if following is None else _todo(rng, "next", world, following)


def _exchange(rng: random.Random, world: Assignment, state: DialogState) -> tuple[str, str]:
    """Draw a question and its answer; reading is frequent, because copying is learned from words in order."""
    kind = rng.choice(("read", "read", "present", "present", "done", "done", "first", "first", "left", "left"))
    following = dialogue_writer_next_step(state)
    steps = world.as_task().steps
    if kind == "present" and following is not None:
        return draw_phrase(rng, "ask_present", False), _todo(rng, "answer_next", world, following)
    if kind == "done":
        k = rng.randrange(len(steps))
        answer = "answer_yes" if state.states[k] == "completed" else "answer_no"
        return _todo(rng, "ask_done", world, k), draw_phrase(rng, answer, False)
    done = [int(step[1:]) - 1 for step, _ in state.completions]
    pairs = [(a, b) for a, b in combinations(done, 2) if world.jobs[a].verb == world.jobs[b].verb]
    if kind == "first" and pairs:
        earlier, later = rng.choice(pairs)
        one, two = rng.sample([world.phrase(earlier), world.phrase(later)], 2)
        name = world.things[world.jobs[earlier].thing].name
        return draw_phrase(rng, "ask_first", False, one=one, two=two), draw_phrase(
            rng, "answer_first", False, name=name
        )
    if kind == "left":
        left = sum(s != "completed" for s in state.states)
        return draw_phrase(rng, "ask_left", False), draw_phrase(rng, "answer_left", False, count=number_phrase(left))
    # many words in one answer, each from the line that the question names
    chosen = rng.sample(steps, min(len(steps), rng.randint(2, READ_STEPS)))
    asked = " ".join(step.id for step in chosen)
    return f"Read {asked}.", "; ".join(f"{step.id}: {step.name}" for step in chosen)


def _todo(rng: random.Random, intent: str, world: Assignment, k: int) -> str:
    return draw_phrase(rng, intent, False, todo=world.phrase(k))

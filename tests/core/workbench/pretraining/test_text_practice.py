"""Text practice: every reply can be read from the prompt and the previous turns."""

from __future__ import annotations

import random
import re
from itertools import pairwise

import pytest

from prospect_core.cli.commands import prospect
from prospect_core.data.dataset import Dataset
from prospect_core.timeline import DialogState
from prospect_core.workbench.generate import generate_workbench_video
from prospect_core.workbench.pretraining.text_practice import (
    FRAMES,
    READ_STEPS,
    text_practice_confusable_task,
    text_practice_episode,
    text_practice_naming_episode,
)
from prospect_core.workbench.world.tasks import UNSEEN_PAIRS, sample_world_task


def test_text_practice_lines_are_read_in_order():
    orders, longest = set(), 0
    for number in range(30):
        episode = text_practice_episode(random.Random(number), f"p{number}")
        names = {step.id: step.name for step in episode.task.steps}
        for asked, reply in pairwise(event for event in episode.events if event.kind in ("user", "assistant")):
            if asked.text.startswith("Read "):
                wanted = re.findall(r"S\d+", asked.text)
                assert reply.text == "; ".join(f"{step}: {names[step]}" for step in wanted)
                assert 2 <= len(set(wanted)) == len(wanted) <= READ_STEPS
                orders.add(wanted == sorted(wanted, key=lambda step: int(step[1:])))
                longest = max(longest, len(wanted))
    assert (orders, longest) == ({True, False}, READ_STEPS)


def test_text_practice_user_turn_names_change():
    """The turn before each change names the step, in the words of its line."""
    changes = set()
    for number in range(30):
        episode = text_practice_episode(random.Random(number), f"p{number}")
        assert isinstance(episode.initial_state, DialogState)
        names = {step.id: step.name for step in episode.task.steps}
        told = {event.frame: event.text.lower() for event in episode.events if event.kind == "user"}
        for frame, step, change in episode.transitions():
            words = re.sub(r" (with the \w+|from the drawer)$", "", names[step])
            assert words in told[frame - 1]
            changes.add(change)
    assert changes == {"start", "complete", "reopen"}


def test_text_practice_naming_frame_has_named_step():
    """On each frame the named step is in progress for that frame only; any step can be next."""
    again = 0
    for number in range(20):
        episode = text_practice_naming_episode(random.Random(number), f"t{number}", (2, 12))
        names = {step.id: re.sub(r" (with the \w+|from the drawer)$", "", step.name) for step in episode.task.steps}
        told = {event.frame: event.text for event in episode.events if event.kind == "user"}
        assert not episode.utterances()
        seen: set[str] = set()
        for frame in range(1, FRAMES):
            state = episode.state_at(frame)
            (now,) = (step for step in episode.task.step_ids if state[step] == "in_progress")
            assert names[now] in told[frame - 1]
            assert {step for step in episode.task.step_ids if state[step] == "completed"} == seen - {now}
            again += now in seen
            seen.add(now)
    assert again


def run(*args, capsys=None):
    try:
        prospect(["data", *map(str, args)])
    except SystemExit as stop:
        return stop.code, (capsys.readouterr().err if capsys else "")


@pytest.mark.integration
def test_practice_commands_write_datasets(tmp_path, capsys):
    assert run("practice", "--output", tmp_path / "practice", "--count", 2, "--steps", 2, 4)[0] == 0
    assert all(2 <= len(e.task.steps) <= 4 for e in Dataset.open(tmp_path / "practice").episodes("train"))
    assert run("practice", "--output", tmp_path / "telling", "--count", 2, "--telling")[0] == 0
    assert not any(e.utterances() for e in Dataset.open(tmp_path / "telling").episodes("train"))
    few = ("--train", 1, "--val", 0, "--test", 0, "--video-fps", 2)
    assert run("workbench", "--output", tmp_path / "alike", "--alike", *few)[0] == 0
    assert next(Dataset.open(tmp_path / "alike").episodes("train")).id == "train-0-0000-alike.no_talk"
    code, text = run("workbench", "--output", tmp_path / "long", "--alike", "--test-long", 1, capsys=capsys)
    assert (code, "alike: test_long has tasks with more steps" in text, (tmp_path / "long").exists()) == (
        2,
        True,
        False,
    )
    assert run("captions", "--output", tmp_path / "captions", "--count", 2)[0] == 0
    assert [len(e.utterances()) for e in Dataset.open(tmp_path / "captions").episodes("train")] == [24, 24]
    assert run("captions", "--output", tmp_path / "map", "--count", 1, "--tells", "map")[0] == 0
    assert all(
        len(u.text.split(", ")) == 16 for e in Dataset.open(tmp_path / "map").episodes("train") for u in e.utterances()
    )
    code, text = run("practice", "--output", tmp_path / "other", "--steps", 5, 3, capsys=capsys)
    assert (code, "smaller number first" in text) == (2, True)
    assert not (tmp_path / "other").exists()


def alone(task, part):
    """Return the share of steps that one part of their words distinguishes from all others of the
    task.
    """
    words = [(job.verb, task.things[job.thing].color, task.things[job.thing].kind)[part] for job in task.jobs]
    return sum(words.count(word) == 1 for word in words) / len(words)


@pytest.mark.parametrize("steps", [3, 5, 12])
def test_text_practice_confusable_steps_share_words(steps):
    """When most verbs were unique, the model read only verbs and could not distinguish lines with
    the same verb.
    """
    rng = random.Random(steps)
    confusable = [text_practice_confusable_task(rng, steps) for _ in range(150)]
    natural = [sample_world_task(rng, steps) for _ in range(150)]
    shared = [sample_world_task(rng, steps, alike=True) for _ in range(150)]
    for part in range(3):
        told, usual, alike = (sum(alone(t, part) for t in tasks) / 150 for tasks in (confusable, natural, shared))
        assert told < 0.4
        assert alike < usual
    for task in confusable:
        names = [step.name for step in task.as_task().steps]
        assert len(set(names)) == len(names) == steps
        assert not any(thing.unseen for thing in task.things)
        assert not any((job.verb, task.things[job.thing].kind) in UNSEEN_PAIRS for job in task.jobs)


def test_workbench_video_alike_things_share_words():
    """Fewer steps are identified by a single word, with the same looks and pairs; all videos
    differ.
    """
    usual = [generate_workbench_video(3, "train", k)[1].assignment for k in range(40)]
    alike = [generate_workbench_video(3, "train", k, alike=True)[1].assignment for k in range(40)]
    for part in range(3):
        assert sum(alone(t, part) for t in alike) < 0.9 * sum(alone(t, part) for t in usual)
    assert len({str(task) for task in alike}) == 40
    for task in alike:
        assert not any(look.unseen for look in task.looks)
        assert not any((job.verb, task.things[job.thing].kind) in UNSEEN_PAIRS for job in task.jobs)

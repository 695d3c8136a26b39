"""Seeing practice: what a caption says is what its picture shows."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from prospect_core.data.dataset import Dataset
from prospect_core.errors import UserError
from prospect_core.workbench.captions import FRAMES, caption, captioned, make_captions
from prospect_core.workbench.generate import make_video
from prospect_core.workbench.observers import Sight, sight
from prospect_core.workbench.render import picture


def test_captions_by_hand():
    """The words of each kind of picture, written down by hand for the things of one video."""
    plan = make_video(0, "train", 0)[1]
    task, names = plan.assignment, [look.name for look in plan.assignment.looks]
    none, put = frozenset(), next(k for k, job in enumerate(task.jobs) if job.verb == "put")
    thing, place = task.jobs[put].thing, task.jobs[put].place
    steps = " ".join(f"S{k + 1}" for k in task.chain(thing) if task.jobs[k].verb in ("fetch", "put"))
    clutter = len(task.things)

    def said(things=none, cut=none, hand=True, up=True, held=None, touched=None, over=""):
        return caption(plan, Sight(frozenset(things), frozenset(cut), hand, up, held, touched, over))

    assert said() == "hand up"
    assert said(up=False, over="drawer") == "hand down drawer"
    assert said(held=thing, over=place) == f"{names[thing]} up {place}: {steps}"
    assert said(held=clutter) == f"{names[clutter]} up"
    assert said(held="cloth") == "cloth up"
    assert said(up=False, held="cloth", touched=clutter) == f"cloth down {names[clutter]}"
    assert said(hand=False) == "nothing"
    order = sorted((0, 1), key=lambda k: plan.slot_xy(k)[0])
    assert said((0, 1), (order[1],), hand=False) == f"{names[order[0]]}, cut {names[order[1]]}"


def test_a_tool_on_a_thing_names_the_step():
    for number in range(4):
        _, plan, moments = captioned(3, number)
        for time in moments:
            now = sight(plan, time)
            if now.touched is not None and now.touched < len(plan.assignment.things):
                verb = {"cloth": "wipe", "knife": "cut", "bowl": "cover"}[str(now.held)]
                job = plan.assignment.find(now.touched, verb)
                assert caption(plan, now).endswith(f": S{job + 1}" if job is not None else "")
            assert sum(word in caption(plan, now) for word in ("up", "down")) == now.hand


def test_each_picture_of_the_video_is_that_of_its_caption(tmp_path):
    data = make_captions(tmp_path / "captions", 5, 2)
    again = make_captions(tmp_path / "again", 5, 2)
    assert data.digest == again.digest
    for number, episode in enumerate(data.episodes("train")):
        expected, plan, moments = captioned(5, number)
        assert episode == expected
        assert [u.text for u in episode.utterances()] == [caption(plan, sight(plan, time)) for time in moments]
        frames = list(Dataset.open(tmp_path / "captions").frame_source(episode, 160).frames(0, FRAMES))
        shown = [np.asarray(picture(plan, time), dtype=float) for time in moments]
        # each decoded frame is nearest to its own picture
        for k, frame in enumerate(frames):
            apart = [np.abs(frame.astype(float) - other).mean() for other in shown]
            assert apart[k] == min(apart)
            assert Image.fromarray(frame).size == (160, 160)


def test_bare_captions_tell_the_picture_alone():
    """The same pictures; no step in the prompt, none in the caption, no state to follow."""
    whole, _, moments = captioned(5, 1)
    bare, _, same = captioned(5, 1, bare=True)
    assert moments == same
    assert bare.task.steps == ()
    assert [u.text.partition(":")[0] for u in whole.utterances()] == [u.text for u in bare.utterances()]
    assert [event.kind for event in bare.events] == ["assistant"] * FRAMES


def test_a_step_is_in_progress_while_a_picture_shows_it():
    episode, plan, moments = captioned(5, 1)
    shown: set[str] = set()
    for frame, (time, utterance) in enumerate(zip(moments, episode.utterances(), strict=True)):
        now = set(utterance.text.partition(": ")[2].split())
        shown |= now
        state = episode.state_at(frame)
        for step in episode.task.step_ids:
            expected = "in_progress" if step in now else "completed" if step in shown else "not_started"
            assert state[step] == expected, (time, step)
    assert shown, plan


def test_an_existing_folder_is_left_alone_and_a_wrong_level_is_refused(tmp_path):
    with pytest.raises(UserError, match="exists already"):
        make_captions(tmp_path, 0, 1)
    with pytest.raises(UserError, match="level"):
        make_captions(tmp_path / "new", 0, 1, level="harder")
    assert not (tmp_path / "new").exists()

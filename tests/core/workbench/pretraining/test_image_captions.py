"""Image captions: the caption equals the content of its picture."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from prospect_core.data.dataset import Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.util.errors import UserError
from prospect_core.workbench.generate import generate_workbench_video
from prospect_core.workbench.pretraining import image_captions
from prospect_core.workbench.pretraining.image_captions import (
    FRAMES,
    MAP_CLUTTER,
    image_caption,
    image_caption_episode,
    make_image_captions,
)
from prospect_core.workbench.rendering.pictures import render_picture
from prospect_core.workbench.rendering.shapes import HAND_ID, shape_item_number
from prospect_core.workbench.symbolic_observers import Sight, symbolic_observer_sight


def test_image_caption_by_hand():
    """The words of each kind of picture, written by hand for the things of one video."""
    plan = generate_workbench_video(0, "train", 0)[1]
    task, names = plan.assignment, [look.name for look in plan.assignment.looks]
    none, put = frozenset(), next(k for k, job in enumerate(task.jobs) if job.verb == "put")
    thing, place = task.jobs[put].thing, task.jobs[put].place
    steps = " ".join(f"S{k + 1}" for k in task.chain(thing) if task.jobs[k].verb in ("fetch", "put"))
    clutter = len(task.things)

    def said(things=none, cut=none, hand=True, up=True, held=None, touched=None, over=""):
        return image_caption(plan, Sight(frozenset(things), frozenset(cut), hand, up, held, touched, over))

    assert said() == "hold nothing up"
    assert said(up=False, over="drawer") == "hold nothing down at the drawer"
    assert said(held=thing, over=place) == f"hold the {names[thing]} up at the {place}: {steps}"
    assert said(held=clutter) == f"hold the {names[clutter]} up"
    assert said(held="cloth") == "hold the cloth up"
    assert said(up=False, held="cloth", touched=clutter) == f"hold the cloth down at the {names[clutter]}"
    assert said(hand=False) == "see nothing"
    # sorted by color, then by kind, independent of the place on the bench
    colors = ("red", "green", "blue", "yellow", "purple", "white")
    order = sorted(range(len(names)), key=lambda k: (colors.index(names[k].split()[0]), names[k].split()[1]))
    assert len({names[k].split()[0] for k in order}) < len(order)
    assert said(order, (order[1],), hand=False) == "see " + ", ".join(
        f"the {names[k]}" + (" cut" if k == order[1] else "") for k in order
    )


def test_image_caption_tool_on_thing_names_step():
    for number in range(4):
        _, plan, moments = image_caption_episode(3, number)
        for time in moments:
            now = symbolic_observer_sight(plan, time)
            if now.touched is not None and now.touched < len(plan.assignment.things):
                verb = {"cloth": "wipe", "knife": "cut", "bowl": "cover"}[str(now.held)]
                job = plan.assignment.find(now.touched, verb)
                assert image_caption(plan, now).endswith(f": S{job + 1}" if job is not None else "")
            assert sum(word in image_caption(plan, now).replace(":", "").split() for word in ("up", "down")) == now.hand


@pytest.mark.integration
def test_image_caption_videos_match_captions(tmp_path):
    data = make_image_captions(tmp_path / "captions", 5, 2)
    again = make_image_captions(tmp_path / "again", 5, 2)
    assert data.digest == again.digest
    for number, episode in enumerate(data.episodes("train")):
        expected, plan, moments = image_caption_episode(5, number)
        assert episode == expected
        assert [u.text for u in episode.utterances()] == [
            image_caption(plan, symbolic_observer_sight(plan, time)) for time in moments
        ]
        frames = list(Dataset.open(tmp_path / "captions").frame_source(episode, FrameFormat(160)).frames(0, FRAMES))
        shown = [np.asarray(render_picture(plan, time), dtype=float) for time in moments]
        # each decoded frame is most similar to its own picture
        for k, frame in enumerate(frames):
            distributed = [np.abs(frame.astype(float) - other).mean() for other in shown]
            assert distributed[k] == min(distributed)
            assert Image.fromarray(frame).size == (160, 160)


def test_image_caption_map_by_hand(monkeypatch):
    """4 x 4 cells; a thing needs 100 pixels, and the hand has precedence over things below it."""
    plan = generate_workbench_video(0, "train", 0)[1]
    first, second = (f"{look.kind} {look.color}" for look in plan.assignment.looks[:2])
    numbers = np.zeros((160, 160), dtype=np.uint8)
    numbers[0:9, 0:11] = shape_item_number(plan, 0)  # 99 pixels
    numbers[0:10, 40:50] = shape_item_number(plan, 0)
    numbers[0:40, 80:120] = HAND_ID
    numbers[30:40, 80:90] = shape_item_number(plan, 1)
    numbers[0:40, 120:160] = shape_item_number(plan, 1)
    numbers[40:80, 0:40] = shape_item_number(plan, "cloth")
    numbers[40:60, 0:30] = shape_item_number(plan, 0)
    numbers[150:160, 150:160] = HAND_ID
    monkeypatch.setattr(image_captions, "render_numbered_picture", lambda plan, scene: numbers)
    monkeypatch.setattr(image_captions, "symbolic_observer_sight", lambda plan, time: NOTHING)
    expected = ["-", first, "hand", second, "cloth", *["-"] * 10, "hand"]
    assert image_captions.image_caption_map(plan, 5.0) == ", ".join(expected)


#: an empty hand over an empty place
NOTHING = Sight(frozenset({0, 1}), frozenset(), True, False, None, None, "")


def test_image_caption_map_precedence_of_hand(monkeypatch):
    """Order of precedence: the thing under a tool, the tool, the held thing, the hand, things on
    the bench.
    """
    plan = generate_workbench_video(0, "train", 0)[1]
    first, second = (f"{look.kind} {look.color}" for look in plan.assignment.looks[:2])
    numbers = np.zeros((160, 160), dtype=np.uint8)
    numbers[0:40, 0:40] = shape_item_number(plan, 1)  # placed there
    numbers[0:40, 40:80] = shape_item_number(plan, "cloth")
    numbers[0:10, 40:50] = shape_item_number(plan, 0)  # under the cloth
    numbers[0:40, 80:120] = shape_item_number(plan, 1)
    numbers[0:12, 80:120] = shape_item_number(plan, "cloth")
    numbers[0:40, 120:160] = HAND_ID
    numbers[40:80, 0:40] = shape_item_number(plan, "knife")  # on the bench
    numbers[40:80, 40:80] = HAND_ID
    numbers[40:50, 40:50] = shape_item_number(plan, "cloth")
    monkeypatch.setattr(image_captions, "render_numbered_picture", lambda plan, scene: numbers)
    seen = Sight(frozenset({0, 1}), frozenset(), True, False, "cloth", 0, "")
    monkeypatch.setattr(image_captions, "symbolic_observer_sight", lambda plan, time: seen)
    expected = [second, f"{first} hold", "cloth hold", "hand", "knife", "cloth hold", *["-"] * 10]
    assert image_captions.image_caption_map(plan, 5.0) == ", ".join(expected)


def test_image_caption_maps_are_of_crowded_pictures():
    episode, plan, moments = image_caption_episode(5, 1, tells="map")
    assert len(plan.assignment.clutter) == MAP_CLUTTER
    assert episode.task.steps == ()
    assert [u.text for u in episode.utterances()] == [image_captions.image_caption_map(plan, time) for time in moments]
    places = [u.text.split(", ") for u in episode.utterances()]
    assert {len(parts) for parts in places} == {16}
    words = {word for parts in places for part in parts for word in part.split()}
    assert {look.kind for look in plan.assignment.looks} & words
    assert {"hand", "hold", "-"} <= words


def test_image_caption_held_thing_is_plain_words():
    hand, _, moments = image_caption_episode(5, 1, tells="hand")
    held, _, same = image_caption_episode(5, 1, tells="held")
    assert moments == same
    for whole, bare in zip(hand.utterances(), held.utterances(), strict=True):
        words = [word for word in whole.text.split() if word not in ("hold", "the", "at")]
        assert bare.text.split() == (["-"] if whole.text.startswith("see") else words)
    assert any("up" in utterance.text.split() for utterance in held.utterances())


def test_image_caption_hand_episodes_have_no_steps():
    """The same pictures without steps in the prompt or the caption, and without a state."""
    whole, _, moments = image_caption_episode(5, 1)
    hand, _, same = image_caption_episode(5, 1, tells="hand")
    assert moments == same
    assert hand.task.steps == ()
    assert [u.text.partition(":")[0] for u in whole.utterances()] == [u.text for u in hand.utterances()]
    assert [event.kind for event in hand.events] == ["assistant"] * FRAMES


def test_image_caption_step_is_in_progress_in_picture():
    episode, plan, moments = image_caption_episode(5, 1)
    shown: set[str] = set()
    for frame, (time, utterance) in enumerate(zip(moments, episode.utterances(), strict=True)):
        now = set(utterance.text.partition(": ")[2].split())
        shown |= now
        state = episode.state_at(frame)
        for step in episode.task.step_ids:
            expected = "in_progress" if step in now else "completed" if step in shown else "not_started"
            assert state[step] == expected, (time, step)
    assert shown, plan


def test_make_image_captions_existing_folder_or_level_raises(tmp_path):
    with pytest.raises(UserError, match="already exists"):
        make_image_captions(tmp_path, 0, 1)
    with pytest.raises(UserError, match="level"):
        make_image_captions(tmp_path / "new", 0, 1, level="harder")
    with pytest.raises(UserError, match="tells"):
        make_image_captions(tmp_path / "new", 0, 1, tells="all")
    assert not (tmp_path / "new").exists()

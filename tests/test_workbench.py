"""The world: deterministic, legal, and every transition's evidence in sight by its decision frame."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from prospect_core.data.dataset import statistics
from prospect_core.errors import UserError
from prospect_core.timeline import frame_ceil
from prospect_core.workbench.dialogue import USER_TYPES
from prospect_core.workbench.generate import generate, make_episodes
from prospect_core.workbench.physics import Act, Plan, plan, scene_at
from prospect_core.workbench.render import picture, write_video
from prospect_core.workbench.tasks import sample_task


@pytest.fixture(scope="module")
def many():
    return [make_episodes(0, "train", number) for number in range(40)]


def test_same_seed_same_rows_and_same_pixels(world, tmp_path):
    again = generate(tmp_path / "again", 7, {"train": 2, "val": 1, "test": 2}, workers=1)
    for split in world.splits:
        assert (again.root / f"{split}.jsonl").read_bytes() == (world.root / f"{split}.jsonl").read_bytes()
    one, two = (next(d.episodes("val")) for d in (world, again))
    for a, b in zip(
        world.frame_source(one, 48).frames(0, one.end_frame),
        again.frame_source(two, 48).frames(0, two.end_frame),
        strict=True,
    ):
        assert np.array_equal(a, b)


def test_the_encoder_gives_the_same_bytes_every_time(many, tmp_path):
    """x264's macroblock tree differed from run to run on processors with AVX-512."""
    for number in range(6):
        write_video(many[0][1], tmp_path / f"{number}.mp4")
    assert len({(tmp_path / f"{number}.mp4").read_bytes() for number in range(6)}) == 1


def test_other_seeds_and_splits_share_no_video(many):
    tasks = [plan_.task for _, plan_ in many]
    tasks += [make_episodes(1, "train", k)[1].task for k in range(40)]
    tasks += [make_episodes(0, "test", k)[1].task for k in range(40)]
    assert len(set(tasks)) == len(tasks)


def test_an_existing_folder_is_never_overwritten(world):
    with pytest.raises(UserError, match="exists already"):
        generate(world.root, 7, {"val": 1})


def test_a_failed_generation_leaves_nothing(tmp_path, monkeypatch):
    import prospect_core.workbench.generate as module

    def fail(*args, **kwargs):
        raise RuntimeError("disk full")

    monkeypatch.setattr(module, "write_dataset", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        generate(tmp_path / "set", 1, {"val": 1}, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_three_user_types_share_a_video_and_its_transitions(many):
    for episodes, _ in many:
        assert tuple(e.user_type for e in episodes) == USER_TYPES
        assert len({tuple(e.transitions()) for e in episodes}) == 1
        assert len(episodes[0].user_turns()) == 1 <= len(episodes[2].user_turns())
        assert set(episodes[0].state_at(episodes[0].end_frame - 1).states) == {"completed"}


def test_the_world_has_disorder_mistakes_and_undo(many):
    orders = [[s for _, s, c in e[0].transitions() if c == "complete"] for e, _ in many]
    assert 8 < sum(order != sorted(order) for order in orders) < 36
    kinds = Counter(act.kind for _, p in many for act in p.acts)
    assert min(kinds[k] for k in ("put", "wrong", "take_out", "wander")) >= 5


def test_speaking_is_rare(world):
    assert 2 <= statistics(world, "train")["speaking frames (%)"] <= 6.5


def test_answers_are_what_the_state_says(many):
    seen = Counter()
    for episodes, _ in many:
        for episode in episodes:
            replies = {u.frame: u.text for u in episode.utterances()}
            for frame, event in episode.user_turns():
                if not event.question:
                    continue
                reply = replies[frame + 1].lower()
                assert any(value in reply for value in event.accepted), (event.text, reply)
                seen[event.question, event.accepted[0] if event.question == "past" else ""] += 1
                if event.question == "remainder":
                    left = sum(s != "completed" for s in episode.state_at(frame).states)
                    assert event.accepted[1] == str(left)
    assert min(seen.values()) >= 10


def without(plan_: Plan, number: int) -> Plan:
    """The same video in which one act does not happen: the hands come and go empty."""
    act = plan_.acts[number]
    ghost = Act("wander", -1, act.begin, act.grasp, act.release, act.end, ((80.0, 70.0), (80.0, 60.0)))
    acts = (*plan_.acts[:number], ghost, *plan_.acts[number + 1 :])
    return Plan(plan_.task, acts, plan_.slots, plan_.duration, plan_.sway, plan_.light)


def test_evidence_is_in_the_frames_up_to_the_decision_frame(many):
    """With and without the act, the picture at the decision frame differs; before the act nothing does."""
    for _, plan_ in many[:8]:
        for number, act in enumerate(plan_.acts):
            if act.kind not in ("put", "take_out"):
                continue
            other = without(plan_, number)
            for moment in (act.grasp, act.release):
                seen = frame_ceil(moment, 2) / 2
                a, b = (np.asarray(picture(p, seen), dtype=int) for p in (plan_, other))
                assert np.abs(a - b).max() > 60
            before = frame_ceil(act.begin, 2) / 2 - 0.5
            assert np.array_equal(np.asarray(picture(plan_, before)), np.asarray(picture(other, before)))


def test_a_thing_that_was_put_away_is_out_of_sight(many):
    _, plan_ = many[0]
    act = next(a for a in plan_.acts if a.kind == "put")
    assert act.thing in dict(scene_at(plan_, act.grasp - 0.1).things)
    assert scene_at(plan_, act.grasp + 0.1).held == act.thing
    assert act.thing not in dict(scene_at(plan_, act.release).things)


def test_plans_are_well_formed():
    for seed in range(200):
        rng = random.Random(seed)
        video = plan(rng, sample_task(rng))
        edges = [t for a in video.acts for t in (a.begin, a.grasp, a.release, a.end)]
        assert edges == sorted(edges)
        assert edges[-1] < video.duration < 240
        assert len(set(video.slots)) == len(video.task.things) + len(video.task.others)

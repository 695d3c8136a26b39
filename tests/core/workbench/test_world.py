"""The workbench: deterministic, legal, balanced, and with visible evidence by each decision frame."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from prospect_core.data.stats import compute_dataset_stats
from prospect_core.timeline import frame_ceil
from prospect_core.util.errors import UserError
from prospect_core.util.json_io import dump_json
from prospect_core.workbench.dialogue.phrases import PHRASES, number_phrase
from prospect_core.workbench.dialogue.questions import _due
from prospect_core.workbench.dialogue.writer import (
    USER_TYPES,
    dialogue_writer_progress_summary,
    dialogue_writer_reminders,
)
from prospect_core.workbench.generate import WORLD_VERSION, generate_workbench_video, regenerate_workbench_plan
from prospect_core.workbench.rendering.pictures import picture_pixels_by_item, render_picture
from prospect_core.workbench.rendering.shapes import shape_item_number
from prospect_core.workbench.world.actor import act_out
from prospect_core.workbench.world.levels import LEVELS, SPLITS
from prospect_core.workbench.world.scene import REST_Y, Key, Plan, scene_at
from prospect_core.workbench.world.tasks import CHAINS, KINDS, UNSEEN_PAIRS, sample_world_task

#: visible effect of each (verb, change); without an entry, a tool is down on the thing
EFFECT = {
    ("put", "start"): "take", ("put", "reopen"): "take", ("put", "complete"): "away",
    ("fetch", "start"): "take", ("fetch", "complete"): "lay",
    ("cut", "complete"): "cut", ("cover", "complete"): "cover", ("cover", "reopen"): "uncover",
}  # fmt: skip


@pytest.fixture(scope="module")
def many():
    return [generate_workbench_video(0, "train", number) for number in range(60)]


@pytest.fixture(scope="module")
def test_videos():
    return [generate_workbench_video(0, "test", number) for number in range(60)]


def test_world_seeds_and_splits_share_no_video(many, test_videos):
    tasks = [plan.assignment for _, plan in many + test_videos]
    tasks += [generate_workbench_video(1, "train", k)[1].assignment for k in range(60)]
    assert len(set(tasks)) == len(tasks)


def test_world_episode_regenerates_plan(many):
    episodes, plan = many[3]
    assert regenerate_workbench_plan(episodes[1]) == plan
    easy, plan = generate_workbench_video(2, "val", 0, "easy")
    assert regenerate_workbench_plan(easy[0]) == plan
    alike, plan = generate_workbench_video(2, "val", 0, "easy", alike=True)
    assert regenerate_workbench_plan(alike[0]) == plan
    for stranger in (replace(episodes[0], dataset="tea"), replace(episodes[0], events=episodes[0].events[1:])):
        with pytest.raises(UserError, match="not a workbench episode of this version"):
            regenerate_workbench_plan(stranger)


def test_world_user_types_share_transitions(many):
    for episodes, _ in many:
        assert tuple(e.user_type for e in episodes) == USER_TYPES
        assert len({tuple(e.transitions()) for e in episodes}) == 1
        assert len(episodes[0].user_turns()) == 1 < len(episodes[2].user_turns())


def test_world_tasks_follow_grammar():
    rng = random.Random(1)
    for _ in range(300):
        steps = rng.randint(4, 12)
        task = sample_world_task(rng, steps, 2)
        assert len(task.jobs) == steps
        assert len({thing.name for thing in task.looks}) == len(task.looks)
        assert len({task.phrase(k) for k in range(steps)}) == steps
        for thing in range(len(task.things)):
            assert tuple(task.jobs[k].verb for k in task.chain(thing)) in CHAINS


@pytest.mark.integration
def test_world_only_ood_split_has_unseen_pairs():
    def parts(split):
        for number in range(40):
            task = generate_workbench_video(0, split, number)[1].assignment
            yield (
                sum(t.unseen for t in task.things),
                {(j.verb, task.things[j.thing].kind) for j in task.jobs},
                len(task.jobs),
            )

    for split in ("train", "val", "test", "test_hard"):
        for unseen, pairs, steps in parts(split):
            assert unseen == 0
            assert not pairs & UNSEEN_PAIRS
            assert 4 <= steps <= 12
    found = list(parts("test_ood"))
    assert all(unseen >= 2 for unseen, _, _ in found)
    assert any(pairs & UNSEEN_PAIRS for _, pairs, _ in found)
    assert min(steps for *_, steps in found) >= 10
    assert sum(t.unseen for t in sample_world_task(random.Random(0), 6).things) == 0
    assert len(KINDS) == 6


def test_world_has_disorder_mistakes_and_skips(many):
    orders = [[s for _, s, c in e[0].transitions() if c == "complete"] for e, _ in many]
    assert 20 < sum(order != sorted(order, key=lambda s: int(s[1:])) for order in orders) < 60
    kinds = Counter(h.kind for _, p in many for h in p.happenings)
    assert min(kinds[k] for k in ("wrong_thing", "wrong_place", "aside", "reopen")) >= 10
    ends = [set(e[0].state_at(e[0].end_frame - 1).states) for e, _ in many]
    assert 8 < sum(states != {"completed"} for states in ends) < 30
    assert any(_interleaves(e[0]) for e, _ in many)


def _interleaves(episode):
    return any(state.states.count("in_progress") > 1 for _, state in episode.states_by_change())


def test_world_speaking_is_rare(many, test_videos, world):
    for videos in (many, test_videos):
        for k, kind in enumerate(USER_TYPES):
            said = sum(len(e[k].utterances()) for e, _ in videos)
            assert 0.02 <= said / sum(e[k].num_frames for e, _ in videos) <= 0.06, kind
    assert 2 <= compute_dataset_stats(world, "train")["speaking frames (%)"] <= 7


def test_world_has_every_origin_label(test_videos):
    labels = {event.labels for e, _ in test_videos for episode in e for event in episode.events}
    kinds = {part for label in labels if label for part in label.split("|")[1].split(",")}
    assert kinds == {"instruction", "correction", "info_sharing", "feedback", "other"}
    assert {label.split("|")[0] for label in labels if label} == {"initiative", "responsive"}


def test_world_test_splits_have_own_paraphrases(many, test_videos):
    held_out = [form.split("{")[0] for _, unseen in PHRASES.values() for form in unseen]
    held_out = [text for text in held_out if len(text) > 10]
    seen = {form.split("{")[0] for forms, _ in PHRASES.values() for form in forms}
    assert not seen & set(held_out)
    assert all(len(seen) >= 2 for seen, _ in PHRASES.values())

    def uses(videos):
        texts = [x.text for e, _ in videos for episode in e for x in episode.events]
        return sum(text.startswith(tuple(held_out)) for text in texts)

    assert uses(many) == 0 < 100 < uses(test_videos)


def test_world_questions_are_balanced(test_videos):
    events = [x for e, _ in test_videos for episode in e for _, x in episode.user_turns() if x.question]
    kinds = Counter(x.question for x in events)
    assert all(abs(kinds[k] / len(events) - 1 / 3) <= 0.05 for k in ("present", "past", "remainder"))
    answers = Counter(x.accepted[0] for x in events if x.accepted[0] in ("yes", "no"))
    assert abs(answers["yes"] / sum(answers.values()) - 0.5) <= 0.05
    first = [x for x in events if x.question == "past" and x.accepted[0] not in ("yes", "no")]
    mentioned_first = sum(x.text.index(x.accepted[0]) < x.text.index(" or ") for x in first)
    assert len(first) >= 8
    assert 0.2 < mentioned_first / len(first) < 0.8
    left = Counter(x.accepted[0] for x in events if x.question == "remainder")
    assert max(left.values()) / sum(left.values()) <= 0.25


def test_world_list_position_does_not_answer_questions(many, test_videos):
    """People mostly work from top to bottom: without balancing, the position in the list answers
    more than half.
    """
    agrees = []
    for episodes, plan in many + test_videos:
        for episode in episodes:
            for _, event in episode.user_turns():
                if event.question == "past" and event.accepted[0] in ("yes", "no"):
                    likely = _due(plan, int(event.slots["steps"][1:]) - 1) < 0.5
                    agrees.append(likely == (event.accepted[0] == "yes"))
    assert len(agrees) > 80
    assert abs(sum(agrees) / len(agrees) - 0.5) <= 0.1


def test_world_questions_have_own_pauses(test_videos):
    """Rounding moved a time just outside its pause, and a second question into the same one."""
    for episodes, plan in test_videos:
        for episode in episodes:
            times = [x.time for x in episode.events if x.kind == "user" and x.time > 3]
            for begin, end in plan.quiet:
                assert sum(begin <= time <= end for time in times) <= 1


def test_world_answers_equal_state(many, test_videos):
    for episodes, plan in many + test_videos:
        for episode in episodes:
            replies = {u.frame: u.text for u in episode.utterances()}
            for frame, event in episode.user_turns():
                if not event.question:
                    continue
                reply = replies[frame + 1].lower()
                assert any(value in reply for value in event.accepted), (event.text, reply)
                state = episode.state_at(frame)
                if event.question == "remainder":
                    assert event.accepted[1] == str(sum(s != "completed" for s in state.states))
                elif event.question == "present":
                    following = next(k for k, s in enumerate(state.states) if s != "completed")
                    assert event.accepted == (plan.assignment.phrase(following),)
                elif event.accepted[0] in ("yes", "no"):
                    assert (state[event.slots["steps"]] == "completed") == (event.accepted[0] == "yes")
                elif event.question == "past":
                    order = [step for step, _ in state.completions]
                    first = min(event.slots["steps"].split(), key=order.index)
                    job = plan.assignment.jobs[int(first[1:]) - 1]
                    assert plan.assignment.things[job.thing].name == event.accepted[0]


def test_world_summaries_have_only_known_facts(many):
    episode, plan = many[0][0][2], many[0][1]
    last = [e for e in episode.events if e.kind == "assistant"][-1]
    state = episode.state_at(episode.end_frame - 1)
    assert last.progress == dialogue_writer_progress_summary(plan.assignment, state)
    phrases = [plan.assignment.phrase(int(step[1:]) - 1) for step, _ in state.completions]
    assert "; ".join(phrases) in last.progress
    assert not any(c.isdigit() for c in last.progress)
    assert [number_phrase(n) for n in (0, 7, 20, 31)] == ["none", "seven", "twenty", "thirty-one"]


def test_world_reminders_do_not_depend_on_later_questions(many):
    for episodes, plan in many:
        for begin, end in plan.quiet[1:]:
            for event in episodes[2].events:
                assert event.kind != "user" or not begin + 7.5 < event.time <= end


def test_world_order_questions_identify_steps(many, test_videos):
    """Two names did not identify the steps: a step that is done twice has two times."""
    for episodes, plan in many + test_videos:
        redone = {f"S{h.job + 1}" for h in plan.happenings if h.kind == "reopen"}
        for _, event in episodes[2].user_turns():
            steps = event.slots.get("steps", "").split()
            if len(steps) == 2:
                assert all(plan.assignment.phrase(int(step[1:]) - 1) in event.text for step in steps)
                assert not redone & set(steps)


def test_world_reminders_follow_eight_quiet_seconds(many):
    plan = replace(many[0][1], quiet=((0.0, 7.0), (20.0, 32.0), (40.0, 46.0), (60.0, 75.0)))
    assert dialogue_writer_reminders(plan, []) == [28.0, 68.0]
    assert dialogue_writer_reminders(plan, [62.0, 23.5]) == [70.5]


def without(plan: Plan, job: int, change: str, time: float) -> Plan:
    """Return the same video with one act hidden: its effect is missing, or the tool stays next to
    the thing.
    """
    todo = plan.assignment.jobs[job]
    kind = EFFECT.get((todo.verb, change))
    if kind is not None:
        item = "bowl" if todo.verb == "cover" and kind in ("take", "lay") else todo.thing
        found = [e for e in plan.effects if e.kind == kind and e.item == item and time - 0.7 <= e.time <= time]
        assert found, (todo, change, time)
        return replace(plan, effects=tuple(e for e in plan.effects if e != found[-1]))
    keys = [
        Key(k.time, k.x + 60, k.y, k.z) if time - 1.5 <= k.time <= time + 9 and k.y < REST_Y else k for k in plan.hand
    ]
    return replace(plan, hand=tuple(keys))


def test_world_evidence_is_visible_by_decision_frame(many):
    """With and without the act, a picture up to the decision frame differs; no picture before the
    act does.
    """
    seen = Counter()
    for _, plan in many[:12]:
        for h in plan.happenings:
            if h.kind not in ("start", "complete", "reopen"):
                continue
            verb = plan.assignment.jobs[h.job].verb
            if (verb, h.kind) == ("wipe", "complete"):
                continue  # the evidence is the time that the cloth was down: see the next test
            other = without(plan, h.job, h.kind, h.time)
            frame = frame_ceil(h.time, 2)
            a, b = (np.asarray(render_picture(p, frame / 2), dtype=int) for p in (plan, other))
            assert (np.abs(a - b).max(axis=-1) > 25).sum() >= 20, (verb, h)
            before = frame / 2 - 3.5
            assert np.array_equal(np.asarray(render_picture(plan, before)), np.asarray(render_picture(other, before)))
            seen[verb, h.kind] += 1
    assert len(seen) >= 10


def test_world_wipe_is_done_if_long_enough(many):
    def rubs(plan, job):
        """Return the seconds that the cloth is down at each visit, and whether that completed the
        step.
        """
        out = []
        for h in plan.happenings:
            if h.job == job and h.kind in ("complete", "aside"):
                times = np.arange(h.time - 9, h.time, 0.1)
                down = [
                    t for t in times if (s := scene_at(plan, t)).stage.held == "cloth" and s.hand and s.hand[2] == 0
                ]
                out.append((len(down) / 10, h.kind == "complete"))
        return out

    found = [r for _, p in many for k, job in enumerate(p.assignment.jobs) if job.verb == "wipe" for r in rubs(p, k)]
    assert {done for _, done in found} == {True, False}
    assert max(s for s, done in found if not done) < 2.5 < 3.4 < min(s for s, done in found if done)


def test_world_hidden_things_are_not_visible(many):
    hidden = Counter()
    for _, plan in many[:20]:
        things = len(plan.assignment.looks)
        for time in np.arange(0, plan.duration, 2.5):
            scene = scene_at(plan, time)
            seen = picture_pixels_by_item(plan, scene)
            for k in range(things):
                covered = k in scene.stage.covered
                if scene.stage.where[k] not in ("slot", "hand") or covered:
                    assert seen[shape_item_number(plan, k)] == 0
                    hidden["covered" if covered else scene.stage.where[k]] += 1
    assert {"covered", "drawer", "box", "basket", "bin"} <= set(hidden)


def test_world_level_changes_pictures():
    def spread(level):
        plans = [generate_workbench_video(0, "val", k, level)[1] for k in range(8)]
        cameras = [[scene_at(p, t).camera.x for t in np.arange(0, p.duration, 0.5)] for p in plans]
        moved = np.mean([np.abs(np.diff(xs)).mean() for xs in cameras])
        return len(plans[0].look.jugs), np.mean([len(p.assignment.clutter) for p in plans]), moved

    easy, normal, hard = (spread(level) for level in ("easy", "normal", "hard"))
    assert easy[0] < normal[0] < hard[0]
    assert easy[1] < normal[1] < hard[1]
    assert normal[2] < hard[2]
    assert set(LEVELS) == {"easy", "normal", "hard"}
    assert SPLITS["test_hard"].level == "hard"


def test_world_long_videos_have_stated_length():
    for number in range(2):
        _, plan = generate_workbench_video(0, "test_long", number)
        assert SPLITS["test_long"].minutes[number] <= plan.duration / 60 < SPLITS["test_long"].minutes[number] + 3


def test_world_plans_are_well_formed():
    for seed in range(120):
        rng = random.Random(seed)
        level = rng.choice(list(LEVELS.values()))
        plan = act_out(rng, sample_world_task(rng, rng.randint(4, 12), rng.randint(*level.clutter)), level)
        for times in plan.times:
            assert all(a <= b for a, b in pairwise(times))
        assert all(a.time < b.time for a, b in pairwise(plan.hand))
        assert len(set(plan.slots)) == len(plan.slots) == len(plan.assignment.looks) + 3
        assert all(begin < end for begin, end in plan.quiet)
        assert plan.quiet[-1][1] == plan.duration


#: sha256 of the annotation of the first videos of each split and of some pictures, as measured in reports/workbench
FROZEN = "4ec85b7653218c19af9e9b04938deea2be4830afceaa379f3ea072357ae0d147"


def test_world_is_frozen():
    """A change of any seeded output needs another WORLD_VERSION and new figures."""
    digest = hashlib.sha256()
    for split in ("train", "val", "test", "test_hard", "test_ood"):
        for number in range(3):
            for episode in generate_workbench_video(0, split, number)[0]:
                digest.update(dump_json(episode).encode())
        plan = generate_workbench_video(0, split, 1)[1]
        digest.update(b"".join(render_picture(plan, time).tobytes() for time in (3.0, 20.0, 40.0)))
    assert (WORLD_VERSION, digest.hexdigest()) == ("2", FROZEN)

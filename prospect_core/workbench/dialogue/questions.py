"""Questions of the user about present, past and remainder that the picture does not answer.

The subject of a question about the past has left no trace in the current picture. Whether the
answer is yes or no, and whether it agrees with the order of the list, alternates systematically:
neither the picture nor the list predicts it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product

from prospect_core.workbench.world.scene import Plan, scene_at

KINDS = ("present", "past", "remainder")
#: seconds of video per round of questions
ROUND_S = 240
GOLDEN = 0.6180339887
_REMARKS = ("thanks", "sigh")
#: balanced variants of questions about the past: (form, whether the answer is yes or the thing
#: mentioned first, whether it is as expected)
_PAST = tuple(product(("ask_done", "ask_done", "ask_first"), (True, False), (True, False)))


@dataclass(frozen=True)
class Ask:
    """A question of the user, or a remark.

    Attributes:
        time: Time in seconds.
        intent: Key of its phrase.
        kind: One of `KINDS`; empty for a remark.
        jobs: Numbers of the jobs that it is about.
    """

    time: float
    intent: str
    kind: str = ""
    jobs: tuple[int, ...] = ()


def ask_plan_questions(rng: random.Random, plan: Plan, user_type: str, number: int) -> list[Ask]:
    """Place the user's questions and remarks in a video, each in a separate pause.

    Args:
        rng: Random generator.
        plan: Plan of the video.
        user_type: Type of the user.
        number: Number of the video, by which kinds and answers alternate.
    """
    if user_type == "no_talk":
        return []
    # before a reminder would be due: a reminder must not depend on later questions
    pauses = [(begin + 1.0, min(end - 1.2, begin + 7.0)) for begin, end in plan.quiet[1:] if end - begin > 2.4]
    rng.shuffle(pauses)
    rounds = max(1, round(plan.duration / ROUND_S))
    out: list[Ask] = []
    for turn in range(number * rounds, (number + 1) * rounds):
        # past first, because few moments allow it
        kinds = [KINDS[turn % 3]] if user_type == "talk_some" else sorted(KINDS, key=lambda kind: kind != "past")
        for kind in kinds:
            ask = next(_asks(rng, plan, kind, pauses, turn // 3 if user_type == "talk_some" else turn), None)
            if ask is not None:
                out.append(ask)
                pauses = [p for p in pauses if not p[0] - 0.1 < ask.time < p[1] + 0.1]
    if user_type == "talk_more" and pauses:
        time = _moment(rng, pauses[0])
        anything_done = "completed" in _states(plan, time)[0]
        out.append(Ask(time, _REMARKS[number % 2] if anything_done else _REMARKS[0]))
    return out


def _asks(rng: random.Random, plan: Plan, kind: str, pauses: list[tuple[float, float]], turn: int) -> Iterator[Ask]:
    """Yield possible questions of a kind, the wanted variant first."""
    open_pauses = [p for p in pauses if any(h.time > p[1] for h in plan.happenings if h.kind == "complete")]
    if kind == "present":
        open_pauses = [pause for pause in open_pauses if _left(plan, pause[0])]
        yield from (Ask(_moment(rng, pause), "ask_present", kind) for pause in open_pauses)
        return
    if kind == "remainder":
        # balances the number of remaining steps over videos, although few pauses have
        # many
        wanted_left = 1 + int((turn * GOLDEN % 1) * 10)
        nearest = sorted(open_pauses, key=lambda pause: abs(_left(plan, pause[0]) - wanted_left))
        yield from (Ask(_moment(rng, pause), "ask_left", kind) for pause in nearest)
        return
    deck = _deck(turn // len(_PAST))
    wanted, answer, likely = deck[turn % len(_PAST)]
    other = "ask_first" if wanted == "ask_done" else "ask_done"
    for form, expected in ((wanted, likely), (other, likely), (wanted, not likely), (other, not likely)):
        for pause in pauses:
            time = _moment(rng, pause)
            jobs = (_done if form == "ask_done" else _first)(plan, time, answer, expected)
            if jobs:
                yield Ask(time, form, kind, rng.choice(jobs))


def _done(plan: Plan, time: float, answer: bool, expected: bool) -> list[tuple[int, ...]]:
    """Return jobs that are done or not, with hidden state, as the list suggests or against it."""
    state, _ = _states(plan, time)
    wanted = "completed" if answer else "not_started"
    return [(k,) for k in _hidden(plan, time) if state[k] == wanted and (_due(plan, k) < 0.5) == (answer == expected)]


def _first(plan: Plan, time: float, answer: bool, expected: bool) -> list[tuple[int, ...]]:
    """Return pairs of jobs of one verb, done once, in order of mention: first or second done earlier.

    They agree with the list or contradict it.
    """
    _, order = _states(plan, time)
    jobs = plan.assignment.jobs
    undone = {h.job for h in plan.happenings if h.kind == "reopen"}
    once = [k for k in order if k not in undone]
    pairs = [(a, b) for a, b in permutations(once, 2) if jobs[a].verb == jobs[b].verb]
    return [(a, b) for a, b in pairs if (order[a] < order[b]) == answer and (a < b) == (answer == expected)]


def _due(plan: Plan, job: int) -> float:
    """Return the expected time of a job as a share of the task, by its place in the list and its chain."""
    task = plan.assignment
    return job / len(task.jobs) + 0.2 * task.chain(task.jobs[job].thing).index(job)


def _hidden(plan: Plan, time: float) -> list[int]:
    """Return jobs whose state the picture does not show.

    A wipe leaves no trace; any other job shows by its thing or the bowl over it.
    """
    from prospect_core.workbench.rendering.pictures import picture_pixels_by_item
    from prospect_core.workbench.rendering.shapes import shape_item_number

    scene = scene_at(plan, time)
    seen = picture_pixels_by_item(plan, scene)
    shows = {k for k in range(len(plan.assignment.looks)) if seen[shape_item_number(plan, k)]} | scene.stage.covered
    return [k for k, job in enumerate(plan.assignment.jobs) if job.verb == "wipe" or job.thing not in shows]


def _left(plan: Plan, time: float) -> int:
    return sum(state != "completed" for state in _states(plan, time)[0])


def _states(plan: Plan, time: float) -> tuple[list[str], dict[int, float]]:
    states = ["not_started"] * len(plan.assignment.jobs)
    completed: dict[int, float] = {}
    for happening in plan.happenings:
        if happening.time > time or happening.job < 0:
            continue
        if happening.kind in ("start", "reopen"):
            states[happening.job] = "in_progress"
            completed.pop(happening.job, None)
        elif happening.kind == "complete":
            states[happening.job] = "completed"
            completed[happening.job] = happening.time
    return states, completed


@cache
def _deck(number: int) -> tuple[tuple[str, bool, bool], ...]:
    deck = list(_PAST)
    random.Random(f"deck/{number}").shuffle(deck)
    return tuple(deck)


def _moment(rng: random.Random, pause: tuple[float, float]) -> float:
    return round(rng.uniform(*pause), 1)

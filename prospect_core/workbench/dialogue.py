"""What is said: reference events of one video for one type of user, with slots and accepted answers.

    python -c "import random; from prospect_core.workbench.dialogue import write_events; help(write_events)"

Three types of user: ``no_talk`` only states the goal, ``talk_some`` asks about one question, ``talk_more`` about three.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from prospect_core.timeline import DialogState, Event, sort_events
from prospect_core.workbench.physics import Plan
from prospect_core.workbench.tasks import Thing

USER_TYPES = ("no_talk", "talk_some", "talk_more")
QUESTIONS = {"no_talk": 0, "talk_some": 1, "talk_more": 3}
NUMBERS = ("none", "one", "two", "three", "four", "five", "six")

GOALS = ("I want to tidy up the table.", "Help me to tidy up the table.", "Let us tidy up the table.")
FIRST = ("Start with the {name}, put it in the {place}.", "First, put the {name} in the {place}.")
NEXT = ("Good, next put the {name} in the {place}.", "Well done, now put the {name} in the {place}.")
DONE = ("Great, everything is put away.", "Well done, that was the last one.")
WRONG = ("Stop, leave the {name} on the table.", "The {name} stays on the table.")
REOPENED = (
    "You took the {name} out, put it back in the {place}.",
    "The {name} belongs in the {place}, put it back.",
)
ASK = {
    "present": ("What should I do now?", "What comes next?"),
    "past": ("Did I already put the {name} away?", "Is the {name} put away already?"),
    "remainder": ("How many are left?", "How many things are left to do?"),
}
ANSWER_NEXT = ("Put the {name} in the {place}.", "Now the {name}, it goes in the {place}.")
ANSWER_YES = ("Yes, the {name} is put away.", "Yes, you did.")
ANSWER_NO = ("No, the {name} is still on the table.", "No, not yet.")
ANSWER_LEFT = ("{count} left.", "There are {count} left.")


def write_events(rng: random.Random, plan: Plan, user_type: str) -> tuple[Event, ...]:
    """Transitions of the plan, what the user says, and what a good assistant says, in canonical order."""
    task = plan.task.as_task()
    events: list[Event] = []
    state = DialogState.initial(task)
    asked = _ask_times(rng, plan, QUESTIONS[user_type])

    def say(time: float, options: Sequence[str], labels: str, thing: Thing | None = None, **slots: str) -> None:
        text = rng.choice(options)
        words = dict(slots)
        if thing is not None:
            slots = {"object": thing.name, **slots}
            words |= {"name": thing.name, "place": thing.place}
        text = text.format(**words)
        text = text[0].upper() + text[1:]
        events.append(Event(f"a{len(events)}", time, "assistant", text, labels=labels, slots=slots,
                            progress=_progress(plan, state, time)))  # fmt: skip

    def move(step: int, change: str, time: float) -> None:
        nonlocal state
        event = Event(f"d{len(events)}", time, "transition", step=f"S{step + 1}", change=change)  # type: ignore[arg-type]
        events.append(event)
        state = state.apply(event.step, change, time)  # type: ignore[arg-type]

    def instruct(time: float, options: Sequence[str], labels: str) -> None:
        following = next_step(state)
        if following is None:
            say(time, DONE, "initiative|feedback")
        else:
            thing = plan.task.things[following]
            say(time, options, labels, thing, step=f"S{following + 1}", place=thing.place)

    hello = round(rng.uniform(0.6, 2.4), 1)
    events.append(Event("u0", hello, "user", rng.choice(GOALS)))
    instruct(round(hello + 0.5, 1), FIRST, "responsive|instruction")
    for act in plan.acts:
        while asked and asked[0] < act.grasp:
            _question(rng, events, plan, task, state, asked.pop(0), say, instruct)
        if act.kind == "wrong":
            say(act.grasp, WRONG, "initiative|correction", plan.task.others[act.thing - len(plan.task.things)])
        elif act.kind == "put":
            move(act.thing, "start", act.grasp)
            move(act.thing, "complete", act.release)
            instruct(act.release, NEXT, "initiative|instruction,feedback")
        elif act.kind == "take_out":
            thing = plan.task.things[act.thing]
            move(act.thing, "reopen", act.grasp)
            say(
                act.grasp,
                REOPENED,
                "initiative|correction",
                thing,
                step=f"S{act.thing + 1}",
                place=thing.place,
            )
            move(act.thing, "complete", act.release)
            instruct(act.release, NEXT, "initiative|instruction,feedback")
    return sort_events(events)


def _question(rng, events, plan, task, state, time, say, instruct) -> None:
    """Append one user question and its answer, with the values that answer it."""
    kind = rng.choice(("present", "past", "past", "remainder"))
    done = [k for k in range(len(task.steps)) if state.states[k] == "completed"]
    open_ = [k for k in range(len(task.steps)) if state.states[k] == "not_started"]
    if not open_ or (kind == "past" and not done):
        kind = "remainder"
    reply = round(time + 0.5, 1)
    number = len(events)
    if kind == "past":
        yes = rng.random() < 0.5
        thing = plan.task.things[rng.choice(done if yes else open_)]
        events.append(_user(number, time, rng.choice(ASK[kind]).format(name=thing.name), kind, "yes" if yes else "no"))
        say(
            reply,
            ANSWER_YES if yes else ANSWER_NO,
            "responsive|info_sharing",
            thing,
            answer="yes" if yes else "no",
        )
    elif kind == "present":
        following = next_step(state)
        assert following is not None
        events.append(_user(number, time, rng.choice(ASK[kind]), kind, plan.task.things[following].name))
        instruct(reply, ANSWER_NEXT, "responsive|instruction")
    else:
        left = sum(s != "completed" for s in state.states)
        events.append(_user(number, time, rng.choice(ASK[kind]), kind, NUMBERS[left], str(left)))
        say(reply, ANSWER_LEFT, "responsive|info_sharing", None, count=NUMBERS[left])


def _user(number: int, time: float, text: str, kind: str, *accepted: str) -> Event:
    return Event(f"u{number}", time, "user", text, question=kind, accepted=accepted)


def _ask_times(rng: random.Random, plan: Plan, count: int) -> list[float]:
    """Moments in quiet gaps after the first act, far enough from what comes before and after."""
    gaps = [(a + 1.2, b - 1.0) for a, b in plan.gaps()[1:] if b - a > 2.6]
    chosen = rng.sample(gaps, min(count, len(gaps)))
    return sorted(round(rng.uniform(a, b), 1) for a, b in chosen)


def next_step(state: DialogState) -> int | None:
    """The first step in the listed order that is not completed."""
    return next((k for k, s in enumerate(state.states) if s != "completed"), None)


def _progress(plan: Plan, state: DialogState, time: float) -> str:
    names = [thing.name for thing in plan.task.things]
    done = ", ".join(n for n, s in zip(names, state.states, strict=True) if s == "completed") or "nothing"
    left = ", ".join(n for n, s in zip(names, state.states, strict=True) if s != "completed") or "nothing"
    return f"{time:g} s. Done: {done}. Left: {left}."

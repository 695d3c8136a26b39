"""Write the reference dialogue of a video for one type of user, with slots and accepted answers.

The types of user: ``no_talk`` only states the goal. ``talk_some`` asks one question per four
minutes or part of them. ``talk_more`` asks about present, past and remainder, and makes a remark. A
question without a suitable pause is omitted.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from prospect_core.timeline import DialogState, Event, sort_timeline_events
from prospect_core.workbench.dialogue.phrases import draw_phrase, number_phrase
from prospect_core.workbench.dialogue.questions import Ask, ask_plan_questions
from prospect_core.workbench.world.scene import Happening, Plan
from prospect_core.workbench.world.tasks import Assignment

USER_TYPES = ("no_talk", "talk_some", "talk_more")
REMINDER_S = 8.0
_MISHAPS = {
    "wrong_thing": ("wrong_thing", "initiative|correction"),
    "wrong_place": ("wrong_place", "initiative|correction"),
    "reopen": ("reopened", "initiative|correction"),
    "aside": ("aside", "initiative|info_sharing"),
}


def write_workbench_dialogue(
    rng: random.Random, plan: Plan, user_type: str, number: int, unseen: bool
) -> tuple[Event, ...]:
    """Write the plan's transitions, user turns and assistant turns in canonical order.

    Args:
        rng: Random generator.
        plan: Plan of the video.
        user_type: Type of the user.
        number: Number of the video, by which kinds of questions and their answers alternate.
        unseen: Whether held-out paraphrases may occur.
    """
    return _Writer(rng, plan, unseen).write(user_type, number)


@dataclass
class _Writer:
    rng: random.Random
    plan: Plan
    unseen: bool

    def __post_init__(self) -> None:
        self.task = self.plan.assignment
        self.events: list[Event] = []
        self.state = DialogState.initial(self.task.as_task())

    def write(self, user_type: str, number: int) -> tuple[Event, ...]:
        """Write all events of an episode."""
        hello = round(self.rng.uniform(0.6, 2.4), 1)
        self._user(hello, draw_phrase(self.rng, "goal", self.unseen, goal=self.task.goal))
        self._instruct(round(hello + 0.5, 1), "first", "responsive|instruction")
        asks = ask_plan_questions(self.rng, self.plan, user_type, number)
        moments = [(h.time, partial(self._notice, h)) for h in self.plan.happenings]
        moments += [(a.time, partial(self._answer, a)) for a in asks]
        moments += [
            (time, partial(self._remind, time)) for time in dialogue_writer_reminders(self.plan, [a.time for a in asks])
        ]
        for _, tell in sorted(moments, key=lambda moment: moment[0]):
            tell()
        return sort_timeline_events(self.events)

    def _notice(self, happening: Happening) -> None:
        kind, time = happening.kind, happening.time
        if kind in ("start", "complete", "reopen"):
            step = f"S{happening.job + 1}"
            self.events.append(Event(self._id("d"), time, "transition", step=step, change=kind))
            self.state = self.state.apply(step, kind, time)
        if kind == "complete":
            self._instruct(time, "next", "initiative|instruction,feedback")
        elif kind != "start":
            intent, labels = _MISHAPS[kind]
            if happening.job < 0:
                name = self.task.looks[happening.thing].name
                self._say(time, intent, labels, {"object": name}, name=name)
            else:
                words = {"wrong": happening.place} if happening.place else {}
                self._say(time, intent, labels, self._slots(happening.job), todo=self._todo(happening.job), **words)

    def _instruct(self, time: float, intent: str, labels: str) -> None:
        following = dialogue_writer_next_step(self.state)
        if following is None:
            self._say(time, "finished", "initiative|feedback", {})
        else:
            self._say(time, intent, labels, self._slots(following), todo=self._todo(following))

    def _remind(self, time: float) -> None:
        if dialogue_writer_next_step(self.state) is not None:
            self._instruct(time, "remind", "initiative|instruction")

    def _answer(self, ask: Ask) -> None:
        reply = round(ask.time + 0.5, 1)
        words = {key: self.task.phrase(job) for key, job in zip(("one", "two"), ask.jobs, strict=False)}
        if ask.intent == "ask_done":
            words = {"todo": self._todo(ask.jobs[0])}
        about = {"steps": " ".join(f"S{job + 1}" for job in ask.jobs)} if ask.jobs else {}
        accepted, question = self._accepted(ask), ask.kind
        text = draw_phrase(self.rng, ask.intent, self.unseen, **words)
        self._user(ask.time, text, question, accepted, about)
        if ask.intent == "ask_present":
            self._instruct(reply, "answer_next", "responsive|instruction")
        elif ask.intent == "ask_done":
            yes = accepted[0] == "yes"
            slots = {**self._slots(ask.jobs[0]), "answer": accepted[0]}
            self._say(reply, "answer_yes" if yes else "answer_no", "responsive|info_sharing", slots)
        elif ask.intent == "ask_first":
            self._say(reply, "answer_first", "responsive|info_sharing", {"object": accepted[0]}, name=accepted[0])
        elif ask.intent == "ask_left":
            self._say(reply, "answer_left", "responsive|info_sharing", {"count": accepted[0]}, count=accepted[0])
        elif ask.intent == "thanks":
            self._say(reply, "welcome", "responsive|other", {})
        else:
            count = number_phrase(sum(s == "completed" for s in self.state.states))
            self._say(reply, "praise", "responsive|feedback,info_sharing", {"count": count}, count=count)

    def _accepted(self, ask: Ask) -> tuple[str, ...]:
        """Return the accepted answers of a question; empty for a remark."""
        if ask.intent == "ask_present":
            following = dialogue_writer_next_step(self.state)
            return (self.task.phrase(following),) if following is not None else ("done",)
        if ask.intent == "ask_done":
            return ("yes" if self.state.states[ask.jobs[0]] == "completed" else "no",)
        if ask.intent == "ask_first":
            order = [step for step, _ in self.state.completions]
            return (self._name(min(ask.jobs, key=lambda job: order.index(f"S{job + 1}"))),)
        if ask.intent == "ask_left":
            left = sum(s != "completed" for s in self.state.states)
            return number_phrase(left), str(left)
        return ()

    def _slots(self, job: int) -> dict[str, str]:
        todo = self.task.jobs[job]
        slots = {"step": f"S{job + 1}", "verb": todo.verb, "object": self._name(job)}
        return slots | ({"place": todo.place} if todo.place else {})

    def _todo(self, job: int) -> str:
        return self.task.phrase(job)

    def _name(self, job: int) -> str:
        return self.task.things[self.task.jobs[job].thing].name

    def _say(self, time: float, intent: str, labels: str, slots: dict[str, str], **words: str) -> None:
        text = draw_phrase(self.rng, intent, self.unseen, **words)
        progress = dialogue_writer_progress_summary(self.task, self.state)
        self.events.append(Event(self._id("a"), time, "assistant", text, labels=labels, slots=slots, progress=progress))

    def _user(
        self,
        time: float,
        text: str,
        question: str = "",
        accepted: Sequence[str] = (),
        slots: dict[str, str] | None = None,
    ) -> None:
        self.events.append(
            Event(self._id("u"), time, "user", text, question=question, accepted=tuple(accepted), slots=slots or {})
        )

    def _id(self, tag: str) -> str:
        return f"{tag}{len(self.events)}"


def dialogue_writer_reminders(plan: Plan, asked: Sequence[float]) -> list[float]:
    """Return the times at which a pause has had no action and no turn for `REMINDER_S` seconds.

    There is at most one per pause.
    """
    out = []
    for begin, end in plan.quiet[1:]:
        since = max([begin, *(time + 0.5 for time in asked if begin <= time <= end)])
        if since + REMINDER_S <= end - 0.6:
            out.append(round(since + REMINDER_S, 1))
    return out


def dialogue_writer_next_step(state: DialogState) -> int | None:
    """Return the first step in list order that is not completed, which the assistant names."""
    return next((k for k, s in enumerate(state.states) if s != "completed"), None)


def dialogue_writer_progress_summary(task: Assignment, state: DialogState) -> str:
    """Summarise completed steps in order, steps in progress, and the number left, as a stream could know them."""
    phrases = [task.phrase(k) for k in range(len(task.jobs))]
    done = "; ".join(phrases[state.step_ids.index(step)] for step, _ in state.completions)
    begun = "; ".join(p for p, s in zip(phrases, state.states, strict=True) if s == "in_progress")
    left = sum(s != "completed" for s in state.states)
    parts = [f"The goal is to {task.goal}.", f"Done in this order: {done}." if done else "Nothing is done yet."]
    if begun:
        parts.append(f"Begun: {begun}.")
    return " ".join([*parts, f"{number_phrase(left)} left.".capitalize()])

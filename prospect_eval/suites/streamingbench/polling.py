"""The polling loop of StreamingBench, Proactive Output, played with answers that look at no picture.

The model is polled each second from one second after the question to four seconds after the gold time. The poll names the
gold output and asks whether now is the time for it. The first reply that holds "yes", in any case of letters, ends the
polling; the question is then put once more, and the reply is the output.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.streamingbench.annotations import ProactiveAnnotations, ProactiveOutputQuestion
from prospect_eval.suites.streamingbench.results import LastTurn, ProactiveResults, ProactiveRow

#: seconds from the gold time to the last poll
LAST_POLL = 4
#: seconds from the question to the "Yes" of the constant answer that waits longest
LONGEST_WAIT = 12
#: text between the last pair of quotes, with whatever follows them
_QUOTED = (re.compile(r'"([^"]*)"[^"]*$'), re.compile(r"'([^']*)'[^']*$"))


@dataclass(frozen=True)
class PolledDialog:
    """Outcome of the polling loop.

    Attributes:
        polls: Number of polls.
        answered: Second of the output; None where no poll was answered with yes.
        turn: The last turn: the output, or the reply to the last poll. None where nothing was polled.
    """

    polls: int
    answered: int | None
    turn: LastTurn | None


@dataclass(frozen=True)
class PollingSchedule:
    """When a question is polled, and what can be printed without looking.

    Attributes:
        seconds: Seconds of the video at which the model is polled.
        output: The output that an answer prints which looks at no picture.
    """

    seconds: Sequence[int]
    output: str


def official_schedule(question: ProactiveOutputQuestion) -> PollingSchedule:
    """From one second after the question to `LAST_POLL` after the gold time; each poll names the gold output."""
    return PollingSchedule(range(question.ask_time + 1, question.gold_time + LAST_POLL + 1), question.gold_output)


def play_polling(
    question: ProactiveOutputQuestion,
    reply: Callable[[int], str],
    output: Callable[[int], str],
    seconds: Sequence[int] | None = None,
) -> PolledDialog:
    """Poll a model.

    Args:
        question: The question.
        reply: The reply to the poll at a second of the video.
        output: The output at a second of the video.
        seconds: When the model is polled; as the published loop does where None.
    """
    turn = None
    polls = 0
    for second in official_schedule(question).seconds if seconds is None else seconds:
        text = reply(second)
        polls += 1
        turn = LastTurn(time=second, text=text)
        if "yes" in text.lower():
            return PolledDialog(polls, second, LastTurn(time=second, text=output(second)))
    return PolledDialog(polls, None, turn)


def answer_streamingbench(
    annotations: ProactiveAnnotations, play: Callable[[ProactiveOutputQuestion], PolledDialog], name: str
) -> ProactiveResults:
    """Results of a function that plays the polling loop for each question."""
    rows = []
    for question in annotations.questions:
        turn = play(question).turn
        rows.append(ProactiveRow(question, turn, "empty history" if turn is None else "read"))
    return ProactiveResults(name, tuple(rows), counts=ReadCounts.of(["questions"] * len(rows)))


def wait_and_output(question: ProactiveOutputQuestion, seconds: int, output: str | None = None) -> PolledDialog:
    """Say No until ``seconds`` after the question, then Yes, and print an output.

    Args:
        question: The question.
        seconds: From the question to the first Yes.
        output: The output; the gold output, which each poll names, where None.
    """
    text = question.gold_output if output is None else output
    return play_polling(question, lambda now: "Yes" if now - question.ask_time >= seconds else "No", lambda now: text)


def find_requested_output(question: str) -> str | None:
    """The text that a question asks for: the last quoted one after the word "output"; None where there is none."""
    _, word, rest = question.rpartition("output")
    if not word:
        return None
    for pattern in _QUOTED:
        found = pattern.search(rest)
        if found:
            return found[1]
    return None


def _play_reply(question: ProactiveOutputQuestion, schedule: PollingSchedule, reply: str) -> PolledDialog:
    return play_polling(question, lambda now: reply, lambda now: schedule.output, schedule.seconds)


def _play_wait(question: ProactiveOutputQuestion, schedule: PollingSchedule, seconds: int) -> PolledDialog:
    asked = schedule.seconds[0] - 1 if schedule.seconds else question.ask_time
    return play_polling(
        question,
        lambda now: "Yes" if now - asked >= seconds else "No",
        lambda now: schedule.output,
        schedule.seconds,
    )


#: answers that look at no picture, by name
_CONSTANTS: dict[str, Callable[[ProactiveOutputQuestion, PollingSchedule], PolledDialog]] = {
    "never": partial(_play_reply, reply="No"),
    "yes_first_gold_output": partial(_play_wait, seconds=1),
    "yesterday": partial(_play_reply, reply="yesterday"),
    **{f"yes_ask_plus_{seconds}": partial(_play_wait, seconds=seconds) for seconds in range(2, LONGEST_WAIT + 1)},
}


def make_streamingbench_constants(
    find_schedule: Callable[[ProactiveOutputQuestion], PollingSchedule],
) -> dict[str, Callable[[ProactiveAnnotations], ProactiveResults]]:
    """Makers of results of answers that look at no picture, by name.

    Args:
        find_schedule: When a question is polled, and what the answers print.
    """

    def bind(name: str) -> Callable[[ProactiveAnnotations], ProactiveResults]:
        play = _CONSTANTS[name]
        return lambda annotations: answer_streamingbench(
            annotations, lambda question: play(question, find_schedule(question)), name
        )

    return {name: bind(name) for name in _CONSTANTS}


#: the same under the published loop: all print the gold output that the poll names
STREAMINGBENCH_CONSTANTS = make_streamingbench_constants(official_schedule)

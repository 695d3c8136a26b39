"""The polling loop of StreamingBench, Proactive Output, played with answers that look at no picture.

The model is polled each second from one second after the question to four seconds after the gold time. The poll names the
gold output and asks whether now is the time for it. The first reply that holds "yes", in any case of letters, ends the
polling; the question is then put once more, and the reply is the output.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.streamingbench.annotations import ProactiveAnnotations, ProactiveOutputQuestion
from prospect_eval.suites.streamingbench.results import LastTurn, ProactiveResults, ProactiveRow

#: seconds from the gold time to the last poll
LAST_POLL = 4
#: text between the last pair of quotes, with whatever follows them
_QUOTED = (re.compile(r'"([^"]*)"[^"]*$'), re.compile(r"'([^']*)'[^']*$"))


@dataclass(frozen=True)
class PolledDialog:
    """What the polling loop leaves.

    Attributes:
        polls: Number of polls.
        answered: Second of the output; None where no poll was answered with yes.
        turn: The last turn: the output, or the reply to the last poll. None where nothing was polled.
    """

    polls: int
    answered: int | None
    turn: LastTurn | None


def play_polling(
    question: ProactiveOutputQuestion, reply: Callable[[int], str], output: Callable[[int], str]
) -> PolledDialog:
    """Poll a model.

    Args:
        question: The question.
        reply: The reply to the poll at a second of the video.
        output: The output at a second of the video.
    """
    turn = None
    polls = 0
    for second in range(question.ask_time + 1, question.gold_time + LAST_POLL + 1):
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


def _bind(
    name: str, play: Callable[[ProactiveOutputQuestion], PolledDialog]
) -> Callable[[ProactiveAnnotations], ProactiveResults]:
    return lambda annotations: answer_streamingbench(annotations, play, name)


def _bind_wait(seconds: int) -> Callable[[ProactiveAnnotations], ProactiveResults]:
    return _bind(f"yes_ask_plus_{seconds}", lambda question: wait_and_output(question, seconds))


def _never(question: ProactiveOutputQuestion) -> PolledDialog:
    return play_polling(question, lambda now: "No", lambda now: "")


def _yesterday(question: ProactiveOutputQuestion) -> PolledDialog:
    return play_polling(question, lambda now: "yesterday", lambda now: question.gold_output)


#: makers of results of answers that look at no picture, by name. All print the gold output that the poll names
STREAMINGBENCH_CONSTANTS: dict[str, Callable[[ProactiveAnnotations], ProactiveResults]] = {
    "never": _bind("never", _never),
    "yes_first_gold_output": _bind("yes_first_gold_output", lambda question: wait_and_output(question, 1)),
    "yesterday": _bind("yesterday", _yesterday),
    **{f"yes_ask_plus_{seconds}": _bind_wait(seconds) for seconds in range(2, 13)},
}

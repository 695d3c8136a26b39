"""A chat model as a stream: it gets the task, the recent frames and the dialogue at every frame.

The model answers `SILENT`, or the words to say. Steps that have changed come before the words
(``S1->start``). The same rules apply as for other models: legal changes are applied to the tracked
state, the others are refused and counted.
"""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prospect_core.records import PredictedTransition, PredictedUtterance, Refusal, utterance_has_words
from prospect_core.stream.polling import Answer, StreamRules, format_poll_question
from prospect_core.stream.step_output import StepOutput
from prospect_core.timeline import CHANGE_RULES, Change, DialogState, Task
from prospect_eval.models.chat_encoding import CHAT_ENCODINGS, SILENT, ChatEncoding
from prospect_eval.models.chat_history import ChatHistory

#: a change of a step in the canonical form of DST updates
_CHANGE = re.compile(r"(?:\[DST\]\s*)?\b(\w+)\s*->\s*(start|complete|reopen)\b\s*[;,.]?\s*")
#: silence followed by an explanation
_EXPLAINED = re.compile(rf"[\s\"'`*]*{SILENT}[\s\"'`*]*[.:;,!(–—-]")


@dataclass(frozen=True)
class ChatAnswer:
    """The answer of a chat model at one frame.

    Attributes:
        text: The words of the answer.
        speaking_prob: Probability of speaking, 0..1; None if unknown.
        context_tokens: Number of tokens in the context; None if unknown.
        tokens: Number of tokens of the reply.
        cut: Whether a token limit ended the reply.
    """

    text: str
    speaking_prob: float | None = None
    context_tokens: int | None = None
    tokens: int = 0
    cut: bool = False


class ChatStream(ABC):
    """A `StreamModel` whose memory is its chat.

    Attributes:
        frames_shown: Maximum number of pictures in the chat; None for all. All text stays in the
            chat.
        frames_dropped: Number of oldest pictures that are removed together when there are more.
        encoding: How frames and silent answers are written into the chat.
        history: The chat.
        task: The task of the stream.
        fps: Frames per second.
        frame: Number of the next frame.
        state: The tracked state of the steps.
    """

    def __init__(
        self,
        frames_shown: int | None,
        frames_dropped: int = 1,
        encoding: ChatEncoding = CHAT_ENCODINGS["smolvlm2"],
    ) -> None:
        self.frames_shown = frames_shown
        self.frames_dropped = frames_dropped
        self.encoding = encoding

    @abstractmethod
    def answer(self, messages: list[dict[str, Any]]) -> ChatAnswer:
        """Return the answer to a chat.

        Args:
            messages: List of {"role", "content"}; the first is the system's, the last the user's. A
                text before each picture gives its time.

        Raises:
            DataError: The model cannot process the chat.
        """

    def reset(self, task: Task, state: DialogState | None = None, fps: float = 2, start_frame: int = 0) -> None:
        """Start a stream.

        Args:
            task: The task.
            state: State of the steps at the start; None for the initial state of the task.
            fps: Frames per second.
            start_frame: Number of the first frame.
        """
        self.task, self.fps, self.frame, self.rules = task, fps, start_frame, StreamRules()
        self.state = state if state is not None else DialogState.initial(task)
        instructions = chat_instructions(task, self.state)
        self.history = ChatHistory(instructions, self.encoding, self.frames_shown, self.frames_dropped)

    def encode_picture(self, frame: np.ndarray) -> Any:
        """Return a picture in the form in which `answer` gets it.

        Args:
            frame: (H, W, 3) uint8 picture.
        """
        return frame

    def step(self, frame: np.ndarray, user_text: str | None = None) -> StepOutput:
        """Process one frame.

        Args:
            frame: (H, W, 3) uint8 picture.
            user_text: The user's words since the previous frame.

        Returns:
            The decisions at this frame.
        """
        begin = time.perf_counter()
        self.history.add_frame(self.encode_picture(frame), self.frame / self.fps, user_text)
        answer = self.answer(self.messages()) if self.rules.speaks else ChatAnswer("")
        said, changes = read_chat_answer(answer.text)
        transitions, refusals = self._apply(changes)
        reply = said if self.rules.gold_replies is None else self.rules.gold_reply(self.frame)
        written = " ".join([*(f"{t.step}->{t.change}" for t in transitions), *([reply] if reply else [])])
        if written or self.rules.speaks:
            self.history.add_answer(written)
        number = self.frame
        self.frame += 1
        return StepOutput(
            number, answer.speaking_prob, None, None, transitions, refusals,
            PredictedUtterance(number, said, answer.tokens, answer.cut) if said else None,
            answer.context_tokens, None, time.perf_counter() - begin,
        )  # fmt: skip

    def follow(self, rules: StreamRules) -> None:
        """Set the rules of a protocol. They hold until the next `reset`."""
        self.rules = rules

    def ask(
        self, question: str, choices: Sequence[str] = (), max_tokens: int | None = None, keep: bool = False
    ) -> Answer:
        """Answer a question at the current time.

        Args:
            question: The question.
            choices: Choices of the answer, in the order of their letters; empty for an open
                question.
            max_tokens: Ignored, because a chat model has its own limit.
            keep: Whether question and answer stay in the chat.
        """
        asked = format_poll_question(question, choices)
        answer = self.answer_question(self.messages(asked))
        text = answer.text.strip()
        if keep:
            self.history.add_exchange(asked, text)
        return Answer(text, answer.tokens, answer.cut)

    def answer_question(self, messages: list[dict[str, Any]]) -> ChatAnswer:
        """Return the answer to a chat that ends with the question of a poll."""
        return self.answer(messages)

    def messages(self, question: str | None = None) -> list[dict[str, Any]]:
        """Return the chat as the model gets it.

        Args:
            question: A question to add at the end.
        """
        return self.history.messages(question)

    def _apply(self, changes: list[tuple[str, Change]]) -> tuple[tuple[PredictedTransition, ...], tuple[Refusal, ...]]:
        accepted: list[PredictedTransition] = []
        refused: list[Refusal] = []
        for step, named in changes:
            wanted = CHANGE_RULES[named][1]
            target = [
                wanted if id_ == step else now for id_, now in zip(self.state.step_ids, self.state.states, strict=True)
            ]
            # completing a step that has not started starts it on the same frame: a chat model gives
            # no probability to debounce
            legal = [change for _, _, changes in self.state.changes_to(target) for change in changes]
            if named not in legal:
                refused.append(Refusal(self.frame, step, wanted))
                continue
            for change in legal:
                self.state = self.state.apply(step, change, self.frame / self.fps)
                accepted.append(PredictedTransition(self.frame, step, change))
        return tuple(accepted), tuple(refused)


def chat_instructions(task: Task, state: DialogState) -> str:
    """Return the system prompt of a task.

    Args:
        task: The task.
        state: State of its steps at the start.
    """
    steps = "\n".join(f"{step.id}: {step.name} ({state[step.id].replace('_', ' ')})" for step in task.steps)
    known = f"\nBackground: {task.knowledge}" if task.knowledge else ""
    return (
        "You watch a person's first-person video, frame by frame, and help with a task while it is done.\n"
        f"The task: {task.goal}{known}\nIts steps:\n{steps or 'none are given'}\n"
        f"After each frame answer {SILENT} when there is nothing to say. Say something short when the user asks, when help"
        " is due, or when a step is done. When a step has begun or ended, begin your answer with its id, as in"
        " S1->start or S1->complete."
    )


def read_chat_answer(answer: str) -> tuple[str, list[tuple[str, Change]]]:
    """Parse the answer of a chat model.

    Args:
        answer: The words of the answer.

    Returns:
        The words to say, empty for silence, and the changes of steps.
    """
    changes = _CHANGE.findall(answer)
    said = " ".join(_CHANGE.sub(" ", answer).split())
    if said.strip(" .!\"'`*").upper() == SILENT or _EXPLAINED.match(said) or not utterance_has_words(said):
        said = ""
    return said, changes

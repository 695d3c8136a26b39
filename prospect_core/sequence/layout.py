"""The token layout: the one module that knows which tokens stand for a prompt, a frame, a turn or an update, and their order.

    [prompt: role, goal, knowledge, one line a step ending in a marker; a summary and the last utterances, if any]
    then frame by frame:  I image tokens, [DST] S1->start; ... <eos>, [ASST] text <eos>, [USER] text
    at a window's end, where one is asked for:  [SUM] progress summary <eos>

Each piece is tokenized alone, so that the tokens of a stream are those of the whole sequence. Training windows, their costs,
captions, previews and streams all build on `TokenLayout`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from typing_extensions import Self

from prospect_core.sequence.tokenizer import SpecialIds
from prospect_core.timeline import DialogState, Task

#: pieces of text whose tokens a layout remembers
KNOWN_TEXTS = 100_000
#: tokens that the last utterances may take in a prompt; the oldest go first
RECENT_QUOTA = 64
ROLE = "You watch a person's video and help with the task, unasked."
_ORDINALS = {1: "1st", 2: "2nd", 3: "3rd", 21: "21st", 22: "22nd", 23: "23rd"}


@dataclass(frozen=True)
class Prompt:
    """The tokens before the first frame; ``markers`` are the positions of the step markers."""

    ids: tuple[int, ...]
    markers: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class Context:
    """What a prompt says beyond the task: states (None: blank), a summary, and the last utterances (who, text)."""

    state: DialogState | None = None
    summary: str = ""
    recent: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class FrameText:
    """What is written after the image slots of a frame.

    Attributes:
        changes: Transitions (step, change) of one DST update; none for no update.
        reply: The assistant's turn; None for silence.
        user: What the user says before the next frame; None for nothing.
    """

    changes: tuple[tuple[str, str], ...] = ()
    reply: str | None = None
    user: str | None = None


class TokenLayout:
    """Turns prompts, frames, user turns, updates and replies into tokens, with one tokenizer.

    ``ablated_inputs`` are inputs that the model does without (`configuration.INPUTS`): without ``steps`` a prompt shows their ids
    alone, without ``state`` neither prompt nor context tells any, without ``past`` the prompt does not.
    """

    def __init__(
        self, tokenizer: Any, tokens_per_frame: int, max_user_tokens: int = 64, ablated_inputs: Collection[str] = ()
    ) -> None:
        self.tokenizer, self.special = tokenizer, SpecialIds.of(tokenizer)
        self.tokens_per_frame, self.max_user_tokens, self.ablated_inputs = (
            tokens_per_frame,
            max_user_tokens,
            frozenset(ablated_inputs),
        )
        # training meets the same lines in every epoch
        self._known: dict[str, list[int]] = {}
        #: ids that no reply may contain
        self.unsayable = self.special.unsayable

    @classmethod
    def of(cls, config: Any, tokenizer: Any) -> Self:
        """The layout of a model with this configuration (`DSTSmolVLMConfig`)."""
        layout = cls(tokenizer, config.tokens_per_frame, config.max_user_tokens, config.ablated_inputs)
        # rows that fill up the table stand for no token
        layout.unsayable += tuple(range(len(tokenizer), config.text_config.vocab_size))
        return layout

    def text(self, text: str) -> list[int]:
        """Plain text; special tokens written out in it are text, not commands."""
        ids = self._known.get(text)
        if ids is None:
            ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
            if len(self._known) < KNOWN_TEXTS:
                self._known[text] = ids
        return list(ids)

    def prompt(self, task: Task, context: Context) -> Prompt:
        """The system prompt: with ``context.state`` None the states stay blank."""
        head = f"{ROLE}\nGoal: {task.goal}\n"
        if task.knowledge:
            head += f"{task.knowledge}\n"
        ids, markers, shown = self.text(head), [], head
        state = None if self.ablated_inputs & {"state", "past"} else context.state
        for step in task.steps:
            name = "" if "steps" in self.ablated_inputs else step.name
            line = layout_step_line(step.id, name, state)
            ids += self.text(line)
            markers.append(len(ids))
            ids += [self.special.step, *self.text("\n")]
            shown += line + "\n"
        tail = f"Summary: {context.summary}\n" if context.summary else ""
        tail += "".join(f"{who}: {text}\n" for who, text in context.recent)
        return Prompt(tuple(ids + self.text(tail)), tuple(markers), shown + tail)

    def frame(self) -> list[int]:
        """The image slots of one frame."""
        return [self.special.image] * self.tokens_per_frame

    def user(self, text: str) -> list[int]:
        """A user turn, cut to ``max_user_tokens`` so that a budget can reserve room for it."""
        return [self.special.user, *self.text(text)][: self.max_user_tokens]

    def question(self, text: str) -> list[int]:
        """The question of a poll, a user turn of any length: it is taken back, so that no budget reserves room for it."""
        return [self.special.user, *self.text(text)]

    def update(self, changes: Sequence[tuple[str, str]]) -> list[int]:
        """Accepted transitions in canonical form; nothing for a model without states."""
        if "state" in self.ablated_inputs:
            return []
        return [self.special.dst, *self.text(layout_update_text(changes)), self.special.eos]

    def reply(self, text: str) -> list[int]:
        """An assistant turn with its end token."""
        return [self.special.asst, *self.text(text), self.special.eos]

    def summary(self, text: str) -> list[int]:
        """A progress summary with its end token."""
        return [self.special.sum, *self.text(text), self.special.eos]

    def longest_update(self, task: Task) -> int:
        """Tokens of the longest update a frame can bring: every step starts and completes."""
        changes = [(step, change) for step in task.step_ids for change in ("start", "complete")]
        return len(self.update(changes)) if changes else 0

    def after_frame(self, text: FrameText) -> list[tuple[str, list[int]]]:
        """The pieces that follow a frame's image slots, in their order: (``update``, ``reply`` or ``user``, tokens)."""
        pieces = []
        if text.changes:
            pieces.append(("update", self.update(text.changes)))
        if text.reply is not None:
            pieces.append(("reply", self.reply(text.reply)))
        if text.user is not None:
            pieces.append(("user", self.user(text.user)))
        return pieces


def layout_step_line(step: str, name: str, state: DialogState | None) -> str:
    """A step's line in the prompt: ``S2 (completed 2nd, 41 s): wipe the red cone``; its name stands right before its marker,
    however long what is said of its state."""
    return f"{step}{_state_words(step, state)}: {name}"


def _state_words(step: str, state: DialogState | None) -> str:
    if state is None:
        return ""
    if state[step] != "completed":
        return f" ({state[step].replace('_', ' ')})"
    for order, (done, time) in enumerate(state.completions, 1):
        if done == step:
            return f" (completed {_ORDINALS.get(order, f'{order}th')}, {time:.0f} s)"
    return " (completed)"


def layout_newest_turns(
    layout: TokenLayout, said: Sequence[tuple[str, str]], count: int
) -> tuple[tuple[str, str], ...]:
    """The newest of what was said (who, text), at most ``count`` and as many as fit into the quota together."""
    kept: list[tuple[str, str]] = []
    room = RECENT_QUOTA
    for who, text in reversed(said[-count:] if count else ()):
        room -= len(layout.text(f"{who}: {text}\n"))
        if room < 0:
            break
        kept.insert(0, (who, text))
    return tuple(kept)


def shorten_layout_text(layout: TokenLayout, text: str, tokens: int) -> str:
    """The beginning of a text that takes at most so many tokens."""
    while len(layout.text(text)) > tokens:
        text = text[: -max(1, len(text) // 20)].rstrip()
    return text


def layout_update_text(changes: Sequence[tuple[str, str]]) -> str:
    """``S1->complete; S2->start``."""
    return "; ".join(f"{step}->{change}" for step, change in changes)

"""Token layout: the only module that knows the tokens of prompts, frames, turns and updates, and their order.

    [prompt: role, goal, knowledge, one line per step ending in a marker; a summary and the last utterances, if any]
    then frame by frame:  I image tokens, [DST] S1->start; ... <eos>, [ASST] text <eos>, [USER] text
    at a window's end, if requested:  [SUM] progress summary <eos>

Each piece is tokenized separately, so the tokens of a stream equal those of the whole sequence.
Training windows, their costs, captions, previews and streams all use `TokenLayout`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from typing_extensions import Self

from prospect_core.sequence.tokenizer import SpecialIds
from prospect_core.timeline import DialogState, Task

#: number of texts whose tokens a layout caches
KNOWN_TEXTS = 100_000
#: token limit of the last utterances in a prompt; the oldest are omitted first
RECENT_QUOTA = 64
ROLE = "You watch a person's video and help with the task, unasked."
_ORDINALS = {1: "1st", 2: "2nd", 3: "3rd", 21: "21st", 22: "22nd", 23: "23rd"}


@dataclass(frozen=True)
class Prompt:
    """Tokens before the first frame.

    Attributes:
        ids: Token ids.
        markers: Positions of the step markers.
        text: The prompt as text.
    """

    ids: tuple[int, ...]
    markers: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class Context:
    """Contents of a prompt in addition to the task.

    Attributes:
        state: States of the steps; blank if None.
        summary: Progress summary.
        recent: (speaker, text) of the last utterances.
    """

    state: DialogState | None = None
    summary: str = ""
    recent: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class FrameText:
    """Text after the image slots of a frame.

    Attributes:
        changes: Transitions (step, change) of one DST update; empty for no update.
        reply: Assistant turn; None for silence.
        user: User turn before the next frame; None for no turn.
    """

    changes: tuple[tuple[str, str], ...] = ()
    reply: str | None = None
    user: str | None = None


class TokenLayout:
    """Converts prompts, frames, user turns, updates and replies to tokens of one tokenizer.

    Args:
        tokenizer: Tokenizer with the special tokens.
        tokens_per_frame: Image slots of a frame.
        max_user_tokens: Tokens to which a user turn is cut.
        ablated_inputs: Inputs that the model lacks (`configuration.INPUTS`). Without ``steps`` a
            prompt shows only ids, without ``state`` prompt and context show no states, without
            ``past`` the prompt shows none.
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
        # training tokenizes the same lines in every epoch
        self._known: dict[str, list[int]] = {}
        #: ids that no reply may contain
        self.unsayable = self.special.unsayable

    @classmethod
    def of(cls, config: Any, tokenizer: Any) -> Self:
        """Make the layout of a model from its configuration (`DSTSmolVLMConfig`)."""
        layout = cls(tokenizer, config.tokens_per_frame, config.max_user_tokens, config.ablated_inputs)
        # padding rows of the embedding table have no token
        layout.unsayable += tuple(range(len(tokenizer), config.text_config.vocab_size))
        return layout

    def text(self, text: str) -> list[int]:
        """Tokenize plain text; special tokens in it are ordinary text."""
        ids = self._known.get(text)
        if ids is None:
            ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
            if len(self._known) < KNOWN_TEXTS:
                self._known[text] = ids
        return list(ids)

    def prompt(self, task: Task, context: Context) -> Prompt:
        """Make the system prompt of a task."""
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
        """Return the image slots of a frame."""
        return [self.special.image] * self.tokens_per_frame

    def user(self, text: str) -> list[int]:
        """Tokenize a user turn, cut to ``max_user_tokens`` so that a budget can reserve room for it."""
        return [self.special.user, *self.text(text)][: self.max_user_tokens]

    def question(self, text: str) -> list[int]:
        """Tokenize a poll's question, a user turn of any length; it is removed later, so no budget covers it."""
        return [self.special.user, *self.text(text)]

    def update(self, changes: Sequence[tuple[str, str]]) -> list[int]:
        """Tokenize accepted transitions in canonical form; empty for a model without states."""
        if "state" in self.ablated_inputs:
            return []
        return [self.special.dst, *self.text(layout_update_text(changes)), self.special.eos]

    def reply(self, text: str) -> list[int]:
        """Tokenize an assistant turn with its end token."""
        return [self.special.asst, *self.text(text), self.special.eos]

    def summary(self, text: str) -> list[int]:
        """Tokenize a progress summary with its end token."""
        return [self.special.sum, *self.text(text), self.special.eos]

    def longest_update(self, task: Task) -> int:
        """Return the tokens of the longest update of a frame: every step starts and completes."""
        changes = [(step, change) for step in task.step_ids for change in ("start", "complete")]
        return len(self.update(changes)) if changes else 0

    def after_frame(self, text: FrameText) -> list[tuple[str, list[int]]]:
        """Return the pieces after a frame's image slots in order: (``update``, ``reply`` or ``user``, tokens)."""
        pieces = []
        if text.changes:
            pieces.append(("update", self.update(text.changes)))
        if text.reply is not None:
            pieces.append(("reply", self.reply(text.reply)))
        if text.user is not None:
            pieces.append(("user", self.user(text.user)))
        return pieces


def layout_step_line(step: str, name: str, state: DialogState | None) -> str:
    """Format a step's line in the prompt, as in ``S2 (completed 2nd, 41 s): wipe the red cone``.

    The name is always right before the step's marker, whatever the length of the state's words.
    """
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
    """Return the newest utterances that fit into `RECENT_QUOTA` tokens together.

    Args:
        layout: Tokenizes them.
        said: (speaker, text) of all utterances in order.
        count: Maximum number.
    """
    kept: list[tuple[str, str]] = []
    room = RECENT_QUOTA
    for who, text in reversed(said[-count:] if count else ()):
        room -= len(layout.text(f"{who}: {text}\n"))
        if room < 0:
            break
        kept.insert(0, (who, text))
    return tuple(kept)


def shorten_layout_text(layout: TokenLayout, text: str, tokens: int) -> str:
    """Cut a text to at most ``tokens`` tokens."""
    while len(layout.text(text)) > tokens:
        text = text[: -max(1, len(text) // 20)].rstrip()
    return text


def layout_update_text(changes: Sequence[tuple[str, str]]) -> str:
    """Format changes as ``S1->complete; S2->start``."""
    return "; ".join(f"{step}->{change}" for step, change in changes)

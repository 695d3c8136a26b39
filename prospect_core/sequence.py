"""Episode to tokens, frame slots and labels: the one builder that training and streaming both use.

    python -c "from prospect_core.sequence import *; help(SequenceBuilder)"

    [prompt: role, goal, knowledge, one line a step ending in a marker; a summary and the last utterances, if any]
    then frame by frame:  I image tokens, [DST] S1->start; ... <eos>, [ASST] text <eos>, [USER] text

Each piece is tokenized alone, so that the tokens of a stream are those of the whole sequence.
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import Any

from prospect_core.model.processing import SpecialIds
from prospect_core.timeline import STEP_STATES, DialogState, Episode, Task

IGNORE = -100
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


@dataclass
class TokenSequence:
    """A window as the model sees it, with labels. ``IGNORE`` marks what carries no loss.

    ``ids`` and ``lm_labels`` have one entry a token (labels name the token itself: the causal shift is the loss's);
    ``frames``, ``frame_last``, ``speaking``, ``update`` and ``states`` (K entries each) have one a frame.
    """

    ids: list[int]
    markers: list[int]
    lm_labels: list[int]
    frames: list[int] = field(default_factory=list)
    frame_last: list[int] = field(default_factory=list)
    speaking: list[int] = field(default_factory=list)
    update: list[int] = field(default_factory=list)
    states: list[list[int]] = field(default_factory=list)


class SequenceBuilder:
    """Turns prompts, frames, user turns, updates and replies into tokens, with one tokenizer."""

    def __init__(self, tokenizer: Any, tokens_per_frame: int, max_user_tokens: int = 64) -> None:
        self.tokenizer, self.special = tokenizer, SpecialIds.of(tokenizer)
        self.tokens_per_frame, self.max_user_tokens = tokens_per_frame, max_user_tokens

    def text(self, text: str) -> list[int]:
        """Plain text; special tokens written out in it are text, not commands."""
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids

    def prompt(self, task: Task, context: Context) -> Prompt:
        """The system prompt: with ``context.state`` None the states stay blank."""
        head = f"{ROLE}\nGoal: {task.goal}\n"
        if task.knowledge:
            head += f"{task.knowledge}\n"
        ids, markers, shown = self.text(head), [], head
        for step in task.steps:
            line = f"{step.id}: {step.name}{self._state_words(step.id, context.state)}"
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

    def update(self, changes: SequenceOf[tuple[str, str]]) -> list[int]:
        """Accepted transitions in canonical form."""
        return [self.special.dst, *self.text(update_text(changes)), self.special.eos]

    def reply(self, text: str) -> list[int]:
        """An assistant turn with its end token."""
        return [self.special.asst, *self.text(text), self.special.eos]

    def longest_update(self, task: Task) -> int:
        """Tokens of the longest update a frame can bring: every step starts and completes."""
        changes = [(step, change) for step in task.step_ids for change in ("start", "complete")]
        return len(self.update(changes)) if changes else 0

    def window(
        self, episode: Episode, context: Context | None = None, missed: frozenset[int] = frozenset()
    ) -> TokenSequence:
        """The whole of an episode (or a clip of one) as one sequence with its labels.

        ``context`` defaults to the tracked state at the window's start. Where it leaves states blank that are not all
        not_started, what happened before cannot be known: replies carry no loss, nor do the states of steps that
        have not changed since. Updates of the frames in ``missed`` are not written, as if a stream had missed them;
        their labels stay.
        """
        context = Context(episode.initial_state) if context is None else context
        start = episode.initial_state
        unknown = context.state is None and any(state != "not_started" for state in start.states)
        prompt = self.prompt(episode.task, context)
        out = TokenSequence(list(prompt.ids), list(prompt.markers), [IGNORE] * len(prompt.ids))
        changes: dict[int, list[tuple[str, str]]] = {}
        for frame, step, change in episode.transitions():
            changes.setdefault(frame, []).append((step, change))
        replies = {u.frame: u.text for u in episode.utterances()}
        users: dict[int, list[str]] = {}
        for frame, event in episode.user_turns():
            users.setdefault(frame, []).append(event.text)
        states = dict(episode.states_by_change())
        now = states[episode.start_frame - 1]
        known = set() if unknown else set(episode.task.step_ids)
        for frame in range(episode.start_frame, episode.end_frame):
            self._add(out, self.frame())
            out.frames.append(frame)
            out.frame_last.append(len(out.ids) - 1)
            now = states.get(frame, now)
            known |= {step for step, _ in changes.get(frame, ())}
            out.states.append(
                [
                    STEP_STATES.index(state) if step in known else IGNORE
                    for step, state in zip(now.step_ids, now.states, strict=True)
                ]
            )
            if frame in changes and frame not in missed:
                self._add(out, self.update(changes[frame]))
            if frame in replies:
                tokens = self.reply(replies[frame])
                self._add(out, tokens, [IGNORE] * len(tokens) if unknown else [IGNORE, *tokens[1:]])
            if frame in users:
                self._add(out, self.user(" ".join(users[frame])))
        out.speaking = beside_events(out.frames, set(replies))
        out.update = beside_events(out.frames, set(changes))
        return out

    @staticmethod
    def _add(out: TokenSequence, ids: list[int], labels: list[int] | None = None) -> None:
        out.ids += ids
        out.lm_labels += [IGNORE] * len(ids) if labels is None else labels

    @staticmethod
    def _state_words(step: str, state: DialogState | None) -> str:
        if state is None:
            return ""
        if state[step] != "completed":
            return f" ({state[step].replace('_', ' ')})"
        for order, (done, time) in enumerate(state.completions, 1):
            if done == step:
                return f" (completed {_ORDINALS.get(order, f'{order}th')}, {time:.0f} s)"
        return " (completed)"


def update_text(changes: SequenceOf[tuple[str, str]]) -> str:
    """``S1->complete; S2->start``."""
    return "; ".join(f"{step}->{change}" for step, change in changes)


def beside_events(frames: SequenceOf[int], events: set[int]) -> list[int]:
    """Binary labels by frame: 1 at an event, nothing (`IGNORE`) on the frames right beside one, 0 elsewhere."""
    return [1 if f in events else IGNORE if {f - 1, f + 1} & events else 0 for f in frames]

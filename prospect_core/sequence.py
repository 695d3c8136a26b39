"""Episode to tokens, frame slots and labels: the one builder that training and streaming both use.

    python -c "from prospect_core.sequence import *; help(SequenceBuilder)"

    [prompt: role, goal, knowledge, one line a step ending in a marker; a summary and the last utterances, if any]
    then frame by frame:  I image tokens, [DST] S1->start; ... <eos>, [ASST] text <eos>, [USER] text
    at a window's end, where one is asked for:  [SUM] progress summary <eos>

Each piece is tokenized alone, so that the tokens of a stream are those of the whole sequence.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import Any

from prospect_core.model.processing import SpecialIds
from prospect_core.slips import Slips
from prospect_core.timeline import STEP_STATES, DialogState, Episode, Task

IGNORE = -100
#: pieces of text whose tokens a builder remembers
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
    """Turns prompts, frames, user turns, updates and replies into tokens, with one tokenizer.

    ``lacks`` are inputs that the model does without (`configuration.INPUTS`): without ``steps`` a prompt shows their ids
    alone, without ``state`` neither prompt nor context tells any, without ``past`` the prompt does not.
    """

    def __init__(
        self, tokenizer: Any, tokens_per_frame: int, max_user_tokens: int = 64, lacks: Collection[str] = ()
    ) -> None:
        self.tokenizer, self.special = tokenizer, SpecialIds.of(tokenizer)
        self.tokens_per_frame, self.max_user_tokens, self.lacks = tokens_per_frame, max_user_tokens, frozenset(lacks)
        # training meets the same lines in every epoch
        self._known: dict[str, list[int]] = {}
        #: ids that no reply may contain
        self.unsayable = self.special.unsayable

    @classmethod
    def of(cls, config: Any, tokenizer: Any) -> SequenceBuilder:
        """The builder of a model with this configuration (`DSTSmolVLMConfig`)."""
        builder = cls(tokenizer, config.tokens_per_frame, config.max_user_tokens, config.lacks)
        # rows that fill up the table stand for no token
        builder.unsayable += tuple(range(len(tokenizer), config.text_config.vocab_size))
        return builder

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
        state = None if self.lacks & {"state", "past"} else context.state
        for step in task.steps:
            name = "" if "steps" in self.lacks else step.name
            line = step_line(step.id, name, state)
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
        """Accepted transitions in canonical form; nothing for a model without states."""
        if "state" in self.lacks:
            return []
        return [self.special.dst, *self.text(update_text(changes)), self.special.eos]

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

    def window(
        self,
        episode: Episode,
        context: Context | None = None,
        slips: Slips | None = None,
        *,
        whole: Episode | None = None,
        known: frozenset[str] | None = None,
        supervised: Collection[int] | None = None,
        summary: str = "",
    ) -> TokenSequence:
        """The whole of an episode (or a clip of one) as one sequence with its labels.

        ``context`` defaults to the tracked state at the window's start. ``known`` are the steps whose state at the
        start it tells; by default all, or none where it leaves states blank that are not all not_started. What is
        not known carries no loss until it changes: neither the states of those steps, nor replies and the summary.

        ``slips`` are frames on which the context is that of a stream which did otherwise (`prospect_core.slips`). As a
        stream does, an update brings what is written to the truth; one is due, and labelled so, for as long as it can.
        A reply a frame too soon is learnt where it is said, and on its own frame there is nothing left to say.

        ``whole`` is the episode that a clip was cut from: its events right outside silence the clip's edges.
        ``supervised`` are the frames that carry loss, with their replies (default: all); the context stays whole.
        ``summary`` is asked for, and supervised, at the end.
        """
        context = Context(episode.initial_state) if context is None else context
        start = episode.initial_state
        if known is None:
            blank = context.state is None and any(state != STEP_STATES[0] for state in start.states)
            known = frozenset() if blank else frozenset(episode.task.step_ids)
        told = set(known)
        answerable = len(told) == len(episode.task.steps)
        prompt = self.prompt(episode.task, context)
        out = TokenSequence(list(prompt.ids), list(prompt.markers), [IGNORE] * len(prompt.ids))
        slips = slips or Slips()
        changed: dict[int, set[str]] = {}
        for frame, step, _ in episode.transitions():
            changed.setdefault(frame, set()).add(step)
        users: dict[int, list[str]] = {}
        for frame, event in episode.user_turns():
            users.setdefault(frame, []).append(event.text)
        turns = {u.frame: u.text for u in episode.utterances()}
        # not before the question that they answer, nor on another one's frame
        early = frozenset(
            f
            for f in (slips.early & turns.keys()) - slips.unsaid
            if f > episode.start_frame and f - 1 not in {*turns, *users}
        )
        replies = {f - (f in early): text for f, text in turns.items() if f not in slips.unsaid}
        states = dict(episode.states_by_change())
        now = written = states[episode.start_frame - 1]
        due: set[int] = set()
        for frame in range(episode.start_frame, episode.end_frame):
            counts = supervised is None or frame in supervised
            self._add(out, self.frame())
            out.frames.append(frame)
            out.frame_last.append(len(out.ids) - 1)
            now = states.get(frame, now)
            told |= changed.get(frame, set())
            out.states.append(
                [
                    STEP_STATES.index(state) if counts and step in told else IGNORE
                    for step, state in zip(now.step_ids, now.states, strict=True)
                ]
            )
            changes = written.path_to(now.states)
            if changes:
                due.add(frame)
            if frame in slips.missed:
                changes = []
            if frame in slips.wrong and written.is_legal(*slips.wrong[frame]):
                changes = [slips.wrong[frame]]
            if changes:
                for change in changes:
                    written = written.apply(*change, frame / episode.fps)
                self._add(out, self.update(changes))
            if frame in replies:
                self._add(out, self.reply(replies[frame]), learn=counts and answerable)
            if frame in users:
                self._add(out, self.user(" ".join(users[frame])))
        if summary:
            self._add(out, self.summary(summary), learn=answerable)
        whole = whole or episode
        spoken, updated = {u.frame for u in whole.utterances()}, {frame for frame, _, _ in whole.transitions()}
        asked = beside_events(out.frames, spoken)
        # it has been said: not again
        asked = [0 if f in early else label for f, label in zip(out.frames, asked, strict=True)]
        out.speaking = only(supervised, out.frames, asked)
        out.update = only(supervised, out.frames, beside_events(out.frames, updated, due))
        return out

    @staticmethod
    def _add(out: TokenSequence, ids: list[int], learn: bool = False) -> None:
        """Append a piece; what is learnt of it is all but its opening mark, which a head decides on."""
        out.ids += ids
        out.lm_labels += [IGNORE, *ids[1:]] if learn else [IGNORE] * len(ids)


def step_line(step: str, name: str, state: DialogState | None) -> str:
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


def fitting(builder: SequenceBuilder, said: SequenceOf[tuple[str, str]], count: int) -> tuple[tuple[str, str], ...]:
    """The newest of what was said (who, text), at most ``count`` and as many as fit into the quota together."""
    kept: list[tuple[str, str]] = []
    room = RECENT_QUOTA
    for who, text in reversed(said[-count:] if count else ()):
        room -= len(builder.text(f"{who}: {text}\n"))
        if room < 0:
            break
        kept.insert(0, (who, text))
    return tuple(kept)


def shortened(builder: SequenceBuilder, text: str, tokens: int) -> str:
    """The beginning of a text that takes at most so many tokens."""
    while len(builder.text(text)) > tokens:
        text = text[: -max(1, len(text) // 20)].rstrip()
    return text


def update_text(changes: SequenceOf[tuple[str, str]]) -> str:
    """``S1->complete; S2->start``."""
    return "; ".join(f"{step}->{change}" for step, change in changes)


def beside_events(frames: SequenceOf[int], events: set[int], overdue: Collection[int] = ()) -> list[int]:
    """Binary labels by frame: 1 at an event and where one is ``overdue``, nothing (`IGNORE`) on the frames right beside an
    event, 0 elsewhere."""
    return [1 if f in events or f in overdue else IGNORE if {f - 1, f + 1} & events else 0 for f in frames]


def only(supervised: Collection[int] | None, frames: SequenceOf[int], labels: list[int]) -> list[int]:
    """The labels of supervised frames (None: all), `IGNORE` for the others."""
    if supervised is None:
        return labels
    return [label if f in supervised else IGNORE for f, label in zip(frames, labels, strict=True)]

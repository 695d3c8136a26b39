"""Which stretch of an episode is a training window, how it begins and how it ends. Redrawn every epoch, seeded.

    python -c "from prospect_core.train.data.window_sampler import WindowSampler; help(WindowSampler)"

A window begins the way a stream does once its context was rebuilt: with the tracked states, with blank ones, with a
summary, with the last utterances. What its prompt does not tell carries no loss (`SequenceBuilder.window`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate

from prospect_core.data.formats.proassist_rows import PROGRESS_BEFORE, SUPERVISED_FROM
from prospect_core.sequence.builder import SequenceBuilder, TokenSequence
from prospect_core.sequence.context_noise import ContextNoise, NoiseRates
from prospect_core.sequence.layout import Context, layout_newest_turns
from prospect_core.timeline import Episode
from prospect_core.util.errors import UserError


@dataclass(frozen=True)
class TrainingWindow:
    """Frames ``start .. end - 1`` of an episode as one training sequence.

    ``known`` are the steps whose state at the start the context tells, ``context_noise`` what a stream has done otherwise in it,
    ``summary`` the progress summary that the end asks for (empty: none).
    """

    episode: Episode
    start: int
    end: int
    context: Context
    known: frozenset[str] | None = None
    context_noise: ContextNoise = field(default_factory=ContextNoise)
    summary: str = ""

    @cached_property
    def clip(self) -> Episode:
        """The frames as an episode of their own."""
        return self.episode.window(self.start, self.end)

    def tokens(self, builder: SequenceBuilder, supervised: set[int] | None = None) -> TokenSequence:
        """The sequence with its labels; ``supervised`` are the frames that carry loss (None: all).

        What the user says right before the window reaches a stream with its first frame, but is not in the window: what
        is decided on that frame cannot be told, and carries no loss. Neither do frames of context that a published clip
        repeats from the clip before it: what was said on them stands there.
        """
        first = window_sampler_first_loss_frame(self.episode)
        if first > self.start:
            every = set(range(self.start, self.end)) if supervised is None else supervised
            supervised = {frame for frame in every if frame >= first}
        if any(frame == self.start - 1 for frame, _ in self.episode.user_turns()):
            every = set(range(self.start, self.end)) if supervised is None else supervised
            supervised = every - {self.start}
        return builder.window(
            self.clip,
            self.context,
            self.context_noise.apply_to(self.clip),
            whole=self.episode,
            known=self.known,
            supervised=supervised,
            summary=self.summary,
        )


@dataclass(frozen=True)
class WindowPrefix:
    """How a window begins, before it is known where: drawn once, so that shortening a window does not change it."""

    states: bool = True
    summary: bool = False
    recent: int = 0

    def context(self, builder: SequenceBuilder, episode: Episode, start: int) -> tuple[Context, frozenset[str]]:
        """What the prompt shows at ``start``, and the steps whose state it tells.

        A stream's beginning has nothing to forget; it has a summary where the episode goes on from an earlier clip. A
        summary is the last one said before ``start``; it tells the steps that have not changed since, but not which of the
        open ones are in progress.
        """
        state = episode.state_at(start - 1)
        every = frozenset(episode.task.step_ids)
        if start == episode.start_frame:
            before = "" if "past" in builder.ablated_inputs else episode.meta.get(PROGRESS_BEFORE, "")
            return Context(state, before), every
        if "past" in builder.ablated_inputs:
            # it is to guess what it cannot know
            return Context(), every
        recent = layout_newest_turns(builder, window_sampler_prior_dialogue(episode, start), self.recent)
        told = window_sampler_last_progress(episode, start) if self.summary else None
        if self.states:
            return Context(state, told[0] if told else "", recent), every
        if told is None:
            unchanged = every if all(s == "not_started" for s in state.states) else frozenset()
            return Context(None, "", recent), unchanged
        text, changed = told
        return Context(None, text, recent), frozenset(s for s in every - changed if state[s] != "in_progress")


@dataclass(frozen=True)
class WindowSampler:
    """Draws one window of an episode: around a random event, or anywhere.

    ``min_frames`` and ``max_frames`` bound its length; ``event_share`` is the chance that it holds an event on
    purpose. It opens with the tracked states, or with blank ones (``blank_share``), or with the last progress summary
    (``summary_share``: half of those with blank states, as `summarize_and_drop` leaves them, half with the tracked
    ones, as `summarize_with_dst` does); and with the last ``recent_utterances`` (``recent_share``). With chance
    ``progress_share`` it ends on an utterance that carries a progress summary, which it then asks for.
    ``context_noise`` is how often its context differs from what should have been written and said.
    """

    min_frames: int = 8
    max_frames: int = 32
    event_share: float = 0.7
    blank_share: float = 0.1
    summary_share: float = 0.1
    recent_share: float = 0.3
    recent_utterances: int = 2
    progress_share: float = 0.1
    context_noise: NoiseRates = field(default_factory=NoiseRates)

    def place(
        self, rng: random.Random, episode: Episode, builder: SequenceBuilder, longest: int | None = None
    ) -> tuple[int, int, int, WindowPrefix]:
        """What `draw` begins with, before anything is cut: first frame, end, the frame in between that must stay, and how it
        opens."""
        longest = self._longest(episode, builder, longest)
        length = rng.randint(min(self.min_frames, longest), longest)
        latest = episode.end_frame - length
        start = rng.randint(episode.start_frame, latest)
        anchor = start + rng.randrange(length)
        decided = [d.frame for d in episode.decisions() if d.event.kind != "user"]
        if decided and rng.random() < self.event_share:
            anchor = rng.choice(decided)
            start = min(max(anchor - rng.randrange(length), episode.start_frame), latest)
        kind = rng.random()
        summary = kind < self.summary_share
        blank = kind < self.summary_share / 2 or self.summary_share <= kind < self.summary_share + self.blank_share
        blank |= "state" in builder.ablated_inputs
        recent = self.recent_utterances if rng.random() < self.recent_share else 0
        return start, start + length, anchor, WindowPrefix(not blank, summary, recent)

    def _longest(self, episode: Episode, builder: SequenceBuilder, longest: int | None) -> int:
        if "past" in builder.ablated_inputs:
            return 1
        return min(self.max_frames if longest is None else longest, episode.num_frames)

    def draw(
        self,
        rng: random.Random,
        episode: Episode,
        builder: SequenceBuilder,
        max_tokens: int,
        longest: int | None = None,
    ) -> TrainingWindow:
        """A window of at most ``max_tokens`` tokens, and of ``longest`` frames unless an exchange reaches further back.

        No event is cut from its label: a window neither begins between a question and its reply, nor is it cut
        elsewhere than between two frames.
        """
        start, end, anchor, opening = self.place(rng, episode, builder, longest)
        context_noise = self.context_noise.draw(rng, episode)
        progress = ""
        if rng.random() < self.progress_share:
            end, progress = window_sampler_ending(episode, anchor, end)
        start = window_sampler_before_question(episode, start)
        if not progress:
            end = min(end, max(anchor + 1, start + self._longest(episode, builder, longest)))
        window = fit_sampler_window(builder, episode, start, end, anchor, opening, progress, max_tokens, context_noise)
        return replace(window, context_noise=context_noise.within(window.start, window.end))


def fit_sampler_window(
    builder: SequenceBuilder,
    episode: Episode,
    start: int,
    end: int,
    anchor: int,
    opening: WindowPrefix,
    progress: str,
    max_tokens: int,
    context_noise: ContextNoise | None = None,
) -> TrainingWindow:
    """The longest window around ``anchor``, inside ``start .. end - 1``, that fits; one that cannot is a `UserError`.

    Frames go from the side that reaches further from the anchor. A progress summary keeps the end where it is; where
    there is no room for that, it is not asked for.
    """
    before = [0, *accumulate(window_sampler_frame_costs(builder, episode, context_noise))]
    first = episode.start_frame
    while True:
        context, known = opening.context(builder, episode, start)
        if len(known) < len(episode.task.steps):
            progress = ""
        needed = len(builder.prompt(episode.task, context).ids) + before[end - first] - before[start - first]
        needed += len(builder.summary(progress)) if progress else 0
        if needed <= max_tokens:
            return TrainingWindow(episode, start, end, context, known, summary=progress)
        later = window_sampler_after_reply(episode, start + 1)
        if later <= anchor and (progress or anchor - start >= end - 1 - anchor):
            start = later
        elif progress:
            progress = ""
        elif end - 1 > anchor:
            end -= 1
        else:
            raise UserError(
                f"sampling.max_tokens={max_tokens}: frame {anchor} of {episode.id} with its events and prompt needs"
                f" {needed}; give at least that many"
            )


def window_sampler_frame_costs(
    builder: SequenceBuilder, episode: Episode, context_noise: ContextNoise | None = None
) -> list[int]:
    """The most tokens of every frame with what is written after it: each update apart, and a wrong one with what takes it
    back."""
    costs = [builder.tokens_per_frame] * episode.num_frames
    first = episode.start_frame
    changes: dict[int, list[tuple[str, str]]] = {}
    for frame, step, change in episode.transitions():
        changes.setdefault(frame, []).append((step, change))
    for frame, changed in changes.items():
        costs[frame - first] += len(builder.update(changed))
    for frame, (step, change) in context_noise.wrong.items() if context_noise else ():
        costs[frame - first] += 2 * max(
            len(builder.update([(step, other)])) for other in (change, "reopen", "complete")
        )
    for utterance in episode.utterances():
        costs[utterance.frame - first] += len(builder.reply(utterance.text))
    for frame, event in episode.user_turns():
        costs[frame - first] += len(builder.user(event.text))
    return costs


def window_sampler_first_loss_frame(episode: Episode) -> int:
    """The first frame that may carry loss: later than the first one where a clip begins with frames for context alone."""
    return int(episode.meta.get(SUPERVISED_FROM, episode.start_frame))


def window_sampler_exchanges(episode: Episode) -> list[tuple[int, int]]:
    """(frame of the first user turn since the utterance before, frame of the reply), for every reply to the user.

    A reply is what comes within five seconds, or what the data labels as responsive, however long it took.
    """
    users = [frame for frame, _ in episode.user_turns()]
    out, previous = [], episode.start_frame
    for utterance in episode.utterances():
        asked = [user for user in users if previous <= user < utterance.frame]
        labelled = any(event.labels.startswith("responsive") for event in utterance.events)
        if asked and (utterance.responsive or labelled):
            out.append((asked[0], utterance.frame))
        previous = utterance.frame
    return out


def window_sampler_before_question(episode: Episode, start: int) -> int:
    """The last frame at or before ``start`` that does not lie between a question and its reply."""
    for user, reply in reversed(window_sampler_exchanges(episode)):
        if user < start <= reply:
            start = user
    return start


def window_sampler_after_reply(episode: Episode, start: int) -> int:
    """The first frame at or after ``start`` that does not lie between a question and its reply."""
    for user, reply in window_sampler_exchanges(episode):
        if user < start <= reply:
            start = reply + 1
    return start


def window_sampler_ending(episode: Episode, anchor: int, end: int) -> tuple[int, str]:
    """Where a window over ``anchor`` can end with a progress summary, and that summary; ``end`` and none if nowhere.

    An episode's own summary stands at its end; an utterance's ``progress`` right after it.
    """
    if end == episode.end_frame and episode.summary:
        return end, episode.summary
    said = [(u.frame + 1, u.events[-1].progress) for u in episode.utterances() if anchor <= u.frame < end]
    told = [(after, text) for after, text in said if text]
    return told[-1] if told else (end, "")


def window_sampler_last_progress(episode: Episode, frame: int) -> tuple[str, set[str]] | None:
    """The last progress summary known before a frame, and the steps that have changed since it was said."""
    told: str | None = episode.meta.get(PROGRESS_BEFORE)
    changed: set[str] = set()
    for decision in episode.decisions():
        if decision.frame >= frame:
            break
        if decision.event.progress:
            told, changed = decision.event.progress, set()
        elif decision.event.step:
            changed.add(decision.event.step)
    return None if told is None else (told, changed)


def window_sampler_prior_dialogue(episode: Episode, frame: int) -> tuple[tuple[str, str], ...]:
    """What a stream has heard and said before it reads a frame, oldest first: (who, text).

    A user turn reaches the stream with the frame after it: one right before ``frame`` has not been heard yet.
    """
    users: dict[int, list[str]] = {}
    for user, event in episode.user_turns():
        users.setdefault(user + 1, []).append(event.text)
    turns = [(at, 0, "User", " ".join(texts)) for at, texts in users.items()]
    turns += [(u.frame, 1, "Assistant", u.text) for u in episode.utterances()]
    return tuple((who, text) for at, _, who, text in sorted(turns) if at < frame)

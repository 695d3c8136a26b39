"""Window sampler: which part of an episode is a training window, and how the window starts and ends.

A window starts like a stream after a compression: with tracked states, blank states, a summary, or
the last utterances. States that its prompt does not show carry no loss (`SequenceBuilder.window`).
Windows are redrawn in every epoch from a seed.
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

    Attributes:
        episode: The episode.
        start: First frame.
        end: Frame after the last.
        context: Contents of the prompt.
        known: Steps whose initial state the prompt shows.
        context_noise: Deviations of the simulated stream.
        summary: Progress summary that the end requests; empty for none.
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
        """The frames as a separate episode."""
        return self.episode.window(self.start, self.end)

    def tokens(self, builder: SequenceBuilder, supervised: set[int] | None = None) -> TokenSequence:
        """Build the sequence with its labels.

        Two kinds of frames never carry loss. A user turn right before the window reaches a stream
        with the window's first frame but is not in the window, so decisions on that frame cannot be
        learned. Context frames that a published clip repeats from the clip before it lack their
        utterances.

        Args:
            builder: Builds the sequence.
            supervised: Frames that carry loss; all if None.
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
    """How a window starts; drawn once, so that shortening the window does not change it.

    Attributes:
        states: Whether the prompt shows the tracked states.
        summary: Whether the prompt shows a progress summary.
        recent: Number of last utterances in the prompt.
    """

    states: bool = True
    summary: bool = False
    recent: int = 0

    def context(self, builder: SequenceBuilder, episode: Episode, start: int) -> tuple[Context, frozenset[str]]:
        """Return the contents of the prompt at ``start``, and the steps whose state it shows.

        At the start of an episode there is nothing to forget; the prompt has a summary if the
        episode continues an earlier clip. Elsewhere a summary is the last one before ``start``. It
        shows the states of steps that have not changed since, but not which of the open steps are
        in progress.

        Args:
            builder: Counts tokens.
            episode: The episode.
            start: First frame of the window.
        """
        state = episode.state_at(start - 1)
        every = frozenset(episode.task.step_ids)
        if start == episode.start_frame:
            before = "" if "past" in builder.ablated_inputs else episode.meta.get(PROGRESS_BEFORE, "")
            return Context(state, before), every
        if "past" in builder.ablated_inputs:
            # without the past the model has to guess the states
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
    """Draws one window of an episode, around a random event or anywhere.

    Attributes:
        min_frames: Minimum length in frames.
        max_frames: Maximum length in frames.
        event_share: Probability that the window is drawn around an event.
        blank_share: Probability of blank states in the prompt.
        summary_share: Probability of the last progress summary in the prompt: half of these with
            blank states, as after `summarize_and_drop`, half with tracked states, as after
            `summarize_with_dst`.
        recent_share: Probability of the last utterances in the prompt.
        recent_utterances: Maximum number of last utterances.
        progress_share: Probability that the window ends on an utterance with a progress summary and
            requests it.
        context_noise: Rates of simulated stream errors.
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
        """Draw the position of a window before it is cut to its limits.

        Args:
            rng: Random generator.
            episode: The episode.
            builder: Layout of the model, with its ablated inputs.
            longest: Maximum frames; ``max_frames`` if None.

        Returns:
            (first frame, frame after the last, frame that must stay inside, start of the window).
        """
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
        """Draw a window.

        No event is separated from its label: a window never starts between a question and its
        reply.

        Args:
            rng: Random generator.
            episode: The episode.
            builder: Counts tokens.
            max_tokens: Maximum tokens of the window.
            longest: Maximum frames, unless an exchange reaches further back; ``max_frames`` if
                None.

        Raises:
            UserError: If no window fits into ``max_tokens``.
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
    """Return the longest window around ``anchor`` inside ``start .. end - 1`` that fits.

    Frames are removed from the side that is farther from the anchor. A requested progress summary
    keeps the end in place; if there is no room for it, it is not requested.

    Args:
        builder: Counts tokens.
        episode: The episode.
        start: First frame.
        end: Frame after the last.
        anchor: Frame that must stay inside.
        opening: Start of the window.
        progress: Progress summary to request; empty for none.
        max_tokens: Maximum tokens of the window.
        context_noise: Deviations of the simulated stream, which cost tokens.

    Raises:
        UserError: If not even the anchor fits.
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
    """Return an upper bound of the tokens of every frame with the text after it.

    Updates count separately, and a wrong update counts with its correction.

    Args:
        builder: Counts tokens.
        episode: The episode.
        context_noise: Deviations of the simulated stream, if any.
    """
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
    """Return the first frame that may carry loss; a clip may start with frames for context only."""
    return int(episode.meta.get(SUPERVISED_FROM, episode.start_frame))


def window_sampler_exchanges(episode: Episode) -> list[tuple[int, int]]:
    """Return (frame of the first user turn since the last utterance, frame of the reply) for every reply.

    A reply is an utterance within five seconds, or one that the data labels as responsive after any
    time.
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
    """Return the last frame at or before ``start`` that is not between a question and its reply."""
    for user, reply in reversed(window_sampler_exchanges(episode)):
        if user < start <= reply:
            start = user
    return start


def window_sampler_after_reply(episode: Episode, start: int) -> int:
    """Return the first frame at or after ``start`` that is not between a question and its reply."""
    for user, reply in window_sampler_exchanges(episode):
        if user < start <= reply:
            start = reply + 1
    return start


def window_sampler_ending(episode: Episode, anchor: int, end: int) -> tuple[int, str]:
    """Return an end for a window with a progress summary, and the summary.

    The summary of an episode is at its end; the ``progress`` of an utterance comes right after it.
    Without either the result is ``end`` and an empty text.

    Args:
        episode: The episode.
        anchor: Frame that must stay inside the window.
        end: Latest end.
    """
    if end == episode.end_frame and episode.summary:
        return end, episode.summary
    said = [(u.frame + 1, u.events[-1].progress) for u in episode.utterances() if anchor <= u.frame < end]
    told = [(after, text) for after, text in said if text]
    return told[-1] if told else (end, "")


def window_sampler_last_progress(episode: Episode, frame: int) -> tuple[str, set[str]] | None:
    """Return the last progress summary before a frame, and the steps that have changed since."""
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
    """Return (speaker, text) of the dialogue before a stream reads a frame, oldest first.

    A user turn reaches the stream with the next frame, so a turn right before ``frame`` is not
    included.
    """
    users: dict[int, list[str]] = {}
    for user, event in episode.user_turns():
        users.setdefault(user + 1, []).append(event.text)
    turns = [(at, 0, "User", " ".join(texts)) for at, texts in users.items()]
    turns += [(u.frame, 1, "Assistant", u.text) for u in episode.utterances()]
    return tuple((who, text) for at, _, who, text in sorted(turns) if at < frame)

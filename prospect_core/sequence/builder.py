"""Episodes as token sequences with labels for the four objectives: what training learns from.

python -c "from prospect_core.sequence.builder import *; help(SequenceBuilder)"
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from prospect_core.sequence.labels import (
    IGNORE,
    known_steps_for_sequence_labels,
    make_sequence_event_labels,
    make_sequence_state_labels,
    mask_unsupervised_sequence_labels,
)
from prospect_core.sequence.layout import Context, FrameText, TokenLayout
from prospect_core.sequence.written_context import WrittenContext, build_written_context
from prospect_core.timeline import Episode


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


class SequenceBuilder(TokenLayout):
    """Turns an episode, or a clip of one, into a token sequence with labels."""

    def window(
        self,
        episode: Episode,
        context: Context | None = None,
        written: WrittenContext | None = None,
        *,
        whole: Episode | None = None,
        known: frozenset[str] | None = None,
        supervised: Collection[int] | None = None,
        summary: str = "",
    ) -> TokenSequence:
        """The whole of an episode (or a clip of one) as one sequence with its labels.

        Labels follow the true timeline whatever is written. A reply that is written a frame too early is learnt where it
        is written, and its own frame is labelled silent.

        Args:
            episode: The episode or clip.
            context: What the prompt tells beyond the task; by default the tracked state at the window's start.
            written: What the stream has written on each frame; by default the reference (`build_written_context`). Training gives
                one with noise (`ContextNoise.apply_to`).
            whole: The episode that a clip was cut from: its events right outside silence the clip's edges.
            known: Steps whose state at the start the prompt tells; see `known_steps_for_sequence_labels` for the default. What is not known
                carries no loss until it changes: neither the states of those steps, nor replies and the summary.
            supervised: Frames that carry loss, with their replies (default: all); the context stays whole.
            summary: A progress summary that is asked for, and supervised, at the end.
        """
        context = Context(episode.initial_state) if context is None else context
        known = known_steps_for_sequence_labels(episode, context.state) if known is None else known
        written = build_written_context(episode) if written is None else written
        answerable = len(known) == len(episode.task.steps)
        prompt = self.prompt(episode.task, context)
        out = TokenSequence(list(prompt.ids), list(prompt.markers), [IGNORE] * len(prompt.ids))
        for frame in range(episode.start_frame, episode.end_frame):
            learn_reply = answerable and (supervised is None or frame in supervised)
            self._add_frame(out, frame, written.text.get(frame, FrameText()), learn_reply)
        if summary:
            self._add(out, self.summary(summary), learn=answerable)
        out.states = make_sequence_state_labels(episode, known, supervised)
        self._label_events(out, whole or episode, written, supervised)
        return out

    def _add_frame(self, out: TokenSequence, frame: int, text: FrameText, learn_reply: bool) -> None:
        self._add(out, self.frame())
        out.frames.append(frame)
        out.frame_last.append(len(out.ids) - 1)
        for kind, ids in self.after_frame(text):
            self._add(out, ids, learn=learn_reply and kind == "reply")

    @staticmethod
    def _add(out: TokenSequence, ids: list[int], learn: bool = False) -> None:
        """Append a piece; what is learnt of it is all but its opening mark, which a head decides on."""
        out.ids += ids
        out.lm_labels += [IGNORE, *ids[1:]] if learn else [IGNORE] * len(ids)

    @staticmethod
    def _label_events(
        out: TokenSequence, whole: Episode, written: WrittenContext, supervised: Collection[int] | None
    ) -> None:
        """Label the frames on which to speak and on which to update the state."""
        spoken = {utterance.frame for utterance in whole.utterances()}
        updated = {frame for frame, _, _ in whole.transitions()}
        speaking = make_sequence_event_labels(out.frames, spoken)
        # a reply that was written a frame earlier is not due again
        speaking = [0 if f in written.early else label for f, label in zip(out.frames, speaking, strict=True)]
        out.speaking = mask_unsupervised_sequence_labels(supervised, out.frames, speaking)
        out.update = mask_unsupervised_sequence_labels(
            supervised, out.frames, make_sequence_event_labels(out.frames, updated, written.due)
        )

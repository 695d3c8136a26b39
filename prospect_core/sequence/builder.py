"""Build token sequences with labels for the four objectives and for mistakes from episodes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from prospect_core.sequence.labels import (
    IGNORE,
    known_steps_for_sequence_labels,
    make_sequence_event_labels,
    make_sequence_mistake_labels,
    make_sequence_state_labels,
    mask_unsupervised_sequence_labels,
)
from prospect_core.sequence.layout import Context, FrameText, TokenLayout
from prospect_core.sequence.written_context import WrittenContext, build_written_context
from prospect_core.timeline import Episode


@dataclass
class TokenSequence:
    """A training window as tokens with labels; ``IGNORE`` marks what carries no loss.

    Attributes:
        ids: Token ids.
        markers: Positions of the step markers.
        lm_labels: Label of each token: its own id (the loss applies the causal shift).
        frames: Number of each frame.
        frame_last: Position of each frame's last token.
        speaking: Speaking label of each frame.
        update: Update label of each frame.
        states: State label of each step, for each frame.
        mistakes: Mistake label of each frame.
    """

    ids: list[int]
    markers: list[int]
    lm_labels: list[int]
    frames: list[int] = field(default_factory=list)
    frame_last: list[int] = field(default_factory=list)
    speaking: list[int] = field(default_factory=list)
    update: list[int] = field(default_factory=list)
    states: list[list[int]] = field(default_factory=list)
    mistakes: list[int] = field(default_factory=list)


class SequenceBuilder(TokenLayout):
    """Builds token sequences with labels from episodes or clips of them."""

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
        """Build the sequence of an episode, or a clip of one, with its labels.

        Labels follow the true timeline even if the written context differs. A reply that is written
        a frame too early is learned where it is written, and its reference frame is labelled silent.

        Args:
            episode: The episode or clip.
            context: Contents of the prompt in addition to the task; by default the state at the window's
                start.
            written: Text that the stream has written after each frame; by default the reference
                (`build_written_context`). Training adds noise (`ContextNoise.apply_to`).
            whole: Episode that the clip was cut from: its events next to the clip's edges are not
                labelled as silence.
            known: Steps whose initial state the prompt shows; see `known_steps_for_sequence_labels`
                for the default. The states of other steps carry no loss until they change; neither
                do replies and the summary if any step is unknown.
            supervised: Frames that carry loss, with their replies; all if None. The context is
                complete in any case.
            summary: A progress summary that is requested and supervised at the end.
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
        """Append a piece; its opening token carries no loss, because a head decides on it."""
        out.ids += ids
        out.lm_labels += [IGNORE, *ids[1:]] if learn else [IGNORE] * len(ids)

    @staticmethod
    def _label_events(
        out: TokenSequence, whole: Episode, written: WrittenContext, supervised: Collection[int] | None
    ) -> None:
        """Label the frames on which to speak, to update the state and to report a mistake."""
        spoken = {utterance.frame for utterance in whole.utterances()}
        updated = {frame for frame, _, _ in whole.transitions()}
        speaking = make_sequence_event_labels(out.frames, spoken)
        # a reply that was written a frame earlier is not due on its own frame
        speaking = [0 if f in written.early else label for f, label in zip(out.frames, speaking, strict=True)]
        out.speaking = mask_unsupervised_sequence_labels(supervised, out.frames, speaking)
        out.update = mask_unsupervised_sequence_labels(
            supervised, out.frames, make_sequence_event_labels(out.frames, updated, written.due)
        )
        out.mistakes = mask_unsupervised_sequence_labels(
            supervised, out.frames, make_sequence_mistake_labels(whole, out.frames)
        )

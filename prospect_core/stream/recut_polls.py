"""Polls as official protocols ask them: each is a new stream over a clip that ends with the poll."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prospect_core.records import PolledAnswer
from prospect_core.stream.polling import Answer, StreamRules, ask_poll, format_poll_question
from prospect_core.stream.spans import replay_in_spans
from prospect_core.timeline import Episode, Poll, frame_floor
from prospect_core.util.errors import UserError

#: reads the frames ``start .. end - 1`` of a video
Clips = Callable[[int, int], Iterable[Any]]


def answer_recut_polls(model: Any, episode: Episode, clips: Clips | None, longest_span: int) -> Iterator[PolledAnswer]:
    """Answer each poll of an episode in a new stream over the poll's own clip.

    A model with ``ask`` watches the clip in silence and is asked after its last frame. Any other
    model gets the question as a user turn with the clip's last frame; its utterance on that frame
    is the answer, and silence is an empty one.

    Args:
        model: The model.
        episode: The episode.
        clips: Reads the frames of the video.
        longest_span: Maximum frames per call of ``advance``.

    Raises:
        UserError: If the frames cannot be read again.
    """
    if clips is None:
        raise UserError("polls that cut their own clip read the video again, which this replay cannot")
    for poll in episode.polls:
        last = episode.poll_frame(poll)
        first = min(max(episode.start_frame, frame_floor(poll.clip_start, episode.fps)), last)
        model.reset(episode.task, episode.initial_state, episode.fps, first)
        frames = clips(first, last + 1)
        if hasattr(model, "ask"):
            if hasattr(model, "follow"):
                model.follow(StreamRules(speaks=False))
            _watch(model, frames, longest_span)
            yield ask_poll(model, poll, last)
        else:
            answer = _answer_as_turn(model, poll, frames, last - first + 1)
            yield PolledAnswer(poll.id, last, answer.text, answer.tokens, answer.cut)


def _watch(model: Any, frames: Iterable[Any], longest_span: int) -> None:
    seen = ((frame, None) for frame in frames)
    advance = getattr(model, "advance", None)
    outputs = replay_in_spans(advance, seen, longest_span) if advance else (model.step(*item) for item in seen)
    for _ in outputs:
        pass


def _answer_as_turn(model: Any, poll: Poll, frames: Iterable[Any], count: int) -> Answer:
    question = format_poll_question(poll.question, poll.choices)
    said = Answer("")
    for number, frame in enumerate(frames, 1):
        output = model.step(frame, question if number == count else None)
        if number == count and output.utterance is not None:
            said = Answer(output.utterance.text, output.utterance.tokens, output.utterance.cut)
    return said

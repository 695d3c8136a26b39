"""All predictions of one replay, with the reference episode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from prospect_core.records.predicted_events import (
    CompressionEvent,
    PolledAnswer,
    PredictedMistake,
    PredictedNextStep,
    PredictedTransition,
    PredictedUtterance,
    Refusal,
    UnseenLength,
)
from prospect_core.records.replay_settings import Knobs
from prospect_core.timeline import DialogState, Episode, TimelineError
from prospect_core.timeline.task import STRICT

#: version of the form of prediction records
SCHEMA = 1
#: per-frame probabilities, and events in the order of their frames
_PROBABILITIES = ("speaking_prob", "update_prob", "mistake_prob")
_EVENTS = ("utterances", "transitions", "refusals", "compressions", "mistakes", "next_steps")


@dataclass(frozen=True)
class EpisodeRecord:
    """All predictions of one replay, with the reference episode. Arrays have one entry per frame.

    ``state_probs`` has shape (frames, steps, 3) over (not_started, in_progress, completed). The
    arrays of a model without probabilities are empty; metrics that need them are then undefined,
    never zero. ``mistake_prob`` is the probability that the person is making a mistake. ``unseen`` lists where the stream exceeded the lengths of its model's training.

    Under the clocks ``simulated`` and ``live`` an entry of ``state_probs`` is the latest one that
    was available on its frame; speaking and update probabilities are 0 on frames on which no step
    ended. ``dropped`` lists the frames (first, last) that the model did not see, ``undelivered`` the
    utterances that were not ready before the end of the video, with the frame after the last one.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    __arrays__: ClassVar[tuple[str, ...]] = (
        "speaking_prob",
        "update_prob",
        "state_probs",
        "mistake_prob",
        "cache_tokens",
        "cache_bytes",
    )
    schema: int
    model: str
    knobs: Knobs
    episode: Episode
    speaking_prob: tuple[float, ...] = ()
    update_prob: tuple[float, ...] = ()
    state_probs: tuple[tuple[tuple[float, float, float], ...], ...] = ()
    cache_tokens: tuple[int, ...] = ()
    cache_bytes: tuple[int, ...] = ()
    utterances: tuple[PredictedUtterance, ...] = ()
    transitions: tuple[PredictedTransition, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    compressions: tuple[CompressionEvent, ...] = ()
    status: Literal["ok", "failed"] = "ok"
    error: str = ""
    unseen: tuple[UnseenLength, ...] = ()
    answers: tuple[PolledAnswer, ...] = ()
    mistake_prob: tuple[float, ...] = ()
    mistakes: tuple[PredictedMistake, ...] = ()
    next_steps: tuple[PredictedNextStep, ...] = ()
    dropped: tuple[tuple[int, int], ...] = ()
    undelivered: tuple[PredictedUtterance, ...] = ()

    def tracked_states(self) -> list[tuple[int, DialogState]]:
        """Return [(frame, tracked state from this frame)], starting with the initial state.

        The first entry has the frame before the first one.
        """
        state = self.episode.initial_state
        out = [(self.episode.start_frame - 1, state)]
        for item in self.transitions:
            state = state.apply(item.step, item.change, item.frame / self.episode.fps)
            out.append((item.frame, state))
        return out

    def problems(self) -> list[str]:
        """Return the contradictions in this record or with its episode, one line each."""
        return _list_problems(self)


def _list_problems(record: EpisodeRecord) -> list[str]:
    """Return the contradictions in a record or with its episode."""
    episode = record.episode
    if record.schema != SCHEMA:
        return [f"{episode.id}: record schema {record.schema} is not {SCHEMA}"]
    out = [*_list_array_problems(record), *_list_event_problems(record)]
    out += [*_list_answer_problems(record), *_list_clock_problems(record)]
    try:
        record.tracked_states()
    except TimelineError as error:
        out.append(f"{episode.id}: predicted {error}")
    return out


def _list_array_problems(record: EpisodeRecord) -> Iterator[str]:
    """Yield the problems of lengths and values of per-frame arrays."""
    episode = record.episode
    for name in record.__arrays__:
        length = len(getattr(record, name))
        if length not in (0, episode.num_frames):
            yield f"{episode.id}: {name} has {length} entries for {episode.num_frames} frames"
    for name in _PROBABILITIES:
        wrong = next((p for p in getattr(record, name) if not 0 <= p <= 1), None)
        if wrong is not None:
            yield f"{episode.id}: {name} holds {wrong:g}; probabilities are 0 to 1"
    if any(not 0 <= p <= 1 for row in record.state_probs for step in row for p in step):
        yield f"{episode.id}: state_probs holds a value outside 0 to 1"
    steps = len(episode.task.steps)
    wrong_row = next((row for row in record.state_probs if len(row) != steps), None)
    if wrong_row is not None:
        yield f"{episode.id}: state_probs has {len(wrong_row)} steps, the task {steps}"


def _list_event_problems(record: EpisodeRecord) -> Iterator[str]:
    """Yield the problems of frames and steps of events."""
    episode = record.episode
    for kind in _EVENTS:
        frames = [item.frame for item in getattr(record, kind)]
        if frames != sorted(frames):
            yield f"{episode.id}: {kind} are not in order of their frames"
        if frames and not (episode.start_frame <= frames[0] and frames[-1] < episode.end_frame):
            yield f"{episode.id}: {kind} lie outside frames {episode.start_frame}..{episode.end_frame - 1}"
    if len({u.frame for u in record.utterances}) != len(record.utterances):
        yield f"{episode.id}: two utterances on one frame"
    named = {item.step for item in record.mistakes if item.step} | {item.step for item in record.next_steps}
    if unknown := sorted(named - set(episode.task.step_ids)):
        yield f"{episode.id}: a predicted mistake or next step names step {unknown[0]!r}, not of this task"


def _list_clock_problems(record: EpisodeRecord) -> list[str]:
    """Return the contradictions in dropped frames and in frames of decision."""
    episode, out = record.episode, []
    ends = [frame for span in record.dropped for frame in span]
    ordered = ends == sorted(ends) and all(
        a[1] < b[0] for a, b in zip(record.dropped, record.dropped[1:], strict=False)
    )
    if ends and not (ordered and episode.start_frame <= ends[0] and ends[-1] < episode.end_frame):
        out.append(f"{episode.id}: the dropped frames overlap or lie outside the episode")
    unseen = {frame for first, last in record.dropped for frame in range(first, last + 1)} if ordered else set()
    items: list[PredictedUtterance | PredictedTransition] = [*record.utterances, *record.transitions]
    for item in items:
        if not episode.start_frame <= item.decision_frame <= item.frame:
            out.append(f"{episode.id}: decided on frame {item.decision_frame} and effective on frame {item.frame}")
        elif item.decision_frame in unseen:
            out.append(f"{episode.id}: decided on frame {item.decision_frame}, which was dropped")
    return out


def _list_answer_problems(record: EpisodeRecord) -> list[str]:
    asked, episode, out = {poll.id: poll for poll in record.episode.polls}, record.episode, []
    given = [answer.poll for answer in record.answers]
    out += [f"{episode.id}: poll {name!r} is answered twice" for name in sorted(set(given)) if given.count(name) > 1]
    for answer in record.answers:
        if answer.poll not in asked:
            out.append(f"{episode.id}: answers poll {answer.poll!r}, which the episode does not have")
        elif answer.frame != episode.poll_frame(asked[answer.poll]):
            out.append(f"{episode.id}: poll {answer.poll!r} is answered on frame {answer.frame}, not on its own")
    return out

"""Episodes of ProactiveVideoQA: each question is a stream with one standing question and a reference in each reply span.

Further turns of the user come at their times. The official window ends with the last reply span, as the published replay does.
"""

from __future__ import annotations

from collections.abc import Iterator

from prospect_core.records import ReplayProtocol
from prospect_core.timeline import Episode, Event, Task, sort_timeline_events
from prospect_core.util.errors import UserError
from prospect_eval.suites.benchmark import BenchmarkEpisodes, VideoLengths
from prospect_eval.suites.episode_window import (
    EpisodeWindow,
    find_episode_window,
    find_time_fault,
    name_of_video,
)
from prospect_eval.suites.proactivevideoqa.annotations import ProactiveQuestion, ProactiveVideoQAAnnotations

TASK = Task("Watch the video and answer the user's question each time the video shows something new about it.")
#: the key of `Episode.meta` that holds the id of the question
ITEM = "item"
QUESTION = "question"


def make_proactivevideoqa_episodes(
    annotations: ProactiveVideoQAAnnotations, protocol: ReplayProtocol, videos: VideoLengths
) -> BenchmarkEpisodes:
    """The episodes of a protocol; questions without replies, or with times that their video cannot hold, are refused.

    Raises:
        UserError: The protocol is not autonomous.
    """
    if protocol.initiative != "autonomous":
        raise UserError(
            f"ProactiveVideoQA scores when a model speaks: it cannot be {protocol.initiative}; give autonomous"
        )
    refused: dict[str, str] = {}
    episodes: list[Episode] = []
    for question in annotations.questions:
        fault = _find_fault(question, protocol, videos)
        if fault is None:
            episodes.append(_make_episode(question, protocol, videos))
        else:
            refused[question.id] = fault
    return BenchmarkEpisodes(tuple(episodes), refused)


def _find_fault(question: ProactiveQuestion, protocol: ReplayProtocol, videos: VideoLengths) -> str | None:
    if not question.video:
        return "the annotations name no video"
    if not question.user_turns or not question.user_turns[0].content.strip():
        return "the question has no text"
    if not question.turns:
        return "the question has no reference reply"
    if any(turn.reply[0] > turn.reply[1] for turn in question.turns):
        return "a reply span ends before it starts"
    asked = _find_ask_time(question, protocol)
    times = (asked, *(turn.reply[0] for turn in question.turns))
    fault = find_time_fault(question.video, times, videos)
    if fault is None and asked >= _find_window(question, protocol, videos).last_s:
        return "the question comes at the end of the window"
    return fault


def _find_ask_time(question: ProactiveQuestion, protocol: ReplayProtocol) -> float:
    if protocol.question_time == "start":
        return 0.0
    return question.user_turns[0].time or 0.0


def _find_window(question: ProactiveQuestion, protocol: ReplayProtocol, videos: VideoLengths) -> EpisodeWindow:
    last = max(turn.reply[1] for turn in question.turns)
    if question.duration is not None:
        last = min(last, question.duration)
    return find_episode_window(question.video, (0.0, max(last, 0.0)), protocol, videos)


def _make_episode(question: ProactiveQuestion, protocol: ReplayProtocol, videos: VideoLengths) -> Episode:
    window = _find_window(question, protocol, videos)
    asked = _find_ask_time(question, protocol)
    asking = Event(QUESTION, asked, "user", question.user_turns[0].content, open_until=window.end_s)
    events = [asking, *_make_further_turns(question, window, asked), *_make_references(question, window, asked)]
    task = f"{question.task}/" if question.task else ""
    return Episode(
        id=f"{task}{name_of_video(question.video)}-{question.id}",
        video=question.video,
        fps=window.fps,
        start_frame=window.start,
        end_frame=window.end,
        task=TASK,
        events=sort_timeline_events(events),
        meta={ITEM: question.id},
    )


def _make_further_turns(question: ProactiveQuestion, window: EpisodeWindow, asked: float) -> Iterator[Event]:
    """The later turns of the user; without those that have no text, or no time between the question and the window's end."""
    for number, turn in enumerate(question.user_turns[1:], 1):
        if turn.time is not None and asked <= turn.time < window.last_s and turn.content.strip():
            yield Event(f"turn {number}", turn.time, "user", turn.content)


def _make_references(question: ProactiveQuestion, window: EpisodeWindow, asked: float) -> Iterator[Event]:
    """A reference in each reply span that does not lie outside the window."""
    for number, turn in enumerate(question.turns, 1):
        start, end = max(asked, turn.reply[0]), turn.reply[1]
        if end < asked or start > window.last_s:
            continue
        yield Event(
            id=f"answer {number}",
            time=window.first_frame_time(start),
            kind="assistant",
            text=turn.content.strip() or "Now.",
            reply_span=(start, end),
            answers_to=QUESTION,
            group=question.id,
        )

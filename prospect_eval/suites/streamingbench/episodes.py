"""Episodes of StreamingBench, Proactive Output.

Polled, an episode is a video, and each question is polled once a second from one second after it. Each second has two polls: one
asks whether now is the time, the other puts the question itself. The published loop puts the question only at the first "yes",
and every poll is a run of its own over the clip from the question on: its outcome follows from these answers, because polls are
isolated (`prospect_eval.suites.streamingbench.records`). The poll names the gold output where the protocol reveals
``gold_text``. In the official window polling ends four seconds after the gold time; over the whole video it goes on.

Autonomous, an episode is one standing question with one reference. The official window is from the question to four seconds after
the gold time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from prospect_core.records import ReplayProtocol
from prospect_core.timeline import Episode, Event, Poll, Task, sort_timeline_events
from prospect_core.util.errors import UserError
from prospect_eval.suites.benchmark import BenchmarkEpisodes, VideoLengths
from prospect_eval.suites.episode_window import (
    EpisodeWindow,
    find_episode_window,
    find_time_fault,
    name_of_video,
)
from prospect_eval.suites.streamingbench.annotations import ProactiveAnnotations, ProactiveOutputQuestion
from prospect_eval.suites.streamingbench.official import TOLERANCE
from prospect_eval.suites.streamingbench.polling import LAST_POLL

TASK = Task("Watch the video and give the output that was asked for at the right time.")
#: keys of `Poll.meta`, and the first one of `Episode.meta`: the id of the question, the second of the poll, and its part
ITEM, SECOND, PART = "item", "second", "part"
#: parts of a second: whether now is the time, and the question itself
POLL, OUTPUT = "poll", "output"
QUESTION = "question"
#: entry of `ReplayProtocol.reveals` of a protocol whose polls name the gold output
GOLD_TEXT = "gold_text"
#: seconds from the question to the gold time: a day
MOST_SECONDS = 24 * 3600


def make_streamingbench_episodes(
    annotations: ProactiveAnnotations, protocol: ReplayProtocol, videos: VideoLengths
) -> BenchmarkEpisodes:
    """The episodes of a protocol; questions with a time that their video cannot hold are refused.

    Raises:
        UserError: The protocol is chunked: there are no candidate intervals.
    """
    if protocol.initiative == "chunked":
        raise UserError("StreamingBench has no candidate intervals; give the initiative polled or autonomous")
    refused: dict[str, str] = {}
    kept: list[ProactiveOutputQuestion] = []
    for question in annotations.questions:
        fault = _find_fault(question, protocol, videos)
        if fault is None:
            kept.append(question)
        else:
            refused[question.id] = fault
    if protocol.initiative == "polled":
        return BenchmarkEpisodes(tuple(_make_polled_episodes(kept, protocol, videos)), refused)
    return BenchmarkEpisodes(tuple(_make_standing_episode(question, protocol, videos) for question in kept), refused)


def find_ask_time(question: ProactiveOutputQuestion, protocol: ReplayProtocol) -> int:
    """When the question is asked, in seconds."""
    return 0 if protocol.question_time == "start" else question.ask_time


def _find_fault(question: ProactiveOutputQuestion, protocol: ReplayProtocol, videos: VideoLengths) -> str | None:
    if not question.question.strip():
        return "the question has no text"
    if question.gold_time + LAST_POLL <= question.ask_time:
        return "the polling ends before the question"
    if question.gold_time - find_ask_time(question, protocol) > MOST_SECONDS:
        return "the gold time is more than a day after the question"
    return find_time_fault(question.video, (find_ask_time(question, protocol), question.gold_time), videos)


def _make_polled_episodes(
    kept: Sequence[ProactiveOutputQuestion], protocol: ReplayProtocol, videos: VideoLengths
) -> Iterator[Episode]:
    by_video: dict[str, list[ProactiveOutputQuestion]] = defaultdict(list)
    for question in kept:
        by_video[question.video].append(question)
    for video, questions in by_video.items():
        first = min(find_ask_time(question, protocol) for question in questions)
        last = max(question.gold_time for question in questions) + LAST_POLL
        window = find_episode_window(video, (first, last), protocol, videos)
        polls = [poll for question in questions for poll in _make_polls(question, protocol, window)]
        yield Episode(
            id=name_of_video(video),
            video=video,
            fps=window.fps,
            start_frame=window.start,
            end_frame=window.end,
            task=TASK,
            polls=tuple(sorted(polls, key=lambda poll: poll.time)),
        )


def list_poll_seconds(question: ProactiveOutputQuestion, protocol: ReplayProtocol, end_s: float) -> range:
    """The seconds at which a question is polled.

    Args:
        question: The question.
        protocol: In its official window polling ends four seconds after the gold time.
        end_s: The end of the video, at which polling ends otherwise.
    """
    last = question.gold_time + LAST_POLL
    if protocol.horizon == "video":
        last = max(last, int(end_s))
    return range(find_ask_time(question, protocol) + 1, last + 1)


def name_second(question: ProactiveOutputQuestion, second: int, part: str) -> str:
    """The id of a poll."""
    name = f"{question.id}@{second}"
    return name if part == POLL else f"{name}.{part}"


def _make_polls(question: ProactiveOutputQuestion, protocol: ReplayProtocol, window: EpisodeWindow) -> Iterator[Poll]:
    named = f'"{question.gold_output}"' if GOLD_TEXT in protocol.reveals else "it"
    asked = f"{question.question} Is now the right time to output {named}? Answer with yes or no alone."
    for second in list_poll_seconds(question, protocol, window.last_s):
        in_time = abs(second - question.gold_time) <= TOLERANCE
        right = {POLL: ("Yes",) if in_time else ("No",), OUTPUT: (question.gold_output,) if in_time else ()}
        for part, text in ((POLL, asked), (OUTPUT, question.question)):
            yield Poll(
                id=name_second(question, second, part),
                time=window.clamp(second),
                question=text,
                accepted=tuple(value for value in right[part] if value.strip()),
                kind=question.task if part == POLL else f"{question.task}, output",
                clip_start=min(find_ask_time(question, protocol), window.last_s),
                meta={ITEM: question.id, SECOND: str(second), PART: part},
            )


def _make_standing_episode(
    question: ProactiveOutputQuestion, protocol: ReplayProtocol, videos: VideoLengths
) -> Episode:
    ask, gold = find_ask_time(question, protocol), question.gold_time
    window = find_episode_window(question.video, (ask, gold + LAST_POLL), protocol, videos)
    asked = min(float(ask), window.last_s)
    start = max(asked, gold - TOLERANCE)
    reference = Event(
        id="answer",
        time=min(max(asked, float(gold)), window.last_s),
        kind="assistant",
        text=question.gold_output.strip() or "Now.",
        reply_span=(start, max(start, float(gold + TOLERANCE))),
        answers_to=QUESTION,
        group=question.id,
    )
    asking = Event(QUESTION, asked, "user", question.question, open_until=max(asked, window.end_s))
    return Episode(
        id=f"{name_of_video(question.video)}-{question.id}",
        video=question.video,
        fps=window.fps,
        start_frame=window.start,
        end_frame=window.end,
        task=TASK,
        events=sort_timeline_events([asking, reference]),
        meta={ITEM: question.id},
    )

"""Episodes of StreamingBench's multiple choice: a video with a poll for each question.

The published prompt of sequential questions (``sqa``) lists the earlier questions with their right answers. So does the poll under
gold history. Under own history question and answer become part of the stream. Everything else is isolated. The published main
experiment cuts the 60 seconds before each question.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from prospect_core.records import ReplayProtocol
from prospect_core.timeline import Episode, Poll, Task
from prospect_core.util.errors import UserError
from prospect_eval.suites.benchmark import BenchmarkEpisodes, VideoLengths
from prospect_eval.suites.episode_window import (
    EpisodeWindow,
    find_episode_window,
    find_time_fault,
    name_of_video,
)
from prospect_eval.suites.streamingbench_choices.annotations import (
    StreamingChoiceAnnotations,
    StreamingChoiceQuestion,
)

TASK = Task("Watch the video and answer questions about it.")
ITEM = "item"
#: seconds before a question that the published main experiment shows
CONTEXT_S = 60


def make_streaming_choice_episodes(
    annotations: StreamingChoiceAnnotations, protocol: ReplayProtocol, videos: VideoLengths
) -> BenchmarkEpisodes:
    """The episodes of a protocol; questions with a time that their video cannot hold are refused.

    Raises:
        UserError: The protocol is not polled.
    """
    if protocol.initiative != "polled":
        raise UserError(f"StreamingBench's questions have choices: they cannot be {protocol.initiative}; give polled")
    refused: dict[str, str] = {}
    by_video: dict[str, list[StreamingChoiceQuestion]] = defaultdict(list)
    for question in annotations.questions:
        fault = find_time_fault(question.video, (question.time,), videos)
        if fault is None:
            by_video[question.video].append(question)
        else:
            refused[question.id] = fault
    episodes = [_make_episode(video, questions, protocol, videos) for video, questions in by_video.items()]
    return BenchmarkEpisodes(tuple(episodes), refused)


def _make_episode(
    video: str, questions: Sequence[StreamingChoiceQuestion], protocol: ReplayProtocol, videos: VideoLengths
) -> Episode:
    last = max(question.time for question in questions)
    window = find_episode_window(video, (0.0, last), protocol, videos)
    polls = _make_polls(sorted(questions, key=lambda question: question.time), protocol, window)
    return Episode(
        id=name_of_video(video),
        video=video,
        fps=window.fps,
        start_frame=window.start,
        end_frame=window.end,
        task=TASK,
        polls=tuple(polls),
    )


def _make_polls(
    questions: Sequence[StreamingChoiceQuestion], protocol: ReplayProtocol, window: EpisodeWindow
) -> Iterator[Poll]:
    earlier: dict[str, list[StreamingChoiceQuestion]] = defaultdict(list)
    for question in questions:
        sequential = bool(question.sequence)
        time = window.clamp(question.time)
        text = f"{question.question}\nAnswer with the letter of the right option alone."
        if sequential and protocol.history == "gold":
            text = f"{_tell_earlier(earlier[question.sequence])}{text}"
        yield Poll(
            id=question.id,
            time=time,
            question=text,
            choices=question.options,
            accepted=(question.answer,),
            kind=question.task,
            history="cumulative" if sequential and protocol.history == "own" else "isolated",
            clip_start=max(0.0, time - CONTEXT_S),
            meta={ITEM: question.id},
        )
        earlier[question.sequence].append(question)


def _tell_earlier(questions: Sequence[StreamingChoiceQuestion]) -> str:
    """The earlier questions of a sequence with their right answers; empty for the first one."""
    lines = []
    for question in questions:
        options = ", ".join(
            f"{letter}. {option}"
            for letter, option in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", question.options, strict=False)
        )
        lines.append(f"At {question.clock}: {question.question} Options: {options} Answer: {question.answer}\n")
    return f"Earlier questions about this video, with their answers:\n{''.join(lines)}\n" if lines else ""

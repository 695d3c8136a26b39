"""Episodes of OVO-Timing: each sample is a stream with one standing question and a reference at each gold time.

The official window begins when the question is asked (CRR) or at 0 (REC and SSR), and ends at the last poll of the OVO-Bench
item. The whole video begins at 0.
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
from prospect_eval.suites.ovo_timing.annotations import TimingAnnotations, TimingSample
from prospect_eval.suites.ovo_timing.official import TOLERANCE

TASK = Task("Watch the video and say in time what was asked for.")
#: the key of `Episode.meta` that holds the number of the sample
SAMPLE = "item"
QUESTION = "question"


def make_ovo_timing_episodes(
    annotations: TimingAnnotations, protocol: ReplayProtocol, videos: VideoLengths
) -> BenchmarkEpisodes:
    """The episodes of a protocol; samples without a video, or with times that their video cannot hold, are refused.

    Raises:
        UserError: The protocol is not autonomous.
    """
    if protocol.initiative != "autonomous":
        raise UserError(f"OVO-Timing scores when a model speaks: it cannot be {protocol.initiative}; give autonomous")
    refused: dict[str, str] = {}
    episodes: list[Episode] = []
    for sample in annotations.samples:
        fault = _find_fault(sample, videos)
        if fault is None:
            episodes.append(_make_episode(sample, protocol, videos))
        else:
            refused[str(sample.sample_id)] = fault
    return BenchmarkEpisodes(tuple(episodes), refused)


def _find_fault(sample: TimingSample, videos: VideoLengths) -> str | None:
    if not sample.video:
        return "the annotations name no video; give OVO-Bench's annotation file"
    if not (sample.instruction or sample.subject).strip():
        return "the sample has no text"
    if sample.stream_end <= sample.stream_start:
        return "the stream is empty"
    return find_time_fault(sample.video, (sample.stream_start, sample.stream_end), videos)


def _make_episode(sample: TimingSample, protocol: ReplayProtocol, videos: VideoLengths) -> Episode:
    window = find_episode_window(sample.video, (sample.stream_start, sample.stream_end), protocol, videos)
    annotated = sample.stream_start if sample.ask_time is None else sample.ask_time
    asked = window.start_s if protocol.question_time == "start" else min(annotated, window.last_s)
    question = Event(QUESTION, asked, "user", sample.instruction or sample.subject, open_until=max(asked, window.end_s))
    return Episode(
        id=f"{name_of_video(sample.video)}-{sample.sample_id}",
        video=sample.video,
        fps=window.fps,
        start_frame=window.start,
        end_frame=window.end,
        task=TASK,
        events=sort_timeline_events([question, *_make_references(sample, window, asked)]),
        meta={SAMPLE: str(sample.sample_id)},
    )


def _make_references(sample: TimingSample, window: EpisodeWindow, asked: float) -> Iterator[Event]:
    """A reference at each gold time; without those whose span lies outside the window."""
    for place, gold in enumerate(sample.gt_timestamp):
        start, end = max(asked, gold - TOLERANCE), gold + TOLERANCE
        if end < asked or start > window.last_s:
            continue
        yield Event(
            id=f"answer {place + 1}",
            time=min(max(gold, asked), window.last_s),
            kind="assistant",
            text=_find_reply(sample, place),
            reply_span=(start, end),
            answers_to=QUESTION,
            group=str(sample.sample_id),
        )


def _find_reply(sample: TimingSample, place: int) -> str:
    known = sample.replies[place].strip() if place < len(sample.replies) else ""
    return known or "Now."

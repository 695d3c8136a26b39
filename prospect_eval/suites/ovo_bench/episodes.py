"""Episodes of OVO-Bench.

Polled, an episode is a video with a poll for each multiple-choice item and for each poll of a forward item, all isolated.
Autonomous, multiple-choice items remain polls, and each forward item is an episode of its own with a standing question.
`question_time` moves standing questions; polls are asked at their annotated times. The published harness cuts a clip from 0 to
each poll.
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
from prospect_eval.suites.ovo_bench.annotations import (
    ChoiceItem,
    ClueItem,
    CountItem,
    ForwardItem,
    ForwardPoll,
    OvoBenchAnnotations,
    OvoBenchItem,
    StepItem,
)
from prospect_eval.suites.ovo_bench.questions import (
    STEP_END,
    answer_forward_poll,
    ask_choice,
    ask_forward_poll,
    ask_standing_question,
)

TASK = Task("Watch the video and answer questions about it.")
#: the key of `Episode.meta` and `Poll.meta` that holds the number of the item
ITEM = "item"
QUESTION = "question"


def make_ovo_bench_episodes(
    annotations: OvoBenchAnnotations, protocol: ReplayProtocol, videos: VideoLengths
) -> BenchmarkEpisodes:
    """The episodes of a protocol; items with a time that their video cannot hold are refused.

    Raises:
        UserError: The protocol is chunked: OVO-Bench has no candidate intervals.
    """
    if protocol.initiative == "chunked":
        raise UserError("OVO-Bench has no candidate intervals; give the initiative polled or autonomous")
    refused: dict[str, str] = {}
    polled: dict[str, list[OvoBenchItem]] = defaultdict(list)
    standing: list[ForwardItem] = []
    for item in annotations.items:
        fault = find_time_fault(item.video, tuple(_list_times(item)), videos)
        if fault is None and not isinstance(item, ChoiceItem) and not item.test_info:
            fault = "the item has no poll"
        if fault is not None:
            refused[str(item.id)] = fault
        elif isinstance(item, ChoiceItem) or protocol.initiative == "polled":
            polled[item.video].append(item)
        else:
            standing.append(item)
    episodes = [_make_polled_episode(video, items, protocol, videos) for video, items in polled.items()]
    episodes += [_make_standing_episode(item, protocol, videos) for item in standing]
    return BenchmarkEpisodes(tuple(episodes), refused)


def _list_times(item: OvoBenchItem) -> Iterator[float]:
    """The times of an item that its video has to hold: those of its polls, and when its question is asked."""
    if isinstance(item, ChoiceItem):
        yield float(item.realtime)
        return
    yield from (float(poll.realtime) for poll in item.test_info)
    if isinstance(item, ClueItem):
        yield float(item.ask_time)


def name_forward_poll(item: ForwardItem, index: int) -> str:
    """The id of a poll of a forward item."""
    return f"{item.id}.{index}"


def _make_polled_episode(
    video: str, items: Sequence[OvoBenchItem], protocol: ReplayProtocol, videos: VideoLengths
) -> Episode:
    last = max(time for item in items for time in _list_times(item))
    window = find_episode_window(video, (0.0, last), protocol, videos)
    polls = [poll for item in items for poll in _make_polls(item, window)]
    return Episode(
        id=name_of_video(video),
        video=video,
        fps=window.fps,
        start_frame=window.start,
        end_frame=window.end,
        task=TASK,
        polls=tuple(sorted(polls, key=lambda poll: poll.time)),
    )


def _make_polls(item: OvoBenchItem, window: EpisodeWindow) -> Iterator[Poll]:
    if isinstance(item, ChoiceItem):
        yield Poll(
            id=str(item.id),
            time=window.clamp(float(item.realtime)),
            question=ask_choice(item),
            choices=item.options,
            accepted=(item.letter,),
            kind=item.task,
            meta={ITEM: str(item.id)},
        )
        return
    forward: Sequence[ForwardPoll] = item.test_info
    for index, poll in enumerate(forward):
        yield Poll(
            id=name_forward_poll(item, index),
            time=window.clamp(float(poll.realtime)),
            question=ask_forward_poll(item, poll),
            accepted=(answer_forward_poll(poll),),
            kind=item.task,
            meta={ITEM: str(item.id), "index": str(index)},
        )


def _make_standing_episode(item: ForwardItem, protocol: ReplayProtocol, videos: VideoLengths) -> Episode:
    last = max(float(poll.realtime) for poll in item.test_info)
    window = find_episode_window(item.video, (0.0, last), protocol, videos)
    annotated = float(item.ask_time) if isinstance(item, ClueItem) else 0.0
    asked = 0.0 if protocol.question_time == "start" else min(annotated, window.last_s)
    question = Event(QUESTION, asked, "user", ask_standing_question(item), open_until=max(asked, window.end_s))
    return Episode(
        id=f"{name_of_video(item.video)}-{item.id}",
        video=item.video,
        fps=window.fps,
        start_frame=window.start,
        end_frame=window.end,
        task=TASK,
        events=sort_timeline_events([question, *_make_references(item, window)]),
        meta={ITEM: str(item.id)},
    )


def _make_references(item: ForwardItem, window: EpisodeWindow) -> Iterator[Event]:
    """The reference utterances inside the window; each is right until the next one."""
    said = [(time, text) for time, text in _list_said(item, window) if window.start_s <= time <= window.last_s]
    for place, (time, text) in enumerate(said):
        until = said[place + 1][0] if place + 1 < len(said) else window.end_s
        yield Event(
            id=f"answer {place + 1}",
            time=time,
            kind="assistant",
            text=text.strip() or "Now.",
            reply_span=(time, max(time, until)),
            answers_to=QUESTION,
            group=str(item.id),
        )


def _list_said(item: ForwardItem, window: EpisodeWindow) -> list[tuple[float, str]]:
    """(seconds, text) of the reference, in order of time."""
    if isinstance(item, ClueItem):
        return [(max(float(item.ask_time), float(item.clue_time)), item.answer)]
    if isinstance(item, CountItem):
        return [(float(end), str(item.count_ends(end))) for end in sorted(set(item.end_times))]
    return _list_steps(item, window)


def _list_steps(item: StepItem, window: EpisodeWindow) -> list[tuple[float, str]]:
    """Each step at its start, and `STEP_END` one frame after the end of a step that no other one follows there."""
    spans = sorted(zip(item.start_time, item.end_time, item.all_steps, strict=True))
    said: list[tuple[float, str]] = []
    for place, (start, end, step) in enumerate(spans):
        after = float(end) + 1 / window.fps
        said.append((float(start), step))
        if place + 1 == len(spans) or spans[place + 1][0] > after:
            said.append((after, STEP_END))
    return sorted(said, key=lambda pair: pair[0])

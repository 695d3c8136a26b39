"""Episodes of OmniMMI: each item is a stream.

PA: the question comes at the start of the clip. Autonomous, it is a standing question with one reference, whose reply span is
the annotated one. Polled, the model is asked once a second, from the first second on, whether now is the time.

PT and SG are asked under both protocols. PT is one poll at the end of the video, with the last two turns of the conversation;
silence is right. SG is one poll for each question, in the middle of its span as in the published online loop; questions and
answers stay in the stream.

The official window ends with the clip (PA), or with the last span (SG). PT has no time, so that its window is the whole
video.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from prospect_core.records import ReplayProtocol
from prospect_core.timeline import Episode, Event, Poll, Task
from prospect_core.util.errors import UserError
from prospect_eval.suites.benchmark import BenchmarkEpisodes, VideoLengths
from prospect_eval.suites.episode_window import (
    EpisodeWindow,
    find_episode_window,
    find_time_fault,
)
from prospect_eval.suites.omnimmi.annotations import (
    AlertItem,
    GroundingItem,
    GroundingTurn,
    OmniMmiAnnotations,
    TurnTakingItem,
)
from prospect_eval.suites.omnimmi.constants import find_clip_seconds

ALERT_TASK = Task("Watch the video and speak when what the user asks for happens.")
TURN_TASK = Task("Answer the user's questions on the video, and stay silent where no answer is asked for.")
GROUNDING_TASK = Task("Answer the user's questions on what the video shows now.")
#: keys of `Poll.meta`, and the first one of `Episode.meta`: the id of the item, and the second or the index of the question
ITEM, PLACE = "item", "place"
QUESTION = "question"
#: turns of the conversation that the poll of PT holds
LAST_TURNS = 2
WHOLE_VIDEO = ReplayProtocol(horizon="video")


def make_omnimmi_episodes(
    annotations: OmniMmiAnnotations, protocol: ReplayProtocol, videos: VideoLengths
) -> BenchmarkEpisodes:
    """The episodes of a protocol; items with a time that their video cannot hold are refused.

    Raises:
        UserError: The protocol is chunked: there are no candidate intervals.
    """
    if protocol.initiative == "chunked":
        raise UserError("OmniMMI has no candidate intervals; give the initiative polled or autonomous")
    refused: dict[str, str] = {}
    episodes: list[Episode] = []
    for item_id, fault, make in _list_items(annotations, protocol, videos):
        if fault is None:
            episodes.append(make())
        else:
            refused[item_id] = fault
    return BenchmarkEpisodes(tuple(episodes), refused)


def _list_items(
    annotations: OmniMmiAnnotations, protocol: ReplayProtocol, videos: VideoLengths
) -> Iterator[tuple[str, str | None, Callable[[], Episode]]]:
    """(id, why it is refused, what makes its episode) of each item."""
    for alert in annotations.alerts:
        yield alert.id, _find_alert_fault(alert, videos), partial(_make_alert_episode, alert, protocol, videos)
    for conversation in annotations.turn_taking:
        yield conversation.id, _find_turn_fault(conversation), partial(_make_turn_episode, conversation, videos)
    for item in annotations.grounding:
        yield item.id, _find_grounding_fault(item, videos), partial(_make_grounding_episode, item, protocol, videos)


def _find_alert_fault(item: AlertItem, videos: VideoLengths) -> str | None:
    if not item.question.strip():
        return "the question is empty"
    if item.start > item.end:
        return "the span ends before it starts"
    return find_time_fault(item.video, (item.start, item.end), videos)


def _find_turn_fault(item: TurnTakingItem) -> str | None:
    return None if item.turns[-1][0].strip() else "the last turn is empty"


def _find_grounding_fault(item: GroundingItem, videos: VideoLengths) -> str | None:
    if not all(turn.question.strip() for turn in item.turns):
        return "a question is empty"
    spans = [turn.span for turn in item.turns if turn.span is not None]
    if len(spans) < len(item.turns):
        return "a question has no readable span"
    middles = [_find_middle(span) for span in spans]
    if middles != sorted(middles):
        return "the questions are not in order of time"
    return find_time_fault(item.video, tuple(middles), videos)


def _make_alert_episode(item: AlertItem, protocol: ReplayProtocol, videos: VideoLengths) -> Episode:
    window = find_episode_window(item.video, (0.0, max(item.end, find_clip_seconds(item))), protocol, videos)
    polled = protocol.initiative == "polled"
    return Episode(
        id=item.id,
        video=item.video,
        fps=window.fps,
        start_frame=window.start,
        end_frame=window.end,
        task=ALERT_TASK,
        events=() if polled else _make_alert_events(item, window),
        meta={ITEM: item.id},
        polls=tuple(_make_alert_polls(item, window)) if polled else (),
    )


def _make_alert_events(item: AlertItem, window: EpisodeWindow) -> tuple[Event, Event]:
    asking = Event(QUESTION, 0.0, "user", item.question, open_until=window.end_s)
    reference = Event(
        id="answer",
        time=window.first_frame_time(item.start),
        kind="assistant",
        text="Now.",
        reply_span=(item.start, item.end),
        answers_to=QUESTION,
        group=item.id,
    )
    return asking, reference


def _make_alert_polls(item: AlertItem, window: EpisodeWindow) -> Iterator[Poll]:
    for second in list_alert_seconds(window.last_s):
        yield Poll(
            id=name_place(item.id, second),
            time=float(second),
            question=f"{item.question} Is now the time? Answer with yes or no alone.",
            accepted=("Yes" if item.start <= second <= item.end else "No",),
            kind="pa",
            meta={ITEM: item.id, PLACE: str(second)},
        )


def list_alert_seconds(last_s: float) -> range:
    """The seconds of the clip at which an alert question is polled."""
    return range(1, int(last_s) + 1)


def name_place(item_id: str, place: int) -> str:
    """The id of a poll: of a second of the clip (PA), or of a question by its index (PT, SG)."""
    return f"{item_id}@{place}"


def _make_turn_episode(item: TurnTakingItem, videos: VideoLengths) -> Episode:
    window = find_episode_window(item.video, (0.0, 0.0), WHOLE_VIDEO, videos)
    poll = Poll(
        id=name_place(item.id, 0),
        time=window.last_s,
        question=_format_turns(item),
        kind="pt",
        meta={ITEM: item.id, PLACE: "0"},
    )
    return Episode(
        id=item.id,
        video=item.video,
        fps=window.fps,
        start_frame=window.start,
        end_frame=window.end,
        task=TURN_TASK,
        meta={ITEM: item.id},
        polls=(poll,),
    )


def _format_turns(item: TurnTakingItem) -> str:
    """The last turns, a line each; the last one of the user ends them."""
    lines = []
    for human, assistant in item.turns[-LAST_TURNS:]:
        lines.append(f"User: {human}")
        lines.append(f"Assistant: {assistant or ''}".strip())
    return "\n".join(lines[:-1])


def _make_grounding_episode(item: GroundingItem, protocol: ReplayProtocol, videos: VideoLengths) -> Episode:
    spans = [turn.span for turn in item.turns if turn.span is not None]
    window = find_episode_window(item.video, (0.0, max(map(max, spans))), protocol, videos)
    polls = [_make_grounding_poll(item, index, turn, window) for index, turn in enumerate(item.turns)]
    return Episode(
        id=item.id,
        video=item.video,
        fps=window.fps,
        start_frame=window.start,
        end_frame=window.end,
        task=GROUNDING_TASK,
        meta={ITEM: item.id},
        polls=tuple(polls),
    )


def _make_grounding_poll(item: GroundingItem, index: int, turn: GroundingTurn, window: EpisodeWindow) -> Poll:
    assert turn.span is not None
    return Poll(
        id=name_place(item.id, index),
        time=window.clamp(_find_middle(turn.span)),
        question=turn.question,
        accepted=(turn.answer,) if turn.answer.strip() else (),
        kind="sg",
        history="cumulative",
        meta={ITEM: item.id, PLACE: str(index)},
    )


def _find_middle(span: tuple[float, float]) -> float:
    return (span[0] + span[1]) / 2

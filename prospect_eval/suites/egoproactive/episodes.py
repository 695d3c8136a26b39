"""Episodes of EgoProactive: a session is one stream, and its chunks are candidate intervals.

Chunked, the model is asked at the end of each chunk whether it interrupts. With its own history, questions and answers stay in
the stream. With gold history they leave no trace, and the reference answer of a chunk comes on the frame after its question, as
the published loop shows it from the next chunk on. The published loop gives the model the frames of the chunks alone; here it
sees the frames between them too.

Autonomous, the user asks at the start, and each chunk with a reference interrupt is a reply span.

The official window is from the start of the video to the end of the last chunk.
"""

from __future__ import annotations

from collections.abc import Iterator

from prospect_core.records import ReplayProtocol
from prospect_core.timeline import (
    CandidateInterval,
    Episode,
    Event,
    Poll,
    Task,
    exact_fraction,
    frame_floor,
    sort_timeline_events,
)
from prospect_core.util.errors import UserError
from prospect_eval.suites.benchmark import BenchmarkEpisodes, VideoLengths
from prospect_eval.suites.egoproactive.annotations import EgoProactiveAnnotations, ReferenceSession
from prospect_eval.suites.egoproactive.official import INTERRUPT_TAG, SILENT_TAG, read_chunk_class
from prospect_eval.suites.episode_window import (
    EpisodeWindow,
    find_episode_window,
    find_time_fault,
    name_of_video,
)

#: keys of `Poll.meta`, and the first one of `Episode.meta`: the id of the session, and the number of the chunk
ITEM, CHUNK = "item", "chunk"
QUERY = "query"
#: text after the query at the end of each chunk
DECISION = f"If you should speak now, answer {INTERRUPT_TAG} and what you say. If you should stay silent, answer {SILENT_TAG} alone."


def make_egoproactive_episodes(
    annotations: EgoProactiveAnnotations, protocol: ReplayProtocol, videos: VideoLengths
) -> BenchmarkEpisodes:
    """The episodes of a protocol; sessions whose chunks do not fit their answers or their video are refused.

    Raises:
        UserError: The protocol is polled, or has gold history in clips of their own.
    """
    if protocol.initiative == "polled":
        raise UserError("EgoProactive asks once in each chunk; give the initiative chunked or autonomous")
    if protocol.history == "gold" and (protocol.polling == "recut" or protocol.initiative == "autonomous"):
        raise UserError("EgoProactive has gold history between the chunks of one stream; give chunked and one_pass")
    refused: dict[str, str] = {}
    episodes: list[Episode] = []
    for session in annotations.sessions:
        fault = _find_fault(session, videos)
        if fault is None:
            episodes.append(_make_episode(session, protocol, videos))
        else:
            refused[session.id] = fault
    return BenchmarkEpisodes(tuple(episodes), refused)


def _find_fault(session: ReferenceSession, videos: VideoLengths) -> str | None:
    if not session.video_path:
        return "the annotations name no video"
    if not session.query.strip():
        return "the session has no query"
    if not session.answers or len(session.intervals) != len(session.answers):
        return "the session has other numbers of chunks and answers"
    if any(start >= end for start, end in session.intervals):
        return "a chunk has no length"
    if list(session.intervals) != sorted(session.intervals):
        return "the chunks are not in order of time"
    if frame_floor(max(end for _, end in session.intervals), videos.fps) < 1:
        return "the chunks end with the first frame"
    times = tuple(time for interval in session.intervals for time in interval)
    return find_time_fault(session.video_path, times, videos)


def _make_episode(session: ReferenceSession, protocol: ReplayProtocol, videos: VideoLengths) -> Episode:
    last = max(end for _, end in session.intervals)
    window = find_episode_window(session.video_path, (0.0, last), protocol, videos)
    chunked = protocol.initiative == "chunked"
    polls = tuple(_make_polls(session, protocol, window)) if chunked else ()
    events = _make_history(session, protocol, window) if chunked else _make_references(session, window)
    return Episode(
        id=f"{name_of_video(session.video_path)}-{session.row}",
        video=session.video_path,
        fps=window.fps,
        start_frame=window.start,
        end_frame=window.end,
        task=Task(session.task.strip() or session.query.strip()),
        events=sort_timeline_events(events),
        meta={ITEM: session.id},
        polls=polls,
        candidates=tuple(_make_candidates(session, window)),
    )


def _make_candidates(session: ReferenceSession, window: EpisodeWindow) -> Iterator[CandidateInterval]:
    for chunk, (start, end) in enumerate(session.intervals):
        yield CandidateInterval(str(chunk), window.clamp(start), end)


def _make_polls(session: ReferenceSession, protocol: ReplayProtocol, window: EpisodeWindow) -> Iterator[Poll]:
    chunks = sorted(enumerate(session.intervals), key=lambda chunk: chunk[1][1])
    for chunk, (_, end) in chunks:
        answer = session.answers[chunk] or ""
        yield Poll(
            id=name_chunk(session, chunk),
            time=window.clamp(end),
            question=f"{session.query.strip()}\n{DECISION}",
            accepted=(INTERRUPT_TAG if read_chunk_class(answer) == "interrupt" else SILENT_TAG,),
            kind="chunk",
            history="isolated" if protocol.history == "gold" else "cumulative",
            meta={ITEM: session.id, CHUNK: str(chunk)},
        )


def name_chunk(session: ReferenceSession, chunk: int) -> str:
    """The id of a poll."""
    return f"{session.id}@{chunk}"


def _make_history(session: ReferenceSession, protocol: ReplayProtocol, window: EpisodeWindow) -> Iterator[Event]:
    """Under gold history, the reference interrupts with their tags, each on the frame after the question of its chunk."""
    if protocol.history == "own":
        return
    for chunk, _ in list_interrupts(session):
        asked = min(frame_floor(session.intervals[chunk][1], window.fps), window.end - 1)
        if asked + 1 < window.end:
            time = float((asked + 1) / exact_fraction(window.fps))
            shown = (session.answers[chunk] or "").strip()
            yield Event(f"answer {chunk}", time, "assistant", shown, group=session.id)


def _make_references(session: ReferenceSession, window: EpisodeWindow) -> Iterator[Event]:
    """The query at the start, and a reference in each chunk with an interrupt."""
    yield Event(QUERY, 0.0, "user", session.query.strip(), open_until=window.end_s)
    for chunk, text in list_interrupts(session):
        start, end = session.intervals[chunk]
        yield Event(
            id=f"answer {chunk}",
            time=window.first_frame_time(start),
            kind="assistant",
            text=text or "Now.",
            reply_span=(start, end),
            answers_to=QUERY,
            group=session.id,
        )


def list_interrupts(session: ReferenceSession) -> list[tuple[int, str]]:
    """(chunk, text without the tag) of the reference interrupts."""
    found = []
    for chunk, answer in enumerate(session.answers):
        if answer is not None and read_chunk_class(answer) == "interrupt":
            found.append((chunk, answer.lstrip().removeprefix(INTERRUPT_TAG).strip()))
    return found

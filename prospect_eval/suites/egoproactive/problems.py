"""Faults of the EgoProactive annotations: null, untagged and empty answers, chunks outside the video, wrong histories."""

from __future__ import annotations

from collections.abc import Iterator

from prospect_eval.suites.benchmark import AnnotationProblem
from prospect_eval.suites.egoproactive.annotations import EgoProactiveAnnotations, ReferenceSession
from prospect_eval.suites.egoproactive.official import INTERRUPT_TAG, SILENT_TAG, read_chunk_class
from prospect_eval.suites.result_rows import quote_json

#: seconds that an interval may end after the video: the published lengths are rounded to tenths
END_TOLERANCE_S = 0.1


def find_egoproactive_problems(annotations: EgoProactiveAnnotations) -> list[AnnotationProblem]:
    """Everything wrong with the annotations, in order of the sessions."""
    problems: list[AnnotationProblem] = []
    seen: dict[tuple[str, str], str] = {}
    for session in annotations.sessions:
        problems += [AnnotationProblem(session.id, kind, text) for kind, text in _session_problems(session)]
        earlier = seen.setdefault((session.video_path, session.query), session.id)
        if earlier != session.id:
            text = f"the video and the query are those of {earlier}"
            problems.append(AnnotationProblem(session.id, "duplicate session", text))
    return problems


def _session_problems(session: ReferenceSession) -> Iterator[tuple[str, str]]:
    chunks = len(session.answers)
    if len(session.intervals) != chunks:
        yield "intervals and answers differ in number", f"{len(session.intervals)} intervals for {chunks} answers"
    if session.dialog and len(session.dialog) != chunks:
        yield "histories and answers differ in number", f"{len(session.dialog)} histories for {chunks} answers"
    if session.answers and read_chunk_class(session.answers[0] or "") == "silent":
        yield (
            "first answer is silent",
            f"the first answer is {quote_json(session.answers[0])}; it is always an interrupt",
        )
    yield from _answer_problems(session)
    yield from _interval_problems(session)
    for chunk, history in enumerate(session.dialog[:chunks]):
        answer = session.answers[chunk]
        shown = [turn.text for turn in history if turn.role == "assistant"]
        expected = [turn for turn in session.answers[:chunk] if turn and read_chunk_class(turn) == "interrupt"]
        if answer and read_chunk_class(answer) == "interrupt" and answer in shown and answer not in expected:
            yield "answer in its own history", f"the history before chunk {chunk} holds the answer of chunk {chunk}"
        elif shown != expected:
            yield "history differs from the answers", f"the history before chunk {chunk} is not that of the answers"


def _answer_problems(session: ReferenceSession) -> Iterator[tuple[str, str]]:
    for chunk, answer in enumerate(session.answers):
        if answer is None:
            yield "null answer", f"the answer of chunk {chunk} is no text"
        elif answer.strip() == INTERRUPT_TAG:
            yield "interrupt without text", f"the answer of chunk {chunk} is the tag alone"
        elif not answer.lstrip().startswith((INTERRUPT_TAG, SILENT_TAG)):
            yield "answer without a tag", f"the answer of chunk {chunk} is {quote_json(answer)}, which counts as silent"


def _interval_problems(session: ReferenceSession) -> Iterator[tuple[str, str]]:
    previous = 0.0
    for chunk, (start, end) in enumerate(session.intervals):
        if start >= end:
            yield "chunk without length", f"chunk {chunk} runs from {start:g} to {end:g} s"
        if start < 0 or (session.duration is not None and end > session.duration + END_TOLERANCE_S):
            yield "chunk outside the video", f"chunk {chunk} ends at {end:g} s of {session.duration or 0:g} s"
        if start < previous:
            yield (
                "chunks overlap",
                f"chunk {chunk} starts at {start:g} s, before the one before it ends at {previous:g} s",
            )
        previous = end

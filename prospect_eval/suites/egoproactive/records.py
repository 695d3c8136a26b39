"""Records of EgoProactive as results in its own form, and their official scores.

Chunked, the answer to the question of a chunk is the prediction. Autonomous, a chunk with an utterance after the query is an
interrupt, and every other chunk is silent. Utterances outside all chunks are in no official score.
"""

from __future__ import annotations

from collections.abc import Sequence

from prospect_core.records import EpisodeRecord
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.egoproactive.annotations import EgoProactiveAnnotations, ReferenceSession
from prospect_eval.suites.egoproactive.constants import EGOPROACTIVE_CONSTANTS
from prospect_eval.suites.egoproactive.episodes import ITEM, name_chunk
from prospect_eval.suites.egoproactive.official import INTERRUPT_TAG, SILENT_TAG, SessionPrediction
from prospect_eval.suites.egoproactive.results import EgoProactiveResults
from prospect_eval.suites.egoproactive.scores import score_egoproactive
from prospect_eval.suites.official_score import OfficialScore
from prospect_eval.suites.record_texts import collect_poll_texts, list_texts_after_question


def score_egoproactive_records(annotations: EgoProactiveAnnotations, records: Sequence[EpisodeRecord]) -> OfficialScore:
    """The official scores of records, over the sessions that they hold; a failed record is silent in every chunk."""
    held = select_held_sessions(annotations, records)
    return score_egoproactive(held, read_egoproactive_records(held, records))


def egoproactive_constants_of_records(
    annotations: EgoProactiveAnnotations, records: Sequence[EpisodeRecord]
) -> dict[str, OfficialScore]:
    """The official scores of each constant answer over the sessions that the records hold."""
    held = select_held_sessions(annotations, records)
    return {name: score_egoproactive(held, make(held)) for name, make in EGOPROACTIVE_CONSTANTS.items()}


def select_held_sessions(
    annotations: EgoProactiveAnnotations, records: Sequence[EpisodeRecord]
) -> EgoProactiveAnnotations:
    """The sessions of the records."""
    held = {record.episode.meta[ITEM] for record in records}
    sessions = tuple(session for session in annotations.sessions if session.id in held)
    return EgoProactiveAnnotations(sessions, ReadCounts({}))


def read_egoproactive_records(held: EgoProactiveAnnotations, records: Sequence[EpisodeRecord]) -> EgoProactiveResults:
    """The results of records that hold these sessions."""
    by_session = {record.episode.meta[ITEM]: record for record in records}
    predictions = tuple(_read_record(session, by_session[session.id]) for session in held.sessions)
    return EgoProactiveResults(predictions, ReadCounts({"row": len(predictions)}))


def _read_record(session: ReferenceSession, record: EpisodeRecord) -> SessionPrediction:
    answers: tuple[str | None, ...]
    if record.status != "ok":
        answers = (None,) * len(session.answers)
    elif record.episode.polls:
        texts = collect_poll_texts([record])
        answers = tuple(texts.get(name_chunk(session, chunk)) for chunk in range(len(session.answers)))
    else:
        answers = tuple(_read_utterances(record))
    return SessionPrediction(session.video_path, answers)


def _read_utterances(record: EpisodeRecord) -> list[str]:
    said = list_texts_after_question(record)
    answers = []
    for interval in record.episode.candidates:
        frames = record.episode.candidate_frames(interval)
        texts = [text for frame, text in said if frame in frames]
        answers.append(INTERRUPT_TAG + " ".join(texts) if texts else SILENT_TAG)
    return answers

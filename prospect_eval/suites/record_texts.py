"""Texts of records: answers by poll, and utterances after a standing question."""

from __future__ import annotations

from collections.abc import Iterable

from prospect_core.records import EpisodeRecord
from prospect_core.timeline import exact_fraction


def collect_poll_texts(records: Iterable[EpisodeRecord]) -> dict[str, str]:
    """Answers by the id of their poll, which is unique in a benchmark; failed records have none."""
    answered = (answer for record in records if record.status == "ok" for answer in record.answers)
    return {answer.poll: answer.text for answer in answered}


def list_texts_after_question(record: EpisodeRecord) -> list[tuple[int, str]]:
    """(frame, text) of the utterances after the episode's first user turn; all of them where there is none."""
    turns = record.episode.user_turns()
    asked = turns[0][0] if turns else record.episode.start_frame - 1
    return [(utterance.frame, utterance.text) for utterance in record.utterances if utterance.frame > asked]


def find_frame_time(record: EpisodeRecord, frame: int) -> float:
    """The time of a frame in seconds."""
    return float(frame / exact_fraction(record.episode.fps))

"""Records of StreamingBench's multiple choice as results in its own form, and their official numbers."""

from __future__ import annotations

from collections.abc import Sequence

from prospect_core.records import EpisodeRecord
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.official_score import OfficialScore
from prospect_eval.suites.record_texts import collect_poll_texts
from prospect_eval.suites.streamingbench_choices.annotations import StreamingChoiceAnnotations
from prospect_eval.suites.streamingbench_choices.constants import (
    STREAMING_CHOICE_CONSTANTS,
    answer_streaming_choices,
)
from prospect_eval.suites.streamingbench_choices.episodes import ITEM
from prospect_eval.suites.streamingbench_choices.official import score_streaming_choices


def score_streaming_choice_records(
    annotations: StreamingChoiceAnnotations, records: Sequence[EpisodeRecord]
) -> OfficialScore:
    """The official numbers of records, over the questions that they hold. A failed record gives null responses."""
    held = select_held_choices(annotations, records)
    texts = collect_poll_texts(records)
    return score_streaming_choices(held, answer_streaming_choices(held, lambda question: texts.get(question.id)))


def streaming_choice_constants_of_records(
    annotations: StreamingChoiceAnnotations, records: Sequence[EpisodeRecord]
) -> dict[str, OfficialScore]:
    """The official numbers of each constant answer over the questions that the records hold."""
    held = select_held_choices(annotations, records)
    return {name: score_streaming_choices(held, make(held)) for name, make in STREAMING_CHOICE_CONSTANTS.items()}


def select_held_choices(
    annotations: StreamingChoiceAnnotations, records: Sequence[EpisodeRecord]
) -> StreamingChoiceAnnotations:
    """The questions of the records."""
    held = {poll.meta[ITEM] for record in records for poll in record.episode.polls}
    return StreamingChoiceAnnotations(tuple(q for q in annotations.questions if q.id in held), ReadCounts({}))

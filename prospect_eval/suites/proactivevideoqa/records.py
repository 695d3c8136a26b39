"""Records of ProactiveVideoQA as results in its own form, and their official scores.

A reply is an utterance after the question, at the time of its frame. PAUC needs an LLM judge's verdict of each reply in a reply
span: see `prospect_eval.suites.proactivevideoqa.reply_judge`. Without verdicts it is undefined, except for silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from prospect_core.records import EpisodeRecord
from prospect_eval.suites.benchmark import AskJudge, ReadCounts
from prospect_eval.suites.official_score import ItemScore, OfficialScore
from prospect_eval.suites.proactivevideoqa.annotations import ProactiveVideoQAAnnotations
from prospect_eval.suites.proactivevideoqa.constants import PROACTIVEVIDEOQA_CONSTANTS
from prospect_eval.suites.proactivevideoqa.episodes import ITEM
from prospect_eval.suites.proactivevideoqa.official import TimedReply
from prospect_eval.suites.proactivevideoqa.reply_judge import judge_proactivevideoqa_replies
from prospect_eval.suites.proactivevideoqa.results import ProactiveVideoQAResults
from prospect_eval.suites.proactivevideoqa.scores import score_proactivevideoqa
from prospect_eval.suites.record_texts import find_frame_time, list_texts_after_question


def score_proactivevideoqa_records(
    annotations: ProactiveVideoQAAnnotations,
    records: Sequence[EpisodeRecord],
    verdicts: Mapping[str, str] | None = None,
) -> OfficialScore:
    """The official scores of records, over the questions that they hold; a failed record is silence and a failed item.

    Args:
        annotations: The annotations.
        records: The records.
        verdicts: An LLM judge's verdicts by the id of the request; none where None.
    """
    held = select_held_proactive_questions(annotations, records)
    results = replace(read_proactivevideoqa_records(records), verdicts=verdicts or {})
    score = score_proactivevideoqa(held, results)
    failed = {record.episode.meta[ITEM] for record in records if record.status != "ok"}
    items = tuple(_mark_failed(item) if item.id in failed else item for item in score.items)
    return replace(score, items=items)


def proactivevideoqa_constants_of_records(
    annotations: ProactiveVideoQAAnnotations, records: Sequence[EpisodeRecord]
) -> dict[str, OfficialScore]:
    """The official scores of each constant answer over the questions that the records hold."""
    held = select_held_proactive_questions(annotations, records)
    return {name: score_proactivevideoqa(held, make(held)) for name, make in PROACTIVEVIDEOQA_CONSTANTS.items()}


def select_held_proactive_questions(
    annotations: ProactiveVideoQAAnnotations, records: Sequence[EpisodeRecord]
) -> ProactiveVideoQAAnnotations:
    """The questions of the records."""
    held = {record.episode.meta[ITEM] for record in records}
    return ProactiveVideoQAAnnotations(tuple(question for question in annotations.questions if question.id in held))


def read_proactivevideoqa_records(records: Sequence[EpisodeRecord]) -> ProactiveVideoQAResults:
    """The replies of records, which an LLM judge takes from here."""
    replies = {record.episode.meta[ITEM]: _read_replies(record) for record in records}
    return ProactiveVideoQAResults(replies=replies, counts=ReadCounts({"row": len(replies)}))


def judge_proactivevideoqa_records(
    annotations: ProactiveVideoQAAnnotations, records: Sequence[EpisodeRecord], ask: AskJudge, name: str
) -> dict[str, str]:
    """An LLM judge's verdict of every reply of the records that counts, by the id of the request."""
    held = select_held_proactive_questions(annotations, records)
    replies = read_proactivevideoqa_records(records).replies
    return judge_proactivevideoqa_replies(held.questions, replies, ask, name)


def _read_replies(record: EpisodeRecord) -> tuple[TimedReply, ...]:
    if record.status != "ok":
        return ()
    return tuple(TimedReply(find_frame_time(record, frame), text) for frame, text in list_texts_after_question(record))


def _mark_failed(item: ItemScore) -> ItemScore:
    return replace(item, status="failed")

"""Records of OmniMMI as results in its own form, and their official scores.

PA, autonomous: the alerts are the times of the utterances after the question. Polled: the seconds whose answer holds the word
"yes". As in the published online loop, alerts in the first second are dropped. PT: the reply is the answer to the poll. SG:
the answers wait for an LLM judge; see `prospect_eval.suites.omnimmi.grounding_judge`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from prospect_core.records import EpisodeRecord
from prospect_eval.suites.benchmark import AskJudge, ReadCounts
from prospect_eval.suites.official_score import OfficialScore
from prospect_eval.suites.omnimmi.annotations import OmniMmiAnnotations
from prospect_eval.suites.omnimmi.constants import OMNIMMI_CONSTANTS
from prospect_eval.suites.omnimmi.episodes import ITEM, PLACE, name_place
from prospect_eval.suites.omnimmi.grounding_judge import judge_omnimmi_grounding
from prospect_eval.suites.omnimmi.official import AlertPrediction
from prospect_eval.suites.omnimmi.results import OmniMmiResults
from prospect_eval.suites.omnimmi.scores import score_omnimmi
from prospect_eval.suites.record_texts import collect_poll_texts, find_frame_time, list_texts_after_question

#: earlier alerts, in seconds of the clip, are dropped
FIRST_ALERT_S = 1.0
_YES = re.compile(r"\byes\b", re.IGNORECASE)


def score_omnimmi_records(
    annotations: OmniMmiAnnotations,
    records: Sequence[EpisodeRecord],
    verdicts: Mapping[str, tuple[Any, ...]] | None = None,
) -> OfficialScore:
    """The official scores of records, over the items that they hold; those of SG are undefined without verdicts.

    A failed record is silence and a failed item (PA), or a wrong reply (PT).

    Args:
        annotations: The annotations.
        records: The records.
        verdicts: An LLM judge's verdicts of SG by the id of the item; none where None.
    """
    held = select_held_omnimmi_items(annotations, records)
    results = replace(read_omnimmi_records(held, records), verdicts=verdicts or {})
    return score_omnimmi(held, results)


def omnimmi_constants_of_records(
    annotations: OmniMmiAnnotations, records: Sequence[EpisodeRecord]
) -> dict[str, OfficialScore]:
    """The official scores of each constant answer over the items that the records hold."""
    held = select_held_omnimmi_items(annotations, records)
    return {name: score_omnimmi(held, make(held)) for name, make in OMNIMMI_CONSTANTS.items()}


def select_held_omnimmi_items(annotations: OmniMmiAnnotations, records: Sequence[EpisodeRecord]) -> OmniMmiAnnotations:
    """The items of the records."""
    held = {record.episode.meta[ITEM] for record in records}
    return OmniMmiAnnotations(
        alerts=tuple(item for item in annotations.alerts if item.id in held),
        turn_taking=tuple(item for item in annotations.turn_taking if item.id in held),
        grounding=tuple(item for item in annotations.grounding if item.id in held),
    )


def read_omnimmi_records(held: OmniMmiAnnotations, records: Sequence[EpisodeRecord]) -> OmniMmiResults:
    """The results of records that hold these items; an LLM judge of SG takes them from here."""
    by_item = {record.episode.meta[ITEM]: record for record in records}
    texts = collect_poll_texts(records)
    alerts = {item.id: _read_alerts(by_item[item.id], texts) for item in held.alerts}
    replies = {item.id: texts.get(name_place(item.id, 0)) for item in held.turn_taking}
    answers = {
        item.id: tuple(texts.get(name_place(item.id, index)) for index in range(len(item.turns)))
        for item in held.grounding
    }
    counts = ReadCounts({"pa": len(alerts), "pt": len(replies), "sg": len(answers)})
    return OmniMmiResults(alerts=alerts, replies=replies, answers=answers, counts=counts)


def judge_omnimmi_records(
    annotations: OmniMmiAnnotations, records: Sequence[EpisodeRecord], ask: AskJudge, name: str
) -> dict[str, list[str]]:
    """An LLM judge's verdicts of the SG answers of the records, by the id of the item."""
    held = select_held_omnimmi_items(annotations, records)
    judged = judge_omnimmi_grounding(held, read_omnimmi_records(held, records), ask, name)
    return {item: list(verdicts) for item, verdicts in judged.verdicts.items()}


def score_judged_omnimmi_records(
    annotations: OmniMmiAnnotations, records: Sequence[EpisodeRecord], verdicts: Mapping[str, Sequence[str]]
) -> OfficialScore:
    """The official scores of records with stored verdicts, which are lists in JSON."""
    return score_omnimmi_records(annotations, records, {item: tuple(found) for item, found in verdicts.items()})


def _read_alerts(record: EpisodeRecord, texts: Mapping[str, str]) -> AlertPrediction:
    if record.status != "ok":
        return None
    if record.episode.polls:
        given = [(float(poll.meta[PLACE]), texts.get(poll.id, "")) for poll in record.episode.polls]
        times = [second for second, text in given if _YES.search(text)]
    else:
        times = [find_frame_time(record, frame) for frame, _ in list_texts_after_question(record)]
    return tuple(time for time in times if time >= FIRST_ALERT_S)

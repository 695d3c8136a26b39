"""Records of OVO-Bench as results in its own form, and their official numbers.

The answer to a poll is the response. Where a forward item was asked as a standing question, the response to each of its polls is
what the utterances up to the poll's frame imply:

- REC: the last utterance with a digit; "0" where there is none.
- SSR: "Yes" where the last utterance that names a step or says that it ended names the poll's step; else "No".
- CRR: "Yes" where something was said after the question; else "No".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prospect_core.records import EpisodeRecord
from prospect_core.timeline import frame_floor
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.official_score import OfficialScore
from prospect_eval.suites.ovo_bench.annotations import (
    ChoiceItem,
    CountItem,
    ForwardItem,
    ForwardPoll,
    OvoBenchAnnotations,
    StepItem,
)
from prospect_eval.suites.ovo_bench.constants import OVO_BENCH_CONSTANTS, answer_ovo_bench
from prospect_eval.suites.ovo_bench.episodes import ITEM, name_forward_poll
from prospect_eval.suites.ovo_bench.official import score_ovo_bench
from prospect_eval.suites.ovo_bench.questions import NO, STEP_END, YES
from prospect_eval.suites.ovo_bench.results import OvoBenchResults
from prospect_eval.suites.record_texts import collect_poll_texts, list_texts_after_question


def score_ovo_bench_records(annotations: OvoBenchAnnotations, records: Sequence[EpisodeRecord]) -> OfficialScore:
    """The official numbers of records, over the items that they hold. A failed record gives null responses."""
    held = select_held_items(annotations, records)
    return score_ovo_bench(held, read_ovo_bench_records(held, records))


def ovo_bench_constants_of_records(
    annotations: OvoBenchAnnotations, records: Sequence[EpisodeRecord]
) -> dict[str, OfficialScore]:
    """The official numbers of each constant answer over the items that the records hold."""
    held = select_held_items(annotations, records)
    return {name: score_ovo_bench(held, make(held)) for name, make in OVO_BENCH_CONSTANTS.items()}


def select_held_items(annotations: OvoBenchAnnotations, records: Sequence[EpisodeRecord]) -> OvoBenchAnnotations:
    """The items that the episodes of the records ask about."""
    held = {poll.meta[ITEM] for record in records for poll in record.episode.polls}
    held |= {record.episode.meta[ITEM] for record in records if ITEM in record.episode.meta}
    return OvoBenchAnnotations(tuple(item for item in annotations.items if str(item.id) in held), ReadCounts({}))


def read_ovo_bench_records(held: OvoBenchAnnotations, records: Sequence[EpisodeRecord]) -> OvoBenchResults:
    """The results of records that hold these items."""
    texts = collect_poll_texts(records)
    streams = {record.episode.meta[ITEM]: record for record in records if ITEM in record.episode.meta}

    def answer_choice(item: ChoiceItem) -> str | None:
        return texts.get(str(item.id))

    def answer_polls(item: ForwardItem) -> list[str | None]:
        stream = streams.get(str(item.id))
        if stream is not None:
            return _read_stream(item, stream)
        return [texts.get(name_forward_poll(item, index)) for index in range(len(item.test_info))]

    return answer_ovo_bench(held, answer_choice, answer_polls)


def _read_stream(item: ForwardItem, record: EpisodeRecord) -> list[str | None]:
    """The responses to the polls of an item that was asked as a standing question."""
    if record.status != "ok":
        return [None] * len(item.test_info)
    said = list_texts_after_question(record)
    responses: list[str | None] = []
    polls: Sequence[ForwardPoll] = item.test_info
    for index, poll in enumerate(polls):
        last = frame_floor(float(poll.realtime), record.episode.fps)
        heard = [text for frame, text in said if frame <= last]
        responses.append(_imply_response(item, index, heard))
    return responses


def _imply_response(item: ForwardItem, index: int, heard: Sequence[str]) -> str:
    if isinstance(item, CountItem):
        counts = [text for text in heard if any(letter.isdecimal() for letter in text)]
        return counts[-1] if counts else "0"
    if isinstance(item, StepItem):
        return YES if _find_step_in_progress(item, heard) == item.test_info[index].step else NO
    return YES if heard else NO


def _find_step_in_progress(item: StepItem, heard: Sequence[str]) -> str | None:
    """The step that the last utterance about steps names; None after one that says that a step ended."""
    ends = STEP_END.rstrip(".").casefold()
    plain: Mapping[str, str] = {step.casefold(): step for step in item.all_steps}
    for text in reversed(heard):
        named = [step for step in plain if step and step in text.casefold()]
        if named:
            return plain[max(named, key=len)]
        if ends in text.casefold():
            return None
    return None

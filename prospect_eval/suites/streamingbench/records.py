"""Records of StreamingBench, Proactive Output, as results in its own form, and their official numbers.

Polled, the published loop is played over the answers: the first one that holds "yes" ends it, and the answer to the question at
that second is the output. Autonomous, the output is the first utterance after the question, at the time of its frame; silence is
the "No" at the last poll.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from prospect_core.records import EpisodeRecord, ReplayProtocol
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.official_score import OfficialScore
from prospect_eval.suites.record_texts import collect_poll_texts, find_frame_time, list_texts_after_question
from prospect_eval.suites.streamingbench.annotations import ProactiveAnnotations, ProactiveOutputQuestion
from prospect_eval.suites.streamingbench.episodes import (
    GOLD_TEXT,
    ITEM,
    OUTPUT,
    PART,
    POLL,
    SECOND,
    find_ask_time,
    list_poll_seconds,
    name_second,
)
from prospect_eval.suites.streamingbench.official import score_streamingbench
from prospect_eval.suites.streamingbench.polling import (
    LAST_POLL,
    LONGEST_WAIT,
    PollingSchedule,
    find_requested_output,
    make_streamingbench_constants,
    play_polling,
)
from prospect_eval.suites.streamingbench.results import LastTurn, ProactiveResults, ProactiveRow


def score_streamingbench_records(annotations: ProactiveAnnotations, records: Sequence[EpisodeRecord]) -> OfficialScore:
    """The official numbers of records, over the questions that they hold; those of failed records are failed items."""
    held = select_held_questions(annotations, records)
    return score_streamingbench(held, read_streamingbench_records(held, records))


def streamingbench_constants_of_records(
    annotations: ProactiveAnnotations, records: Sequence[EpisodeRecord]
) -> dict[str, OfficialScore]:
    """The official numbers of each constant answer over the questions that the records hold.

    They print the gold output where the protocol of the records reveals it, else the output that the question names.
    """
    held = select_held_questions(annotations, records)
    protocol = records[0].knobs.rules if records else ReplayProtocol()
    constants = make_streamingbench_constants(lambda question: _find_schedule(question, protocol))
    return {name: score_streamingbench(held, make(held)) for name, make in constants.items()}


def _find_schedule(question: ProactiveOutputQuestion, protocol: ReplayProtocol) -> PollingSchedule:
    output = find_requested_output(question.question) or ""
    if GOLD_TEXT in protocol.reveals:
        output = question.gold_output
    seconds = list_poll_seconds(question, protocol, find_ask_time(question, protocol) + LONGEST_WAIT)
    return PollingSchedule(seconds, output)


def select_held_questions(annotations: ProactiveAnnotations, records: Sequence[EpisodeRecord]) -> ProactiveAnnotations:
    """The questions of the records."""
    held = {poll.meta[ITEM] for record in records for poll in record.episode.polls}
    held |= {record.episode.meta[ITEM] for record in records if ITEM in record.episode.meta}
    return ProactiveAnnotations(tuple(q for q in annotations.questions if q.id in held), ReadCounts({}))


def read_streamingbench_records(held: ProactiveAnnotations, records: Sequence[EpisodeRecord]) -> ProactiveResults:
    """The results of records that hold these questions."""
    texts = collect_poll_texts(records)
    streams = {record.episode.meta[ITEM]: record for record in records if ITEM in record.episode.meta}
    seconds: dict[str, list[int]] = defaultdict(list)
    for record in records:
        for poll in record.episode.polls:
            if poll.meta[PART] == POLL:
                seconds[poll.meta[ITEM]].append(int(poll.meta[SECOND]))
    rows = []
    for question in held.questions:
        stream = streams.get(question.id)
        if stream is not None:
            rows.append(_read_stream(question, stream))
        else:
            rows.append(_play_answers(question, seconds[question.id], texts))
    return ProactiveResults("records", tuple(rows), counts=ReadCounts.of(["questions"] * len(rows)))


def _play_answers(question: ProactiveOutputQuestion, seconds: Sequence[int], texts: Mapping[str, str]) -> ProactiveRow:
    if any(name_second(question, second, POLL) not in texts for second in seconds):
        return ProactiveRow(question, None, "unreadable")
    dialog = play_polling(
        question,
        lambda second: texts[name_second(question, second, POLL)],
        lambda second: texts.get(name_second(question, second, OUTPUT), ""),
        sorted(seconds),
    )
    return ProactiveRow(question, dialog.turn, "empty history" if dialog.turn is None else "read")


def _read_stream(question: ProactiveOutputQuestion, record: EpisodeRecord) -> ProactiveRow:
    """The first utterance after the question; silence is a turn without the output at the last poll."""
    if record.status != "ok":
        return ProactiveRow(question, None, "unreadable")
    said = list_texts_after_question(record)
    if not said:
        return ProactiveRow(question, LastTurn(time=question.gold_time + LAST_POLL, text=""))
    frame, text = said[0]
    return ProactiveRow(question, LastTurn(time=find_frame_time(record, frame), text=text))

"""Faults of the annotations of OVO-Bench."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator

from prospect_eval.suites.benchmark import AnnotationProblem
from prospect_eval.suites.ovo_bench.annotations import (
    ChoiceItem,
    ClueItem,
    CluePoll,
    CountItem,
    CountPoll,
    ForwardItem,
    OvoBenchAnnotations,
    OvoBenchItem,
    StepItem,
    StepPoll,
)
from prospect_eval.suites.published_files import find_repeated, list_names


def find_ovo_bench_problems(annotations: OvoBenchAnnotations) -> list[AnnotationProblem]:
    """All faults, in the order of the items."""
    found: list[AnnotationProblem] = []
    for item in annotations.items:
        found += _find_choice_problems(item) if isinstance(item, ChoiceItem) else _find_forward_problems(item)
    found += _find_repeated_questions(annotations.choices)
    order = {str(item.id): index for index, item in enumerate(annotations.items)}
    return sorted(found, key=lambda problem: order[problem.id])


def _problem(item: OvoBenchItem, kind: str, text: str) -> AnnotationProblem:
    return AnnotationProblem(id=str(item.id), kind=kind, text=text)


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(".")


def _find_choice_problems(item: ChoiceItem) -> Iterator[AnnotationProblem]:
    gold = item.options[item.gt]
    if item.answer != gold and item.answer in item.options:
        text = f"the answer {item.answer!r} is another option than the gold one, {gold!r}"
        yield _problem(item, "the answer is the text of another option", text)
    repeated = find_repeated(item.options)
    if repeated:
        yield _problem(item, "an option is listed twice", f"listed twice: {list_names(map(repr, repeated))}")
    if f" {_plain(gold)} " in f" {_plain(item.question).rstrip('?')} ":
        others = [option for option in item.options if _plain(option) in _plain(item.question)]
        if others == [gold]:
            yield _problem(
                item, "the question holds the gold option", f"the question holds {gold!r} and no other option"
            )


def _find_forward_problems(item: ForwardItem) -> Iterator[AnnotationProblem]:
    polls: list[CountPoll | StepPoll | CluePoll] = list(item.test_info)
    repeated = find_repeated(polls)
    if repeated:
        times = list_names(f"{poll.realtime:g} s" for poll in repeated)
        same_form = len({repr(poll) for poll in polls}) < len(polls)
        kind = "a poll is repeated" if same_form else "a poll is repeated with its time in another form"
        yield _problem(item, kind, f"polls repeated at {times}")
    times_of = [poll.realtime for poll in polls]
    if times_of != sorted(times_of):
        yield _problem(item, "polls are not in the order of time", "a poll is earlier than the poll before it")
    if isinstance(item, CountItem):
        yield from _find_count_problems(item)
    elif isinstance(item, StepItem):
        yield from _find_step_problems(item)
    else:
        yield from _find_clue_problems(item)


def _find_spans_without_length(item: ForwardItem, spans: Iterable[tuple[float, float]]) -> Iterator[AnnotationProblem]:
    short = [(start, end) for start, end in spans if start >= end]
    if short:
        named = list_names(f"{start:g} to {end:g} s" for start, end in short)
        yield _problem(item, "a span does not end after it starts", f"spans without a length: {named}")


def _find_count_problems(item: CountItem) -> Iterator[AnnotationProblem]:
    for poll in item.test_info:
        ends = item.count_ends(poll.realtime)
        if ends != poll.count:
            text = f"at {poll.realtime:g} s the count is {poll.count}, but {ends} repetitions have ended"
            yield _problem(item, "the count is not the number of ends passed", text)
    counts: dict[float, set[int]] = defaultdict(set)
    for poll in item.test_info:
        counts[poll.realtime].add(poll.count)
    different = {time: sorted(found) for time, found in counts.items() if len(found) > 1}
    if different:
        named = list_names(f"{time:g} s: {found}" for time, found in different.items())
        yield _problem(item, "polls at one time contradict each other", f"counts by time: {named}")
    yield from _find_spans_without_length(item, zip(item.start_times, item.end_times, strict=True))


def _find_step_problems(item: StepItem) -> Iterator[AnnotationProblem]:
    for poll in item.test_info:
        in_progress = item.is_in_progress(poll.step, poll.realtime)
        if in_progress != bool(poll.type):
            text = f"at {poll.realtime:g} s the type of {poll.step!r} is {poll.type}; in progress: {in_progress}"
            yield _problem(item, "the type contradicts the spans of the steps", text)
    yield from _find_spans_without_length(item, zip(item.start_time, item.end_time, strict=True))


def _find_clue_problems(item: ClueItem) -> Iterator[AnnotationProblem]:
    for poll in item.test_info:
        if (poll.realtime >= item.clue_time) != bool(poll.type):
            text = f"at {poll.realtime:g} s the type is {poll.type}, and the clue is at {item.clue_time:g} s"
            yield _problem(item, "the type contradicts the time of the clue", text)
    if item.clue_time <= item.ask_time:
        text = f"the clue is at {item.clue_time:g} s, the question at {item.ask_time:g} s"
        yield _problem(item, "the clue is not after the question", text)


def _find_repeated_questions(items: Iterable[ChoiceItem]) -> Iterator[AnnotationProblem]:
    same: dict[Hashable, list[ChoiceItem]] = defaultdict(list)
    for item in items:
        same[item.video, item.realtime, item.question].append(item)
    for group in same.values():
        for item in group[1:]:
            first = group[0]
            kind = "the question repeats an earlier item"
            if first.options[first.gt] != item.options[item.gt]:
                kind = "the question repeats an earlier item with another gold option"
            yield _problem(item, kind, f"the same question, video and time as item {first.id}")

"""Checks of task graphs, occurrences of steps and mistakes; each problem is one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from graphlib import CycleError, TopologicalSorter

from prospect_core.timeline.events import Event
from prospect_core.timeline.mistakes import Mistake
from prospect_core.timeline.occurrences import StepOccurrence, make_occurrence_transitions
from prospect_core.timeline.task import Task


def list_task_problems(episode: str, task: Task) -> Iterator[str]:
    """Yield the problems of a task's steps, substeps and order edges.

    Args:
        episode: Id of the episode, for messages.
        task: The task.
    """
    names = Counter([*task.step_ids, *(substep.id for substep in task.substeps)])
    for step in sorted(step for step, number in names.items() if number > 1):
        yield f"{episode}: step id {step!r} appears twice"
    unknown = [step for edge in task.order_edges for step in edge if step not in task.step_ids]
    if unknown:
        yield f"{episode}: an order edge names step {unknown[0]!r}; the task has {_list(task.step_ids)}"
        return
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for before, after in task.order_edges:
        sorter.add(after, before)
    try:
        sorter.prepare()
    except CycleError as error:
        yield f"{episode}: the order edges form a cycle: {' -> '.join(error.args[1])}"


def list_occurrence_problems(episode: str, task: Task, occurrences: Sequence[StepOccurrence]) -> Iterator[str]:
    """Yield the problems of occurrences and of the links between them.

    A clip keeps the occurrences that it overlaps, so links may lead out of the episode.

    Args:
        episode: Id of the episode, for messages.
        task: Its task.
        occurrences: Its occurrences.
    """
    yield from _repeated_ids(episode, "occurrence", (item.id for item in occurrences))
    substeps = {substep.id for substep in task.substeps}
    known = {item.id: item for item in occurrences}
    for item in occurrences:
        where = f"{episode}: occurrence {item.id} of {item.step} ({item.start:g}..{item.end:g} s)"
        if item.step not in task.step_ids and item.step not in substeps:
            yield f"{where} names no step of the task; it has {_list([*task.step_ids, *sorted(substeps)])}"
        if not 0 <= item.start <= item.end:
            yield f"{where} needs 0 <= start <= end"
        if item.part_of and item.step not in substeps:
            yield f"{where} is part of {item.part_of}; only occurrences of substeps are"
        elif item.part_of in known and known[item.part_of].step not in task.step_ids:
            yield f"{where} is part of {item.part_of}, which is no occurrence of a step"
        before = known.get(item.continues)
        if before is not None and (before is item or before.start > item.start):
            yield f"{where} continues {item.continues}, which does not start before it"
    starts = [item.start for item in occurrences]
    if starts != sorted(starts):
        yield f"{episode}: occurrences are not ordered by start"


def list_transition_contradictions(
    episode: str, task: Task, occurrences: Sequence[StepOccurrence], events: Iterable[Event]
) -> Iterator[str]:
    """Yield each step whose transitions are not those of its occurrences.

    Args:
        episode: Id of the episode, for messages.
        task: Its task.
        occurrences: All occurrences of a complete episode.
        events: Its events.
    """
    steps = [item for item in occurrences if item.step in task.step_ids]
    if not steps:
        return
    expected, found = (
        {step: [event.change for event in side if event.step == step] for step in task.step_ids}
        for side in (make_occurrence_transitions(steps), [event for event in events if event.kind == "transition"])
    )
    for step in task.step_ids:
        if expected[step] != found[step]:
            yield (
                f"{episode}: {step} has the transitions {_list(found[step])}; its occurrences give"
                f" {_list(expected[step])}"
            )


def list_mistake_problems(episode: str, task: Task, mistakes: Sequence[Mistake]) -> Iterator[str]:
    """Yield the problems of mistakes.

    Args:
        episode: Id of the episode, for messages.
        task: Its task.
        mistakes: Its mistakes.
    """
    yield from _repeated_ids(episode, "mistake", (item.id for item in mistakes))
    known = {*task.step_ids, *(substep.id for substep in task.substeps)}
    for item in mistakes:
        where = f"{episode}: mistake {item.id} ({item.tag!r})"
        if not item.tag.strip():
            yield f"{where} has no tag"
        if item.step and item.step not in known:
            yield f"{where} names step {item.step!r}; the task has {_list(sorted(known))}"
        if item.span is not None and not 0 <= item.span[0] <= item.span[1]:
            yield f"{where} has the span {item.span[0]:g}..{item.span[1]:g} s; give 0 <= start <= end"
    starts = [float("inf") if item.span is None else item.span[0] for item in mistakes]
    if starts != sorted(starts):
        yield f"{episode}: mistakes are not ordered by start (those without a time last)"


def _repeated_ids(episode: str, kind: str, ids: Iterable[str]) -> Iterator[str]:
    for name in sorted(name for name, number in Counter(ids).items() if number > 1):
        yield f"{episode}: {kind} id {name!r} appears twice"


def _list(items: Sequence[str]) -> str:
    return ", ".join(items) or "none"

"""Handmade and random episodes of real procedures: task graph, occurrences, mistakes, typed turns."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import strategies as st

from prospect_core.records import EpisodeRecord
from prospect_core.timeline import (
    Episode,
    Event,
    Mistake,
    Step,
    StepOccurrence,
    Task,
    make_occurrence_transitions,
    sort_timeline_events,
)
from prospect_eval.metrics.procedures import procedure_metrics
from prospect_eval.metrics.scored import Scored
from tests.helpers.predictions import TOOLS

#: S1 before S2 before S3; S4 is free
SOUP = Task(
    "cook soup",
    (Step("S3", "serve"), Step("S2", "boil"), Step("S4", "set the table"), Step("S1", "chop")),
    order_edges=(("S1", "S2"), ("S2", "S3")),
    substeps=(Step("B1", "take the knife"),),
)
SUCCESS = "feedback_action_aligned_success"
MISTAKE = "feedback_action_aligned_mistake_technique_error"
TAGS = ("Order Error", "Technique Error", "Missing Step", "Other")


def procedure(
    *spans: tuple[str, float, float],
    mistakes: Iterable[Mistake] = (),
    turns: Iterable[Event] = (),
    frames: int = 40,
    task: Task = SOUP,
    fps: float = 1,
) -> Episode:
    """Make an episode of executions (step, start, end) in seconds, at one frame per second by default."""
    done = tuple(StepOccurrence(f"o{k}", *span) for k, span in enumerate(sorted(spans, key=lambda span: span[1])))
    tracked = make_occurrence_transitions(item for item in done if item.step in task.step_ids)
    events = sort_timeline_events([*tracked, *turns])
    return Episode(
        "e", "v", fps, 0, frames, task, events, dataset="x", occurrences=done, mistakes=tuple(mistakes)
    ).validate()


def turn(time: float, text: str, labels: str) -> Event:
    """Make an assistant turn with labels."""
    return Event(f"a{time}{text}", time, "assistant", text, labels=labels)


def procedure_values(*records: EpisodeRecord) -> dict[str, float | None]:
    """Return the values of all metrics of procedures over records."""
    scored = Scored.over(records, TOOLS)
    return {metric.name: metric.compute(scored, intervals=False)["value"] for metric in procedure_metrics(TOOLS)}


@st.composite
def procedures(draw: st.DrawFn) -> Episode:
    """Draw an episode with repeated, overlapping and skipped steps, a task graph, mistakes and typed turns."""
    number = draw(st.integers(1, 4))
    names = [f"S{k + 1}" for k in range(number)]
    task = Task(
        "cook",
        tuple(Step(name, f"do {name}") for name in draw(st.permutations(names))),
        order_edges=tuple(pair for pair in pairwise(names) if draw(st.booleans())),
        substeps=(Step("B1", "a part"),),
    )
    times = st.integers(0, 80).map(lambda half: half / 2)
    pairs = st.tuples(times, times).map(lambda pair: (min(pair), max(pair)))
    spans = draw(st.lists(st.tuples(st.sampled_from(names), pairs), max_size=6))
    mistakes = [
        Mistake(f"m{k}", tag, step, span)
        for k, (tag, step, span) in enumerate(
            sorted(
                draw(
                    st.lists(
                        st.tuples(st.sampled_from(TAGS), st.sampled_from(["", "B1", *names]), pairs | st.none()),
                        max_size=5,
                    )
                ),
                key=lambda item: float("inf") if item[2] is None else item[2][0],
            )
        )
    ]
    kinds = st.sampled_from([("Well done.", SUCCESS), ("Stop, wrong.", MISTAKE), ("Now cut.", "instruction")])
    said = [
        Event(f"a{k}", time, "assistant", text, labels=label)
        for k, (time, (text, label)) in enumerate(draw(st.lists(st.tuples(times, kinds), max_size=6)))
    ]
    fps = draw(st.sampled_from([0.5, 1, 2]))
    flat = [(step, start, end) for step, (start, end) in spans]
    return procedure(*flat, mistakes=mistakes, turns=said, frames=int(42 * fps), task=task, fps=fps)

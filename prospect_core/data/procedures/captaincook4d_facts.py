"""Counts of everything in CaptainCook4D's annotations, including their irregular entries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from prospect_core.data.procedures.captaincook4d_files import (
    CookingAnnotations,
    CookingErrors,
    CookingErrorStep,
    CookingGraph,
    CookingRecording,
)
from prospect_core.data.procedures.recipe_graphs import (
    BORDER_TEXTS,
    RecipeActivity,
    list_recipe_activities,
    match_recipe_graphs,
)
from prospect_core.data.procedures.span_counts import (
    Span,
    count_most_open_spans,
    count_overlapping_span_pairs,
    measure_span_sum,
    measure_span_union,
)

#: tag of a step that was left out
MISSING_STEP = "Missing Step"
#: facts of a recording that add up
_SUMMED = (
    "steps",
    "not_done",
    "with_errors",
    "overlapping_pairs",
    "repeated_entries",
    "seconds_sum",
    "seconds_union",
)
#: an end this far after the end of the video is counted, in seconds
_TOLERANCE = 0.001

Facts = dict[str, Any]


def count_captaincook4d_facts(annotations: CookingAnnotations) -> Facts:
    """Return all counts.

    Times of steps are compared after rounding to the millisecond; lengths are exact.

    Args:
        annotations: The annotations.

    Returns:
        ``totals``, ``oddities`` (lists of recording and step id), ``recordings`` (facts by id),
        ``task_graphs`` (facts by name) and ``splits`` (numbers of recordings by file).
    """
    recordings = {
        name: _recording_facts(recording, annotations.errors.get(name))
        for name, recording in annotations.recordings.items()
    }
    return {
        "totals": _totals(annotations, recordings),
        "oddities": _oddities(annotations, recordings),
        "recordings": recordings,
        "task_graphs": _graph_facts(annotations),
        "splits": {name: {part: len(ids) for part, ids in split.items()} for name, split in annotations.splits.items()},
    }


def _recording_facts(recording: CookingRecording, errors: CookingErrors | None) -> Facts:
    done: list[Span] = [(step.start_time, step.end_time) for step in recording.steps if step.done]
    starts = [start for start, _ in done]
    steps = Counter(step.step_id for step in recording.steps)
    tags = Counter(error.tag for step in _error_steps(errors) for error in step.errors)
    return {
        "steps": len(recording.steps),
        "not_done": len(recording.steps) - len(done),
        "with_errors": sum(step.has_errors for step in recording.steps),
        "overlapping_pairs": count_overlapping_span_pairs(done),
        "most_at_once": count_most_open_spans(done),
        "repeated_entries": sum(steps.values()) - len(steps),
        "seconds_sum": measure_span_sum(done),
        "seconds_union": measure_span_union(done),
        "first_start": min(starts, default=None),
        "last_end": max((end for _, end in done), default=None),
        "listed_in_start_order": starts == sorted(starts),
        "is_error": None if errors is None else errors.is_error,
        "tags": dict(sorted(tags.items())),
    }


def _totals(annotations: CookingAnnotations, recordings: Mapping[str, Facts]) -> Facts:
    facts = list(recordings.values())
    steps = [step for name in recordings for step in _error_steps(annotations.errors.get(name))]
    activities = {recording.activity_id for recording in annotations.recordings.values()}
    errors_by_tag = Counter(error.tag for step in steps for error in step.errors)
    steps_by_tag = Counter(tag for step in steps for tag in {error.tag for error in step.errors})
    by_number = Counter(len(step.errors) for step in steps)
    sums = {name: sum(one[name] for one in facts) for name in _SUMMED}
    return {
        "recordings": len(facts),
        "activities": len(activities),
        **sums,
        "recordings_with_overlap": sum(one["overlapping_pairs"] > 0 for one in facts),
        "recordings_with_repeats": sum(one["repeated_entries"] > 0 for one in facts),
        "recordings_with_not_done": sum(one["not_done"] > 0 for one in facts),
        "recordings_is_error": sum(bool(one["is_error"]) for one in facts),
        "recordings_not_listed_in_start_order": sum(not one["listed_in_start_order"] for one in facts),
        "most_at_once": max((one["most_at_once"] for one in facts), default=0),
        "errors_by_tag": dict(sorted(errors_by_tag.items())),
        "steps_by_tag": dict(sorted(steps_by_tag.items())),
        "steps_by_number_of_errors": {str(number): by_number[number] for number in sorted(by_number)},
    }


def _oddities(annotations: CookingAnnotations, recordings: Mapping[str, Facts]) -> Facts:
    entries = list(_error_entries(annotations))
    return {
        "not_done_without_has_errors": [
            [name, step.step_id]
            for name, recording in annotations.recordings.items()
            for step in recording.steps
            if not step.done and not step.has_errors
        ],
        "tag_missing_step_but_done": [
            [name, step.step_id]
            for name, step in entries
            if step.start_time >= 0 and any(error.tag == MISSING_STEP for error in step.errors)
        ],
        "modified_description_without_errors": [
            [name, step.step_id] for name, step in entries if step.modified_description is not None and not step.errors
        ],
        "same_tag_twice_in_a_step": [
            [name, step.step_id]
            for name, step in entries
            if len({error.tag for error in step.errors}) < len(step.errors)
        ],
        "last_end_after_video_end_by_more_than_1ms": [
            [name, facts["last_end"], annotations.seconds[name]]
            for name, facts in recordings.items()
            if name in annotations.seconds
            and facts["last_end"] is not None
            and facts["last_end"] > annotations.seconds[name] + _TOLERANCE
        ],
    }


def _graph_facts(annotations: CookingAnnotations) -> Facts:
    activities = list_recipe_activities(annotations.recordings.values())
    matched = match_recipe_graphs(annotations.graphs, activities.values())
    return {
        name: _one_graph(graph, activities[matched[name]] if name in matched else None)
        for name, graph in annotations.graphs.items()
    }


def _one_graph(graph: CookingGraph, activity: RecipeActivity | None) -> Facts:
    counts = Counter(text for text in graph.steps.values() if text.lower() not in BORDER_TEXTS)
    texts = activity.all_texts if activity is not None else set()
    return {
        "activity_id": None if activity is None else activity.id,
        "activity_name": None if activity is None else activity.name,
        "nodes": len(graph.steps),
        "edges": len(graph.edges),
        "descriptions_in_recordings_but_not_in_graph": sorted(texts - set(counts)),
        "descriptions_in_graph_but_not_in_recordings": sorted(set(counts) - texts),
        "same_description_twice": sorted(text for text, number in counts.items() if number > 1),
    }


def _error_steps(errors: CookingErrors | None) -> tuple[CookingErrorStep, ...]:
    return () if errors is None else errors.step_annotations


def _error_entries(annotations: CookingAnnotations) -> Iterator[tuple[str, CookingErrorStep]]:
    for name in annotations.recordings:
        for step in _error_steps(annotations.errors.get(name)):
            yield name, step

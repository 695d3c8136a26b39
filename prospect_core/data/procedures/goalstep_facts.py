"""Counts of everything in Ego4D Goal-Step's annotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prospect_core.data.procedures.goalstep_files import (
    GoalSubstep,
    GoalVideo,
    link_continued_segments,
    sort_goalstep_places,
)
from prospect_core.data.procedures.span_counts import (
    Span,
    count_overlapping_span_pairs,
    measure_span_sum,
    measure_span_union,
)

#: a segment this far outside its step or goal is counted, in seconds
_TOLERANCE = 0.001
#: facts of a video that add up
_SUMMED = (
    "steps",
    "substeps",
    "steps_with_substeps",
    "continued_steps",
    "continued_substeps",
    "chains",
    "continued_steps_without_an_earlier_step_of_the_category",
    "repeated_descriptions_not_flagged",
    "overlapping_pairs",
    "substeps_outside_their_step_by_more_than_1ms",
    "steps_outside_the_goal_by_more_than_1ms",
    "steps_without_is_continued_key",
    "seconds_sum",
    "seconds_union",
    "goal_seconds",
)

GoalFacts = dict[str, Any]


def count_goalstep_facts(videos: Sequence[GoalVideo]) -> GoalFacts:
    """Return all counts.

    A chain is a step with those that continue it (`link_continued_segments`), two or more steps.

    Args:
        videos: The videos.

    Returns:
        ``totals`` and ``videos`` (facts by uid).
    """
    facts = {video.video_uid: _video_facts(video) for video in videos}
    return {"totals": _totals(videos, facts), "videos": facts}


def _video_facts(video: GoalVideo) -> GoalFacts:
    steps = video.segments
    links = link_continued_segments(steps)
    chains = _chain_lengths(len(steps), links)
    spans: list[Span] = [(step.start_time, step.end_time) for step in steps]
    starts = [start for start, _ in spans]
    continued = sum(bool(step.is_continued) for step in steps)
    return {
        "steps": len(steps),
        "substeps": len(video.substeps),
        "steps_with_substeps": sum(bool(step.segments) for step in steps),
        "most_substeps_in_a_step": max((len(step.segments) for step in steps), default=0),
        "continued_steps": continued,
        "continued_substeps": sum(bool(substep.is_continued) for substep in video.substeps),
        "chains": sum(length > 1 for length in chains),
        "longest_chain": max(chains, default=0),
        "continued_steps_without_an_earlier_step_of_the_category": continued - len(links),
        "repeated_descriptions_not_flagged": _count_unflagged_repeats(steps),
        "relevant": _count_relevance(steps),
        "overlapping_pairs": count_overlapping_span_pairs(spans),
        "seconds_sum": measure_span_sum(spans),
        "seconds_union": measure_span_union(spans),
        "goal_seconds": video.end_time - video.start_time,
        "substeps_outside_their_step_by_more_than_1ms": sum(
            _is_outside(substep, step) for step in steps for substep in step.segments
        ),
        "steps_outside_the_goal_by_more_than_1ms": sum(_is_outside(step, video) for step in steps),
        "listed_in_start_order": starts == sorted(starts),
        "steps_without_is_continued_key": sum(step.is_continued is None for step in steps),
        "goal_is_procedural": video.is_procedural,
    }


def _totals(videos: Sequence[GoalVideo], facts: Mapping[str, GoalFacts]) -> GoalFacts:
    return {
        "videos": len(videos),
        **{name: sum(one[name] for one in facts.values()) for name in _SUMMED},
        "longest_chain": max((one["longest_chain"] for one in facts.values()), default=0),
        "videos_not_listed_in_start_order": sum(not one["listed_in_start_order"] for one in facts.values()),
        "is_relevant": _count_relevance(step for video in videos for step in video.segments),
        "is_relevant_substeps": _count_relevance(substep for video in videos for substep in video.substeps),
        "step_categories": len({step.step_category for video in videos for step in video.segments}),
        "goal_categories": len({video.goal_category for video in videos}),
    }


def _chain_lengths(number: int, links: Mapping[int, int]) -> list[int]:
    """Return the number of steps of each chain; a step that nothing continues is a chain of one."""
    firsts: Counter[int] = Counter()
    for place in range(number):
        first = place
        while first in links:
            first = links[first]
        firsts[first] += 1
    return list(firsts.values())


def _count_unflagged_repeats(steps: Sequence[GoalSubstep]) -> int:
    """Count steps that repeat an earlier description, in any letter case, without ``is_continued``."""
    seen: set[str] = set()
    number = 0
    for place in sort_goalstep_places(steps):
        text = steps[place].step_description.strip().lower()
        number += text in seen and not steps[place].is_continued
        seen.add(text)
    return number


def _count_relevance(segments: Iterable[GoalSubstep]) -> dict[str, int]:
    """Count the values of ``is_relevant``; segments without a value are not counted."""
    counts = Counter(segment.is_relevant for segment in segments if segment.is_relevant is not None)
    return dict(sorted(counts.items()))


def _is_outside(inner: GoalSubstep, outer: GoalSubstep | GoalVideo) -> bool:
    return inner.start_time < outer.start_time - _TOLERANCE or inner.end_time > outer.end_time + _TOLERANCE

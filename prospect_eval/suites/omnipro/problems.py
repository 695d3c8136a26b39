"""Faults of OmniPro's annotations: triggers without a time or content, outside the video, out of order, too near."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from prospect_eval.suites.benchmark import AnnotationProblem
from prospect_eval.suites.omnipro.annotations import OmniProAnnotations
from prospect_eval.suites.omnipro.official import CONTENT_KINDS, REGIONS, OmniProSample, Trigger
from prospect_eval.suites.result_rows import quote_json

#: emissions at most this many seconds apart are merged by the published loop
MERGED_S = 2.0


def find_omnipro_problems(annotations: OmniProAnnotations) -> list[AnnotationProblem]:
    """All faults, in the order of the samples; repeated ids come first."""
    problems = [
        AnnotationProblem(name, "duplicate id", "an earlier row has this id; the published scorer counts both")
        for name in annotations.repeated
    ]
    for sample in annotations.samples:
        problems += [AnnotationProblem(sample.id, kind, text) for kind, text in _sample_problems(sample)]
    return problems


def _sample_problems(sample: OmniProSample) -> Iterator[tuple[str, str]]:
    if sample.task not in CONTENT_KINDS:
        yield "unknown task", f"the task {quote_json(sample.task)} is none of the nine; its content needs an LLM judge"
    if not sample.question.strip():
        yield "sample without a question", "the question has no text"
    if not sample.triggers:
        yield "sample without a trigger", "no emission can be right, and silence scores 0"
    for number, trigger in enumerate(sample.triggers, 1):
        yield from _time_problems(sample, number, trigger)
        if (fault := _find_content_fault(sample.task, trigger)) is not None:
            yield "trigger without its content", f"trigger {number} has {fault}"
    times = [trigger.time for trigger in sample.triggers if trigger.time is not None]
    if times != sorted(times):
        yield "triggers out of order", "a trigger comes before the one listed before it"
    near = [later for earlier, later in pairwise(sorted(times)) if later - earlier <= MERGED_S]
    if near:
        text = f"{len(near)} triggers are at most {MERGED_S:g} s after the one before, the first at {near[0]:g} s"
        yield "triggers whose answers the published loop merges", text


def _time_problems(sample: OmniProSample, number: int, trigger: Trigger) -> Iterator[tuple[str, str]]:
    if trigger.time is None:
        yield "unreadable trigger time", f"the time of trigger {number} is no number and no MM:SS"
    elif trigger.time < sample.asked:
        text = f"trigger {number} is at {trigger.time:g} s, the question at {sample.asked:g} s"
        yield "trigger before the question", text
    elif sample.end is not None and trigger.time > sample.end:
        yield "trigger after the end", f"trigger {number} is at {trigger.time:g} s, the end at {sample.end:g} s"


def _find_content_fault(task: str, trigger: Trigger) -> str | None:
    """The part of its compared content that a trigger lacks; None where it is complete."""
    kind = CONTENT_KINDS.get(task)
    if kind == "position" and trigger.position.lower().strip() not in REGIONS:
        return f"the position {quote_json(trigger.position)}, which is no region name"
    if kind in ("count", "count_at_time") and trigger.count is None:
        return "no whole number as its count"
    if kind == "state" and not trigger.state.strip():
        return "no state"
    if kind == "gpt_judge" and not trigger.response.strip():
        return "no response"
    return None

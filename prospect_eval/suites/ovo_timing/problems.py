"""Faults of the samples of OVO-Timing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from prospect_eval.suites.benchmark import AnnotationProblem
from prospect_eval.suites.ovo_timing.annotations import TimingAnnotations, TimingSample
from prospect_eval.suites.ovo_timing.official import TOLERANCE, count_first_fit_matches
from prospect_eval.suites.published_files import find_repeated, list_names


def find_ovo_timing_problems(annotations: TimingAnnotations) -> list[AnnotationProblem]:
    """All faults, in the order of the samples."""
    return [problem for sample in annotations.samples for problem in _find_sample_problems(sample)]


def _find_sample_problems(sample: TimingSample) -> Iterator[AnnotationProblem]:
    def problem(kind: str, text: str) -> AnnotationProblem:
        return AnnotationProblem(id=str(sample.sample_id), kind=kind, text=text)

    times = sorted(sample.gt_timestamp)
    if not times:
        yield problem("no gold time", "no response can be right")
    outside = [time for time in times if not sample.stream_start <= time <= sample.stream_end]
    if outside:
        text = f"outside {sample.stream_start:g} to {sample.stream_end:g} s: {_list_times(outside)}"
        yield problem("a gold time lies outside the stream", text)
    repeated = find_repeated(times)
    if repeated:
        yield problem("a gold time is listed twice", f"listed twice: {_list_times(repeated)}")
    near = [later for earlier, later in pairwise(times) if later - earlier < 2 * TOLERANCE]
    if near:
        text = f"less than {2 * TOLERANCE:g} s after the gold time before: {_list_times(near)}"
        yield problem("gold times are nearer than twice the tolerance", text)
    backwards = times[::-1]
    if count_first_fit_matches(sample.gt_timestamp, backwards) < len(times):
        text = "the gold times in reverse order do not match all gold times"
        yield problem("the score depends on the order of the detections", text)


def _list_times(times: list[float]) -> str:
    return list_names(f"{time:g} s" for time in times)

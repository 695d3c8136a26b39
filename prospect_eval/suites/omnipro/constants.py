"""Answers of OmniPro that look at no picture: silence, and emissions at a fixed rate with one text for each task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.omnipro.annotations import OmniProAnnotations
from prospect_eval.suites.omnipro.official import CONTENT_KINDS, ContentKind, Emission, OmniProSample
from prospect_eval.suites.omnipro.results import OmniProResults

#: seconds between emissions; the published loop merges emissions that are at most 2 s apart
PERIODS = (3, 4, 6, 8, 10, 15, 20, 30, 60)
#: maximum number of emissions, also for a file that names an endless video
MOST_EMISSIONS = 10_000
#: text of all emissions by compared content; a running count counts the emissions instead
TEXTS: Mapping[ContentKind, str] = {
    "time_only": "Now.",
    "position": "center",
    "count": "1",
    "state": "on",
    "gpt_judge": "Go on with the next step.",
}


def emit_periodically(sample: OmniProSample, period: float) -> tuple[Emission, ...]:
    """Emissions every ``period`` seconds after the question, up to the end of the video.

    Where the files do not name the end, it is the time of the last trigger.
    """
    end = sample.end
    if end is None:
        end = max((trigger.time for trigger in sample.triggers if trigger.time is not None), default=sample.asked)
    kind = CONTENT_KINDS.get(sample.task, "gpt_judge")
    number = int(min(max(0.0, end - sample.asked) // period, MOST_EMISSIONS))
    return tuple(
        Emission(sample.asked + k * period, str(k) if kind == "count_at_time" else TEXTS[kind])
        for k in range(1, number + 1)
    )


def _make_results(
    annotations: OmniProAnnotations, emissions: Callable[[OmniProSample], tuple[Emission, ...]]
) -> OmniProResults:
    samples = [replace(sample, emissions=emissions(sample)) for sample in annotations.samples]
    return OmniProResults(tuple(samples), ReadCounts({"sample": len(samples)}))


def _bind_period(period: int) -> Callable[[OmniProAnnotations], OmniProResults]:
    return lambda annotations: _make_results(annotations, lambda sample: emit_periodically(sample, period))


def _silent(annotations: OmniProAnnotations) -> OmniProResults:
    """Nothing is emitted."""
    return _make_results(annotations, lambda sample: ())


#: makers of results, by name
OMNIPRO_CONSTANTS: Mapping[str, Callable[[OmniProAnnotations], OmniProResults]] = {
    "silent": _silent,
    **{f"every_{period}s": _bind_period(period) for period in PERIODS},
}

"""The official scores of OmniPro's results, with the samples that they lack."""

from __future__ import annotations

from prospect_eval.suites.official_score import ItemScore, OfficialScore, make_official_score
from prospect_eval.suites.omnipro.annotations import OmniProAnnotations
from prospect_eval.suites.omnipro.official import OmniProSample, omnipro_values, score_omnipro_samples
from prospect_eval.suites.omnipro.results import OmniProResults
from prospect_eval.suites.published_files import list_names


def score_omnipro(annotations: OmniProAnnotations, results: OmniProResults) -> OfficialScore:
    """The official scores of all rows; samples without a row are missing items that the published scorer leaves out."""
    found = score_omnipro_samples(results.samples)
    given = {sample.id for sample in results.samples}
    absent = [sample for sample in annotations.samples if sample.id not in given]
    missing = [ItemScore(sample.id, sample.video, sample.task, totals={}, status="missing") for sample in absent]
    notes = [*results.counts.describe_refused(), *_describe_rows(annotations, results), *found.notes]
    if absent:
        notes.append(f"samples without a row, left out: {len(absent)} ({list_names(s.id for s in absent)})")
    return make_official_score([*found.items, *missing], omnipro_values, notes)


def _describe_rows(annotations: OmniProAnnotations, results: OmniProResults) -> list[str]:
    notes: list[str] = []
    known = annotations.by_id
    unknown = [sample.id for sample in results.samples if sample.id.partition("#")[0] not in known]
    if unknown:
        notes.append(f"rows that the annotations lack, scored as they stand: {len(unknown)} ({list_names(unknown)})")
    other = [sample.id for sample in results.samples if _has_other_triggers(sample, known.get(sample.id))]
    if other:
        notes.append(
            f"rows scored against another ground truth than the annotation's: {len(other)} ({list_names(other)})"
        )
    return notes


def _has_other_triggers(sample: OmniProSample, annotated: OmniProSample | None) -> bool:
    return annotated is not None and (sample.task, sample.triggers) != (annotated.task, annotated.triggers)

"""The official scores of ProactiveVideoQA's results."""

from __future__ import annotations

from dataclasses import replace

from prospect_eval.suites.official_score import OfficialScore, make_official_score
from prospect_eval.suites.proactivevideoqa.annotations import ProactiveVideoQAAnnotations
from prospect_eval.suites.proactivevideoqa.official import (
    make_judge_requests,
    proactivevideoqa_values,
    score_proactivevideoqa_replies,
)
from prospect_eval.suites.proactivevideoqa.results import ProactiveVideoQAResults


def score_proactivevideoqa(annotations: ProactiveVideoQAAnnotations, results: ProactiveVideoQAResults) -> OfficialScore:
    """PAUC by the verdicts of the results; no value where there are replies to judge and no verdict of any."""
    notes = [*results.notes, *results.counts.describe_refused()]
    requests = make_judge_requests(annotations.questions, results.replies)
    score = score_proactivevideoqa_replies(annotations.questions, results.replies, results.verdicts)
    if requests and not any(request.id in results.verdicts for request in requests):
        unjudged = [replace(item, totals={}) for item in score.items]
        notes.append(f"none of {len(requests)} replies has a verdict; give an LLM judge, or the LLM judge's replies")
        return make_official_score(unjudged, proactivevideoqa_values, notes)
    unused = len(results.verdicts.keys() - {request.id for request in requests})
    if unused:
        notes.append(f"{unused} verdicts belong to no reply of these predictions")
    return OfficialScore(score.values, score.items, (*notes, *score.notes))

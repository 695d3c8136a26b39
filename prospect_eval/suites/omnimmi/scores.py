"""The official scores of OmniMMI's results."""

from __future__ import annotations

from prospect_eval.suites.official_score import ItemScore, OfficialScore, make_official_score
from prospect_eval.suites.omnimmi.annotations import GroundingItem, OmniMmiAnnotations
from prospect_eval.suites.omnimmi.official import (
    omnimmi_values,
    score_omnimmi_alerts,
    score_omnimmi_grounding,
    score_omnimmi_turn_taking,
)
from prospect_eval.suites.omnimmi.results import OmniMmiResults


def score_omnimmi(annotations: OmniMmiAnnotations, results: OmniMmiResults) -> OfficialScore:
    """The official scores of the tasks that the results hold predictions of."""
    parts: list[OfficialScore] = []
    notes = [*results.notes, *results.counts.describe_refused()]
    if results.alerts:
        parts.append(score_omnimmi_alerts(annotations.alerts, results.alerts))
    if results.replies:
        parts.append(score_omnimmi_turn_taking(annotations.turn_taking, results.replies))
    if results.verdicts:
        parts.append(score_omnimmi_grounding(annotations.grounding, results.verdicts))
    elif results.answers:
        notes.append("SG: the answers have no verdicts; give an LLM judge, or the LLM judge's results.json")
    items = [item for part in parts for item in part.items]
    if not results.verdicts:
        items += [_unjudged(item) for item in annotations.grounding if item.id in results.answers]
    notes += [note for part in parts for note in part.notes]
    return make_official_score(items, omnimmi_values, notes)


def _unjudged(item: GroundingItem) -> ItemScore:
    """An SG item without verdicts, which is in no value."""
    return ItemScore(id=item.id, video=item.video, task="sg", totals={}, status="missing")

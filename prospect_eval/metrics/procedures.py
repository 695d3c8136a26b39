"""Tracking of real procedures: executions of steps, order, expectation, and mistakes of the person.

*Occurrence* F1: an occurrence is one execution of a step, from ``start`` or ``reopen`` to
``complete``, or to the last frame. Both ends are decision frames and belong to it. Predicted and
reference occurrences of a step are paired one to one if their intersection over union is large
enough. Both sides follow from transitions by the same rule.

*Order violation*: a step starts or is reopened while a predecessor in the task graph, direct or
not, is not completed. The states after all transitions of the frame decide. Violations of the same
step at most 30 s apart are paired one to one.

*Next step*: the model's expectation before each reference start of a step. A record without
expectations is read as a display of the plan: the first step in the listed order that is not
started and whose predecessors are completed, in the state tracked before that frame.

*Skipped steps* are not started at the last frame.

*Mistakes*: reference mistakes of one step that begin on the same frame are one event. A mistake
without a time (a step that was never done) cannot be hit and is left out. Predicted mistakes on one
frame with the same step are one event, too. A prediction fits an event whose span holds its frame
if both name the same step or one names none. As many pairs as possible are made, one to one, and of
those the ones with the shortest delays. Further alarms in the same span are false.

*Interactive Cooking* scores: `prospect_eval.metrics.cooking_timing` states which part is from the
paper and which is our reading.

All are undefined without the annotation that they need.
"""

from __future__ import annotations

from prospect_eval.metrics import cooking_timing, mistake_scores, occurrence_scores, plan_scores
from prospect_eval.metrics.base import Metric, ScoringResources


def procedure_metrics(resources: ScoringResources) -> list[Metric]:
    """Return the metrics of the family.

    Args:
        resources: Resources for scoring.
    """
    return [
        *occurrence_scores.METRICS,
        *plan_scores.METRICS,
        *mistake_scores.METRICS,
        *cooking_timing.cooking_timing_metrics(resources.similarity_signature, resources.settings.match),
    ]

"""OmniMMI's official scores of proactive alerting (PA), turn-taking (PT) and state grounding (SG).

Source: ``evaluations/evaluate.py`` of OmniMMI/OmniMMI at 036d2ca0015435f91d5c09707538c92f8d641fd4 (MIT).

Formulas
* PA, lists of alert times: ``pa_accuracy`` is the share of items whose first listed alert lies in [start, end].
  ``pa_precision`` is the mean over items of the share of alerts in it (0 without alerts). ``pa_iou`` is the mean of
  overlap / hull of [first listed, last listed] and [start, end]. One number for each item: ``pa_accuracy`` alone.
* PT: ``pt_accuracy`` is the share of replies that are empty or start with ``<2>``.
* SG, by the LLM judge's verdict {pred, score} of each turn: a turn is right if "yes" occurs in ``pred``, in any case.
  ``sg_accuracy`` is the share of items with all turns right, ``sg_score`` the mean over items of the mean score, cut to
  whole numbers. ``sg_step_accuracy@k`` is the share of right turns with index k; ``sg_accumulated_step_accuracy@k`` also
  wants every earlier turn of the item right.

Quirks, which the values keep
* PA: one alert has IoU 0, wherever it is; only two alerts at both ends reach 1. "First" and "last" mean list order.
* PT: silence scores 1. One blank, a line break or `` <2>`` is wrong.
* SG: a failed judge call drops its turn. Later turns move up one place, and the item can still be all right. "not yes"
  is right.
* Items without a row are not in the means.

The published scorer stops in these cases; here they count as follows, and a note says so
* PA: a number among lists is a list of one; a prediction that is neither is no alert (``failed``); a reference span
  without length has IoU 0.
* PT: a reply that is not a text is wrong (``failed``).
* SG: a verdict without "pred" or with a score that is not a number is wrong with score 0 (``failed``); an item without
  any verdict is wrong with score 0 (``failed``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import make_values_of_totals
from prospect_eval.suites.official_score import ItemScore, ItemStatus, OfficialScore, make_official_score
from prospect_eval.suites.omnimmi.annotations import AlertItem, GroundingItem, TurnTakingItem
from prospect_eval.suites.result_rows import parse_python_literal

#: alert times in the order given, or one number; None where the prediction is neither
AlertPrediction = float | tuple[float, ...] | None
#: mark of a silent reply
SILENCE_TOKEN = "<2>"
_STEP = re.compile(r"sg/turns@(\d+)$")


@dataclass(frozen=True)
class GroundingVerdict:
    """An LLM judge's verdict of one turn; ``readable`` is False where the published scorer stops on it."""

    right: bool
    score: int
    readable: bool = True


def omnimmi_array_values(totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Official values of many pooled totals; those of tasks without items are NaN. An absent total is 0."""

    def divide(part: str, whole: str) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.divide(totals.get(part, 0.0), np.asarray(totals.get(whole, 0.0), dtype=float)))

    values = {
        "pa_accuracy": divide("pa/first inside", "pa/items"),
        "pa_precision": divide("pa/precision", "pa/list items"),
        "pa_iou": divide("pa/iou", "pa/list items"),
        "pt_accuracy": divide("pt/silent", "pt/items"),
        "sg_accuracy": divide("sg/all right", "sg/items"),
        "sg_score": divide("sg/score", "sg/items"),
    }
    steps = _list_steps(totals)
    values |= {f"sg_step_accuracy@{step}": divide(f"sg/right@{step}", f"sg/turns@{step}") for step in steps}
    for step in steps:
        values[f"sg_accumulated_step_accuracy@{step}"] = divide(f"sg/right so far@{step}", f"sg/turns@{step}")
    return values


def _list_steps(totals: Mapping[str, Any]) -> list[int]:
    return sorted(int(found[1]) for name in totals if (found := _STEP.match(name)))


omnimmi_values = make_values_of_totals(omnimmi_array_values)


def score_omnimmi_alerts(items: Sequence[AlertItem], predictions: Mapping[str, AlertPrediction]) -> OfficialScore:
    """The official PA scores.

    Args:
        items: The annotated items.
        predictions: By the id of the item; an item without one is ``missing`` and in no mean.
    """
    given = list(predictions.values())
    as_lists = any(isinstance(prediction, tuple) for prediction in given)
    scores = [_score_alerts(item, predictions, as_lists) for item in items]
    notes: list[str] = []
    numbers = sum(isinstance(prediction, float) for prediction in given)
    if as_lists and numbers:
        notes.append(f"PA: numbers among lists, on which the published scorer stops, count as one alert: {numbers}")
    if broken := given.count(None):
        notes.append(f"PA: predictions that are no alert times count as silence: {broken}")
    points = [item.id for item in items if item.start >= item.end and item.id in predictions]
    if points:
        notes.append(f"PA: spans without length, on which the published scorer can stop, have IoU 0: {len(points)}")
    return make_official_score(scores, omnimmi_values, notes + _describe_missing("PA", scores))


def _score_alerts(item: AlertItem, predictions: Mapping[str, AlertPrediction], as_lists: bool) -> ItemScore:
    status: ItemStatus = "scored"
    totals: dict[str, float] = {}
    if item.id not in predictions:
        status = "missing"
    else:
        given = predictions[item.id]
        alerts = given if isinstance(given, tuple) else (() if given is None else (given,))
        status = "failed" if given is None else "scored"
        inside = [item.start <= alert <= item.end for alert in alerts]
        totals = {
            "pa/items": 1,
            # precision and IoU are only defined where predictions are lists
            "pa/list items": float(as_lists),
            "pa/first inside": float(bool(inside) and inside[0]),
            "pa/precision": sum(inside) / len(inside) if inside and as_lists else 0.0,
            "pa/iou": _overlap_share(alerts, item) if alerts and as_lists else 0.0,
        }
    return ItemScore(id=item.id, video=item.source_video, task="pa", totals=totals, status=status)


def _overlap_share(alerts: Sequence[float], item: AlertItem) -> float:
    """Overlap over hull of [first listed, last listed] and the reference span; 0 for a hull without length."""
    first, last = alerts[0], alerts[-1]
    overlap = max(0.0, min(last, item.end) - max(first, item.start))
    hull = max(last, item.end) - min(first, item.start)
    return overlap / hull if hull else 0.0


def score_omnimmi_turn_taking(items: Sequence[TurnTakingItem], replies: Mapping[str, str | None]) -> OfficialScore:
    """The official PT score.

    Args:
        items: The annotated items.
        replies: By the id of the item; None where the prediction is not a text.
    """
    scores = []
    for item in items:
        if item.id not in replies:
            scores.append(ItemScore(id=item.id, video=item.video, task="pt", totals={}, status="missing"))
            continue
        reply = replies[item.id]
        totals = {"pt/items": 1.0, "pt/silent": float(reply is not None and is_omnimmi_silence(reply))}
        status: ItemStatus = "failed" if reply is None else "scored"
        scores.append(ItemScore(id=item.id, video=item.video, task="pt", totals=totals, status=status))
    notes: list[str] = []
    if broken := list(replies.values()).count(None):
        notes.append(f"PT: replies that are no texts, on which the published scorer stops, count as wrong: {broken}")
    blank = sum(bool(reply) and _is_silence_but_for_blanks(reply) for reply in replies.values())
    if blank:
        notes.append(f"PT: replies of silence and white space count as wrong: {blank}")
    return make_official_score(scores, omnimmi_values, notes + _describe_missing("PT", scores))


def is_omnimmi_silence(reply: str) -> bool:
    """Whether the published scorer takes a reply for silence."""
    return reply == "" or reply.startswith(SILENCE_TOKEN)


def _is_silence_but_for_blanks(reply: str | None) -> bool:
    return reply is not None and not is_omnimmi_silence(reply) and is_omnimmi_silence(reply.strip())


def score_omnimmi_grounding(items: Sequence[GroundingItem], replies: Mapping[str, Sequence[Any]]) -> OfficialScore:
    """The official SG scores by an LLM judge's replies.

    Args:
        items: The annotated items.
        replies: By the id of the item, one entry for each turn: the LLM judge's text, or the dictionary that it holds.
    """
    scores = []
    dropped = unreadable = 0
    for item in items:
        if item.id not in replies:
            scores.append(ItemScore(id=item.id, video=item.video, task="sg", totals={}, status="missing"))
            continue
        read = [read_omnimmi_verdict(reply) for reply in replies[item.id]]
        verdicts = [verdict for verdict in read if verdict is not None]
        short = max(len(item.turns), len(read)) - len(verdicts)
        broken = sum(not verdict.readable for verdict in verdicts)
        dropped, unreadable = dropped + short, unreadable + broken
        status: ItemStatus = "failed" if short or broken else "scored"
        totals = _grounding_totals(verdicts)
        scores.append(ItemScore(id=item.id, video=item.video, task="sg", totals=totals, status=status))
    notes: list[str] = []
    if dropped:
        notes.append(
            f"SG: turns without a verdict are left out, and later turns move up;"
            f" an item without any is wrong: {dropped}"
        )
    if unreadable:
        notes.append(f"SG: unreadable verdicts, on which the published scorer stops, count as wrong: {unreadable}")
    return make_official_score(scores, omnimmi_values, notes + _describe_missing("SG", scores))


def _grounding_totals(verdicts: Sequence[GroundingVerdict]) -> dict[str, float]:
    totals: dict[str, float] = {
        "sg/items": 1,
        "sg/all right": float(bool(verdicts) and all(verdict.right for verdict in verdicts)),
        "sg/score": sum(verdict.score for verdict in verdicts) / len(verdicts) if verdicts else 0.0,
    }
    right_so_far = True
    for step, verdict in enumerate(verdicts):
        right_so_far = right_so_far and verdict.right
        totals[f"sg/turns@{step}"] = 1
        totals[f"sg/right@{step}"] = float(verdict.right)
        totals[f"sg/right so far@{step}"] = float(right_so_far)
    return totals


def read_omnimmi_verdict(reply: Any) -> GroundingVerdict | None:
    """An LLM judge's verdict as the published scorer reads it; None where it takes the call for failed.

    Args:
        reply: The LLM judge's text, a Python dictionary with ``pred`` and ``score``, or that dictionary itself.
    """
    value = reply
    if isinstance(reply, str):
        try:
            value = parse_python_literal(reply, "verdict")
        except DataError:
            return None
    if value is None:
        return None
    word = value.get("pred") if isinstance(value, dict) else None
    try:
        score = int(value["score"])
        float(score)
    except (KeyError, TypeError, ValueError, OverflowError):
        return GroundingVerdict(right=False, score=0, readable=False)
    if not isinstance(word, str):
        return GroundingVerdict(right=False, score=0, readable=False)
    return GroundingVerdict(right="yes" in word.lower(), score=score)


def _describe_missing(task: str, scores: Sequence[ItemScore]) -> list[str]:
    missing = sum(score.status == "missing" for score in scores)
    if not missing:
        return []
    return [
        f"{task}: {missing} of {len(scores)} items have no prediction and are in no mean, as in the published scorer"
    ]

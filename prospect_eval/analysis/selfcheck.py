"""Self-check of the metrics on a dataset: reaction of each metric to perturbed oracle records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from prospect_core.records import EpisodeRecord
from prospect_core.timeline import Episode
from prospect_eval.metrics import Scored, ScoringResources, all_metrics
from prospect_eval.metrics.perturbations import PERTURBATIONS, TABLE
from prospect_eval.models.baselines.trivial import make_trivial_baseline
from prospect_eval.scoring.sufficient_statistics import compute_sufficient_statistics

#: grades of a perturbation: none, small, larger
GRADES = (0, 1, 2)
#: perturbations of words, whose higher grade changes different words but not more
UNGRADED = ("shuffle_text", "swap_slots")
TOLERANCE = 1e-9
Reaction = Literal["falls", "rises", "stays"]


@dataclass(frozen=True)
class SelfCheck:
    """Reaction of one metric to one perturbation.

    Attributes:
        perturbation: Name in `PERTURBATIONS`.
        metric: Name of the metric.
        expected: Expected change of the value with the grade.
        values: Values at `GRADES`; None where undefined on this data.
        status: ``ok``, ``violated``, or ``not applicable`` if a value is undefined or the
            perturbation changes no record.
    """

    perturbation: str
    metric: str
    expected: Reaction
    values: tuple[float | None, ...]
    status: Literal["ok", "violated", "not applicable"]


def selfcheck_metrics(
    episodes: Sequence[Episode],
    resources: ScoringResources,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[SelfCheck]:
    """Compare the reaction of every metric in `TABLE` with the expected one.

    Events that are closer together than a perturbation moves them can violate an expectation. The
    cause is then the data, not the metric.

    Args:
        episodes: The episodes. The oracle repeats their reference.
        resources: Resources for scoring.
        progress: Called with (perturbations done, perturbations).

    Returns:
        One check for each metric and perturbation.
    """
    oracle = [make_trivial_baseline("oracle", [])(episode) for episode in episodes]
    checks = []
    for done, name in enumerate(TABLE, 1):
        checks += _check(name, oracle, resources)
        progress(done, len(TABLE))
    return checks


def _check(name: str, oracle: Sequence[EpisodeRecord], resources: ScoringResources) -> list[SelfCheck]:
    expected = TABLE[name]
    reactions: dict[str, Reaction] = {metric: "falls" for metric in expected.falls}
    reactions |= {metric: "rises" for metric in expected.rises}
    reactions |= {metric: "stays" for metric in expected.stays}
    metrics = [metric for metric in all_metrics(resources) if metric.name in reactions]
    tables = []
    changed = False
    for grade in GRADES:
        perturbed = [PERTURBATIONS[name](record, grade) for record in oracle]
        changed |= perturbed != list(oracle)
        tables.append(compute_sufficient_statistics(metrics, Scored.over(perturbed, resources))[0])
    checks = []
    for metric, reaction in reactions.items():
        values = tuple(table[metric]["value"] for table in tables)
        checks.append(SelfCheck(name, metric, reaction, values, _status(name, reaction, values, changed)))
    return checks


def _status(
    name: str, reaction: Reaction, values: tuple[float | None, ...], changed: bool
) -> Literal["ok", "violated", "not applicable"]:
    none, little, more = values
    if none is None or little is None or more is None or not changed:
        return "not applicable"
    if reaction == "stays":
        holds = abs(none - little) <= TOLERANCE and abs(none - more) <= TOLERANCE
    else:
        sign = 1 if reaction == "falls" else -1
        graded = name in UNGRADED or sign * (little - more) >= -TOLERANCE
        holds = sign * (none - little) > 0 and graded
    return "ok" if holds else "violated"

"""Regression gate: non-inferiority against a baseline, and exact equality if the rules require it.

    prospect-eval gate runs/now --baseline reports/baselines/workbench.json

The baseline file holds sufficient statistics by episode. For each metric the gate computes the
paired difference over the videos and its 95 % interval, oriented so that higher is better:

- FAIL: the whole interval is below -margin.
- PASS: the lower end of the interval is at or above -margin.
- INCONCLUSIVE: anything else. There are too few videos to decide. The line reports how many would
  be enough. The gate fails only if the rules are strict.

Each line reports the detectable loss: margin + detectable difference, with a power of 0.8. Failed
and missing episodes count as the worst value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from prospect_core.util.console import format_count
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import read_typed_json
from prospect_eval.analysis.pairing import Pairing, ScoredRun, pairing_differing_keys
from prospect_eval.metrics import Metric
from prospect_eval.runs.schemas import BaselineFile, read_run_schema
from prospect_eval.stats.bootstrap import (
    Statistic,
    bootstrap_difference,
    bootstrap_jackknife_pseudo_values,
    paired_bootstrap_interval,
)
from prospect_eval.stats.power import power_detectable_by_interval
from prospect_eval.suites.gate_rules import EXACT, MIN_VIDEOS, Rules, check_gate_rules, make_gate_rules
from prospect_eval.suites.suite import open_suite

SCHEMA = 2
Verdict = Literal["PASS", "INCONCLUSIVE", "FAIL"]
#: configuration keys that must be equal in a run and its baseline
SAME = ("split", "knobs.strategy", "knobs.budget", "knobs.cache_dtype", "knobs.dtype", "knobs.protocol")
#: values for runs and baselines that were written before these settings existed
DEFAULTS: dict[str, object] = {"knobs.dtype": "float32", "knobs.protocol": None}


#: file of a run folder that holds the gate's verdict
VERDICT = "gate.json"


@dataclass(frozen=True)
class GateCheck:
    """One line of a gate.

    Attributes:
        name: Name of the metric or of the compared value.
        verdict: Verdict of this line.
        baseline: Value of the baseline.
        now: Value of the run.
        difference: Run minus baseline, oriented so that higher is better. None for a value that is
            compared exactly.
        ci95: 95 % interval of the difference.
        margin: Largest accepted loss.
        detectable: Loss beyond the margin that fails with a power of 0.8.
        videos: Number of compared videos.
        reason: Explanation of the verdict for a reader.
    """

    name: str
    verdict: Verdict
    baseline: Any
    now: Any
    difference: float | None = None
    ci95: tuple[float, float] | None = None
    margin: float | None = None
    detectable: float | None = None
    videos: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class Gate:
    """All checks of a gate and the overall verdict.

    Attributes:
        verdict: The worst verdict of the checks.
        strict: Whether an inconclusive verdict fails.
        checks: The lines of the gate.
        notes: Facts about the comparison for a reader.
    """

    verdict: Verdict
    strict: bool
    checks: tuple[GateCheck, ...]
    notes: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        """Whether the exit code is 0."""
        return self.verdict == "PASS" or (self.verdict == "INCONCLUSIVE" and not self.strict)


def make_gate_baseline(folder: Path, rules: Rules, metrics: Sequence[Metric], where: str) -> dict[str, Any]:
    """Make the contents of a baseline file from a run.

    Args:
        folder: Folder of a finished and scored run.
        rules: The rules whose metrics are stored.
        metrics: All metrics.
        where: Name of the rules' source for messages.

    Returns:
        Sufficient statistics by episode for the metrics of the rules, and the provenance of the
        run.

    Raises:
        DataError: The run is not finished, not scored, or has no counts of a metric.
        UserError: The rules name an unknown metric.
    """
    run = _scored(folder)
    check_gate_rules(rules, (metric.name for metric in metrics), where)
    missing = [name for name in rules.metrics if name not in run.counts]
    if missing:
        raise DataError(f"{folder}: has no counts of {', '.join(missing)}; run `prospect-eval score {folder}`")
    told = read_run_schema(folder)
    resumed = {"resumed": told["resumed"]} if told.get("resumed") else {}
    return {
        "schema": SCHEMA,
        "provenance": {"run": folder.name, "config": run.config, "environment": told["environment"], **resumed},
        "rules": rules.plain(),
        "episodes": run.table["episodes"],
        "exact": {name: _exact(run.table, name) for name in rules.exact},
        "metrics": {name: run.table["metrics"][name] for name in rules.metrics},
        "clusters": run.clusters,
        "counts": {name: run.counts[name] for name in rules.metrics},
    }


def read_gate_baseline(file: Path) -> dict[str, Any]:
    """Read a baseline file.

    Raises:
        DataError: The file does not exist, is damaged, or has another schema.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such baseline; `prospect-eval gate RUN --baseline {file} --update` writes it")
    try:
        return dict(read_typed_json(file, BaselineFile))
    except DataError as error:
        raise DataError(f"{error}; not a gate baseline (schema {SCHEMA}), `gate --update` writes one") from error


def check_gate(
    folder: Path,
    baseline: dict[str, Any],
    metrics: Sequence[Metric],
    rules: Rules | None = None,
    intersect: bool = False,
) -> Gate:
    """Check a scored run against a baseline.

    Args:
        folder: Folder of the scored run.
        baseline: Contents of a baseline file.
        metrics: All metrics.
        rules: Margins. None takes the rules in the baseline.
        intersect: Compare the common episodes if the two sets of episodes differ.

    Returns:
        The checks and the verdict.

    Raises:
        UserError: The strategy, budget or split differs from the baseline's, or the episodes differ
            and ``intersect`` is off.
        DataError: The data or a metric signature differs, or the run is not finished or not scored.
    """
    rules = make_gate_rules(baseline["rules"], "the baseline's rules") if rules is None else rules
    by_name = {metric.name: metric for metric in metrics}
    check_gate_rules(rules, by_name, "rules")
    run, then = _scored(folder), _of_baseline(baseline)
    _require_same(run, then, baseline, rules)
    pairing = _paired(run, then, intersect)
    failed = [then.table["episodes"]["failed"], run.table["episodes"]["failed"]]
    checks = [GateCheck("failed episodes", "PASS" if failed[1] <= failed[0] else "FAIL", failed[0], failed[1])]
    for name in rules.exact:
        before, now = baseline["exact"][name], _exact(run.table, name)
        checks.append(GateCheck(name, "PASS" if before == now else "FAIL", before, now, reason="compared exactly"))
    for name, rule in rules.metrics.items():
        metric = by_name[name]
        turned = _better(metric, rule.direction or metric.better)
        values = (then.table["metrics"][name]["value"], run.table["metrics"][name]["value"])
        checks.append(_non_inferior(name, rule.margin, turned, values, pairing.counts(metric)))
    verdicts = {check.verdict for check in checks}
    worst: Verdict = next((v for v in ("FAIL", "INCONCLUSIVE") if v in verdicts), "PASS")
    return Gate(worst, rules.strict, tuple(checks), _notes(run, then, pairing))


def _of_baseline(baseline: dict[str, Any]) -> ScoredRun:
    table = {"metrics": baseline["metrics"], "episodes": baseline["episodes"]}
    return ScoredRun("the baseline", baseline["provenance"]["config"], table, baseline["clusters"], baseline["counts"])


def _paired(run: ScoredRun, then: ScoredRun, intersect: bool) -> Pairing:
    """Pair the baseline with the run over the common episodes."""
    shared = run.episodes & then.episodes
    left_out = run.episodes ^ then.episodes
    if left_out and not intersect:
        raise UserError(
            f"{run.name}: has {len(shared)} of the baseline's {len(then.episodes)} episodes and"
            f" {len(run.episodes - shared)} others; --intersect compares the common episodes only"
        )
    return Pairing(then, run, tuple(sorted(shared)), tuple(sorted(left_out)))


def _notes(run: ScoredRun, then: ScoredRun, pairing: Pairing) -> tuple[str, ...]:
    """Return notes for the reader: thresholds that differ, and the number of episodes left out."""
    knobs = [side.config["knobs"] for side in (then, run)]
    out = [
        f"{name.replace('_', ' ')} is {knobs[1].get(name)}, in the baseline {knobs[0].get(name)}"
        for name in ("speaking_threshold", "update_threshold", "mistake_threshold")
        if knobs[0].get(name) != knobs[1].get(name)
    ]
    if pairing.left_out:
        out.append(
            f"{format_count(len(pairing.left_out), 'episode')} left out, because only the run or only the baseline has them"
        )
    return tuple(out)


def _non_inferior(
    name: str,
    margin: float,
    turned: Statistic,
    values: tuple[float | None, float | None],
    sides: tuple[np.ndarray, np.ndarray],
) -> GateCheck:
    then, now = values
    if then is None and now is None:
        return GateCheck(name, "PASS", then, now, margin=margin, reason="undefined in both")
    if then is None:
        return GateCheck(name, "INCONCLUSIVE", then, now, margin=margin, reason="undefined in the baseline")
    if now is None:
        return GateCheck(name, "FAIL", then, now, margin=margin, reason="defined in the baseline, undefined now")
    first, second = sides
    videos = len(first)
    if videos < MIN_VIDEOS:
        reason = f"{format_count(videos, 'video')} in common; at least {MIN_VIDEOS} are needed"
        return GateCheck(name, "INCONCLUSIVE", then, now, margin=margin, videos=videos, reason=reason)
    ci = paired_bootstrap_interval(first, second, turned)
    difference = float(turned.value(second.sum(0)) - turned.value(first.sum(0)))
    known = (then, now, difference, ci, margin, power_detectable_by_interval(first, second, turned), videos)
    if ci is None and np.array_equal(first, second):
        return GateCheck(name, "PASS", *known, reason="equal on every video")
    if ci is None and _constant(first, second, turned):
        reason = "same difference on every video"
        return GateCheck(name, "PASS" if difference >= -margin else "FAIL", *known, reason=reason)
    if ci is None:
        return GateCheck(name, "INCONCLUSIVE", *known, reason="undefined in too many resamples")
    if ci[1] < -margin:
        return GateCheck(name, "FAIL", *known)
    if ci[0] < -margin:
        return GateCheck(name, "INCONCLUSIVE", *known, reason=_too_few(videos, difference, ci, margin))
    return GateCheck(name, "PASS", *known)


def _constant(first: np.ndarray, second: np.ndarray, turned: Statistic) -> bool:
    """Return whether every video contributes the same difference, so that resamples do not vary."""
    pseudo = bootstrap_jackknife_pseudo_values(
        np.hstack([first, second]), bootstrap_difference(turned.value, first.shape[1])
    )
    return bool(np.isfinite(pseudo).all() and np.ptp(pseudo) <= 1e-9 * max(1.0, float(np.abs(pseudo).max())))


def _too_few(videos: int, difference: float, ci: tuple[float, float], margin: float) -> str:
    """Return a message with the number of videos that would decide.

    It assumes that the difference stays the same and that the interval shrinks with the square root
    of the number of videos.
    """
    room = difference + margin
    reach = difference - ci[0] if room > 0 else ci[1] - difference
    if abs(room) * 100 < reach:
        return "too few videos to decide, because the difference is close to the margin"
    needed = int(np.ceil(videos * (reach / abs(room)) ** 2))
    return f"too few videos to decide: {videos}, about {needed:,} are needed"


def _better(metric: Metric, direction: str) -> Statistic:
    """Return the metric's value as a statistic, oriented so that higher is better."""
    if not direction:
        raise UserError(
            f"rules: {metric.name} does not define which values are better; give it a `direction`: higher, lower or zero"
        )
    if direction == "zero":
        return Statistic(lambda counts: -np.abs(metric.value(counts)))
    sign = 1.0 if direction == "higher" else -1.0
    slopes = metric.gradient
    gradient = None if slopes is None else (lambda counts: sign * slopes(counts))
    return Statistic(lambda counts: sign * metric.value(counts), gradient=gradient)


def _scored(folder: Path) -> ScoredRun:
    """Open a finished and scored run."""
    if not (folder / "DONE.json").is_file():
        unfinished = (folder / "run.json").is_file()
        what = "not finished; repeat its `prospect-eval run` command to continue" if unfinished else "not a run folder"
        raise DataError(f"{folder}: {what}")
    run = ScoredRun.open(folder)
    if not run.table["episodes"]["scored"]:
        raise DataError(f"{folder}: no episode was scored")
    return run


def _require_same(run: ScoredRun, then: ScoredRun, baseline: dict[str, Any], rules: Rules) -> None:
    here, there = run.config["data_digest"], then.config["data_digest"]
    if here != there:
        raise DataError(
            f"{run.name}: data differs from the baseline's (digests {here[:12]} and {there[:12]}); gate a run over the"
            " same data, or write a new baseline with --update"
        )
    for key in SAME:
        now, before = _at(run.config, key), _at(then.config, key)
        if now != before:
            raise UserError(f"{run.name}: {key} is {now}, in the baseline {before}; they must be equal")
    lacking = [n for n in rules.metrics if n not in baseline["counts"]]
    lacking += [n for n in rules.exact if n not in baseline["exact"]]
    if lacking:
        raise DataError(f"the baseline lacks {', '.join(lacking)}; write a new one with --update")
    for name in rules.metrics:
        if name not in run.table["metrics"]:
            raise DataError(f"{run.name}: was scored without {name}; run `prospect-eval score {run.name}`")
        signatures = (side.table["metrics"][name]["signature"] for side in (then, run))
        if wrong := pairing_differing_keys(*signatures):
            raise DataError(
                f"{name} was measured differently in the baseline ({'; '.join(wrong)}); rescore the run, or write a new"
                " baseline with --update"
            )


def _exact(table: Mapping[str, Any], name: str) -> Any:
    return table[name] if name in EXACT else table["metrics"][name]["value"]


def _at(config: Mapping[str, Any], key: str) -> Any:
    *folders, last = key.split(".")
    for part in folders:
        config = config[part]
    value = config.get(last, DEFAULTS[key]) if key in DEFAULTS else config[last]
    # a setting that is None is absent in files that were written before it existed
    return {name: item for name, item in value.items() if item is not None} if isinstance(value, dict) else value


def gate_to_dict(gate: Gate) -> dict[str, Any]:
    """Return the gate as plain values for JSON."""
    return {"schema": SCHEMA, "passes": gate.passes, **asdict(gate)}


def load_run_gate_rules(run: Path) -> Rules:
    """Return the gate rules of a run's suite.

    Args:
        run: The run folder.

    Raises:
        UserError: The run has no suite, or its suite has no rules.
    """
    name = read_run_schema(run)["config"].get("suite") if (run / "run.json").is_file() else ""
    rules = open_suite(name).rules() if name else None
    if rules is None:
        raise UserError(f"{run}: its suite has no gate rules; give --rules FILE")
    return rules

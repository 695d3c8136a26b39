"""May a run pass? Non-inferiority against a baseline that holds counts by video, and what must be exactly as it was.

    prospect-eval gate runs/now --baseline reports/baselines/workbench.json

Of each metric the paired difference over the videos is taken, such that more is better, with its 95 % interval. FAIL: the
interval lies below -margin. PASS: its lower end is at or above -margin. Else INCONCLUSIVE: too few videos to tell, which
fails only where the rules are strict. Each line says which loss would have been found: margin + detectable difference, with
a power of 0.8. What is deterministic is compared exactly and apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from prospect_core.errors import DataError, UserError
from prospect_core.jsonio import read_shaped
from prospect_eval.compare import MIN_VIDEOS, differing_keys
from prospect_eval.derived import BaselineFile, read_counts, read_metrics, read_run
from prospect_eval.metrics import Metric
from prospect_eval.rules import EXACT, Rules, check_rules, make_rules
from prospect_eval.stats.bootstrap import paired_ci
from prospect_eval.stats.power import detectable_difference

SCHEMA = 1
Verdict = Literal["PASS", "INCONCLUSIVE", "FAIL"]
#: what a run must share with its baseline to be compared with it at all
SAME = ("split", "knobs.strategy", "knobs.budget", "knobs.cache_dtype", "knobs.dtype")
#: of runs and baselines that were written before there was a choice
DEFAULTS = {"knobs.dtype": "float32"}


#: where a run folder keeps the verdict on it
VERDICT = "gate.json"


@dataclass(frozen=True)
class Check:
    """One line of a gate. ``difference``, ``ci95``, ``margin`` and ``detectable`` count what is better as more, and are
    None for what is compared exactly; ``detectable`` is the loss beyond the margin that fails with a power of 0.8."""

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
    """All checks, and what follows from them."""

    verdict: Verdict
    strict: bool
    checks: tuple[Check, ...]

    @property
    def passes(self) -> bool:
        """Whether the exit code is 0."""
        return self.verdict == "PASS" or (self.verdict == "INCONCLUSIVE" and not self.strict)


def make_baseline(run: Path, rules: Rules, metrics: Sequence[Metric], where: str) -> dict[str, Any]:
    """The contents of a baseline file: counts by video of the metrics that the rules name, and where they come from."""
    config, table, counts = _scored(run)
    check_rules(rules, (metric.name for metric in metrics), where)
    missing = [name for name in rules.metrics if name not in counts]
    if missing:
        raise DataError(f"{run}: has no counts of {', '.join(missing)}; `prospect-eval score {run}` takes them anew")
    return {
        "schema": SCHEMA,
        "provenance": {"run": run.name, "config": config["config"], "environment": config["environment"]},
        "rules": rules.plain(),
        "episodes": table["episodes"],
        "exact": {name: _exact(table, name) for name in rules.exact},
        "metrics": {name: table["metrics"][name] for name in rules.metrics},
        "counts": {name: counts[name] for name in rules.metrics},
    }


def read_baseline(file: Path) -> dict[str, Any]:
    """A baseline file; one that is missing, broken or of another make is a `DataError`."""
    if not file.is_file():
        raise DataError(f"{file}: no such baseline; `prospect-eval gate RUN --baseline {file} --update` writes it")
    try:
        return dict(read_shaped(file, BaselineFile))
    except DataError as error:
        raise DataError(f"{error}; not a baseline of a gate (schema {SCHEMA}), `gate --update` writes one") from error


def judge(run: Path, baseline: dict[str, Any], metrics: Sequence[Metric], rules: Rules | None = None) -> Gate:
    """Hold a scored run against a baseline, by its own rules or by others; runs that cannot be compared are refused."""
    rules = make_rules(baseline["rules"], "the baseline's rules") if rules is None else rules
    by_name = {metric.name: metric for metric in metrics}
    check_rules(rules, by_name, "rules")
    config, table, counts = _scored(run)
    _require_same(run, config["config"], table, baseline, rules)
    failed = [table["episodes"]["failed"], baseline["episodes"]["failed"]]
    checks = [Check("failed episodes", "PASS" if failed[0] <= failed[1] else "FAIL", failed[1], failed[0])]
    for name in rules.exact:
        then, now = baseline["exact"][name], _exact(table, name)
        checks.append(Check(name, "PASS" if then == now else "FAIL", then, now, reason="compared exactly"))
    for name, rule in rules.metrics.items():
        metric = by_name[name]
        value = _better(metric, rule.direction or metric.better)
        then, now = baseline["metrics"][name]["value"], table["metrics"][name]["value"]
        sides = (baseline["counts"][name], counts.get(name, {}))
        checks.append(_non_inferior(name, rule.margin, value, then, now, *sides))
    verdicts = {check.verdict for check in checks}
    worst: Verdict = next((v for v in ("FAIL", "INCONCLUSIVE") if v in verdicts), "PASS")
    return Gate(worst, rules.strict, tuple(checks))


def _non_inferior(
    name: str,
    margin: float,
    value: Callable[[np.ndarray], np.ndarray],
    then: float | None,
    now: float | None,
    before: dict[str, list[float]],
    after: dict[str, list[float]],
) -> Check:
    if then is None and now is None:
        return Check(name, "PASS", then, now, margin=margin, reason="undefined on both sides: nothing to lose")
    if then is None:
        return Check(name, "INCONCLUSIVE", then, now, margin=margin, reason="undefined in the baseline")
    if now is None:
        return Check(name, "FAIL", then, now, margin=margin, reason="defined in the baseline, undefined now")
    shared = [video for video in before if video in after]
    if len(shared) < MIN_VIDEOS:
        reason = f"{len(shared)} videos in common, at least {MIN_VIDEOS} are needed"
        return Check(name, "INCONCLUSIVE", then, now, margin=margin, videos=len(shared), reason=reason)
    a, b = (np.array([side[video] for video in shared], dtype=float) for side in (before, after))
    ci = paired_ci(a, b, value)
    difference = float(value(b.sum(0)) - value(a.sum(0)))
    known = (then, now, difference, ci, margin, detectable_difference(a, b, value), len(shared))
    if ci is None:
        return Check(name, "INCONCLUSIVE", *known, reason="undefined in too many resamples")
    if ci[1] < -margin:
        return Check(name, "FAIL", *known)
    if ci[0] < -margin:
        return Check(name, "INCONCLUSIVE", *known, reason="too few videos to tell")
    if len(shared) < len(before):
        return Check(name, "INCONCLUSIVE", *known, reason=f"{len(shared)} of the baseline's {len(before)} videos")
    return Check(name, "PASS", *known)


def _better(metric: Metric, direction: str) -> Callable[[np.ndarray], np.ndarray]:
    """The metric's value, turned such that more is better."""
    if not direction:
        raise UserError(f"rules: {metric.name} has no better side; give it a `direction`: higher, lower or zero")
    turned = {"higher": lambda v: v, "lower": lambda v: -v, "zero": lambda v: -np.abs(v)}[direction]
    return lambda counts: turned(metric.value(counts))


def _scored(run: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """run.json, metrics.json and the counts of a run that is whole."""
    if not (run / "DONE.json").is_file():
        what = "not finished; start the run again to go on" if (run / "run.json").is_file() else "not a run folder"
        raise DataError(f"{run}: {what}")
    table = read_metrics(run)
    if not table["episodes"]["scored"]:
        raise DataError(f"{run}: no episode was scored")
    return read_run(run), table, read_counts(run)


def _require_same(
    run: Path, config: dict[str, Any], table: dict[str, Any], baseline: dict[str, Any], rules: Rules
) -> None:
    there = baseline["provenance"]["config"]
    if config["data_digest"] != there["data_digest"]:
        raise DataError(
            f"{run}: other data than the baseline's (digest {config['data_digest'][:12]}, there"
            f" {there['data_digest'][:12]}); gate a run over the same data, or write a new baseline with --update"
        )
    for key in SAME:
        here, then = _at(config, key), _at(there, key)
        if here != then:
            raise UserError(f"{run}: {key} is {here}, the baseline's {then}; they must be equal")
    lacking = [n for n in rules.metrics if n not in baseline["counts"]]
    lacking += [n for n in rules.exact if n not in baseline["exact"]]
    if lacking:
        raise DataError(f"the baseline holds nothing of {', '.join(lacking)}; write it anew with --update")
    for name in rules.metrics:
        if name not in table["metrics"]:
            raise DataError(f"{run}: was scored without {name}; `prospect-eval score {run}` takes it")
        wrong = differing_keys(baseline["metrics"][name]["signature"], table["metrics"][name]["signature"])
        if wrong:
            raise DataError(
                f"{name} was measured differently in the baseline ({'; '.join(wrong)}); --update writes anew"
            )


def _exact(table: dict[str, Any], name: str) -> Any:
    return table[name] if name in EXACT else table["metrics"][name]["value"]


def _at(config: dict[str, Any], key: str) -> Any:
    *folders, last = key.split(".")
    for part in folders:
        config = config[part]
    return config.get(last, DEFAULTS[key]) if key in DEFAULTS else config[last]


def plain(gate: Gate) -> dict[str, Any]:
    """The verdict as JSON."""
    return {"schema": SCHEMA, "passes": gate.passes, **asdict(gate)}

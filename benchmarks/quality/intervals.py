"""Simulate how well intervals, tests and detectable differences keep their nominal rates, and time them.

    make bench-statistics

* coverage: share of 95 % intervals that contain the true value, at 10, 20, 30 and 60 clusters.
* fwer: share of comparisons in which `compare` reports a difference in any of ten headline metrics
  when there is none.
* power_at_detectable: share of true differences of the detectable size that are significant after
  Holm's correction.
* compare_20_videos_s, rescore_100_hours_s: seconds.

The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from prospect_eval.metrics.base import f1, ratio
from prospect_eval.metrics.histogram import (
    histogram_average_precision,
    histogram_average_precision_gradient,
    histogram_quantile,
    histogram_quantile_interval,
    probability_histogram,
    seconds_histogram,
)
from prospect_eval.stats.bootstrap import Statistic, bootstrap_interval, paired_bootstrap_interval
from prospect_eval.stats.permutation import holm_correction, sign_flip_p_value
from prospect_eval.stats.power import power_detectable_difference

CLUSTERS = (10, 20, 30, 60)
TESTS = 10
SHARE = (0.0, 1.0)
Draw = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class Kind:
    """A kind of interval with known true value.

    Attributes:
        draw: Draws the counts of n clusters.
        statistic: Statistic of the counts.
        truth: True value of the statistic.
        paired: Whether the counts hold both sides of a comparison, one after the other.
        conservative: Whether the bounds are exact or the value lies on a grid; coverage may then
            exceed 0.98.
    """

    draw: Draw
    statistic: Statistic
    truth: float
    paired: bool = False
    conservative: bool = False

    def interval(self, counts: np.ndarray) -> tuple[float, float] | None:
        """Return the interval for one draw of counts."""
        if not self.paired:
            return bootstrap_interval(counts, self.statistic)
        size = counts.shape[1] // 2
        return paired_bootstrap_interval(counts[:, :size], counts[:, size:], self.statistic)


def events(hard: tuple[float, float], extra: tuple[float, float]) -> Draw:
    """Return a draw of (pairs, predicted, reference) counts of videos that differ in length and difficulty.

    Args:
        hard: Parameters of the beta distribution of recall.
        extra: Shape and scale of the gamma distribution of extra predictions per reference.
    """

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        due = rng.poisson(rng.gamma(2, 7, n)) + 1
        hits = rng.binomial(due, rng.beta(*hard, n))
        return np.stack([hits, hits + rng.poisson(due * rng.gamma(*extra, n)), due], -1).astype(float)

    return draw


def shares(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw a skewed share per video."""
    return np.stack([rng.beta(0.5, 2.0, n), np.ones(n)], -1)


def alarms(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw overdispersed events and the minutes in which they occur."""
    minutes = rng.gamma(3, 1, n) + 0.5
    return np.stack([rng.poisson(minutes * rng.gamma(0.7, 1, n)), minutes], -1).astype(float)


def answers(share: float) -> Draw:
    """Return a draw of right answers to three questions per video."""
    return lambda rng, n: np.stack([rng.binomial(3, share, n), np.full(n, 3)], -1).astype(float)


def answers_of_two(first: float, second: float) -> Draw:
    """Return a draw of two models' right answers to the same questions; half are equally hard for both."""

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        hard = rng.random((n, 3))
        own = np.where(rng.random((n, 3)) < 0.5, hard, rng.random((n, 3)))
        return np.stack([(hard < first).sum(1), np.full(n, 3), (own < second).sum(1), np.full(n, 3)], -1).astype(float)

    return draw


def events_of_two(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw the counts of two models with equal ability on the same videos."""
    due = rng.poisson(rng.gamma(2, 7, n)) + 1
    ability = rng.beta(3, 2, n)
    sides = []
    for _ in range(2):
        hits = rng.binomial(due, np.clip(ability + rng.normal(0, 0.1, n), 0.02, 0.98))
        sides += [hits, hits + rng.poisson(due * rng.gamma(1, 0.4, n)), due]
    return np.stack(sides, -1).astype(float)


def delays(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw delays at 30 frames per second as histograms."""
    centres = rng.normal(0.4, 0.6, n)
    return np.stack(
        [
            seconds_histogram(
                (np.round((c + rng.normal(0, 0.8, rng.poisson(8) + 1)) * 30) / 30).clip(-5, 5).tolist(), 5
            )
            for c in centres
        ]
    )


def ranked(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw speaking probabilities of 200 frames per video as histograms."""
    rows = []
    for _ in range(n):
        labels = rng.random(200) < 0.05
        logits = np.where(labels, 2 + rng.normal(), 0) + rng.normal(-3, 1.2, 200)
        rows.append(probability_histogram(labels, (1 / (1 + np.exp(-logits))).tolist()))
    return np.stack(rows)


def _true_value(draw: Draw, value: Callable[[np.ndarray], np.ndarray], clusters: int = 200_000) -> float:
    return float(value(draw(np.random.default_rng(7), clusters).sum(0)))


@cache
def kinds() -> dict[str, Kind]:
    """Return every kind of interval that the suite computes, by name."""
    median = partial(histogram_quantile, q=0.5, limit_s=5)
    p90 = partial(histogram_quantile, q=0.9, limit_s=5)
    precision = Statistic(histogram_average_precision, SHARE, histogram_average_precision_gradient)
    out = {
        "ratio: overdispersed rate": Kind(alarms, Statistic(ratio, (0.0, np.inf)), _true_value(alarms, ratio)),
        "mean of skewed shares": Kind(shares, Statistic(ratio, SHARE), 0.2),
        "average precision": Kind(ranked, precision, _true_value(ranked, histogram_average_precision, 20_000)),
    }
    for name, draw in (
        ("F1 near .6", events((3, 2), (1, 0.4))),
        ("F1 near .9", events((18, 2), (0.5, 0.1))),
        ("F1 near .15", events((0.6, 5), (1, 0.4))),
    ):
        out[name] = Kind(draw, Statistic(f1, SHARE), _true_value(draw, f1))
    for name, value, q in (("median delay", median, 0.5), ("90 % quantile of the delay", p90, 0.9)):
        interval = partial(histogram_quantile_interval, q=q, limit_s=5)
        of = Statistic(value, interval=interval)
        out[name] = Kind(delays, of, _true_value(delays, value, 20_000))
    for share in (0.9, 0.97, 0.99, 1.0):
        out[f"boundary: true value {share}"] = Kind(answers(share), Statistic(ratio, SHARE), share, conservative=True)
    out["difference of F1"] = Kind(events_of_two, Statistic(f1, SHARE), 0.0, paired=True)
    for first, second in ((0.6, 0.7), (0.97, 0.97), (0.99, 0.97)):
        draw = answers_of_two(first, second)
        out[f"difference: {first} and {second}"] = Kind(
            draw, Statistic(ratio, SHARE), second - first, paired=True, conservative=True
        )
    return out


def _covered(name: str, clusters: int, draws: int) -> tuple[float, float, float]:
    """Return (share of intervals that contain the true value, their mean width, share of draws without one)."""
    kind = kinds()[name]
    rng = np.random.default_rng(clusters)
    held = widths = 0.0
    none = 0
    for _ in range(draws):
        ends = kind.interval(kind.draw(rng, clusters))
        if ends is None:
            none += 1
            continue
        held += ends[0] - 1e-9 <= kind.truth <= ends[1] + 1e-9
        widths += ends[1] - ends[0]
    given = max(1, draws - none)
    return held / given, widths / given, none / draws


def coverage(draws: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return {kind: {number of clusters: coverage, width, none}}."""
    jobs = [(name, clusters) for name in kinds() for clusters in CLUSTERS]
    out: dict[str, dict[str, dict[str, float]]] = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(_covered, *zip(*jobs, strict=True), [draws] * len(jobs))
        for (name, clusters), (held, width, none) in zip(jobs, found, strict=True):
            entry = {"coverage": round(held, 4), "width": round(width, 4), "none": round(none, 4)}
            out.setdefault(name, {})[str(clusters)] = entry
            print(f"{name}, {clusters} clusters: {entry}", flush=True)
    return out


def _pairs(rng: np.random.Generator, clusters: int, difference: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw scores of two models on the same videos."""
    first = np.stack([rng.normal(0.5, 0.1, clusters), np.ones(clusters)], -1)
    second = first.copy()
    second[:, 0] += rng.normal(difference, 0.2, clusters)
    return first, second


def _family(rng: np.random.Generator, clusters: int, difference: float) -> list[float]:
    """Return Holm-adjusted p-values of one comparison in which only the first metric has a true difference."""
    found = [sign_flip_p_value(*_pairs(rng, clusters, difference if k == 0 else 0.0), ratio) for k in range(TESTS)]
    return holm_correction([1.0 if p is None else p for p in found])


def _errors(clusters: int, draws: int) -> int:
    rng = np.random.default_rng(clusters)
    return sum(min(_family(rng, clusters, 0.0)) <= 0.05 for _ in range(draws))


def _found(clusters: int, draws: int) -> tuple[int, int]:
    """Return (comparisons that find a true difference of the detectable size, comparisons)."""
    rng, found, tried = np.random.default_rng(clusters), 0, 0
    for _ in range(draws):
        detectable = power_detectable_difference(*_pairs(rng, clusters, 0.0), ratio, 0.05 / TESTS)
        if detectable is not None:
            tried += 1
            found += _family(rng, clusters, detectable)[0] <= 0.05
    return found, tried


def families(draws: int) -> dict[str, Any]:
    """Return family-wise error and power for each number of clusters."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        errors = dict(zip(CLUSTERS, pool.map(_errors, CLUSTERS, [4 * draws] * len(CLUSTERS)), strict=True))
        power = dict(zip(CLUSTERS, pool.map(_found, CLUSTERS, [draws] * len(CLUSTERS)), strict=True))
    out = {
        "fwer": {str(n): round(wrong / (4 * draws), 4) for n, wrong in errors.items()},
        "power": {str(n): round(found / max(1, tried), 4) for n, (found, tried) in power.items()},
    }
    print(out, flush=True)
    return out


def compare_seconds() -> float:
    """Return the seconds of `compare` on two scored runs over 20 videos with all metrics."""
    from benchmarks.performance.metrics import make_record
    from prospect_core.records import Knobs
    from prospect_core.util.json_io import dump_json
    from prospect_eval.analysis.compare import compare_runs
    from prospect_eval.metrics import all_metrics
    from prospect_eval.metrics.resources import make_scoring_resources
    from prospect_eval.runs.folder import RunConfig, open_run_folder
    from prospect_eval.scoring.score import score_records, write_score_metrics

    resources = make_scoring_resources()
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / side for side in ("first", "second")]
        for place, folder in enumerate(folders):
            config = RunConfig("m", "", "", "d", "test", None, Knobs(), "", suite="workbench")
            open_run_folder(folder, config)
            records = [make_record(number) for number in range(20)]
            if place:
                # the second run omits every third turn
                records = [_thinned(record) for record in records]
            write_score_metrics(folder, score_records(records, resources))
            (folder / "DONE.json").write_text(dump_json({"schema": 1}))
        begin = time.perf_counter()
        compare_runs(folders[0], [folders[1]], all_metrics(resources))
        return round(time.perf_counter() - begin, 2)


def _thinned(record: Any) -> Any:
    from dataclasses import replace

    return replace(record, utterances=tuple(u for k, u in enumerate(record.utterances) if k % 3))


def rescore_seconds() -> float:
    """Return the seconds from the records of 100 hours on disk to metrics.json, with warm caches."""
    from benchmarks.performance.metrics import make_run, run_task

    with tempfile.TemporaryDirectory() as folder:
        run, cache = Path(folder) / "run", str(Path(folder) / "cache")
        make_run(run)
        run_task("rescore", str(run), XDG_CACHE_HOME=cache)
        return float(run_task("rescore", str(run), XDG_CACHE_HOME=cache)["rescore_100_hours_s"])


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """Summarise the results for the last line of output.

    It holds the least and largest coverage, the largest ratio of a width to the width at 60
    clusters of the same kind (scaled by the square root of the numbers), the largest family-wise
    error, and the least power.
    """
    table = found["coverage"]
    scaled = [
        of[str(n)]["width"] * n**0.5 / (of["60"]["width"] * 60**0.5)
        for of in table.values()
        for n in CLUSTERS
        if of["60"]["width"]
    ]
    exact = {name for name, kind in kinds().items() if kind.conservative}
    strict = [entry["coverage"] for name, of in table.items() if name not in exact for entry in of.values()]
    return {
        "coverage_min": min(entry["coverage"] for of in table.values() for entry in of.values()),
        "coverage_max_not_exact": max(strict),
        "coverage_max_width_ratio": round(max(scaled), 2),
        "fwer": max(found["families"]["fwer"].values()),
        "power_at_detectable": min(found["families"]["power"].values()),
        "compare_20_videos_s": found["compare_20_videos_s"],
        "rescore_100_hours_s": found["rescore_100_hours_s"],
    }


def main() -> None:
    """Run the simulations and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--draws", type=int, default=2000, help="simulations of each kind and number of clusters")
    parser.add_argument(
        "--experiments",
        type=int,
        default=500,
        help="simulated comparisons for the power, four times as many for the error",
    )
    options = parser.parse_args()
    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.json_io import dump_json
    from prospect_eval.runs.environment import collect_run_environment

    found: dict[str, Any] = {"compare_20_videos_s": compare_seconds(), "rescore_100_hours_s": rescore_seconds()}
    print(found, flush=True)
    found |= {"families": families(options.experiments), "coverage": coverage(options.draws)}
    result = summary(found)
    whole = {"command": f"make bench-statistics (--draws {options.draws})", **result, **found}
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(options.output, dump_json({**whole, "environment": collect_run_environment()}, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

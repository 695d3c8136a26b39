"""Leaderboard of models on a published benchmark: official numbers, paired tests against the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prospect_core.util.errors import UserError, require_choice
from prospect_eval.scoring.official_constants import read_official_constants
from prospect_eval.scoring.official_scores import (
    PUBLISHED_PROTOCOL,
    OfficialScoring,
    read_official_scores,
    restore_official_score,
    score_published_results,
)
from prospect_eval.suites.benchmark import Benchmark, open_benchmark
from prospect_eval.suites.official_intervals import (
    OfficialDifference,
    OfficialInterval,
    compare_official_scores,
    find_official_intervals,
)
from prospect_eval.suites.official_score import OfficialScore


@dataclass(frozen=True)
class OfficialPlace:
    """A row of the leaderboard: a model or a constant answer.

    Attributes:
        name: Name of its file or run folder.
        protocol: Description of the protocol of its predictions.
        is_constant: Whether it is a constant answer.
        intervals: Headline values with intervals.
        against_best: Differences of its headline values from those of the best model; empty for the
            best one.
        missing: Number of items without a prediction.
        failed: Number of items with an unreadable prediction.
        against_constant: Difference of its first value from that of the tested constant answer; None
            for constant answers, and if no constant answer is tested.
    """

    name: str
    protocol: str
    is_constant: bool
    intervals: dict[str, OfficialInterval]
    against_best: list[OfficialDifference]
    missing: int
    failed: int
    against_constant: OfficialDifference | None = None


@dataclass(frozen=True)
class OfficialLeaderboard:
    """Models and the best constant answer, sorted by one official value, best first.

    Attributes:
        benchmark: Published name of the benchmark.
        values: Name of the value that orders the models, then of the headline values.
        percent: Whether all of these values are fractions, which tables show in percent.
        places: The rows.
        beaten: Names of the models below the best constant answer in that value.
        notes: Limits of the comparison.
        constant: Name of the constant answer with which each model is compared; empty for none.
    """

    benchmark: str
    values: tuple[str, ...]
    percent: bool
    places: tuple[OfficialPlace, ...]
    beaten: tuple[str, ...]
    notes: tuple[str, ...]
    constant: str = ""


def make_official_leaderboard(
    suite: str, root: Path | None, paths: Sequence[Path], by: str | None = None, constant: str | None = None
) -> OfficialLeaderboard:
    """Rank models by their official numbers.

    Args:
        suite: Name of the benchmark.
        root: Folder of its annotations; None if all paths are scored run folders.
        paths: Result files or folders of one model each, or scored run folders.
        by: The official value that orders the models; None for the first headline value.
        constant: A constant answer with which each model is compared, with Holm's correction over
            the models; None for no such tests.

    Raises:
        UserError: Annotations are needed and not given, the runs have different protocols, or
            the value or the constant answer is unknown.
    """
    benchmark = open_benchmark(suite)
    scorings = {_name(path): _scoring(benchmark, root, path) for path in paths}
    notes = _protocol_notes(scorings)
    scores = {name: scoring.score for name, scoring in scorings.items()}
    known = list(dict.fromkeys(name for score in scores.values() for name in score.values))
    first = require_choice("--by", by, known) if by else benchmark.headline[0]
    known_constants = _find_constants(scorings)
    chosen = _choose_constants(first, scorings, known_constants, constant)
    notes += _constant_notes(scores, known_constants)
    shown = tuple(dict.fromkeys((first, *benchmark.headline)))
    everything = {**scores, **chosen}
    ranked = sorted(everything, key=lambda name: _order(everything[name], first))
    best = next(name for name in ranked if name in scores)
    others = {name: everything[name] for name in ranked if name != best}
    differences = compare_official_scores(benchmark, everything[best], others, shown)
    tested: dict[str, list[OfficialDifference]] = {}
    if constant is not None:
        tested = compare_official_scores(benchmark, known_constants[constant], scores, (first,))
    places = [
        OfficialPlace(
            name,
            scorings[name].protocol if name in scorings else "constant answer",
            name in chosen,
            find_official_intervals(benchmark, everything[name], shown),
            differences.get(name, []),
            everything[name].count("missing"),
            everything[name].count("failed"),
            next(iter(tested.get(name, ())), None),
        )
        for name in ranked
    ]
    top = max((score.values.get(first) or 0.0 for score in chosen.values()), default=None)
    beaten = [name for name in scores if top is not None and (scores[name].values.get(first) or 0.0) < top]
    percent = all(benchmark.find_value_range(name) == (0.0, 1.0) for name in shown)
    return OfficialLeaderboard(
        benchmark.title, shown, percent, tuple(places), tuple(beaten), tuple(notes), constant or ""
    )


def _name(path: Path) -> str:
    return path.resolve().name if path.is_dir() else path.stem


def _scoring(benchmark: Benchmark[Any, Any], root: Path | None, path: Path) -> OfficialScoring:
    stored = read_official_scores(path) if path.is_dir() else None
    if stored is not None:
        if stored["benchmark"] != benchmark.name:
            raise UserError(f"{path}: is a run of {stored['benchmark']}, not of {benchmark.name}")
        score = restore_official_score(stored, benchmark)
        return OfficialScoring(
            benchmark,
            score,
            read_official_constants(path, stored, benchmark),
            stored["protocol"],
            stored["missing_videos"],
            judge=stored.get("judge", ""),
        )
    if root is None:
        raise UserError(f"{path}: published predictions need the annotations; give --data FOLDER")
    return score_published_results(benchmark.name, root, [path])


def _protocol_notes(scorings: dict[str, OfficialScoring]) -> list[str]:
    """Refuse runs under different protocols or with different LLM judges.

    Published files do not state their protocol; a note says that it is assumed to be equal.
    """
    runs = {name: scoring.protocol for name, scoring in scorings.items() if scoring.protocol != PUBLISHED_PROTOCOL}
    if len(set(runs.values())) > 1:
        shown = "; ".join(f"{name}: {protocol}" for name, protocol in runs.items())
        raise UserError(f"runs under different protocols are not comparable ({shown})")
    judges = {name: scoring.judge for name, scoring in scorings.items() if scoring.judge}
    if len(set(judges.values())) > 1:
        shown = "; ".join(f"{name}: {judge}" for name, judge in judges.items())
        raise UserError(f"values with different LLM judges are not comparable ({shown}); judge the runs with one")
    files = [name for name in scorings if name not in runs]
    if runs and files:
        return [
            f"the protocol of {', '.join(files)} is not stated in their files: the comparison assumes that it is equal"
        ]
    return []


def _find_constants(scorings: dict[str, OfficialScoring]) -> Mapping[str, OfficialScore]:
    """Return the constant answers of the first model that has them."""
    return next((scoring.constants for scoring in scorings.values() if scoring.constants), {})


def _choose_constants(
    value: str, scorings: dict[str, OfficialScoring], known: Mapping[str, OfficialScore], asked: str | None
) -> dict[str, OfficialScore]:
    """Return the plausible constant answer with the highest value, and the one that is asked for.

    Raises:
        UserError: The one that is asked for is unknown.
    """
    if asked is not None and not known:
        raise UserError(
            "--constant: these folders hold no constant answers; score the runs again, or give --data FOLDER"
        )
    chosen = [] if asked is None else [require_choice("--constant", asked, list(known))]
    best = next((scoring.best_constant(value) for scoring in scorings.values() if scoring.constants), None)
    if best is not None:
        chosen.insert(0, best[0])
    return {f"constant {name}": known[name] for name in dict.fromkeys(chosen)}


def _constant_notes(scores: Mapping[str, OfficialScore], constants: Mapping[str, OfficialScore]) -> list[str]:
    """Say which models hold other items than the constant answers, or that there are no constant answers."""
    if not constants:
        return ["no folder holds constant answers: score the runs again to rank them"]
    items = {item.id for item in next(iter(constants.values())).items}
    other = [name for name, score in scores.items() if {item.id for item in score.items} != items]
    return [f"the constant answers are over other items than {', '.join(other)}"] if other else []


def _order(score: OfficialScore, value: str) -> float:
    number = score.values.get(value)
    return float("inf") if number is None else -number

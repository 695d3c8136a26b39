"""The Python API: evaluate a model, score predictions, compare runs, gate a run. The command line calls these functions.

from prospect_eval.api import EvaluationOptions, evaluate
done = evaluate(EvaluationOptions("workbench-tiny", suite="workbench"))
print(done.metrics["metrics"]["dst_jga"]["value"], done.report)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prospect_core.util.atomic import write_atomic
from prospect_core.util.json_io import dump
from prospect_eval.matching.settings import STANDARD, ScoreSettings
from prospect_eval.runs.evaluation import (
    Evaluation,
    EvaluationOptions,
    Progress,
    prepare_evaluation,
    replay_evaluation,
)
from prospect_eval.runs.executor import Outcome
from prospect_eval.runs.folder import RunConfig, held, read_records

if TYPE_CHECKING:
    from prospect_core.parallel.scheduler import WorkerTally
    from prospect_core.records import EpisodeRecord
    from prospect_eval.analysis.compare import Comparison
    from prospect_eval.gate.gate import Gate
    from prospect_eval.metrics.scored import ScoringResources
    from prospect_eval.suites.gate_rules import Rules
    from prospect_eval.suites.suite import Suite

__all__ = [
    "Evaluated",
    "EvaluationOptions",
    "compare",
    "evaluate",
    "gate",
    "load_run",
    "open_checked_suite",
    "prepare_checked",
    "score_run",
]


def _no_progress(name: str, done: int, total: int | None) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation has made.

    Attributes:
        folder: The run folder.
        metrics: The contents of ``metrics.json``.
        report: The report's path.
        outcome: Episodes replayed, reused and failed.
        replay_s: Seconds of the replay.
        tallies: What each worker has done, by its number.
    """

    folder: Path
    metrics: dict[str, Any]
    report: Path
    outcome: Outcome
    replay_s: float
    tallies: dict[int, WorkerTally]


def prepare_checked(options: EvaluationOptions, progress: Progress = _no_progress) -> Evaluation:
    """Open suite, data and model of an evaluation; nothing is written.

    Args:
        options: What to evaluate.
        progress: Receives (name, done, total) while built-in videos are made.

    Raises:
        UserError: Options that do not fit each other, the model or the data.
        DataError: Data or a checkpoint that cannot be used.
    """
    from prospect_eval.diagnostics.passes import require_own_model

    open_checked_suite(options.suite)
    evaluation = prepare_evaluation(options, progress)
    for option, wanted in (("--teacher-forced", options.teacher_forced), ("--latency", options.latency_episodes)):
        if wanted:
            require_own_model(evaluation.predictor, option)
    return evaluation


def evaluate(options: EvaluationOptions, progress: Progress = _no_progress) -> Evaluated:
    """Replay a model over a split, score it and write the report; an interrupted evaluation continues.

    Args:
        options: What to evaluate.
        progress: Receives (name, done, total) of videos, replay, passes and scoring.

    Raises:
        UserError: Options that do not fit each other, the model or the data, or a folder that holds another run.
        DataError: Data, a checkpoint or an episode that cannot be used.
    """
    from prospect_eval.diagnostics.latency import read_latency, store_latency
    from prospect_eval.diagnostics.passes import latency_pass, teacher_forced_pass

    evaluation = prepare_checked(options, progress)
    folder, predictor = evaluation.folder, evaluation.predictor
    begin = time.monotonic()
    with held(folder):
        outcome, tallies = replay_evaluation(evaluation, progress)
        seconds = time.monotonic() - begin
        good = []
        if options.teacher_forced or options.latency_episodes:
            good = [record.episode for record in read_records(folder)[1] if record.status == "ok"]
        if options.teacher_forced:
            teacher_forced_pass(folder, predictor, good, partial(progress, "teacher-forced"))
        if options.latency_episodes:
            latency_pass(folder, predictor, good, options.latency_episodes, partial(progress, "plain pass"))
        if not read_latency(folder):
            store_latency(folder, [])
        metrics, report = score_run(folder, progress=partial(progress, "score"))
    return Evaluated(folder, metrics, report, outcome, seconds, tallies)


def open_checked_suite(name: str | None) -> Suite:
    """Open a suite by name or path; None gives one without data, metrics or rules.

    Raises:
        UserError: The suite is unknown or broken, or names metrics that do not exist.
    """
    from prospect_eval.metrics import all_metrics
    from prospect_eval.metrics.resources import make_resources
    from prospect_eval.suites.gate_rules import check_names, check_rules
    from prospect_eval.suites.suite import Suite, open_suite

    if not name:
        return Suite()
    suite = open_suite(name)
    known = [metric.name for metric in all_metrics(make_resources())]
    check_names(suite.metrics, known, f"{name}: metrics")
    if rules := suite.rules():
        check_rules(rules, known, f"{name}: gate")
    return suite


def load_run(folder: Path) -> tuple[RunConfig, list[EpisodeRecord]]:
    """The configuration of a run folder and its records by episode id.

    Raises:
        DataError: The folder is no run folder, holds no episode, or a record is damaged.
    """
    return read_records(folder)


def compare(
    first: Path, *others: Path, intersect: bool = False, resources: ScoringResources | None = None
) -> list[Comparison]:
    """Paired differences of scored runs from the first one, with intervals and corrected tests.

    Args:
        first: The run folder that the others are compared with.
        others: One run folder or more.
        intersect: Whether to compare the common episodes where the runs do not have the same ones.
        resources: Similarity model and corpus of the runs; None for the standard ones.

    Returns:
        One comparison for each of the others.

    Raises:
        UserError: The runs are not comparable: other data, episodes or ways of measuring.
    """
    from prospect_eval.analysis.compare import compare_runs
    from prospect_eval.metrics import all_metrics
    from prospect_eval.metrics.resources import make_resources

    return compare_runs(first, others, all_metrics(resources or make_resources()), intersect)


def gate(run: Path, baseline: Path, rules: Rules | None = None, intersect: bool = False) -> Gate:
    """Check a scored run against a baseline file.

    Args:
        run: The scored run folder.
        baseline: A file that `prospect-eval gate --update` has written.
        rules: Margins and exact values; None for the baseline's own.
        intersect: Whether to compare the common episodes where the run does not have the baseline's.

    Raises:
        DataError: The baseline is missing or about other data, or the run has no episodes.
    """
    from prospect_eval.gate.gate import check_run, read_baseline
    from prospect_eval.metrics import all_metrics
    from prospect_eval.metrics.resources import make_resources

    return check_run(run, read_baseline(baseline), all_metrics(make_resources()), rules, intersect)


def score_run(
    folder: Path,
    similarity: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    settings: ScoreSettings = STANDARD,
) -> tuple[dict[str, Any], Path]:
    """Score the records of a run folder and write everything that follows from them.

    Args:
        folder: The run folder.
        similarity: The folder or name of a sentence-transformers model; by default the one that the folder was scored
            with before, or else the packaged one.
        progress: Called with (parts done, parts).

    Returns:
        The contents of ``metrics.json`` with the counts added, and the report's path.
    """
    with held(folder):
        return _finish(folder, similarity, progress, settings)


def _finish(
    folder: Path, similarity: str | None, progress: Callable[[int, int], None], settings: ScoreSettings
) -> tuple[dict[str, Any], Path]:
    from prospect_eval.runs.schemas import similarity_model
    from prospect_eval.scoring.parallel import score_folder

    similarity = similarity or similarity_model(folder)
    metrics = score_folder(folder, similarity, progress, settings)
    corpus = metrics.pop("corpus")
    from prospect_eval.diagnostics.latency import store_delivery
    from prospect_eval.gate.gate import VERDICT
    from prospect_eval.metrics.resources import make_resources
    from prospect_eval.report.pages.run_page import write_report
    from prospect_eval.scoring.corpora import FILE, read_corpus, write_corpus
    from prospect_eval.scoring.frame_table import write_frames
    from prospect_eval.scoring.score import write_metrics

    # from the first file that is written anew to the last one, the folder is not whole
    (folder / "DONE.json").unlink(missing_ok=True)
    config, records = read_records(folder)
    write_corpus(folder / FILE, corpus, config)
    write_metrics(folder, metrics)
    # a verdict was on what the scores were before
    (folder / VERDICT).unlink(missing_ok=True)
    resources = replace(make_resources(similarity, settings), corpus=read_corpus(folder / FILE))
    store_delivery(folder, records, resources)
    write_frames(folder, records, resources)
    path = write_report(folder, config, records, metrics, resources)
    done = {"schema": 1, "episodes": metrics["episodes"], "predictions_digest": metrics["predictions_digest"]}
    write_atomic(folder / "DONE.json", dump(done, indent=1) + "\n")
    return metrics, path

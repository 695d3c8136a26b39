"""The Python API: evaluate a model, score predictions, compare runs, gate a run.

    from prospect_eval.api import EvaluationOptions, evaluate
    done = evaluate(EvaluationOptions("workbench-tiny", suite="workbench"))
    print(done.metrics["metrics"]["dst_jga"]["value"], done.report)

The command line calls these functions.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prospect_core.checkpoints.scope import describe_checkpoint_scope
from prospect_core.util.atomic import write_atomic
from prospect_core.util.console import print_line
from prospect_core.util.json_io import dump_json
from prospect_eval.matching.settings import STANDARD, ScoreSettings
from prospect_eval.runs.evaluation import (
    Evaluation,
    EvaluationOptions,
    Progress,
    prepare_evaluation,
    replay_evaluation,
)
from prospect_eval.runs.executor import Outcome
from prospect_eval.runs.folder import RunConfig, hold_run_folder, read_run_folder_records

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
    """Results of an evaluation.

    Attributes:
        folder: The run folder.
        metrics: Contents of ``metrics.json``, with the counts added.
        report: Path of the report.
        outcome: Numbers of replayed, reused and failed episodes.
        replay_s: Duration of the replay in seconds.
        tallies: Counts of each worker, by worker number.
        videos: Number of videos in the dataset.
        missing_videos: Number of missing videos, whose episodes are left out.
    """

    folder: Path
    metrics: dict[str, Any]
    report: Path
    outcome: Outcome
    replay_s: float
    tallies: dict[int, WorkerTally]
    videos: int
    missing_videos: int


def prepare_checked(options: EvaluationOptions, progress: Progress = _no_progress) -> Evaluation:
    """Open suite, data and model of an evaluation without writing anything.

    Args:
        options: The options of the evaluation.
        progress: Called with (name, done, total) while built-in videos are made.

    Raises:
        UserError: Options that contradict each other, the model or the data.
        DataError: Unusable data or an unusable checkpoint.
    """
    from prospect_eval.diagnostics.passes import require_checkpoint_for_passes

    open_checked_suite(options.suite)
    evaluation = prepare_evaluation(options, progress)
    if note := describe_checkpoint_scope(options.ckpt, [evaluation.dataset.info.name]):
        print_line(f"note: {note}", err=True)
    for option, wanted in (("--teacher-forced", options.teacher_forced), ("--latency", options.latency_episodes)):
        if wanted:
            require_checkpoint_for_passes(evaluation.predictor, option)
    return evaluation


def evaluate(options: EvaluationOptions, progress: Progress = _no_progress) -> Evaluated:
    """Replay a model over a split, score it and write the report.

    A call with the same options and the same folder continues an interrupted evaluation.

    Args:
        options: The options of the evaluation.
        progress: Called with (name, done, total) during videos, replay, passes and scoring.

    Raises:
        UserError: Options that contradict each other, the model or the data, or a folder that
            contains another run.
        DataError: Unusable data, an unusable checkpoint or a failed episode.
    """
    from prospect_eval.diagnostics.latency import read_latency_diagnostics, store_latency_diagnostics
    from prospect_eval.diagnostics.passes import run_latency_pass, run_teacher_forced_pass

    evaluation = prepare_checked(options, progress)
    folder, predictor = evaluation.folder, evaluation.predictor
    begin = time.monotonic()
    with hold_run_folder(folder):
        outcome, tallies = replay_evaluation(evaluation, progress)
        seconds = time.monotonic() - begin
        good = []
        if options.teacher_forced or options.latency_episodes:
            good = [record.episode for record in read_run_folder_records(folder)[1] if record.status == "ok"]
        if options.teacher_forced:
            run_teacher_forced_pass(folder, predictor, good, partial(progress, "teacher-forced"))
        if options.latency_episodes:
            run_latency_pass(folder, predictor, good, options.latency_episodes, partial(progress, "plain pass"))
        if not read_latency_diagnostics(folder):
            store_latency_diagnostics(folder, [])
        metrics, report = score_run(folder, progress=partial(progress, "score"))
    return Evaluated(
        folder=folder,
        metrics=metrics,
        report=report,
        outcome=outcome,
        replay_s=seconds,
        tallies=tallies,
        videos=len(evaluation.dataset.info.videos),
        missing_videos=len(evaluation.missing),
    )


def open_checked_suite(name: str | None) -> Suite:
    """Open a suite and check that its metrics exist.

    Args:
        name: Name or path of the suite; None for a suite without data, metrics or rules.

    Raises:
        UserError: The suite is unknown or invalid, or names metrics that do not exist.
    """
    from prospect_eval.metrics import all_metrics
    from prospect_eval.metrics.resources import make_scoring_resources
    from prospect_eval.suites.gate_rules import check_gate_rule_metrics, check_gate_rules
    from prospect_eval.suites.suite import Suite, open_suite

    if not name:
        return Suite()
    suite = open_suite(name)
    known = [metric.name for metric in all_metrics(make_scoring_resources())]
    check_gate_rule_metrics(suite.metrics, known, f"{name}: metrics")
    if rules := suite.rules():
        check_gate_rules(rules, known, f"{name}: gate")
    return suite


def load_run(folder: Path) -> tuple[RunConfig, list[EpisodeRecord]]:
    """Return the configuration and the records of a run folder, sorted by episode id.

    Raises:
        DataError: The folder is not a run folder, contains no episode, or contains a damaged
            record.
    """
    return read_run_folder_records(folder)


def compare(
    first: Path, *others: Path, intersect: bool = False, resources: ScoringResources | None = None
) -> list[Comparison]:
    """Compare scored runs with a first one: paired differences, intervals and corrected tests.

    Args:
        first: The run folder that the others are compared with.
        others: One or more run folders.
        intersect: Whether to compare the common episodes if the runs have different ones.
        resources: Similarity model and corpus of the runs; None for the defaults.

    Returns:
        One comparison for each of the others.

    Raises:
        UserError: The runs have different data, episodes or score settings.
    """
    from prospect_eval.analysis.compare import compare_runs
    from prospect_eval.metrics import all_metrics
    from prospect_eval.metrics.resources import make_scoring_resources

    return compare_runs(first, others, all_metrics(resources or make_scoring_resources()), intersect)


def gate(run: Path, baseline: Path, rules: Rules | None = None, intersect: bool = False) -> Gate:
    """Check a scored run against a baseline file.

    Args:
        run: The scored run folder.
        baseline: A file that `prospect-eval gate --update` has written.
        rules: Margins and exact values; None for the rules in the baseline.
        intersect: Whether to compare the common episodes if the run and the baseline have different
            ones.

    Raises:
        DataError: The baseline is missing or comes from other data, or the run has no episodes.
    """
    from prospect_eval.gate.gate import check_gate, read_gate_baseline
    from prospect_eval.metrics import all_metrics
    from prospect_eval.metrics.resources import make_scoring_resources

    return check_gate(run, read_gate_baseline(baseline), all_metrics(make_scoring_resources()), rules, intersect)


def score_run(
    folder: Path,
    similarity: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    settings: ScoreSettings = STANDARD,
) -> tuple[dict[str, Any], Path]:
    """Score the records of a run folder and write all derived files.

    Args:
        folder: The run folder.
        similarity: Folder or name of a sentence-transformers model; None for the model of the
            previous scoring of this folder, or else for the packaged one.
        progress: Called with (parts done, parts).
        settings: Score settings.

    Returns:
        The contents of ``metrics.json`` with the counts added, and the path of the report.
    """
    with hold_run_folder(folder):
        return _finish(folder, similarity, progress, settings)


def _finish(
    folder: Path, similarity: str | None, progress: Callable[[int, int], None], settings: ScoreSettings
) -> tuple[dict[str, Any], Path]:
    from prospect_eval.runs.schemas import read_similarity_schema
    from prospect_eval.scoring.parallel import score_folder_in_parallel

    similarity = similarity or read_similarity_schema(folder)
    metrics = score_folder_in_parallel(folder, similarity, progress, settings)
    corpus = metrics.pop("corpus")
    from prospect_eval.diagnostics.latency import store_delivery_by_measured_latency
    from prospect_eval.gate.gate import VERDICT
    from prospect_eval.metrics.resources import make_scoring_resources
    from prospect_eval.report.pages.run_page import write_run_page
    from prospect_eval.scoring.corpora import FILE, read_scoring_corpus, write_scoring_corpus
    from prospect_eval.scoring.frame_table import write_frame_table
    from prospect_eval.scoring.official_runs import store_official_scores
    from prospect_eval.scoring.score import note_score_clock, write_score_metrics

    # without DONE.json the folder counts as incomplete until all files are written
    (folder / "DONE.json").unlink(missing_ok=True)
    config, records = read_run_folder_records(folder)
    note_score_clock(metrics, config.knobs.rules.clock)
    write_scoring_corpus(folder / FILE, corpus, config)
    write_score_metrics(folder, metrics)
    # an existing verdict belongs to the previous scores
    (folder / VERDICT).unlink(missing_ok=True)
    resources = replace(make_scoring_resources(similarity, settings), corpus=read_scoring_corpus(folder / FILE))
    store_delivery_by_measured_latency(folder, records, resources)
    write_frame_table(folder, records, resources)
    store_official_scores(folder, config, records)
    path = write_run_page(folder, config, records, metrics, resources)
    done = {"schema": 1, "episodes": metrics["episodes"], "predictions_digest": metrics["predictions_digest"]}
    write_atomic(folder / "DONE.json", dump_json(done, indent=1) + "\n")
    return metrics, path

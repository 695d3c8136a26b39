"""Commands that need no model: score, report, ls, show, doctor.

prospect-eval score runs/first
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prospect_core.timeline import Episode
from prospect_core.util.console import Number, json_option, make_console, print_json_option, print_line, progress_bar
from prospect_core.util.errors import EXIT_INCOMPLETE, UserError
from prospect_eval.cli.official_tables import print_official_table, score_published_files
from prospect_eval.cli.options import add_match_options, open_source_from_options
from prospect_eval.cli.tables import (
    print_runs_table,
    print_scores_table,
)
from prospect_eval.matching.settings import STANDARD, WORDS_PER_MINUTE, MatchSettings, ScoreSettings
from prospect_eval.suites.suite import is_benchmark_suite

if TYPE_CHECKING:
    from prospect_eval.runs.importers import ImportedRun


@click.command("score")
@click.argument("predictions", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Dataset folder of the predictions, or the files of a published benchmark.",
)
@click.option("--suite", help="Suite of the predictions instead of --data (workbench), or the published benchmark.")
@click.option("--model", metavar="NAME", help="Model to read from benchmark result files that hold several.")
@click.option("--split", default="test", show_default=True, help="Split of the predictions.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Run folder for imported predictions [default: runs/scored-NAME]."
)
@click.option(
    "--similarity",
    help="Sentence-transformers model (folder or cached name) [default: that of the last scoring, or all-MiniLM-L6-v2].",
)
@click.option(
    "--words-per-minute",
    type=Number(min=1),
    default=WORDS_PER_MINUTE,
    show_default=True,
    help="Speech rate for the latency-aware metrics.",
)
@add_match_options
@click.option(
    "--dataset", default="", metavar="NAME", help="Dataset of streams that name none; sets their matching window."
)
@click.option(
    "--profile",
    type=click.Choice(["proassist"]),
    help="Also compute the published scores, print the reason for each difference and write published.json.",
)
@json_option
def score_command(
    predictions: tuple[Path, ...],
    output: Path | None,
    similarity: str | None,
    profile: str | None,
    json_: str | None,
    **given: Any,
) -> None:
    """Score a run folder again, or the predictions of any model.

    PREDICTIONS is a run folder, a file of records, ProAssist's prediction files, or result files of a published benchmark.
    Loads no model. Rewrites metrics.json, counts.json and report.html. Official formulas score the result files of a
    published benchmark; with --output, official.json is written there.
    """
    suite = given["suite"]
    if suite and is_benchmark_suite(suite) and not (predictions[0] / "run.json").is_file():
        score_published_files(predictions, suite, given, output, json_)
        return
    if len(predictions) > 1 or given.pop("model"):
        raise UserError(
            "several PREDICTIONS and --model work only with result files of a published benchmark; give --suite NAME"
        )
    _score_predictions(predictions[0], output, similarity, profile, json_, given)


def _score_predictions(
    predictions: Path,
    output: Path | None,
    similarity: str | None,
    profile: str | None,
    json_: str | None,
    given: dict[str, Any],
) -> None:
    settings = _score_settings(given)
    folder = predictions
    if (predictions / "run.json").is_file():
        if output or any(given[name] for name in ("data", "suite", "dataset")):
            raise UserError(
                f"{predictions}: a run folder names its data; remove --data, --suite, --dataset and --output"
            )
    else:
        folder = output or Path("runs") / f"scored-{predictions.stem}"
        imported = _import(predictions, folder, given)
        if note := imported.window_note(settings.match):
            _say_aside(note)
    if profile:
        print_scores_and_profile(folder, similarity, json_, settings)
    else:
        compute_and_print_scores(folder, similarity, json_, settings)


def _score_settings(given: dict[str, Any]) -> ScoreSettings:
    match = MatchSettings(
        given["threshold"],
        window_s=given["window"],
        distance_factor=given["factor"],
        distance_power=given["power"],
    )
    return ScoreSettings(match, given["words_per_minute"])


def _import(predictions: Path, folder: Path, given: dict[str, Any]) -> ImportedRun:
    """Import predictions of other programs as a run folder."""
    from prospect_eval.runs.executor import select_run_episodes
    from prospect_eval.runs.importers import import_predictions

    split, source, digest = given["split"], "", ""
    episodes: list[Episode] = []
    if given["data"] or given["suite"]:
        source, opened = open_source_from_options(given["data"], given["suite"], split)
        digest, episodes = opened.digest, list(select_run_episodes(opened, split, None))
    return import_predictions(predictions, folder, episodes, source, digest, split, given["dataset"], tell=_say_aside)


def _say_aside(line: str) -> None:
    print_line(line, err=True)


@click.command("report")
@click.argument("folder", type=click.Path(path_type=Path), metavar="RUN")
def report_command(folder: Path) -> None:
    """Write report.html of a scored RUN again, without scoring it again."""
    from prospect_eval.report.pages.run_page import write_run_page
    from prospect_eval.runs.folder import read_run_folder_records
    from prospect_eval.runs.schemas import read_metrics_schema
    from prospect_eval.scoring.run_resources import open_run_resources

    config, records = read_run_folder_records(folder)
    metrics, resources = read_metrics_schema(folder), open_run_resources(folder)
    print_line(str(write_run_page(folder, config, records, metrics, resources).resolve()))


@click.command(name="ls")
@click.argument("root", default="runs", type=click.Path(path_type=Path))
@json_option
@click.option(
    "--html", type=click.Path(path_type=Path), help="Write an HTML page with all runs and each metric's history."
)
def ls_command(root: Path, json_: str | None, html: Path | None) -> None:
    """List the run folders in and below ROOT [default: runs], newest first."""
    from dataclasses import asdict

    from prospect_eval.runs.catalog import catalog_runs

    runs = catalog_runs(root)
    if html is not None:
        from prospect_eval.report.pages.index_page import write_index_page

        print_line(str(write_index_page(html, runs).resolve()))
    if not print_json_option(json_, lambda: [asdict(run) for run in runs]) or html is not None:
        return
    if runs:
        print_runs_table(runs, root)
    else:
        print_line(f"{root}: no run folder found; `prospect-eval run` makes one")


@click.command("show")
@click.argument("folder", type=click.Path(path_type=Path), metavar="RUN")
@json_option
def show_command(folder: Path, json_: str | None) -> None:
    """Print the stored scores of a RUN as a table, without computing anything."""
    from prospect_eval.runs.schemas import read_metrics_schema, read_run_schema

    metrics = read_metrics_schema(folder)
    if print_json_option(json_, lambda: metrics):
        print_scores_table(read_run_schema(folder)["config"]["model"], metrics)


@click.command("doctor")
@json_option
def doctor_command(json_: str | None) -> None:
    """Check that this machine has everything an evaluation needs.

    Checks packages, video decoding, similarity model, METEOR, checkpoints, cache folder and device.
    """
    from dataclasses import asdict

    from rich.text import Text

    from prospect_eval.cli.doctor import run_doctor_checks

    console = make_console(highlight=False)
    checks = run_doctor_checks()
    shown = print_json_option(json_, lambda: [asdict(one) for one in checks])
    for check in checks if shown else ():
        mark, color = ("ok", "green") if check.ok else ("missing", "red") if check.needed else ("lacking", "yellow")
        told = check.found + (f" – {check.advice}" if check.advice else "")
        console.print(Text(f"{mark:7}", color) + Text(f" {check.name}: {told}"))
    if not all(check.ok for check in checks if check.needed):
        raise SystemExit(EXIT_INCOMPLETE)


def print_scores_and_profile(folder: Path, similarity: str | None, json_: str | None, settings: ScoreSettings) -> None:
    """Score a run folder, write the derived files, and print the published scores as well.

    Args:
        folder: The run folder.
        similarity: A sentence-transformers model; None for the run folder's.
        json_: Destination of JSON output; None to print tables.
        settings: Parameters of scoring.
    """
    from dataclasses import replace

    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.json_io import dump_json
    from prospect_eval.api import score_run
    from prospect_eval.cli.published_table import print_published_table
    from prospect_eval.proassist.profile import make_proassist_profile, proassist_profile_json
    from prospect_eval.runs.folder import read_run_folder_records
    from prospect_eval.scoring.run_resources import open_run_resources

    with progress_bar("score") as advance:
        metrics, path = score_run(folder, similarity, advance, settings)
    resources = replace(open_run_resources(folder), settings=settings)
    tables = make_proassist_profile(read_run_folder_records(folder)[1], resources)
    published = proassist_profile_json(tables, resources)
    write_atomic(folder / "published.json", dump_json(published, indent=1) + "\n")
    if print_json_option(json_, lambda: {**metrics, "published": published, "report": str(path.resolve())}):
        print_published_table(tables, resources.similarity_signature)
        print_line(str(path.resolve()))


def compute_and_print_scores(
    folder: Path, similarity: str | None = None, json_: str | None = None, settings: ScoreSettings = STANDARD
) -> None:
    """Score a run folder, write the derived files, and print the scores.

    Args:
        folder: The run folder.
        similarity: A sentence-transformers model; None for the run folder's.
        json_: Destination of JSON output; None to print tables.
        settings: Parameters of scoring.
    """
    from prospect_eval.api import score_run

    with progress_bar("score") as advance:
        metrics, path = score_run(folder, similarity, advance, settings)
    print_run_scores(folder, metrics, path, json_)


def print_run_scores(folder: Path, metrics: dict[str, Any], report: Path, json_: str | None) -> None:
    """Print the scores of a run folder and the path of the report.

    Args:
        folder: The run folder.
        metrics: Contents of ``metrics.json``.
        report: The report.
        json_: Destination of JSON output; None to print a table.
    """
    from prospect_eval.runs.folder import read_run_folder_config
    from prospect_eval.scoring.official_scores import read_official_scores
    from prospect_eval.suites.suite import suite_first_metrics

    official = read_official_scores(folder)
    shown = {"official": official} if official else {}
    if not print_json_option(json_, lambda: {**metrics, **shown, "report": str(report.resolve())}):
        return
    config = read_run_folder_config(folder)
    if official:
        print_official_table(official, every=False)
    rules = config.knobs.rules
    if rules.clock != "replay":
        print_line(f"clock {rules.clock}: {rules.timing.describe() if rules.timing else 'default settings'}")
    print_scores_table(config.model, metrics, suite_first_metrics(config.suite))
    print_line(str(report.resolve()))

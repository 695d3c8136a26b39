"""`prospect-eval`: replay, score, report.

prospect-eval --help
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prospect_core import __version__
from prospect_core.errors import EXIT_INCOMPLETE, UserError
from prospect_core.terminal import Commands, progress_bar

if TYPE_CHECKING:
    from prospect_core.data.dataset import Dataset

HEADLINE = (
    "speaking_event_f1@2s", "proactive_event_f1@1s", "responsive_event_f1@1s", "matched_f1", "bleu", "meteor",
    "meteor_exact_stem", "similarity", "answer_accuracy@past", "dst_jga", "dst_head_jga", "transition_f1@2s",
    "cache_peak_tokens", "cache_peak_bytes", "compressions",
)  # fmt: skip


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Measure proactive streaming video assistants: replay, score, report."""


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--data or --suite, --split, --limit, --device: the same for every command that replays."""
    for option in reversed(
        (
            click.option("--data", type=click.Path(path_type=Path), help="A dataset folder."),
            click.option("--suite", help="A built-in suite: workbench."),
            click.option("--split", default=None, help="Split to replay [default: test; calibrate: val]."),
            click.option("--limit", type=click.IntRange(min=1), help="At most so many episodes."),
            click.option("--device", default="cpu", show_default=True, help="Torch device."),
        )
    ):
        command = option(command)
    return command


@main.command()
@click.option("--ckpt", required=True, help="A checkpoint folder, a shipped name, or baseline:NAME.")
@data_options
@click.option("--strategy", default="none", show_default=True, help="What to do when the context reaches its budget.")
@click.option("--budget", type=click.IntRange(min=1), help="Context budget in tokens.")
@click.option("--speaking-threshold", type=click.FloatRange(0, 1), help="Instead of the checkpoint's own.")
@click.option("--update-threshold", type=click.FloatRange(0, 1), help="Instead of the checkpoint's own.")
@click.option("--output", type=click.Path(path_type=Path), help="Run folder [default: runs/CKPT-DATA-STRATEGY].")
@click.option("--on-error", type=click.Choice(["fail", "skip"]), default="fail", show_default=True)
def run(
    ckpt: str,
    data: Path | None,
    suite: str | None,
    split: str | None,
    limit: int | None,
    device: str,
    strategy: str,
    budget: int | None,
    speaking_threshold: float | None,
    update_threshold: float | None,
    output: Path | None,
    on_error: str,
) -> None:
    """Replay a test split through a model, score it and write the report. Starting it again goes on."""
    from prospect_eval.adapters import open_predictor
    from prospect_eval.provenance import code_digest
    from prospect_eval.run import RunConfig, infer, select

    split = split or "test"
    source, dataset = _open(data, suite, split)
    episodes = select(dataset, split, limit)
    predictor = open_predictor(ckpt, dataset, episodes, strategy, budget, speaking_threshold, update_threshold, device)
    knobs = predictor.knobs
    config = RunConfig(
        ckpt, predictor.digest, source, dataset.digest, split, limit, knobs, code_digest()
    )  # fmt: skip
    folder = output or Path("runs") / _run_name(ckpt, suite or dataset.info.name, knobs.strategy, knobs.budget)
    begin = time.monotonic()
    with progress_bar("replay") as advance:
        outcome = infer(folder, config, predictor, episodes, on_error, advance)
    click.echo(
        f"{outcome.new} episodes replayed in {time.monotonic() - begin:.0f} s, {outcome.reused} reused,"
        f" {outcome.failed} failed"
    )
    _score_and_report(folder)


@main.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="The dataset folder that the predictions are about.")
@click.option("--suite", help="A built-in suite instead: workbench.")
@click.option("--split", default="test", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="Run folder for others' predictions.")
@click.option("--similarity", help="A sentence-transformers folder or cached name [default: all-MiniLM-L6-v2].")
def score(
    predictions: Path, data: Path | None, suite: str | None, split: str, output: Path | None, similarity: str | None
) -> None:
    """Score a run folder again, or PREDICTIONS of any model: records, or ProAssist's prediction files.

    No model is loaded. Rewrites metrics.json, counts.json and report.html.
    """
    if (predictions / "run.json").is_file():
        if data or suite or output:
            raise UserError(f"{predictions}: a run folder knows its data; leave --data, --suite and --output out")
        _score_and_report(predictions, similarity)
        return
    from prospect_eval.predictions import store_predictions
    from prospect_eval.run import select

    source, digest, episodes = "", "", []
    if data or suite:
        source, dataset = _open(data, suite, split)
        digest, episodes = dataset.digest, select(dataset, split, None)
    folder = output or Path("runs") / f"scored-{predictions.stem}"
    store_predictions(predictions, folder, episodes, source, digest, split)
    _score_and_report(folder, similarity)


@main.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
def compare(first: Path, second: Path) -> None:
    """Paired differences of two scored runs over the videos they share."""
    from rich.console import Console
    from rich.table import Table

    from prospect_eval.compare import compare_runs
    from prospect_eval.metrics import all_metrics
    from prospect_eval.report.build import interval, number
    from prospect_eval.tools import make_tools

    table = Table(title=f"{second.name} - {first.name}")
    for column in ("metric", first.name, second.name, "95 % of the difference", "p (Holm)", "detectable", "verdict"):
        table.add_column(column, no_wrap=column == "metric")
    for d in compare_runs(first, second, all_metrics(make_tools())):
        p = "–" if d.p is None else f"{d.p:.3f}"
        cells = (number(d.first), number(d.second), interval(d.ci95), p, number(d.detectable), d.verdict)
        table.add_row(d.name, *cells)
    Console(width=None if Console().is_terminal else 150).print(table)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def report(folder: Path) -> None:
    """Write report.html of a scored run folder again."""
    from prospect_core.jsonio import read_json
    from prospect_eval.report.build import write_report
    from prospect_eval.run import read_records

    config, records = read_records(folder)
    click.echo(str(write_report(folder, config, records, read_json(folder / "metrics.json")).resolve()))


@main.command()
@click.option("--ckpt", required=True, help="The checkpoint folder whose thresholds are chosen.")
@data_options
def calibrate(
    ckpt: str, data: Path | None, suite: str | None, split: str | None, limit: int | None, device: str
) -> None:
    """Choose the speaking and update thresholds on validation data and store them in the checkpoint."""
    from prospect_core.jsonio import dump, read_json, write_atomic
    from prospect_core.model.checkpoint import find_checkpoint
    from prospect_core.train.validation import settle, stored_thresholds
    from prospect_eval import thresholds
    from prospect_eval.adapters import open_predictor
    from prospect_eval.run import select

    split = split or "val"
    if split.startswith("test"):
        raise UserError(f"--split {split}: thresholds are chosen on validation data, never on test data")
    _, dataset = _open(data, suite, split)
    episodes = select(dataset, split, limit)

    def replay_all(speaking: float, update: float) -> list[Any]:
        predictor = open_predictor(ckpt, dataset, episodes, "none", None, speaking, update, device)
        records = []
        with progress_bar("replay") as advance:
            for done, episode in enumerate(episodes, 1):
                records.append(predictor.predict(episode)[0])
                advance(done, len(episodes))
        return records

    first = open_predictor(ckpt, dataset, episodes, "none", None).knobs
    speaking, update = settle(
        lambda now: replay_all(*now), (first.speaking_threshold, first.update_threshold), thresholds, click.echo
    )
    file = find_checkpoint(ckpt) / "config.json"
    config = read_json(file) | stored_thresholds((speaking, update), dataset, split)
    write_atomic(file, dump(config, indent=2) + "\n")
    click.echo(f"{file}: speaking {speaking:.2f}, update {update:.2f}")


@main.command()
@click.option("--fix", is_flag=True, help="Fetch what is missing, where it can be.")
def doctor(fix: bool) -> None:
    """Print what this machine has and lacks."""
    from rich.console import Console

    from prospect_eval.doctor import examine

    console = Console(highlight=False)
    checks = examine(fix)
    for check in checks:
        mark = "[green]ok[/]     " if check.ok else "[red]missing[/]" if check.needed else "[yellow]lacking[/]"
        console.print(f"{mark} {check.name}: ", end="")
        console.print(check.found + (f" – {check.advice}" if check.advice else ""), markup=False)
    if not all(check.ok for check in checks if check.needed):
        raise SystemExit(EXIT_INCOMPLETE)


def _score_and_report(folder: Path, similarity: str | None = None) -> None:
    from prospect_core.jsonio import dump, write_atomic
    from prospect_eval.workers import score_folder

    with progress_bar("score") as advance:
        metrics = score_folder(folder, similarity, advance)
    from prospect_eval.report.build import write_report
    from prospect_eval.run import read_records
    from prospect_eval.score import write_metrics
    from prospect_eval.tools import make_tools

    write_metrics(folder, metrics)
    config, records = read_records(folder)
    path = write_report(folder, config, records, metrics, make_tools(similarity))
    done = {"schema": 1, "episodes": metrics["episodes"], "predictions_digest": metrics["predictions_digest"]}
    write_atomic(folder / "DONE.json", dump(done, indent=1) + "\n")
    _print_table(config.model, metrics)
    click.echo(str(path.resolve()))


def _print_table(model: str, metrics: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from prospect_eval.report.build import interval, number

    shown = ("oracle", "silent", "always_talk", "reply_to_user", "linear_schedule")
    table = Table(title=f"{model}: {metrics['episodes']['scored']} episodes, {metrics['episodes']['failed']} failed")
    table.add_column("metric", no_wrap=True)
    for name in (model, "95 % interval", *shown):
        table.add_column(name, justify="right")
    for name in HEADLINE:
        entry = metrics["metrics"].get(name)
        if entry is not None and not (name == "meteor" and "meteor_exact_stem" in metrics["metrics"]):
            cells = [number(metrics["baselines"][baseline][name]["value"]) for baseline in shown]
            table.add_row(name, number(entry["value"]), interval(entry["ci95"]), *cells)
    Console(width=None if Console().is_terminal else 130).print(table)


def _open(data: Path | None, suite: str | None, split: str) -> tuple[str, Dataset]:
    """The source as a run remembers it, and its dataset."""
    from prospect_core.terminal import quiet_transformers
    from prospect_eval.suites import PREFIX, open_data

    quiet_transformers()
    if (data is None) == (suite is None):
        raise UserError("give either --data FOLDER or --suite NAME")
    if data is not None:
        return str(data.resolve()), open_data(str(data), split)
    source = f"{PREFIX}{suite}"
    with progress_bar("videos") as advance:
        return source, open_data(source, split, advance)


def _run_name(ckpt: str, data: str, strategy: str, budget: int | None) -> str:
    base = ckpt.replace("baseline:", "baseline-") if ckpt.startswith("baseline:") else Path(ckpt).name
    return "-".join([base, data, strategy, *([str(budget)] if budget else [])])

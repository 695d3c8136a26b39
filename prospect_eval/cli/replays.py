"""Commands that replay a model: run, calibrate.

prospect-eval run --ckpt workbench-tiny --suite workbench
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prospect_core.cli.worker_options import worker_options
from prospect_core.stream import STREAMS
from prospect_core.util.console import Number, format_count, json_option, print_line, progress_bar, progress_bars
from prospect_core.util.errors import DataError, UserError
from prospect_eval.cli.official_tables import print_missing_videos
from prospect_eval.cli.options import (
    add_data_options,
    add_endpoint_options,
    open_source_from_options,
    take_predictor_options,
)
from prospect_eval.cli.scores import print_run_scores

if TYPE_CHECKING:
    from prospect_eval.api import Evaluated
    from prospect_eval.runs.evaluation import EvaluationOptions


@click.command("run")
@click.option(
    "--ckpt", required=True, help="A checkpoint folder, a shipped name, baseline:NAME, hf:NAME or endpoint:MODEL."
)
@add_data_options
@click.option(
    "--strategy", help="What to do when the context reaches its budget [default: the suite's first, or none]."
)
@click.option("--budget", type=click.IntRange(min=1), help="Context budget in tokens.")
@click.option(
    "--cache-dtype",
    type=click.Choice(["model", "int8", "fp8"]),
    default="model",
    show_default=True,
    help="How keys and values are stored.",
)
@click.option("--speaking-threshold", type=Number(0, 1), help="Instead of the checkpoint's own.")
@click.option("--update-threshold", type=Number(0, 1), help="Instead of the checkpoint's own.")
@click.option("--output", type=click.Path(path_type=Path), help="Run folder [default: runs/CKPT-DATA-STRATEGY].")
@click.option("--on-error", type=click.Choice(["fail", "skip"]), default="fail", show_default=True)
@click.option(
    "--protocol",
    metavar="NAME|SWITCH=VALUE,...",
    help="The suite's protocol, such as official, or switches such as history=gold [default: the suite's first].",
)
@click.option(
    "--on-missing",
    type=click.Choice(["fail", "skip"]),
    help="Videos that are missing: list them and stop, or run the others [default: fail for published benchmarks].",
)
@click.option(
    "--streams",
    type=click.IntRange(min=1),
    default=STREAMS,
    show_default=True,
    help="Episodes replayed at once; changes no number.",
)
@click.option("--features", metavar="STORE", help="What `prospect data features` has made, a folder or s3://... .")
@worker_options
@click.option("--endpoint", metavar="URL", help="Of endpoint:MODEL, as in http://127.0.0.1:8000/v1.")
@add_endpoint_options
@click.option(
    "--frames-shown",
    type=click.IntRange(min=1),
    metavar="N",
    help="The newest pictures that hf:NAME (default: all) and endpoint:MODEL (default: 16) are shown at once.",
)
@click.option("--teacher-forced", is_flag=True, help="Also a pass over the reference's own context (a diagnostic).")
@click.option("--latency", type=click.IntRange(min=1), metavar="N", help="Also time a plain pass over N episodes.")
@click.option("--dry-run", is_flag=True, help="Say what would be replayed, where to, and about how long that takes.")
@json_option
def run_command(dry_run: bool, json_: str | None, **given: Any) -> None:
    """Replay a test split through a model, score it and write the report. Starting it again goes on."""
    from prospect_eval.api import evaluate, prepare_checked
    from prospect_eval.cli.dry_run import dry_run_evaluation

    options = _evaluation_options(given)
    with progress_bars() as advance:
        if not dry_run:
            done = evaluate(options, advance)
        else:
            evaluation = prepare_checked(options, advance)
    if dry_run:
        workers = 1 if options.workers is None else options.workers.workers
        for line in dry_run_evaluation(evaluation.folder, evaluation.predictor, evaluation.episodes, workers):
            print_line(line)
        return
    _report_replay(done, err=json_ == "-")
    print_run_scores(done.folder, done.metrics, done.report, json_)


def _evaluation_options(given: dict[str, Any]) -> EvaluationOptions:
    from prospect_eval.runs.evaluation import EvaluationOptions

    # both are options of the evaluation, which sets them for the predictor
    strategy, protocol = given.pop("strategy"), given.pop("protocol")
    predictor = take_predictor_options(given)
    return EvaluationOptions(
        strategy=strategy,
        protocol=protocol,
        predictor=predictor,
        workers=given.pop("pool_options"),
        latency_episodes=given.pop("latency"),
        **given,
    )


def _report_replay(done: Evaluated, err: bool) -> None:
    """Print counts and rates of a replay, on standard error if standard output is for JSON."""
    outcome, seconds = done.outcome, done.replay_s
    print_missing_videos(done.missing_videos, done.videos)
    print_line(
        f"{format_count(outcome.new, 'episode')} replayed in {seconds:.0f} s, {outcome.reused} reused, {outcome.failed} failed",
        err=err,
    )
    for number, tally in done.tallies.items():
        rate = 60 * tally.jobs / seconds
        print_line(
            f"  worker {number} on {tally.host}: {format_count(tally.jobs, 'episode')}, {rate:.1f} a minute", err=err
        )


@click.command("calibrate")
@click.option("--ckpt", required=True, help="The checkpoint folder whose thresholds are chosen.")
@add_data_options
@click.option("--force", is_flag=True, help="Choose on test data all the same; the checkpoint says so from then on.")
def calibrate_command(ckpt: str, split: str | None, force: bool, **given: Any) -> None:
    """Choose the speaking and update thresholds on validation data and store them in the checkpoint."""
    from prospect_core.checkpoints.folders import SHIPPED, find_checkpoint_folder
    from prospect_core.checkpoints.thresholds import make_thresholds_entry
    from prospect_core.train.validation import settle_validation_thresholds
    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.json_io import dump_json, read_json
    from prospect_eval.analysis import thresholds
    from prospect_eval.models.base import PredictorOptions
    from prospect_eval.models.registry import open_registered_predictor
    from prospect_eval.runs.executor import select_run_episodes

    split = split or "val"
    if split.startswith("test") and not force:
        raise UserError(
            f"--split {split}: thresholds are chosen on validation data, never on test data (--force does it and marks"
            " the checkpoint)"
        )
    if find_checkpoint_folder(ckpt).resolve().parent == SHIPPED.resolve():
        raise UserError(
            f"--ckpt {ckpt}: comes with the package, thresholds and all; calibrate a copy of {find_checkpoint_folder(ckpt)}"
        )
    _, dataset = open_source_from_options(given["data"], given["suite"], split)
    episodes = select_run_episodes(dataset, split, given["limit"])
    device, dtype = given["device"], given["dtype"]

    def replay_all(speaking: float, update: float) -> list[Any]:
        asked = PredictorOptions("none", None, speaking, update, device, dtype=dtype)
        predictor = open_registered_predictor(ckpt, dataset, episodes, asked)
        records = []
        with progress_bar("replay") as advance:
            for done, (_, result) in enumerate(predictor.predict(episodes), 1):
                if isinstance(result, DataError):
                    raise result
                records.append(result[0])
                advance(done, len(episodes))
        return records

    first = open_registered_predictor(ckpt, dataset, episodes, PredictorOptions(device=device, dtype=dtype)).knobs
    speaking, update = settle_validation_thresholds(
        lambda now: replay_all(*now), (first.speaking_threshold, first.update_threshold), thresholds, click.echo
    )
    file = find_checkpoint_folder(ckpt) / "config.json"
    stored = make_thresholds_entry((speaking, update), dataset, split)
    write_atomic(file, dump_json(read_json(file) | stored, indent=2) + "\n")
    print_line(f"{file}: speaking {speaking:.2f}, update {update:.2f}, chosen on {stored['thresholds_data']}")

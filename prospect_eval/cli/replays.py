"""Commands that replay a model: run, calibrate.

prospect-eval run --ckpt workbench-tiny --suite workbench
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from prospect_core.cli.worker_options import worker_options
from prospect_core.util.console import Number, format_count, json_option, print_line, progress_bar, progress_bars
from prospect_core.util.errors import DataError, UserError
from prospect_eval.cli.clock_options import add_clock_options, take_clock_settings
from prospect_eval.cli.official_tables import print_missing_videos
from prospect_eval.cli.options import (
    add_data_options,
    add_served_model_options,
    open_source_from_options,
    take_predictor_options,
)
from prospect_eval.cli.scores import print_run_scores

if TYPE_CHECKING:
    from prospect_core.data.dataset import Dataset
    from prospect_core.data.jsonl_index import LazyEpisodes
    from prospect_core.records import EpisodeRecord
    from prospect_eval.api import Evaluated
    from prospect_eval.models.base import PredictorOptions
    from prospect_eval.runs.evaluation import EvaluationOptions


@click.command("run")
@click.option(
    "--ckpt",
    required=True,
    help="Checkpoint folder, name of a released checkpoint, baseline:NAME, hf:NAME or endpoint:MODEL.",
)
@add_data_options
@click.option("--strategy", help="Context strategy when the budget is reached [default: the suite's first, or none].")
@click.option("--budget", type=click.IntRange(min=1), help="Context budget in tokens [default: unlimited].")
@click.option(
    "--cache-dtype",
    type=click.Choice(["model", "int8", "fp8"]),
    default="model",
    show_default=True,
    help="Number format of the KV cache.",
)
@click.option("--speaking-threshold", type=Number(0, 1), help="Speaking threshold [default: the checkpoint's].")
@click.option("--update-threshold", type=Number(0, 1), help="Update threshold [default: the checkpoint's].")
@click.option("--output", type=click.Path(path_type=Path), help="Run folder [default: runs/CKPT-DATA-STRATEGY].")
@click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="When an episode fails: stop, or skip it and count it as the worst value.",
)
@click.option(
    "--protocol",
    metavar="NAME|SWITCH=VALUE,...",
    help="Protocol of the suite, such as official, or switches such as history=gold [default: the suite's first].",
)
@add_clock_options
@click.option(
    "--on-missing",
    type=click.Choice(["fail", "skip"]),
    help="When videos are missing: list them and stop, or run the others [default: fail for published benchmarks; baselines need no video].",
)
@click.option("--features", metavar="STORE", help="Output of `prospect data features`: a folder or s3://bucket/path.")
@worker_options
@add_served_model_options
@click.option("--teacher-forced", is_flag=True, help="Also run a diagnostic pass over the reference's own context.")
@click.option(
    "--latency",
    type=click.IntRange(min=1),
    metavar="N",
    help="Also measure latency in a frame-by-frame pass over N episodes.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be replayed and the estimated time, then exit.")
@json_option
def run_command(dry_run: bool, json_: str | None, **given: Any) -> None:
    """Replay a split through a model, score the predictions and write the report.

    After an interruption, run the same command again to continue.
    """
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
    predictor, timing = take_predictor_options(given), take_clock_settings(given)
    return EvaluationOptions(
        strategy=strategy,
        protocol=protocol,
        predictor=predictor,
        workers=given.pop("pool_options"),
        latency_episodes=given.pop("latency"),
        timing=timing,
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
@click.option("--ckpt", required=True, help="Checkpoint folder to store the thresholds in, hf:NAME or endpoint:MODEL.")
@add_data_options
@add_served_model_options
@click.option("--force", is_flag=True, help="Allow test data; the checkpoint and its reports are marked.")
def calibrate_command(ckpt: str, force: bool, **given: Any) -> None:
    """Choose the thresholds of a checkpoint on validation data.

    Stores the speaking and the update threshold in the checkpoint, and the mistake threshold of a model with a
    mistake head. Without dialogue in the data, the speaking threshold is kept. For hf:NAME and endpoint:MODEL, prints
    the speaking threshold to pass to run.
    """
    from prospect_core.checkpoints.folders import SHIPPED, find_checkpoint_folder
    from prospect_core.checkpoints.thresholds import make_thresholds_entry
    from prospect_core.train.validation import settle_validation_thresholds
    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.json_io import dump_json, read_json
    from prospect_eval.analysis import thresholds
    from prospect_eval.runs.executor import select_run_episodes

    split = given["split"] or "val"
    if split.startswith("test") and not force:
        raise UserError(
            f"--split {split}: choose thresholds on validation data, not on test data (--force allows it and marks the"
            " checkpoint)"
        )
    chat = ckpt.startswith(("hf:", "endpoint:"))
    if not chat and find_checkpoint_folder(ckpt).resolve().parent == SHIPPED.resolve():
        raise UserError(
            f"--ckpt {ckpt}: released checkpoints keep their thresholds; calibrate a copy of {find_checkpoint_folder(ckpt)}"
        )
    _, dataset = open_source_from_options(given["data"], given["suite"], split)
    episodes = select_run_episodes(dataset, split, given["limit"])
    asked = take_predictor_options(given)
    if chat:
        _calibrate_chat_model(ckpt, dataset, episodes, asked)
        return
    first = _own_thresholds(ckpt, dataset, episodes, asked)

    def replay_all(now: tuple[float, float]) -> list[EpisodeRecord]:
        return _replay_all(ckpt, dataset, episodes, replace(asked, speaking_threshold=now[0], update_threshold=now[1]))

    chosen = settle_validation_thresholds(replay_all, first, thresholds, click.echo)
    file = find_checkpoint_folder(ckpt) / "config.json"
    stored = make_thresholds_entry(chosen, dataset, split)
    write_atomic(file, dump_json(read_json(file) | stored, indent=2) + "\n")
    mistake = "" if chosen.mistake is None else f", mistake {chosen.mistake:.2f}"
    print_line(
        f"{file}: speaking {chosen.speaking:.2f}, update {chosen.update:.2f}{mistake}, chosen on"
        f" {stored['thresholds_data']}"
    )


def _own_thresholds(
    ckpt: str, dataset: Dataset, episodes: LazyEpisodes, asked: PredictorOptions
) -> tuple[float, float]:
    """Return a checkpoint's own (speaking, update) thresholds."""
    from prospect_eval.models.registry import open_registered_predictor

    knobs = open_registered_predictor(ckpt, dataset, episodes, asked).knobs
    return knobs.speaking_threshold, knobs.update_threshold


def _replay_all(ckpt: str, dataset: Dataset, episodes: LazyEpisodes, asked: PredictorOptions) -> list[EpisodeRecord]:
    from prospect_eval.models.registry import open_registered_predictor

    predictor = open_registered_predictor(ckpt, dataset, episodes, asked)
    records = []
    with progress_bar("replay") as advance:
        for done, (_, result) in enumerate(predictor.predict(episodes), 1):
            if isinstance(result, DataError):
                raise result
            records.append(result[0])
            advance(done, len(episodes))
    return records


def _calibrate_chat_model(ckpt: str, dataset: Dataset, episodes: LazyEpisodes, asked: PredictorOptions) -> None:
    from prospect_eval.analysis.thresholds import choose_speaking_threshold

    with TemporaryDirectory() as folder:
        # the rounds share the replies of a server
        shared = replace(asked, response_folder=Path(folder))
        speaking = choose_speaking_threshold(
            lambda now: _replay_all(ckpt, dataset, episodes, replace(shared, speaking_threshold=now)), click.echo
        )
    print_line(f"{ckpt}: run it with --speaking-threshold {speaking:.2f}")

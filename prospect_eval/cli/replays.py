"""Commands that replay a model: run, calibrate.

prospect-eval run --ckpt workbench-tiny --suite workbench
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

from prospect_core.cli.worker_options import worker_options
from prospect_core.parallel.protocol import WorkerOptions
from prospect_core.parallel.scheduler import WorkerTally
from prospect_core.records import AskedDtype, Knobs
from prospect_core.stream import STREAMS
from prospect_core.util.console import Number, counted, json_option, progress_bar, progress_bars, say
from prospect_core.util.errors import DataError, UserError
from prospect_eval.cli.options import data_options, endpoint_options, open_asked, open_source
from prospect_eval.cli.scores import score_and_report


@click.command("run")
@click.option(
    "--ckpt", required=True, help="A checkpoint folder, a shipped name, baseline:NAME, hf:NAME or endpoint:MODEL."
)
@data_options
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
    "--streams",
    type=click.IntRange(min=1),
    default=STREAMS,
    show_default=True,
    help="Episodes replayed at once; changes no number.",
)
@click.option("--features", metavar="STORE", help="What `prospect data features` has made, a folder or s3://... .")
@worker_options
@click.option("--endpoint", metavar="URL", help="Of endpoint:MODEL, as in http://127.0.0.1:8000/v1.")
@endpoint_options
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
def run_command(
    ckpt: str,
    data: Path | None,
    suite: str | None,
    split: str | None,
    limit: int | None,
    device: str,
    dtype: AskedDtype,
    strategy: str | None,
    budget: int | None,
    cache_dtype: Literal["model", "int8", "fp8"],
    speaking_threshold: float | None,
    update_threshold: float | None,
    output: Path | None,
    on_error: str,
    streams: int,
    features: str | None,
    endpoint: str | None,
    timeout: float,
    key_variable: str,
    request_options: dict[str, Any],
    frames_shown: int | None,
    teacher_forced: bool,
    latency: int | None,
    dry_run: bool,
    json_: str | None,
    pool_options: WorkerOptions | None,
) -> None:
    """Replay a test split through a model, score it and write the report. Starting it again goes on."""
    from prospect_eval.diagnostics.latency import read_latency, store_latency
    from prospect_eval.diagnostics.passes import latency_pass, require_own_model, teacher_forced_pass
    from prospect_eval.models.base import PredictorOptions
    from prospect_eval.models.registry import open_predictor
    from prospect_eval.runs.distributed import replay_distributed
    from prospect_eval.runs.environment import code_digest
    from prospect_eval.runs.executor import infer, select
    from prospect_eval.runs.folder import RunConfig, held, read_records

    chosen = open_asked(suite)
    split = split or chosen.split
    source, dataset = open_source(data, suite, split)
    episodes = select(dataset, split, limit)
    asked = PredictorOptions(
        strategy or chosen.strategies[0],
        budget,
        speaking_threshold,
        update_threshold,
        device,
        streams,
        cache_dtype,
        endpoint,
        timeout,
        key_variable,
        features,
        frames_shown,
        dtype,
        request_options,
    )
    distributed = pool_options is not None and not (teacher_forced or latency or dry_run)
    predictor = open_predictor(ckpt, dataset, episodes, replace(asked, distributed=distributed))
    for option, wanted in (("--teacher-forced", teacher_forced), ("--latency", latency)):
        if wanted:
            require_own_model(predictor, option)
    knobs = predictor.knobs
    config = RunConfig(
        ckpt, predictor.digest, source, dataset.digest, split, limit, knobs, code_digest(),
        predictor.thresholds_from, suite or "",
    )  # fmt: skip
    folder = output or Path("runs") / _run_name(ckpt, Path(suite).stem if suite else dataset.info.name, knobs)
    if dry_run:
        from prospect_eval.cli.dry_run import plan_run

        for line in plan_run(folder, predictor, episodes, 1 if pool_options is None else pool_options.workers):
            say(line)
        return
    begin = time.monotonic()
    with held(folder):
        shares: dict[int, WorkerTally] = {}
        with progress_bars() as advance:

            def report(now: dict[int, WorkerTally]) -> None:
                shares.update(now)
                for number, share in now.items():
                    advance(f"worker {number} on {share.host}", share.jobs, None)

            replay = (
                None
                if pool_options is None
                else replay_distributed(config, dataset.root, asked, on_error, folder, episodes, pool_options, report)
            )
            outcome = infer(folder, config, predictor, episodes, on_error, partial(advance, "replay"), replay)
        seconds = time.monotonic() - begin
        say(
            f"{counted(outcome.new, 'episode')} replayed in {seconds:.0f} s, {outcome.reused} reused, {outcome.failed} failed"
        )
        for number, share in shares.items():
            say(
                f"  worker {number} on {share.host}: {counted(share.jobs, 'episode')}, {60 * share.jobs / seconds:.1f} a minute"
            )
        if teacher_forced or latency:
            good = [record.episode for record in read_records(folder)[1] if record.status == "ok"]
            if teacher_forced:
                with progress_bar("teacher-forced") as forced:
                    teacher_forced_pass(folder, predictor, good, forced)
            if latency:
                with progress_bar("plain pass") as plain:
                    latency_pass(folder, predictor, good, latency, plain)
        if not read_latency(folder):
            store_latency(folder, [])
        score_and_report(folder, json_=json_)


def _run_name(ckpt: str, data: str, knobs: Knobs) -> str:
    base = Path(ckpt.replace(":", "-")).name
    stored: list[str] = [] if knobs.cache_dtype == "model" else [knobs.cache_dtype]
    stored += [] if knobs.dtype == "float32" else [knobs.dtype]
    return "-".join([base, data, knobs.strategy, *([str(knobs.budget)] if knobs.budget else []), *stored])


@click.command("calibrate")
@click.option("--ckpt", required=True, help="The checkpoint folder whose thresholds are chosen.")
@data_options
@click.option("--force", is_flag=True, help="Choose on test data all the same; the checkpoint says so from then on.")
def calibrate_command(
    ckpt: str,
    data: Path | None,
    suite: str | None,
    split: str | None,
    limit: int | None,
    device: str,
    dtype: AskedDtype,
    force: bool,
) -> None:
    """Choose the speaking and update thresholds on validation data and store them in the checkpoint."""
    from prospect_core.checkpoints.folders import SHIPPED, find_checkpoint
    from prospect_core.checkpoints.thresholds import stored_thresholds
    from prospect_core.train.validation import settle
    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.json_io import dump, read_json
    from prospect_eval.analysis import thresholds
    from prospect_eval.models.base import PredictorOptions
    from prospect_eval.models.registry import open_predictor
    from prospect_eval.runs.executor import select

    split = split or "val"
    if split.startswith("test") and not force:
        raise UserError(
            f"--split {split}: thresholds are chosen on validation data, never on test data (--force does it and marks"
            " the checkpoint)"
        )
    if find_checkpoint(ckpt).resolve().parent == SHIPPED.resolve():
        raise UserError(
            f"--ckpt {ckpt}: comes with the package, thresholds and all; calibrate a copy of {find_checkpoint(ckpt)}"
        )
    _, dataset = open_source(data, suite, split)
    episodes = select(dataset, split, limit)

    def replay_all(speaking: float, update: float) -> list[Any]:
        asked = PredictorOptions("none", None, speaking, update, device, dtype=dtype)
        predictor = open_predictor(ckpt, dataset, episodes, asked)
        records = []
        with progress_bar("replay") as advance:
            for done, (_, result) in enumerate(predictor.predict(episodes), 1):
                if isinstance(result, DataError):
                    raise result
                records.append(result[0])
                advance(done, len(episodes))
        return records

    first = open_predictor(ckpt, dataset, episodes, PredictorOptions(device=device, dtype=dtype)).knobs
    speaking, update = settle(
        lambda now: replay_all(*now), (first.speaking_threshold, first.update_threshold), thresholds, click.echo
    )
    file = find_checkpoint(ckpt) / "config.json"
    stored = stored_thresholds((speaking, update), dataset, split)
    write_atomic(file, dump(read_json(file) | stored, indent=2) + "\n")
    say(f"{file}: speaking {speaking:.2f}, update {update:.2f}, chosen on {stored['thresholds_data']}")

"""Commands `prospect data features` and `frames`, which encode or decode every video of a dataset once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prospect_core.cli.worker_options import worker_options
from prospect_core.data.frame_format import FRAMINGS, FrameFormat
from prospect_core.features.shard_store import FEATURE_DTYPES
from prospect_core.parallel.protocol import WorkerOptions
from prospect_core.util.console import format_count, print_line, progress_bar
from prospect_core.util.errors import DataError

if TYPE_CHECKING:
    from prospect_core.features.precompute import Encoder


def _store_options(command: Any) -> Any:
    for option in reversed(
        (
            click.argument("root", type=click.Path(path_type=Path)),
            click.option(
                "--output", required=True, metavar="STORE", help="Folder or address (s3://bucket/path) to write to."
            ),
            click.option("--split", "splits", multiple=True, help="Split to process [default: all]. Repeatable."),
            click.option("--dry-run", is_flag=True, help="Print the amount of work and the estimated time, then exit."),
            worker_options,
        )
    ):
        command = option(command)
    return command


@click.command("features")
@_store_options
@click.option(
    "--ckpt",
    required=True,
    help="Vision tower: checkpoint folder, name of a released checkpoint, or SmolVLM2 weights (folder or hub name).",
)
@click.option("--device", default="cpu", show_default=True, help="Torch device, such as cpu or cuda:0.")
@click.option(
    "--tokens-per-frame",
    type=click.IntRange(min=0),
    metavar="N",
    help="Tokens per frame of SmolVLM2 weights, equal to model.tokens_per_frame; 0 for all of the tower's [default: 4].",
)
@click.option(
    "--dtype",
    type=click.Choice(tuple(FEATURE_DTYPES)),
    default="float32",
    show_default=True,
    help="Number format of stored features; float16 and bfloat16 need half the space of float32.",
)
def features_command(
    splits: tuple[str, ...], dry_run: bool, pool_options: WorkerOptions | None, root: Path, **given: Any
) -> None:
    """Encode every video of a dataset once.

    Training reads the features with data.store=STORE, evaluation with --features STORE. After an interruption, run the same command again to continue.
    """
    from prospect_core.features.precompute import Encoder

    encoder = Encoder(
        root.resolve(),
        given["output"],
        given["ckpt"],
        None,
        given["device"],
        str(Path.cwd()),
        given["tokens_per_frame"],
        given["dtype"],
    )
    _encode(encoder, splits, dry_run, pool_options)


@click.command("frames")
@_store_options
@click.option("--size", required=True, type=click.IntRange(8, 2048), help="Side of the square pictures in pixels.")
@click.option(
    "--framing",
    type=click.Choice(FRAMINGS),
    default="squash",
    show_default=True,
    help="How a picture becomes a square; use that of the model to train.",
)
def frames_command(
    splits: tuple[str, ...], dry_run: bool, pool_options: WorkerOptions | None, root: Path, **given: Any
) -> None:
    """Decode every video of a dataset once, to train vision towers.

    Training reads the frames with data.store=STORE. After an interruption, run the same command again to continue.
    """
    from prospect_core.features.precompute import Encoder

    shape = FrameFormat(given["size"], given["framing"])
    _encode(
        Encoder(root.resolve(), given["output"], None, shape, "cpu", str(Path.cwd())), splits, dry_run, pool_options
    )


def _encode(encoder: Encoder, wanted: tuple[str, ...], dry_run: bool, pool_options: WorkerOptions | None) -> None:
    from prospect_core.data.dataset import Dataset
    from prospect_core.features.precompute import (
        plan_feature_precompute,
        precompute_features,
        require_precompute_splits,
    )
    from prospect_core.util.console import quiet_transformers

    quiet_transformers()
    dataset = Dataset.open(encoder.root)
    splits = require_precompute_splits(dataset, wanted)
    if dry_run:
        for line in plan_feature_precompute(
            encoder, dataset, splits, 1 if pool_options is None else pool_options.workers
        ):
            print_line(line)
        return
    with progress_bar("videos") as advance:
        new, found, problems = precompute_features(encoder, dataset, splits, pool_options, advance)
    print_line(f"{encoder.url}: {format_count(new, 'video')} written, {found} present before")
    for problem in problems:
        print_line(problem, err=True)
    if problems:
        raise DataError(
            f"{format_count(len(problems), 'video')} failed; repair the files above and run the command again"
        )

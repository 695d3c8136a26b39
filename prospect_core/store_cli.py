"""Command lines of stores: every video of a dataset decoded, or encoded, once for all.

prospect data features --help
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prospect_core.crew import Hands
from prospect_core.crew.options import crew_options
from prospect_core.errors import DataError
from prospect_core.framing import FRAMINGS, FrameFormat, Framing
from prospect_core.terminal import counted, progress_bar, say


def _store_options(command: Any) -> Any:
    for option in reversed(
        (
            click.argument("root", type=click.Path(path_type=Path)),
            click.option(
                "--output", required=True, metavar="STORE", help="A folder, or an address such as s3://bucket/x."
            ),
            click.option("--split", "splits", multiple=True, help="Only of this split; may be given again."),
            click.option("--dry-run", is_flag=True, help="Tell how much there is to do and about how long it takes."),
            crew_options,
        )
    ):
        command = option(command)
    return command


@click.command()
@_store_options
@click.option("--ckpt", required=True, help="Whose vision tower: a checkpoint folder or a shipped name.")
@click.option("--device", default="cpu", show_default=True, help="Torch device.")
def features(
    root: Path, output: str, splits: tuple[str, ...], ckpt: str, device: str, dry_run: bool, hands: Hands | None
) -> None:
    """Encode every video of a dataset once, for training (data.store=STORE) and evaluation (--features STORE). Started again
    it goes on."""
    _encode(root, output, splits, ckpt, None, device, dry_run, hands)


@click.command()
@_store_options
@click.option("--size", required=True, type=click.IntRange(8, 2048), help="Side of the square pictures.")
@click.option(
    "--framing",
    type=click.Choice(FRAMINGS),
    default="squash",
    show_default=True,
    help="How pictures become squares: that of the model that will be trained.",
)
def frames(
    root: Path, output: str, splits: tuple[str, ...], size: int, framing: Framing, dry_run: bool, hands: Hands | None
) -> None:
    """Decode every video of a dataset once, for training of vision towers (data.store=STORE). Started again it goes on."""
    _encode(root, output, splits, None, FrameFormat(size, framing), "cpu", dry_run, hands)


def _encode(
    root: Path,
    url: str,
    wanted: tuple[str, ...],
    ckpt: str | None,
    shape: FrameFormat | None,
    device: str,
    dry_run: bool,
    hands: Hands | None,
) -> None:
    from prospect_core.data.dataset import Dataset
    from prospect_core.data.encode import Encoder, encode, plan, refuse_splits
    from prospect_core.terminal import quiet_transformers

    quiet_transformers()
    dataset = Dataset.open(root)
    encoder = Encoder(root.resolve(), url, ckpt, shape, device, str(Path.cwd()))
    splits = refuse_splits(dataset, wanted)
    if dry_run:
        for line in plan(encoder, dataset, splits, 1 if hands is None else hands.workers):
            say(line)
        return
    with progress_bar("videos") as advance:
        new, found, problems = encode(encoder, dataset, splits, hands, advance)
    say(f"{url}: {counted(new, 'video')} made, {found} there before")
    for problem in problems:
        say(problem, err=True)
    if problems:
        raise DataError(f"{len(problems)} video(s) could not be made; mend them and start again")

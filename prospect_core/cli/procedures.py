"""Command `prospect data procedures`: datasets of published step annotations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from prospect_core.cli.generators import describe_generator_splits
from prospect_core.util.console import Number, format_count, json_option, print_json_option, print_line


@click.command("procedures")
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Dataset folder to create.")
@click.option(
    "--split-by",
    metavar="NAME",
    help="CaptainCook4D: recordings, person, environment or recipes [default: recordings].",
)
@click.option(
    "--recordings",
    metavar="NAME",
    help="CaptainCook4D: combined, or normal for those without errors [default: combined].",
)
@click.option("--level", metavar="NAME", help="Ego4D Goal-Step: steps or substeps [default: steps].")
@click.option(
    "--set",
    "message_set",
    metavar="NAME",
    help="Qualcomm Interactive Cooking: main or advanced_planning [default: main].",
)
@click.option(
    "--captaincook4d",
    type=click.Path(path_type=Path),
    help="Qualcomm Interactive Cooking: folder of CaptainCook4D, for its steps and videos.",
)
@click.option("--fps", type=Number(min=0.1, max=60), default=1, show_default=True, help="Decision frames per second.")
@json_option
def procedures_command(root: Path, output: Path, fps: float, json_: str | None, **given: Any) -> None:
    """Make a dataset of the published step annotations in ROOT.

    ROOT is the folder of CaptainCook4D, Ego4D Goal-Step or Qualcomm Interactive Cooking. The videos are not copied and can
    be absent. The command prints the counts of everything that it read; --json gives them for each recording.
    """
    from prospect_core.data.procedures.procedure_import import ProcedureChoices, read_published_procedures
    from prospect_core.data.procedures.published_rows import LEFT_OUT_ROWS, write_published_rows

    rows = read_published_procedures(root, ProcedureChoices(**given), fps)
    dataset = write_published_rows(rows, output, digest_videos=True)
    if not print_json_option(json_, lambda: rows.counts):
        return
    for line in _describe_counts(rows.counts["totals"]):
        print_line(line)
    missing = [video for video, digest in dataset.info.videos.items() if digest is None]
    print_line(f"{output}: {describe_generator_splits(dataset)}; videos in {rows.videos_root}")
    if missing:
        print_line(
            f"{format_count(len(missing), 'video')} missing; put each at its path: {rows.videos_root / missing[0]} ..."
        )
    if rows.left_out:
        first = rows.left_out[0]
        print_line(
            f"{len(rows.left_out)} left out, the first: {first.id} {first.why}; full list in {output / LEFT_OUT_ROWS}"
        )


def _describe_counts(totals: Mapping[str, Any]) -> list[str]:
    """Return one line for each count."""
    lines = []
    for name, value in totals.items():
        if isinstance(value, Mapping):
            shown = ", ".join(f"{key} {number:,}" for key, number in value.items())
        else:
            shown = f"{value:,.3f}" if isinstance(value, float) else f"{value:,}"
        lines.append(f"{name.replace('_', ' ')}: {shown}")
    return lines

"""The command that writes runs in other formats: export.

prospect-eval export runs/first --format proassist --output proassist
"""

from __future__ import annotations

from pathlib import Path

import click

from prospect_core.util.console import format_count, print_line, progress_bar
from prospect_core.util.errors import UserError


@click.command("export")
@click.argument("folder", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["proassist", "mp4"]),
    required=True,
    help="proassist: ProAssist's result folders; mp4: annotated videos with subtitles.",
)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder to create.")
@click.option(
    "--similarity",
    help="Sentence-transformers model (folder or cached name) for the stored pairs [default: that of the last scoring].",
)
def export_command(folder: Path, format_: str, output: Path, similarity: str | None) -> None:
    """Export a RUN as ProAssist's evaluation folders or as annotated videos.

    ProAssist's evaluator reads the folders, one per dataset, and `prospect-eval score` reads them back without changes.
    The videos show step states, predicted and reference turns next to the frames; they need the run's data.
    """
    if format_ == "mp4":
        _export_videos(folder, output)
        return
    from prospect_eval.metrics.resources import make_scoring_resources
    from prospect_eval.proassist.export import export_proassist
    from prospect_eval.runs.folder import read_run_folder_records
    from prospect_eval.runs.schemas import read_similarity_schema

    records = read_run_folder_records(folder)[1]
    resources = make_scoring_resources(similarity or read_similarity_schema(folder))
    for one in export_proassist(records, output, resources.similarity):
        print_line(f"{one.folder}: {format_count(one.streams, 'stream')}")


def _export_videos(folder: Path, output: Path) -> None:
    from prospect_eval.runs.annotated_video import annotate_run_videos
    from prospect_eval.runs.folder import read_run_folder_records
    from prospect_eval.suites.suite import open_suite_data

    config, records = read_run_folder_records(folder)
    if not config.data:
        raise UserError(
            f"{folder}: has no videos, because it was scored without data; score it again with --data FOLDER"
        )
    with progress_bar("videos") as advance:
        made = annotate_run_videos(records, open_suite_data(config.data, config.split), output, advance)
    print_line(f"{output}: {format_count(len(made), 'video')}")

"""Runs written in the formats of others.

prospect-eval export runs/first --format proassist --output proassist
"""

from __future__ import annotations

from pathlib import Path

import click

from prospect_core.terminal import counted, progress_bar, say


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--format", "format_", type=click.Choice(["proassist"]), required=True, help="The format to write.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="A folder that does not exist yet.")
@click.option(
    "--similarity",
    help="A sentence-transformers folder or cached name for the stored pairs [default: that of the last scoring].",
)
def export(folder: Path, format_: str, output: Path, similarity: str | None) -> None:
    """Write the predictions of a RUN as the evaluation folders of ProAssist, one a data set.

    Its evaluator reads them, and `prospect-eval score` reads them back equal.
    """
    from prospect_eval.derived import similarity_model
    from prospect_eval.proassist.export import export_proassist
    from prospect_eval.run import read_records
    from prospect_eval.tools import make_tools

    records = read_records(folder)[1]
    tools = make_tools(similarity or similarity_model(folder))
    with progress_bar("export") as advance:
        exported = export_proassist(records, output, tools.similarity)
        advance(1, 1)
    for one in exported:
        say(f"{one.folder}: {counted(one.streams, 'stream')}")

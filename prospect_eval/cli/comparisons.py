"""Commands that compare scored runs: compare, leaderboard, noise-floor, pareto, sensitivity.

prospect-eval compare runs/first runs/second
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prospect_core.util.console import Number, format_count, json_option, print_json_option, print_line, progress_bar
from prospect_core.util.errors import DataError, UserError
from prospect_eval.cli.comparison_tables import (
    print_comparison_table,
    print_group_comparison_table,
    print_leaderboard_comparison_table,
)
from prospect_eval.cli.tables import print_episode_changes_table, print_pareto_front_table, print_sensitivity_table

intersect_option = click.option("--intersect", is_flag=True, help="Compare only the episodes that all runs share.")


@click.command("compare")
@click.argument("first", required=False, type=click.Path(path_type=Path))
@click.argument("others", nargs=-1, type=click.Path(path_type=Path), metavar="SECOND [THIRD...]")
@click.option(
    "--group",
    "groups",
    multiple=True,
    help="Runs of one recipe with different training seeds: A1,A2,... Give it twice.",
)
@click.option("--all", "every", is_flag=True, help="Show every metric, not only the tested ones.")
@click.option(
    "--episodes",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="Number of most changed episodes to list.",
)
@intersect_option
@click.option("--markdown", type=click.Path(path_type=Path), help="Also write a Markdown table to this file.")
@json_option
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    help="Also write an HTML page with the timelines of the changed episodes.",
)
def compare_command(
    first: Path | None,
    others: tuple[Path, ...],
    groups: tuple[str, ...],
    every: bool,
    episodes: int,
    intersect: bool,
    markdown: Path | None,
    json_: str | None,
    html: Path | None,
) -> None:
    """Compare scored runs with the FIRST one: paired differences over the same episodes.

    The suite's headline metrics are tested, with p values corrected for their number. All other metrics are exploratory.
    """
    if groups:
        if first is not None or markdown or html:
            raise UserError("compare --group takes no other run, --markdown or --html; remove them")
        _compare_groups(groups, intersect, json_)
        return
    if first is None or not others:
        raise UserError("compare needs at least two scored run folders, or --group twice")
    from dataclasses import replace

    from prospect_core.util.atomic import write_atomic
    from prospect_eval.analysis.compare import compare_runs_json
    from prospect_eval.analysis.compare_formats import format_compare_markdown
    from prospect_eval.analysis.episode_diff import diff_episodes
    from prospect_eval.api import compare
    from prospect_eval.metrics.resources import make_scoring_resources
    from prospect_eval.report.pages.compare_page import write_compare_page
    from prospect_eval.scoring.run_resources import open_run_resources

    # only the most changed episodes need the similarity model, to match their utterances again
    resources = open_run_resources(first, *others) if episodes or html else make_scoring_resources()
    compared = compare(first, *others, intersect=intersect, resources=resources)
    found = [
        replace(one, episodes=tuple(diff_episodes(first, other, resources, episodes) if episodes else ()))
        for one, other in zip(compared, others, strict=True)
    ]
    if print_json_option(json_, lambda: {"schema": 2, "comparisons": [*map(compare_runs_json, found)]}):
        for one in found:
            print_comparison_table(one, every)
            print_episode_changes_table(one.episodes)
    for file, write in (
        (markdown, lambda path: write_atomic(path, "\n".join(map(format_compare_markdown, found)))),
        (html, lambda path: write_compare_page(path, found, resources)),
    ):
        if file is not None:
            try:
                write(file)
            except OSError as error:
                raise DataError(f"{file}: cannot be written ({error.strerror})") from error


def _compare_groups(groups: tuple[str, ...], intersect: bool, json_: str | None) -> None:
    from dataclasses import asdict

    from prospect_eval.analysis.seeds import compare_seed_groups
    from prospect_eval.metrics import all_metrics
    from prospect_eval.metrics.resources import make_scoring_resources

    if len(groups) != 2:
        raise UserError(
            f"--group given {format_count(len(groups), 'time')}; give it twice, each with a list of run folders"
        )
    sides = [[Path(name) for name in group.split(",") if name] for group in groups]
    found = compare_seed_groups(sides[0], sides[1], all_metrics(make_scoring_resources()), intersect)
    if print_json_option(
        json_, lambda: {"schema": 1, "groups": list(groups), "differences": [asdict(d) for d in found]}
    ):
        print_group_comparison_table(groups, found)


@click.command("leaderboard")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN RUN...")
@click.option("--by", help="Metric, or with --suite official value, that ranks the runs [default: the suite's first].")
@intersect_option
@click.option("--suite", help="Published benchmark whose official numbers rank RUNs and published result files.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of the benchmark's annotations, needed for published files with --suite.",
)
@click.option(
    "--constant", metavar="NAME", help="With --suite: also test each model against this constant answer (p by Holm)."
)
@json_option
def leaderboard_command(
    runs: tuple[Path, ...], by: str | None, intersect: bool, suite: str | None, json_: str | None, **given: Any
) -> None:
    """Rank scored runs over the same episodes and test which are worse than the best.

    The differences from the best run are tested on the ranking metric, with p values corrected for their number. With
    --suite the best constant answer is ranked, too.
    """
    from dataclasses import asdict

    if suite is not None:
        _rank_officially(runs, suite, by, json_, given)
        return
    if given["data"] is not None:
        raise UserError("--data is the folder of a published benchmark: give --suite NAME too")
    if given["constant"] is not None:
        raise UserError("--constant is a constant answer of a published benchmark: give --suite NAME too")

    from prospect_eval.analysis.leaderboard import make_leaderboard
    from prospect_eval.metrics import all_metrics
    from prospect_eval.metrics.resources import make_scoring_resources

    result = make_leaderboard(runs, all_metrics(make_scoring_resources()), by, intersect)
    if print_json_option(json_, lambda: asdict(result)):
        print_leaderboard_comparison_table(result)


def _rank_officially(
    paths: tuple[Path, ...], suite: str, by: str | None, json_: str | None, given: dict[str, Any]
) -> None:
    from dataclasses import asdict

    from prospect_eval.analysis.official_leaderboard import make_official_leaderboard
    from prospect_eval.cli.official_tables import print_official_leaderboard

    board = make_official_leaderboard(suite, given["data"], paths, by, given["constant"])
    if print_json_option(json_, lambda: asdict(board)):
        print_official_leaderboard(board)


@click.command("noise-floor")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN RUN...")
@click.option(
    "--seeds", is_flag=True, help="Accept runs of different models: trainings of one recipe with different seeds."
)
@json_option
def noise_floor_command(runs: tuple[Path, ...], seeds: bool, json_: str | None) -> None:
    """Print the largest difference per metric between repeated runs of the same model (A/A test).

    A smaller difference between two models is noise.
    """
    from prospect_eval.analysis.compare import compare_noise_floors
    from prospect_eval.metrics import all_metrics
    from prospect_eval.metrics.resources import make_scoring_resources

    floors = compare_noise_floors(runs, all_metrics(make_scoring_resources()), seeds)
    if print_json_option(json_, lambda: floors):
        for name, floor in floors.items():
            print_line(f"{name} {floor:.6g}")


@click.command("pareto")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option("--quality", default="dst_head_jga", show_default=True, help="Quality metric, of which higher is better.")
@intersect_option
@json_option
def pareto_command(runs: tuple[Path, ...], quality: str, intersect: bool, json_: str | None) -> None:
    """Show the Pareto front of runs: quality against bytes of cache, over strategies and budgets."""
    from dataclasses import asdict

    from prospect_eval.analysis.pareto_front import pareto_front as quality_memory
    from prospect_eval.metrics import all_metrics
    from prospect_eval.metrics.resources import make_scoring_resources

    metrics = all_metrics(make_scoring_resources()) if intersect else []
    result = quality_memory(runs, quality, metrics, intersect)
    if print_json_option(json_, lambda: {**result, "points": [asdict(point) for point in result["points"]]}):
        print_pareto_front_table(result)


@click.command("sensitivity")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--similarity",
    multiple=True,
    metavar="MODEL",
    help="Sentence-transformers model (folder or cached name) to add to all-MiniLM-L6-v2. Repeatable.",
)
@click.option(
    "--threshold",
    type=Number(-1, 1),
    multiple=True,
    default=(0.4, 0.5, 0.6),
    show_default=True,
    help="Cosine above which a matched pair is correct. Repeatable.",
)
@click.option(
    "--window",
    type=Number(min=0, min_open=True),
    multiple=True,
    default=(0.5, 1.0, 2.0),
    show_default=True,
    help="Factor on the matching window of the dataset. Repeatable.",
)
@json_option
def sensitivity_command(
    runs: tuple[Path, ...],
    similarity: tuple[str, ...],
    threshold: tuple[float, ...],
    window: tuple[float, ...],
    json_: str | None,
) -> None:
    """Show how scores and ranking of runs depend on the matching parameters.

    Computes matched_f1 and content_accuracy for every combination of similarity model, threshold and window over the episodes that all runs share. Changes no
    run folder and downloads no model.
    """
    from prospect_eval.analysis.sensitivity import matching_sensitivity as score_settings

    with progress_bar("settings") as advance:
        result = score_settings(runs, similarity, threshold, window, advance)
    if print_json_option(json_, result.plain):
        print_sensitivity_table(result)

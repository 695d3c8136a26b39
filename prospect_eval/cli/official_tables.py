"""Official numbers of published benchmarks in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prospect_core.util.console import make_console, print_json_option, print_line
from prospect_core.util.errors import UserError
from prospect_eval.cli.comparison_tables import make_comparison_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prospect_eval.analysis.official_leaderboard import OfficialLeaderboard, OfficialPlace
    from prospect_eval.suites.official_intervals import OfficialDifference

#: width of a table when the output is not a terminal
WIDTH = 110


def print_official_table(official: dict[str, Any], every: bool = True) -> None:
    """Print official values and the best constant answer of each.

    Args:
        official: Contents of ``official.json``.
        every: Whether to print all values; otherwise only the headline values.
    """
    counts = official["counts"]
    judged = f", judged by {official['judge']}" if official.get("judge") else ""
    title = f"{official['title']}, official numbers ({official['protocol']}{judged})"
    columns = ["official value", "value", "95 % interval", "best constant answer"]
    if official.get("baselines"):
        columns.append("best blind baseline")
    table = make_comparison_table(columns, title)
    for name, entry in official["values"].items():
        if not every and not entry["headline"]:
            continue
        scale = 100 if entry["percent"] else 1
        rivals = [_rival(entry[key], scale) for key in ("best_constant", "best_baseline")[: len(columns) - 3]]
        shown = f"{name} (%)" if entry["percent"] else name
        table.add_row(shown, _number(entry["value"], scale), _interval(entry["ci95"], scale), *rivals)
    console = make_console(highlight=False, unseen=WIDTH)
    console.print(table)
    line = f"{counts['scored']:,} items scored, {counts['missing']:,} missing, {counts['failed']:,} unreadable"
    if official["missing_videos"]:
        line += f"; {official['missing_videos']:,} videos are missing and their items left out"
    console.print(line)
    for note in [*_exploit_notes(official), *official["notes"]]:
        console.print(f"  {note}")


def print_timing_table(official: dict[str, Any]) -> None:
    """Print PROSPECT's timing metrics of published files, if there are any."""
    if not official.get("timing"):
        return
    table = make_comparison_table(("timing metric of PROSPECT", "value", "95 % interval"), "the same files")
    for name, entry in official["timing"].items():
        table.add_row(name, _number(entry["value"], 1), _interval(entry["ci95"], 1))
    make_console(highlight=False, unseen=WIDTH).print(table)


def _rival(best: dict[str, Any] | None, scale: float) -> str:
    return "–" if best is None else f"{best['name']} {_number(best['value'], scale)}"


def _exploit_notes(official: dict[str, Any]) -> list[str]:
    """The first headline value of answers that only use a weakness of the published scorer."""
    known = [(name, e) for name, e in official["values"].items() if e["headline"] and e["best_exploit"] is not None]
    if not known:
        return []
    name, entry = known[0]
    exploit = entry["best_exploit"]
    value = _number(exploit["value"], 100 if entry["percent"] else 1)
    return [f"the published scorer gives {name} {value} to an answer that watches nothing: {exploit['name']}"]


def score_published_files(
    paths: Sequence[Path], suite: str, given: dict[str, Any], output: Path | None, json_: str | None
) -> None:
    """Score published result files of one model and print or write the official numbers.

    Args:
        paths: Result files, or folders with result files.
        suite: Name of the benchmark.
        given: Options of the command, by name.
        output: Folder for ``official.json``; None to write no file.
        json_: Value of the ``--json`` option.

    Raises:
        UserError: The annotations are not given.
    """
    from prospect_eval.scoring.official_scores import score_published_results, write_official_scores

    if given["data"] is None:
        raise UserError(f"--suite {suite}: give --data FOLDER with the benchmark's annotations too")
    scoring = score_published_results(suite, given["data"], paths, given["model"])
    official = scoring.plain() if output is None else write_official_scores(output, scoring)
    if print_json_option(json_, lambda: official):
        print_official_table(official)
        print_timing_table(official)


def print_official_leaderboard(board: OfficialLeaderboard) -> None:
    """Print the models, the best first, with tests against the best one."""
    unit = " (%)" if board.percent else ""
    columns = ["model", *(f"{name}{unit}" for name in board.values), "p (Holm)", "against the best"]
    if board.constant:
        columns += ["p (Holm)", f"against {board.constant}"]
    table = make_comparison_table(columns, f"{board.benchmark}, by {board.values[0]}")
    for place in board.places:
        cells = _place_cells(place, board.values, 100 if board.percent else 1)
        table.add_row(*cells, *(_difference_cells(place.against_constant) if board.constant else ()))
    console = make_console(highlight=False, unseen=150)
    console.print(table)
    if board.beaten:
        console.print(f"below the best constant answer: {', '.join(board.beaten)}")
    for note in board.notes:
        console.print(note)


def _place_cells(place: OfficialPlace, values: Sequence[str], scale: float) -> list[str]:
    cells = [_number(place.intervals[name].point, scale) for name in values]
    cells[0] += f" {_interval(place.intervals[values[0]].ci95, scale)}"
    first = next((d for d in place.against_best if d.value == values[0]), None)
    if first is None:
        return [place.name, *cells, "–", "best"]
    return [place.name, *cells, *_difference_cells(first)]


def _difference_cells(difference: OfficialDifference | None) -> list[str]:
    """Return p value and verdict of a difference."""
    if difference is None:
        return ["–", "–"]
    p = "–" if difference.p is None else f"{difference.p:.3f}"
    note = f": {difference.note}" if difference.note else ""
    return [p, f"{difference.verdict}{note}"]


def _number(value: float | None, scale: float) -> str:
    if value is None:
        return "–"
    return f"{value * scale:.2f}" if scale == 100 else f"{value:.4g}"


def _interval(ends: Sequence[float] | None, scale: float) -> str:
    return "" if ends is None else f"[{_number(ends[0], scale)}, {_number(ends[1], scale)}]"


def print_missing_videos(missing: int, total: int) -> None:
    """Print a line with the number of missing videos, if there are any."""
    if missing:
        print_line(f"{missing:,} of {total:,} videos are missing; their episodes are left out (--on-missing skip)")

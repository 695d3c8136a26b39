"""Page of ``compare --html``: differences of runs, and timelines of the most changed episodes.

prospect-eval compare runs/a runs/b --html compare.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prospect_eval.analysis.compare import Comparison
from prospect_eval.analysis.compare_formats import (
    VERDICT_WORDS,
    format_compare_run_names,
    format_compare_summary,
)
from prospect_eval.metrics import Scored, ScoringResources
from prospect_eval.report.episodes import report_episode_data
from prospect_eval.report.page import embed_page_json, write_page
from prospect_eval.report.pages.run_page import collect_run_page_pictures
from prospect_eval.runs.folder import read_run_folder_records

SCRIPTS = ("dom.js", "charts.js", "timeline.js", "compare.js")


def write_compare_page(path: Path, comparisons: Sequence[Comparison], resources: ScoringResources) -> Path:
    """Write the page of comparisons.

    Args:
        path: The file.
        comparisons: The comparisons. Their episodes are read from the run folders.
        resources: Resources for scoring.

    Returns:
        The file.
    """
    pairs, shown = [], []
    for found in comparisons:
        sides = {}
        for run in (found.first, found.second):
            config, records = read_run_folder_records(Path(run))
            wanted = {change.episode for change in found.episodes}
            some = [record for record in records if record.status == "ok" and record.episode.id in wanted]
            shown += some
            sides[run] = {item.record.episode.id: report_episode_data(item) for item in Scored.over(some, resources)}
        pairs.append(_pair(found, sides))
    pictures = collect_run_page_pictures(config, shown)
    shown_names = list(dict.fromkeys(name for pair in pairs for name in pair["names"]))
    title = f"{', '.join(shown_names[1:])} compared with {shown_names[0]}"
    return write_page(
        path, "compare.html.j2", SCRIPTS, {"pairs": pairs, "sheets": list(pictures)}, title=title,
        sheets=[embed_page_json(sheet) for sheet in pictures.values()],
    )  # fmt: skip


def _pair(found: Comparison, sides: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "names": list(format_compare_run_names(found)),
        "differences": [{**asdict(d), "words": VERDICT_WORDS.get(d.verdict, d.verdict)} for d in found.differences],
        "summary": format_compare_summary(found),
        "changes": [
            {"episode": c.episode, "score": c.score, "why": c.why,
             "sides": [sides[run][c.episode] for run in (found.first, found.second)]}
            for c in found.episodes
        ],
    }  # fmt: skip

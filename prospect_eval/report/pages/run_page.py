"""Build ``report.html`` of a run folder: verdict, scores and baselines, charts, episodes over time.

prospect-eval report runs/first
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prospect_core.checkpoints.scope import describe_checkpoint_scope
from prospect_core.checkpoints.thresholds import FORCED
from prospect_core.records import EpisodeRecord
from prospect_core.timeline import STEP_STATES, Episode
from prospect_core.util.errors import UserError
from prospect_core.util.json_io import read_json
from prospect_eval.gate.verdict import decide_run_verdict
from prospect_eval.metrics import Scored, ScoringResources, all_metrics
from prospect_eval.metrics.resources import make_scoring_resources
from prospect_eval.report.episodes import report_episode_data, report_failed_episode_data
from prospect_eval.report.overview import overview_chart_data
from prospect_eval.report.page import embed_page_json, write_page
from prospect_eval.report.thumbnails import make_thumbnail_sheets, select_thumbnail_frames
from prospect_eval.runs.folder import RunConfig
from prospect_eval.runs.metric_tables import (
    best_metric_table_baseline,
    group_metric_table_families,
    metric_table_headlines,
    metric_table_resampled_units,
)
from prospect_eval.runs.schemas import read_run_schema
from prospect_eval.scoring.official_scores import read_official_scores
from prospect_eval.suites.suite import open_suite_data, suite_first_metrics

logger = logging.getLogger(__name__)

SCRIPTS = ("dom.js", "charts.js", "timeline.js", "episodes.js", "report.js")


def write_run_page(
    folder: Path,
    config: RunConfig,
    records: Sequence[EpisodeRecord],
    metrics: dict[str, Any],
    resources: ScoringResources | None = None,
) -> Path:
    """Write the report into the run folder.

    Args:
        folder: The run folder.
        config: Configuration of the run.
        records: Its records.
        metrics: Contents of ``metrics.json`` with the counts.
        resources: Resources for scoring; None for the packaged ones.

    Returns:
        The file.
    """
    resources = resources or make_scoring_resources()
    good = [record for record in records if record.status == "ok"]
    scored = Scored.over(good, resources)
    pictures = collect_run_page_pictures(config, good)
    table = metrics["metrics"]
    headline = metric_table_headlines(table, suite_first_metrics(config.suite))
    data = {
        "episodes": [
            *map(report_episode_data, scored),
            *(report_failed_episode_data(r) for r in records if r.status != "ok"),
        ],
        "sheets": list(pictures),
        "charts": {
            **overview_chart_data(folder, table, good, scored, config.knobs),
            "reliability": metrics.get("reliability"),
            # without reference turns no utterance can be useful
            "utility": metrics.get("utility") if any(record.episode.utterances() for record in good) else None,
        },
        "thresholds": {"speaking": config.knobs.speaking_threshold, "update": config.knobs.update_threshold},
        "confusion": metrics["confusion"],
        "states": [state.replace("_", " ") for state in STEP_STATES],
        "profile": _profile(folder),
    }
    return write_page(
        folder / "report.html", "report.html.j2", SCRIPTS, data,
        sheets=[embed_page_json(sheet) for sheet in pictures.values()],
        config=config,
        environment=read_run_schema(folder)["environment"],
        verdict=decide_run_verdict(folder, metrics, all_metrics(resources)),
        metrics=table,
        baselines=metrics["baselines"],
        baseline_info=metrics.get("baseline_info", {}),
        counts=metrics["episodes"],
        digest=metrics["predictions_digest"],
        families=group_metric_table_families(table, metrics.get("families", {})),
        headline=headline,
        beside={name: _beside(metrics, name) for name in headline},
        without_failed=metrics.get("without_failed", {}),
        failed=[record for record in records if record.status != "ok"],
        undefined=[(name, entry["reason"]) for name, entry in table.items() if entry["value"] is None],
        cut=sum(u.cut for r in good for u in r.utterances),
        unseen=_unseen_lengths(good),
        splits=metrics["splits"],
        units=metric_table_resampled_units(table),
        agreement=metrics["timing_agreement"],
        passes=_passes(folder),
        peeked=_thresholds_peeked(config),
        scope=describe_checkpoint_scope(config.model, [record.episode.dataset for record in records]),
        official=read_official_scores(folder),
    )  # fmt: skip


def _beside(metrics: dict[str, Any], name: str) -> list[tuple[str, float]]:
    """Return the oracle's and the best trivial baseline's value of a metric, if defined."""
    oracle = metrics["baselines"].get("oracle", {}).get(name, {}).get("value")
    out = [] if oracle is None else [("oracle", oracle)]
    best = best_metric_table_baseline(metrics, name)
    return out if best is None else [*out, (best[0].replace("_", " "), best[1])]


def collect_run_page_pictures(config: RunConfig, records: Sequence[EpisodeRecord]) -> dict[str, dict[str, Any]]:
    """Return the thumbnail sheets of the records' videos; empty if the data is not available.

    Args:
        config: Configuration of the run, which names the data.
        records: The records.
    """
    wanted: dict[tuple[str, float], tuple[Episode, set[int]]] = {}
    for record in records:
        episode = record.episode
        turns = [*(u.frame for u in episode.utterances()), *(u.frame for u in record.utterances)]
        _, frames = wanted.setdefault((episode.video, episode.fps), (episode, set()))
        frames |= select_thumbnail_frames(episode, turns)
    try:
        data = open_suite_data(config.data, config.split)
    except (UserError, OSError) as error:
        logger.debug("no pictures: the data cannot be opened", exc_info=error)
        return {}
    return make_thumbnail_sheets(data, wanted)


def _passes(folder: Path) -> list[dict[str, Any]]:
    """Return the tables of the diagnostic passes in the run folder, with explanations."""
    out = []
    for file, title, text in (
        ("timings.json", "Latency and memory",
         "Measured frame by frame as in a live stream, on the hardware named below."),
        ("teacher_forced.json", "Teacher-forced pass",
         "Diagnostic over the reference's own context, where errors never compound; not a score of the stream."),
        ("judge.json", "LLM judge",
         "Grades from 1 to 5, with the agreement of repeated judgments (share of equal pairs, Krippendorff's alpha)."),
    ):  # fmt: skip
        found = read_json(folder / file) if (folder / file).is_file() else {}
        # after a replay only, all latencies are undefined, so the table is left out
        if any(entry["value"] is not None for entry in found.get("metrics", {}).values()):
            beside = found.get("agreement", {})
            more = ["equal", "alpha"] if beside else []
            if file == "judge.json":
                wrong = sum(found["replies"]["unreadable"].values())
                text += f" {wrong} of {found['replies']['asked']} replies of {found['judge']} were unreadable."
            out.append({"title": title, "text": text, "metrics": found["metrics"], "beside": beside, "more": more})
    return out


def _profile(folder: Path) -> list[tuple[str, float, float]]:
    """Return (stage, seconds, share) over all episodes, the largest first; empty without timings."""
    file = folder / "timings.json"
    rows = read_json(file).get("episodes", {}).values() if file.is_file() else ()
    total: dict[str, float] = {}
    for row in rows:
        for stage, seconds in row["stages"].items():
            total[stage] = total.get(stage, 0.0) + seconds
    whole = sum(total.values())
    return [(s, t, t / whole) for s, t in sorted(total.items(), key=lambda item: -item[1])] if whole else []


def _thresholds_peeked(config: RunConfig) -> bool:
    """Return whether the thresholds were chosen on the tested data or on other test data."""
    source, _, mark = config.thresholds_from.partition(" ")
    return f" {mark}" == FORCED or source.endswith(f"/{config.split}/{config.data_digest[:16]}")


def _unseen_lengths(records: Sequence[EpisodeRecord]) -> list[tuple[str, int, int, float]]:
    """Return how often streams exceeded the lengths of training.

    Returns:
        (kind of length, longest in training, number of episodes beyond it, earliest second) of each
        kind.
    """
    found: dict[tuple[str, int], list[float]] = {}
    for record in records:
        for item in record.unseen:
            seconds = (item.frame - record.episode.start_frame) / record.episode.fps
            found.setdefault((item.kind, item.trained), []).append(seconds)
    return [(kind, trained, len(times), min(times)) for (kind, trained), times in found.items()]

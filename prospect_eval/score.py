"""Records to ``metrics.json``: every metric with its interval, the baselines beside it. No model is loaded.

prospect-eval score runs/first
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prospect_core.errors import DataError
from prospect_core.jsonio import dump, write_atomic
from prospect_core.records import EpisodeRecord, predictions_digest
from prospect_eval.baselines import BASELINES, TEXT, baseline
from prospect_eval.metrics import Metric, Scored, Tools, all_metrics
from prospect_eval.tools import default_tools

SCHEMA = 1


def score_records(
    records: Sequence[EpisodeRecord],
    tools: Tools | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """The contents of ``metrics.json``. Failed episodes are counted and not scored; none left is a `DataError`."""
    tools = tools or default_tools()
    good = [record for record in records if record.status == "ok"]
    if not good:
        raise DataError(f"none of {len(records)} episodes could be predicted: {records[0].error}")
    episodes = [record.episode for record in good]
    _encode_texts(good, tools)
    metrics = all_metrics(tools)
    sets = {"": good} | {name: list(map(baseline(name, episodes), episodes)) for name in BASELINES}
    tables: dict[str, dict[str, Any]] = {}
    for done, (name, rows) in enumerate(sets.items(), 1):
        tables[name] = compute(metrics, [Scored(row, tools) for row in rows])
        progress(done, len(sets))
    return {
        "schema": SCHEMA,
        "predictions_digest": predictions_digest(records),
        "episodes": {"scored": len(good), "failed": len(records) - len(good)},
        "metrics": tables.pop(""),
        "baselines": tables,
    }


def compute(metrics: Sequence[Metric], scored: Sequence[Scored]) -> dict[str, Any]:
    """{name: entry} of every metric over these episodes."""
    return {metric.name: metric.compute(scored) for metric in metrics}


def write_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Write ``metrics.json``; the same records give the same bytes."""
    write_atomic(folder / "metrics.json", dump(metrics, indent=1) + "\n")


def _encode_texts(records: Sequence[EpisodeRecord], tools: Tools) -> None:
    """Embed all texts at once, sorted: what a text is batched with must not depend on where a run was resumed."""
    encode = getattr(tools.similarity, "encode", None)
    if encode is not None:
        said = {u.text for r in records for u in r.utterances} | {
            u.text for r in records for u in r.episode.utterances()
        }
        encode(sorted(said | {TEXT}))

"""Records to ``metrics.json``: every metric with its interval, the baselines beside it, and parts. No model is loaded.

    prospect-eval score runs/first

``counts.json`` beside it holds each metric's sufficient counts by video: intervals, paired comparisons and gates follow
from those alone. The baselines know the references and nothing else, so they are kept in the cache folder and taken
from there when the same references are scored again by the same code and tools.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prospect_core.cachedir import cache_dir
from prospect_core.errors import DataError
from prospect_core.jsonio import dump, write_atomic
from prospect_core.records import EpisodeRecord, predictions_digest
from prospect_core.timeline import Episode
from prospect_eval.baselines import BASELINES, TEXT, baseline
from prospect_eval.metrics import Metric, Scored, Tools, all_metrics, timing
from prospect_eval.metrics.answers import KINDS, chance
from prospect_eval.metrics.base import count_videos
from prospect_eval.metrics.dst import confusion_table
from prospect_eval.provenance import code_digest
from prospect_eval.splits import splits
from prospect_eval.statistics import kendall_agreement
from prospect_eval.tools import make_tools

SCHEMA = 1
#: the metrics whose order of systems is held against one another
TIMING = ("speaking_event_f1@1s", "speaking_event_f1@2s", "speaking_event_f1@5s", "speaking_event_area", "matched_f1",
          "chunk_macro_f1@8s", "chunk_g_mean@8s", "sw_f1", "estp_f1_surrogate", "pauc_surrogate")  # fmt: skip
Table = dict[str, dict[str, Any]]


def score_records(
    records: Sequence[EpisodeRecord],
    tools: Tools | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """The contents of ``metrics.json``, with ``counts`` by video beside. Failed episodes are counted and not scored;
    none left is a `DataError`."""
    tools = tools or make_tools()
    good = [record for record in records if record.status == "ok"]
    if not good:
        raise DataError(f"none of {len(records)} episodes could be predicted: {records[0].error}")
    scored = [Scored(record, tools) for record in good]
    _encode_texts(scored, tools)
    episodes = [record.episode for record in good]
    metrics = all_metrics(tools, (text for item in scored for _, text in item.references))
    counts = count_videos(metrics, scored)
    table = {metric.name: metric.entry(counts[metric.name], scored) for metric in metrics}
    for kind in KINDS:
        table[f"answer_accuracy@{kind}"]["chance"] = chance(scored, kind)
    progress(1, 3)
    beside = _baselines(episodes, tools, metrics)
    progress(2, 3)
    parts: dict[str, dict[str, Table]] = {}
    for by, part, chosen, some in splits(scored, metrics):
        parts.setdefault(by, {})[part] = compute(chosen, some)
    progress(3, 3)
    return {
        "schema": SCHEMA,
        "predictions_digest": predictions_digest(records),
        "episodes": {"scored": len(good), "failed": len(records) - len(good)},
        "metrics": table,
        "baselines": beside,
        "splits": parts,
        "timing_agreement": timing_agreement({"this run": table, **beside}),
        "confusion": confusion_table(scored),
        "counts": {
            name: {video: _plain(row) for video, row in zip(of.videos, of.table, strict=True)}
            for name, of in counts.items()
        },
    }


def _plain(row: np.ndarray) -> list[float]:
    return [int(x) if x == int(x) else float(x) for x in row]


def timing_agreement(systems: dict[str, Table]) -> dict[str, Any]:
    """Kendall's tau-b between the timing metrics over systems: the field's metrics do not rank models alike."""
    names = [name for name in TIMING if all(name in table for table in systems.values())]
    scores = np.array([[_number(table[name]["value"]) for table in systems.values()] for name in names])
    tau = kendall_agreement(scores) if names else np.zeros((0, 0))
    rows = {
        name: {other: None if np.isnan(tau[a, b]) else float(tau[a, b]) for b, other in enumerate(names)}
        for a, name in enumerate(names)
    }
    return {"systems": list(systems), "kendall_tau_b": rows}


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _baselines(episodes: Sequence[Episode], tools: Tools, metrics: Sequence[Metric]) -> dict[str, Table]:
    """Every baseline's table, from the cache where the same episodes were scored by the same code and tools."""
    digest = hashlib.sha256(f"{code_digest()}\n".encode())
    for metric in metrics:
        digest.update(f"{metric.signature_text}\n".encode())
    for episode in episodes:
        digest.update(dump(episode).encode())
    file = cache_dir() / "baselines" / f"{digest.hexdigest()[:32]}.json"
    try:
        return dict(json.loads(file.read_bytes()))
    except (OSError, ValueError):
        pass
    tables = {}
    for name in BASELINES:
        rows = [Scored(record, tools) for record in map(baseline(name, episodes), episodes)]
        tables[name] = compute(metrics, rows)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, dump(tables))
    except OSError:
        pass  # a cache that cannot be written is no cache
    return tables


def compute(metrics: Sequence[Metric], scored: Sequence[Scored]) -> Table:
    """{name: entry} of every metric over these episodes."""
    counts = count_videos(metrics, scored)
    return {metric.name: metric.entry(counts[metric.name], scored) for metric in metrics}


def write_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Write ``metrics.json`` and ``counts.json``; the same records give the same bytes."""
    counts = {"schema": SCHEMA, "counts": metrics["counts"]}
    write_atomic(folder / "counts.json", dump(counts) + "\n")
    write_atomic(folder / "metrics.json", dump({k: v for k, v in metrics.items() if k != "counts"}, indent=1) + "\n")


def _encode_texts(scored: Sequence[Scored], tools: Tools) -> None:
    """Embed every text that any metric compares at once."""
    encode = getattr(tools.similarity, "encode", None)
    if encode is None:
        return
    texts = {TEXT} | {text for item in scored for side in (item.predictions, item.references) for _, text in side}
    for item in scored:
        texts |= {text for replies in timing.said_in_spans(item) for _, text in replies}
    encode(sorted(texts))

"""Records to ``metrics.json``: every metric with its interval, the baselines beside it, and parts. No model is loaded.

    prospect-eval score runs/first

``counts.json`` holds each metric's sufficient counts by episode, and the cluster (video) of each episode: intervals,
paired comparisons and gates follow from those alone. Failed and missing episodes count as the worst case (intention to
treat); ``without_failed`` has the values without them. The baselines know the references and nothing else, so they are kept in the cache folder and taken
from there when the same references are scored again by the same code and tools.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from prospect_core.cachedir import cache_dir
from prospect_core.errors import DataError
from prospect_core.jsonio import dump, write_atomic
from prospect_core.records import EpisodeRecord, digest_of_parts
from prospect_core.timeline import Episode
from prospect_eval.baselines import BASELINES, TEXT, baseline
from prospect_eval.counts import EpisodeCounts, Table, compute, jobs, without_failed_alone
from prospect_eval.derived import COUNTS_SCHEMA, packed
from prospect_eval.metrics import Metric, Scored, Tools, all_metrics
from prospect_eval.metrics.answers import KINDS, chance
from prospect_eval.metrics.base import VideoCounts
from prospect_eval.metrics.calibration import DECISIONS, TOLERANCE_S, reliability_diagram, reliability_name
from prospect_eval.metrics.corpus import Corpus
from prospect_eval.metrics.utility import utility_curves, utility_name
from prospect_eval.provenance import code_digest
from prospect_eval.shares import Alone, Outline, Share, Shares, prepare, single_threaded
from prospect_eval.stats.agreement import kendall_agreement
from prospect_eval.tools import make_tools

SCHEMA = 1
#: the metrics whose order of systems is held against one another
TIMING = ("speaking_event_f1@1s", "speaking_event_f1@2s", "speaking_event_f1@5s", "speaking_event_area", "matched_f1",
          "chunk_macro_f1@8s", "chunk_g_mean@8s", "sw_f1", "estp_f1_surrogate", "pauc_surrogate")  # fmt: skip


def score_records(
    records: Sequence[EpisodeRecord],
    tools: Tools | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Score records.

    Args:
        records: Prediction records; failed ones count as the worst case.
        tools: Resources for scoring. Without a corpus of the whole split, that of the records is used.
        progress: Called with (parts done, parts).

    Returns:
        The contents of ``metrics.json``, with the ``clusters`` and ``counts`` of ``counts.json`` and the ``corpus`` of ``corpus.json`` added.

    Raises:
        DataError: All records failed.
    """
    tools = tools or make_tools()
    with single_threaded():
        return score_shares(Alone(Share(records, tools)), tools, lambda: records, progress)


def score_shares(
    shares: Shares,
    tools: Tools,
    records: Callable[[], Sequence[EpisodeRecord]],
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """The same of shares; ``records`` reads them all, which is only wanted where their baselines are not in the cache.
    To be called within `shares.single_threaded`."""
    outlines: list[Outline] = shares.ask("outline")
    source = "split" if tools.corpus else "records"
    corpus = tools.corpus or Corpus.merged(outline.corpus for outline in outlines)
    tools = replace(tools, corpus=corpus)
    labels = sorted(set().union(*(outline.labels for outline in outlines)))
    failed = sorted(episode for outline in outlines for episode in outline.failed)
    found = {episode: digest for outline in outlines for episode, digest in outline.episodes.items()}
    if len(found) == len(failed):
        error = next((outline.error for outline in outlines if outline.error), "no reason is given")
        raise DataError(f"none of {len(failed)} episodes could be predicted: {error}")
    encode = getattr(tools.similarity, "encode", None)
    if encode is not None:
        encode(sorted(set().union({TEXT}, *(outline.texts for outline in outlines))))
    by_episode: dict[str, EpisodeCounts] = {}
    for some in shares.ask("count", corpus, labels):
        by_episode |= some
    progress(1, 3)
    ids = sorted(by_episode)
    counted = without_failed_alone([by_episode[episode] for episode in ids])
    metrics = all_metrics(tools)
    todo = list(jobs(metrics, counted, labels))
    own: Table = {}
    parts: dict[str, dict[str, Table]] = {}
    for job, entry in zip(todo, shares.deal("entries", todo), strict=True):
        table = parts.setdefault(job.place[0], {}).setdefault(job.place[1], {}) if job.place else own
        table[job.metric] = entry
    progress(2, 3)
    for kind in KINDS:
        own[f"answer_accuracy@{kind}"]["chance"] = chance((q for item in counted for q in item.questions), kind)

    def episodes() -> list[Episode]:
        return sorted((r.episode for r in records()), key=lambda episode: episode.id)

    beside = _baselines([found[episode] for episode in sorted(found)], episodes, tools, metrics)
    progress(3, 3)
    counts = {job.metric: job.counts for job in todo if not job.place}
    if any(len(wordings) > 1 for wordings in corpus.references):
        tables = [own, *beside.values(), *(table for by in parts.values() for table in by.values())]
        state_many_references(tables)
    return {
        "schema": SCHEMA,
        "similarity": {"model": tools.similarity_model, "signature": tools.similarity_signature},
        "predictions_digest": digest_of_parts({k: v for outline in outlines for k, v in outline.parts.items()}),
        "episodes": {"scored": len(counted) - len(failed), "failed": len(failed), "failed_ids": failed},
        "metrics": own,
        "without_failed": _values(metrics, [item for item in counted if not item.failed]) if failed else {},
        "baselines": beside,
        "splits": parts,
        "timing_agreement": timing_agreement({"this run": own, **beside}),
        "confusion": confusion_table(counts["dst_macro_f1"]),
        "clusters": {episode: item.video for episode, item in zip(ids, counted, strict=True)},
        "reliability": reliability(counts),
        "utility": utility_curves(counts[utility_name(1)], beside),
        "counts": {
            metric.name: {
                episode: packed(row)
                for episode, item in zip(ids, counted, strict=True)
                if not isinstance(row := item.counts[metric.name, ""], str)
            }
            for metric in metrics
        },
        "corpus": {"source": source, **corpus.plain()},
    }


def _values(metrics: Sequence[Metric], counted: Sequence[EpisodeCounts]) -> dict[str, float | None]:
    """The value of every metric over some episodes."""
    by_name = {metric.name: metric for metric in metrics}
    return {
        job.metric: by_name[job.metric].entry(job.counts, job.samples, intervals=False)["value"]
        for job in jobs(metrics, counted)
        if not job.place
    }


def state_many_references(tables: Sequence[Table]) -> None:
    """Say in the signatures that some references have several wordings: ``nrefs:var``, as sacreBLEU writes it."""
    for entry in (entry for table in tables for entry in table.values()):
        entry["signature"] = entry["signature"].replace("nrefs:1,", "nrefs:var,")


def confusion_table(counts: VideoCounts) -> list[list[int]]:
    """[reference state][predicted state] numbers of (frame, step) pairs over all episodes."""
    total = counts.table.sum(0) if counts.videos else np.zeros(9)
    return [[int(n) for n in row] for row in total.reshape(3, 3)]


def reliability(counts: Mapping[str, VideoCounts]) -> dict[str, Any]:
    """Reliability diagrams of the speaking and the update probability, from the counts by metric."""
    diagrams = {decision: reliability_diagram(counts[reliability_name(decision)]) for decision in DECISIONS}
    return {"tolerance_s": TOLERANCE_S, "bins": diagrams}


def timing_agreement(systems: dict[str, Table]) -> dict[str, Any]:
    """Kendall's tau-b between the timing metrics over systems: different metrics rank systems differently.

    A system whose value of every timing metric equals that of an earlier system is a copy of it (baselines that differ
    only in their states speak alike). Copies are left out, since they would count one system several times.

    Args:
        systems: Tables of metric entries by the system's name.

    Returns:
        ``systems``, the names that count; ``copies``, the system that each copy repeats; ``kendall_tau_b`` by metric
        and metric, None where undefined.
    """
    names = [name for name in TIMING if all(name in table for table in systems.values())]
    rows: dict[tuple[float | None, ...], str] = {}
    copies: dict[str, str] = {}
    for system, table in systems.items():
        values = tuple(table[name]["value"] for name in names)
        first = rows.setdefault(values, system)
        if first != system:
            copies[system] = first
    scores = np.array([[_number(values[k]) for values in rows] for k in range(len(names))])
    tau = kendall_agreement(scores) if names else np.zeros((0, 0))
    agreement = {
        name: {other: None if np.isnan(tau[a, b]) else float(tau[a, b]) for b, other in enumerate(names)}
        for a, name in enumerate(names)
    }
    return {"systems": list(rows.values()), "copies": copies, "kendall_tau_b": agreement}


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _baselines(
    digests: Sequence[str], episodes: Callable[[], list[Episode]], tools: Tools, metrics: Sequence[Metric]
) -> dict[str, Table]:
    """Every baseline's table, from the cache where the same episodes were scored by the same code and tools."""
    digest = hashlib.sha256("\n".join([code_digest(), *(m.signature_text for m in metrics), *digests]).encode())
    file = cache_dir() / "baselines" / f"{digest.hexdigest()[:32]}.json"
    try:
        return dict(json.loads(file.read_bytes()))
    except (OSError, ValueError):
        pass
    tables, references = {}, episodes()
    for name in BASELINES:
        rows = Scored.over(map(baseline(name, references), references), tools)
        prepare(rows, tools)
        tables[name] = compute(metrics, rows)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, dump(tables))
    except OSError:
        pass  # a cache that cannot be written is no cache
    return tables


def write_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Write ``metrics.json`` and ``counts.json``; the same records give the same bytes."""
    apart = ("clusters", "counts")
    counts = {
        "schema": COUNTS_SCHEMA,
        **{key: metrics[key] for key in apart},
        "failed": metrics["episodes"]["failed_ids"],
    }
    write_atomic(folder / "counts.json", dump(counts) + "\n")
    table = {key: value for key, value in metrics.items() if key not in (*apart, "corpus")}
    write_atomic(folder / "metrics.json", dump(table, indent=1) + "\n")

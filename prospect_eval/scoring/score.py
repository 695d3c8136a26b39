"""Score records into ``metrics.json``: metrics with intervals, baselines and parts.

    prospect-eval score runs/first

``counts.json`` holds the sufficient statistics of each metric by episode, those of the baselines
for the headline metrics, and the cluster (video) of each episode. Intervals, paired comparisons and
gates are computed from these. Failed and missing episodes count as the worst case (intention to
treat); ``without_failed`` has the values without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from prospect_core.records import EpisodeRecord, digest_serialized_records
from prospect_core.timeline import Episode
from prospect_core.util.atomic import write_atomic
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import dump_json
from prospect_eval.metrics import Metric, ScoringResources, all_metrics
from prospect_eval.metrics.answers import KINDS, answer_chance_level
from prospect_eval.metrics.base import VideoCounts
from prospect_eval.metrics.calibration import DECISIONS, TOLERANCE_S, calibration_metric_name, reliability_diagram
from prospect_eval.metrics.corpus import Corpus
from prospect_eval.metrics.families import FIELD_TIMING, MATCHED, SPEAKING
from prospect_eval.metrics.resources import make_scoring_resources
from prospect_eval.metrics.utility import utility_curves, utility_name
from prospect_eval.models.baselines.trivial import TEXT
from prospect_eval.runs.schemas import COUNTS_SCHEMA
from prospect_eval.scoring.baseline_scores import (
    NO_ADDITIONAL,
    AdditionalBaselines,
    score_baselines,
    trim_baseline_score_entry,
)
from prospect_eval.scoring.shards import (
    InProcessShard,
    RecordShard,
    RecordShards,
    ShardOutline,
    limit_scoring_shard_threads,
)
from prospect_eval.scoring.sufficient_statistics import (
    EpisodeCounts,
    Table,
    drop_failed_sufficient_statistics,
    pack_sufficient_statistics,
    sufficient_statistics_jobs,
)
from prospect_eval.stats.agreement import kendall_agreement
from prospect_eval.suites.training_data import NO_TRAINING, TrainingEpisodes

SCHEMA = 1


def score_records(
    records: Sequence[EpisodeRecord],
    resources: ScoringResources | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    training: TrainingEpisodes = NO_TRAINING,
    additional: AdditionalBaselines = NO_ADDITIONAL,
) -> dict[str, Any]:
    """Score records.

    Args:
        records: Prediction records; failed ones count as the worst case.
        resources: Resources for scoring. Without a corpus of the whole split, that of the records
            is used.
        progress: Called with (parts done, parts).
        training: Episodes from which the learned baselines learn.
        additional: Baselines to score in addition to the usual ones.

    Returns:
        The contents of ``metrics.json``, with those of ``counts.json`` and the ``corpus`` of
        ``corpus.json`` added.

    Raises:
        DataError: All records failed.
    """
    resources = resources or make_scoring_resources()
    with limit_scoring_shard_threads():
        return score_record_shares(
            InProcessShard(RecordShard(records, resources)), resources, lambda: records, progress, training, additional
        )


def score_record_shares(
    shards: RecordShards,
    resources: ScoringResources,
    records: Callable[[], Sequence[EpisodeRecord]],
    progress: Callable[[int, int], None],
    training: TrainingEpisodes,
    additional: AdditionalBaselines = NO_ADDITIONAL,
) -> dict[str, Any]:
    """Score the records of several shards. Call it within `shards.limit_scoring_shard_threads`.

    Args:
        shards: The shards.
        resources: Resources for scoring.
        records: Reads all records. It is called only if the baselines' scores are not in the cache.
        progress: Called with (parts done, parts).
        training: Episodes from which the learned baselines learn.
        additional: Baselines to score in addition to the usual ones.

    Returns:
        The result of `score_records`.

    Raises:
        DataError: All records failed.
    """
    outlines: list[ShardOutline] = shards.ask("outline")
    source = "split" if resources.corpus else "records"
    corpus = resources.corpus or Corpus.merged(outline.corpus for outline in outlines)
    resources = replace(resources, corpus=corpus)
    labels = sorted(set().union(*(outline.labels for outline in outlines)))
    failed = sorted(episode for outline in outlines for episode in outline.failed)
    found = {episode: digest for outline in outlines for episode, digest in outline.episodes.items()}
    if len(found) == len(failed):
        error = next((outline.error for outline in outlines if outline.error), "no reason given")
        raise DataError(f"none of {len(failed)} episodes could be predicted: {error}")
    encode = getattr(resources.similarity, "encode", None)
    if encode is not None:
        encode(sorted(set().union({TEXT}, *(outline.texts for outline in outlines))))
    by_episode: dict[str, EpisodeCounts] = {}
    for some in shards.ask("count", corpus, labels):
        by_episode |= some
    progress(1, 3)
    ids = sorted(by_episode)
    counted = drop_failed_sufficient_statistics([by_episode[episode] for episode in ids])
    metrics = all_metrics(resources)
    todo = list(sufficient_statistics_jobs(metrics, counted, labels))
    own: Table = {}
    parts: dict[str, dict[str, Table]] = {}
    for job, entry in zip(todo, shards.deal("entries", todo), strict=True):
        table = parts.setdefault(job.place[0], {}).setdefault(job.place[1], {}) if job.place else own
        table[job.metric] = trim_baseline_score_entry(entry) if job.place else entry
    progress(2, 3)
    for kind in KINDS:
        own[f"answer_accuracy@{kind}"]["chance"] = answer_chance_level(
            (q for item in counted for q in item.questions), kind
        )

    def episodes() -> list[Episode]:
        return sorted((r.episode for r in records()), key=lambda episode: episode.id)

    digests = [found[episode] for episode in sorted(found)]
    compared = score_baselines(digests, episodes, resources, metrics, training, additional)
    progress(3, 3)
    counts = {job.metric: job.counts for job in todo if not job.place}
    if any(len(wordings) > 1 for wordings in corpus.references):
        tables = [own, *compared.tables.values(), *(table for by in parts.values() for table in by.values())]
        note_score_reference_wordings(tables)
    return {
        "schema": SCHEMA,
        "similarity": {"model": resources.similarity_model, "signature": resources.similarity_signature},
        "predictions_digest": digest_serialized_records(
            {k: v for outline in outlines for k, v in outline.parts.items()}
        ),
        "episodes": {"scored": len(counted) - len(failed), "failed": len(failed), "failed_ids": failed},
        "metrics": own,
        "without_failed": _values(metrics, [item for item in counted if not item.failed]) if failed else {},
        "baselines": compared.tables,
        "baseline_info": compared.info,
        "splits": parts,
        "families": {metric.family.name: metric.family.title for metric in metrics},
        "timing_agreement": score_timing_agreement({"this run": own, **compared.tables}, score_timing_names(metrics)),
        "confusion": score_confusion_table(counts["dst_macro_f1"]),
        "reliability": score_reliability_diagrams(counts),
        "utility": utility_curves(counts[utility_name(1)], compared.tables),
        "clusters": {episode: item.cluster.key for episode, item in zip(ids, counted, strict=True)},
        "counts": pack_sufficient_statistics(metrics, dict(zip(ids, counted, strict=True))),
        "baseline_counts": compared.counts,
        "corpus": {"source": source, **corpus.plain()},
    }


def _values(metrics: Sequence[Metric], counted: Sequence[EpisodeCounts]) -> dict[str, float | None]:
    """Return the value of every metric over some episodes."""
    by_name = {metric.name: metric for metric in metrics}
    return {
        job.metric: by_name[job.metric].entry(job.counts, job.samples, intervals=False)["value"]
        for job in sufficient_statistics_jobs(metrics, counted)
        if not job.place
    }


def note_score_reference_wordings(tables: Sequence[Table]) -> None:
    """Mark in signatures that references have several wordings: ``nrefs:var`` as in sacreBLEU."""
    for entry in (entry for table in tables for entry in table.values()):
        entry["signature"] = entry["signature"].replace("nrefs:1,", "nrefs:var,")


def note_score_clock(metrics: dict[str, Any], clock: str) -> None:
    """Name the clock of a run in the signatures of its values: ``clock:simulated``.

    Values under the clock ``replay`` keep their signatures.

    Args:
        metrics: Contents of ``metrics.json``, which are changed.
        clock: Clock of the run's protocol.
    """
    if clock == "replay":
        return
    tables = [metrics["metrics"], *(table for by in metrics["splits"].values() for table in by.values())]
    for entry in (entry for table in tables for entry in table.values()):
        if "signature" in entry:
            entry["signature"] += f"|clock:{clock}"


def score_confusion_table(counts: VideoCounts) -> list[list[int]]:
    """Return the numbers of (frame, step) pairs by [reference state][predicted state]."""
    total = counts.table.sum(0) if counts.videos else np.zeros(9)
    return [[int(n) for n in row] for row in total.reshape(3, 3)]


def score_reliability_diagrams(counts: Mapping[str, VideoCounts]) -> dict[str, Any]:
    """Return the reliability diagrams of the speaking and the update probability.

    Args:
        counts: Counts by video of each metric.
    """
    diagrams = {decision: reliability_diagram(counts[calibration_metric_name(decision)]) for decision in DECISIONS}
    return {"tolerance_s": TOLERANCE_S, "bins": diagrams}


def score_timing_names(metrics: Sequence[Metric]) -> list[str]:
    """Return the metrics that rank systems by their timing.

    These are the headline metrics of speaking and of matched dialogue, and the timing metrics of
    other benchmarks.
    """
    ours = (SPEAKING.name, MATCHED.name)
    return [
        metric.name
        for metric in metrics
        if metric.family.name == FIELD_TIMING.name or (metric.headline and metric.family.name in ours)
    ]


def score_timing_agreement(systems: dict[str, Table], names: Sequence[str]) -> dict[str, Any]:
    """Return Kendall's tau-b between timing metrics over systems.

    A system whose value of every timing metric equals that of an earlier system is a copy of it
    (baselines that differ only in their states have the same speech). Copies are left out because
    they would count one system several times.

    Args:
        systems: Tables of metric entries by the system's name.
        names: The timing metrics.

    Returns:
        ``systems``, the counted names; ``copies``, the system that each copy repeats;
        ``kendall_tau_b`` by metric and metric, None where undefined.
    """
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


def write_score_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Write ``metrics.json`` and ``counts.json``. The same records give the same bytes.

    Args:
        folder: The run folder.
        metrics: The result of `score_records`.
    """
    counts = {
        "schema": COUNTS_SCHEMA,
        "clusters": metrics["clusters"],
        "counts": metrics["counts"],
        "failed": metrics["episodes"]["failed_ids"],
        "baselines": metrics.get("baseline_counts", {}),
    }
    write_atomic(folder / "counts.json", dump_json(counts) + "\n")
    table = {
        key: value for key, value in metrics.items() if key not in ("clusters", "counts", "baseline_counts", "corpus")
    }
    write_atomic(folder / "metrics.json", dump_json(table, indent=1) + "\n")

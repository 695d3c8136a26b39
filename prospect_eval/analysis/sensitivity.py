"""Sensitivity of scores and of the order of runs to the matching parameters.

    prospect-eval sensitivity runs/a runs/b runs/c --similarity all-mpnet-base-v2

Every combination of similarity model, threshold and window is scored. The default setting
(all-MiniLM-L6-v2, cosine above 0.5, the dataset's window) is always included. Kendall's tau-b
compares the order of the runs in each setting with that in the default setting. Failed episodes
count as the worst value, as in ``metrics.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from prospect_core.records import EpisodeRecord
from prospect_core.util.errors import DataError, UserError
from prospect_eval.matching.settings import STANDARD, MatchSettings
from prospect_eval.metrics import Metric, Scored, ScoringResources, all_metrics
from prospect_eval.metrics.resources import make_scoring_resources
from prospect_eval.runs.folder import read_run_folder_records
from prospect_eval.scoring.shards import limit_scoring_shard_threads
from prospect_eval.stats.agreement import kendall_agreement

METRICS = ("matched_f1", "content_accuracy")
THRESHOLDS = (0.4, 0.5, 0.6)
WINDOWS = (0.5, 1.0, 2.0)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class MatchingVariant:
    """One combination of matching parameters.

    Attributes:
        similarity: Name of a sentence-transformers model.
        threshold: A matched pair is correct if its cosine is above this value.
        window: Factor on the matching window of the dataset.
    """

    similarity: str
    threshold: float
    window: float


@dataclass(frozen=True)
class SensitivityRow:
    """One metric of all runs in one setting.

    Attributes:
        metric: Name of the metric.
        setting: The matching parameters.
        default: Whether these are the parameters of ``metrics.json``.
        values: Value of each run; None where undefined.
        ci95: 95 % interval over videos of each run.
        order: Indices of the runs with a value, best first. Runs with equal values share a group.
        tau: Kendall's tau-b with the order in the default setting. None with fewer than three runs,
            or if all values are equal.
        signature: Signature of the metric.
    """

    metric: str
    setting: MatchingVariant
    default: bool
    values: tuple[float | None, ...]
    ci95: tuple[tuple[float, float] | None, ...]
    order: tuple[tuple[int, ...], ...]
    tau: float | None
    signature: str


@dataclass(frozen=True)
class Sensitivity:
    """All rows, over the episodes that every run has.

    Attributes:
        runs: Folders of the runs.
        episodes: Number of common episodes.
        rows: A row for each metric and setting.
    """

    runs: tuple[str, ...]
    episodes: int
    rows: tuple[SensitivityRow, ...]

    def plain(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        return {"schema": 1, **asdict(self)}


def matching_sensitivity(
    runs: Sequence[Path],
    similarities: Sequence[str] = (),
    thresholds: Sequence[float] = THRESHOLDS,
    windows: Sequence[float] = WINDOWS,
    progress: Progress = lambda done, total: None,
) -> Sensitivity:
    """Score runs of the same data in every setting.

    Args:
        runs: Run folders.
        similarities: Sentence-transformers models by folder or name, in addition to the default
            one.
        thresholds: Cosines above which a matched pair is correct, in addition to the default one.
        windows: Factors on the matching window of the dataset, in addition to 1.
        progress: Called with (settings done, settings).

    Returns:
        The scores in every setting.

    Raises:
        UserError: A similarity model is not available, or the runs are of other data.
        DataError: The runs have no common episode.
    """
    resources = [make_scoring_resources(name) for name in (None, *similarities)]
    # one model can be given by name and by folder
    distinct = list({each.similarity_signature: each for each in resources}.values())
    records = _shared_records(runs)
    matches = [
        MatchSettings(threshold, scale)
        for scale, threshold in product(
            sorted({*windows, STANDARD.match.window_scale}), sorted({*thresholds, STANDARD.match.good_similarity})
        )
    ]
    rows: list[SensitivityRow] = []
    with limit_scoring_shard_threads():
        for number, each in enumerate(distinct):
            scored = [[Scored(record, each) for record in side] for side in records]
            _encode(each, scored)
            for done, match in enumerate(matches, 1):
                rows += _rows(scored, each, match, default=number == 0 and match == STANDARD.match)
                progress(number * len(matches) + done, len(distinct) * len(matches))
    return Sensitivity(tuple(map(str, runs)), len(records[0]), tuple(_with_tau(rows)))


def _shared_records(runs: Sequence[Path]) -> list[list[EpisodeRecord]]:
    """Return the records of each run for the common episodes, in the same order."""
    sides, first = [], None
    for folder in runs:
        config, records = read_run_folder_records(folder)
        first = first or config
        if (config.data_digest, config.split) != (first.data_digest, first.split):
            raise UserError(f"{folder}: not the same data as {runs[0]}; give runs over the same split of one dataset")
        sides.append({record.episode.id: record for record in records})
    shared = sorted(set.intersection(*(set(side) for side in sides)))
    if not shared:
        raise DataError(f"{', '.join(map(str, runs))}: no episode in common")
    for folder, side in zip(runs, sides, strict=True):
        if other := next((name for name in shared if side[name].episode != sides[0][name].episode), None):
            raise DataError(f"{folder}: episode {other} has a different reference than in {runs[0]}")
    return [[side[name] for name in shared] for side in sides]


def _encode(resources: ScoringResources, scored: Sequence[Sequence[Scored]]) -> None:
    """Encode all texts in one call, if the similarity supports it."""
    encode = getattr(resources.similarity, "encode", None)
    if encode is not None:
        items = [item for side in scored for item in side]
        texts = {text for item in items for _, text in item.predictions}
        texts |= {text for item in items for wordings in item.wordings for text in wordings}
        encode(sorted(texts))


def _rows(
    scored: Sequence[Sequence[Scored]], resources: ScoringResources, match: MatchSettings, default: bool
) -> list[SensitivityRow]:
    """Return the metrics of all runs in one setting."""
    changed = replace(resources, settings=replace(resources.settings, match=match))
    metrics: dict[str, Metric] = {metric.name: metric for metric in all_metrics(changed)}
    sides = [[replace(item, resources=changed) for item in side] for side in scored]
    name = resources.similarity_signature.partition(":")[0]
    setting = MatchingVariant(name, match.good_similarity, match.window_scale)
    out = []
    for metric in (metrics[name] for name in METRICS):
        entries = [metric.compute(side) for side in sides]
        values = tuple(entry["value"] for entry in entries)
        intervals = tuple(tuple(entry["ci95"]) if entry["ci95"] else None for entry in entries)
        order = sensitivity_order(values)
        out.append(SensitivityRow(metric.name, setting, default, values, intervals, order, None, metric.signature_text))
    return out


def sensitivity_order(values: Sequence[float | None]) -> tuple[tuple[int, ...], ...]:
    """Return the indices of the defined values, highest first; equal values share a group."""
    groups: dict[float, list[int]] = {}
    for index, value in enumerate(values):
        if value is not None:
            groups.setdefault(value, []).append(index)
    return tuple(tuple(groups[value]) for value in sorted(groups, reverse=True))


def _with_tau(rows: Sequence[SensitivityRow]) -> list[SensitivityRow]:
    standard = {row.metric: row.values for row in rows if row.default}
    out = []
    for row in rows:
        scores = np.array([standard[row.metric], row.values], dtype=float)
        tau = kendall_agreement(scores)[0, 1]
        out.append(replace(row, tau=None if np.isnan(tau) else float(tau)))
    return out

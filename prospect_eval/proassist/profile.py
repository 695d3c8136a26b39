"""ProAssist's published scores next to PROSPECT's, with the reason for each difference.

    prospect-eval score proassist/eval --profile proassist

Both use the same matching parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prospect_core.records import EpisodeRecord
from prospect_core.util.console import format_count
from prospect_eval.metrics import Scored, ScoringResources, all_metrics
from prospect_eval.metrics.published_scores import (
    Stream,
    average_published_scores,
    compute_published_scores,
    group_streams_for_published_scores,
)

SCHEMA = 1
#: values that differ by less are equal
EQUAL = 1e-4
#: PROSPECT's metric for each published name; empty if there is none
PAIRS = {
    "F1": "matched_f1",
    "precision": "matched_precision",
    "recall": "matched_recall",
    "jaccard_index": "matched_jaccard",
    "missing_rate": "matched_missing_rate",
    "redundant_rate": "matched_redundant_rate",
    "time_diff": "matched_time_diff_s",
    "semantic_score": "similarity",
    "num_matched": "",
    "num_mismatched": "",
    "num_missed": "",
    "num_redundant": "",
    "Bleu_1": "",
    "Bleu_2": "",
    "Bleu_3": "",
    "Bleu_4": "bleu",
    "Bleu_4_w": "bleu_w",
    "CIDEr": "cider",
    "CIDEr_w": "cider_w",
    "METEOR": "meteor",
    "METEOR_w": "meteor_w",
    "speaking_f1": "speaking_f1",
    "speaking_precision": "speaking_precision",
    "speaking_recall": "speaking_recall",
    "speaking_balanced_acc": "speaking_balanced_accuracy",
    "dst_update_f1": "update_event_f1@1s",
    "dst_update_precision": "",
    "dst_update_recall": "",
    "dst_update_balanced_acc": "",
    "dst_step_accuracy": "",
    "dst_transition_accuracy": "",
    "dst_exact_match": "transition_f1@1s",
}
#: prefixes of published names that are computed only if the reference has DST updates
DST = ("speaking_", "dst_")
#: why a score differs, by the beginning of its name
REASONS = {
    "Bleu": "published: PTB tokens, lower case, no smoothing, 0..1; PROSPECT: sacreBLEU, 13a tokens, cased, smoothed, effective order, 0..100",
    "CIDEr": "published: document frequencies of the correct pairs; PROSPECT: of all reference utterances of the split",
    "METEOR": "published: METEOR 1.5 in Java with its paraphrase table, not computed here; PROSPECT: nltk's METEOR",
    "dst_update": "published: exactly the frame of an update; PROSPECT: paired one to one at most 1 s apart",
    "dst_exact_match": "published: the i-th update against the i-th due one, missed and additional updates cost nothing; PROSPECT: F1 of pairs of"
    " the same step and change at most 1 s apart",
    "speaking_balanced": "published: a class that never occurs is left out; PROSPECT: undefined then",
    "semantic_score": "published: pairs with a cosine at or above the threshold; PROSPECT: above it",
}


@dataclass(frozen=True)
class ProfileRow:
    """One score of the comparison.

    Attributes:
        name: Published name.
        published: Value by the published definition; None if not computed.
        ours_name: Name of PROSPECT's metric; empty if there is none.
        ours: Value of PROSPECT's metric; None if undefined.
        reason: Why the values differ; empty if they are equal.
    """

    name: str
    published: float | None
    ours_name: str
    ours: float | None
    reason: str


@dataclass(frozen=True)
class ProfileTable:
    """The scores of one dataset, or of all datasets.

    Attributes:
        dataset: Name of the dataset; None for all.
        streams: Number of streams.
        window_s: Matching window (late, early) in seconds; None for all datasets.
        lost_hits: Number of pairs that the published matcher loses because their cost is exactly 0.
        rows: The scores.
    """

    dataset: str | None
    streams: int
    window_s: tuple[float, float] | None
    lost_hits: int
    rows: tuple[ProfileRow, ...]


def make_proassist_profile(records: Sequence[EpisodeRecord], resources: ScoringResources) -> list[ProfileTable]:
    """Compute the published scores next to PROSPECT's.

    Args:
        records: Prediction records. A failed one counts as silence in the published scores and as
            the worst value in PROSPECT's.
        resources: Resources for scoring. Their settings apply to both.

    Returns:
        A table for each dataset. If there are several datasets, a last table for all: the published
        scores are the unweighted mean over datasets, PROSPECT's pool the counts.
    """
    match = resources.settings.match
    groups = group_streams_for_published_scores([Stream(record, resources.similarity, match) for record in records])
    found = {name: compute_published_scores(streams) for name, streams in groups.items()}
    tables = [
        ProfileTable(name, len(streams), match.window(name), _lost(streams), _rows(found[name], streams, resources))
        for name, streams in groups.items()
    ]
    if len(tables) == 1:
        return tables
    everything = [stream for streams in groups.values() for stream in streams]
    rows = _rows(average_published_scores(list(found.values())), everything, resources, averaged=len(tables))
    return [*tables, ProfileTable(None, len(everything), None, _lost(everything), rows)]


def proassist_profile_json(tables: Sequence[ProfileTable], resources: ScoringResources) -> dict[str, Any]:
    """Return the tables as plain values for JSON.

    Args:
        tables: The tables.
        resources: Resources for scoring, for the settings.
    """
    match = resources.settings.match
    return {
        "schema": SCHEMA,
        "settings": {
            "factor": match.distance_factor,
            "power": match.distance_power,
            "threshold": match.good_similarity,
            "similarity": resources.similarity_signature,
        },
        "datasets": [
            {
                "dataset": table.dataset,
                "streams": table.streams,
                "window_s": table.window_s,
                "lost_hits": table.lost_hits,
                "published": {row.name: row.published for row in table.rows},
                "ours": {row.ours_name: row.ours for row in table.rows if row.ours_name},
                "reasons": {row.name: row.reason for row in table.rows if row.reason},
            }
            for table in tables
        ],
    }


def _lost(streams: Sequence[Stream]) -> int:
    return sum(stream.lost_hits for stream in streams)


def _rows(
    published: dict[str, float], streams: Sequence[Stream], resources: ScoringResources, averaged: int = 0
) -> tuple[ProfileRow, ...]:
    scored = Scored.over([stream.record for stream in streams], resources)
    metrics = {metric.name: metric for metric in all_metrics(resources)}
    explain = _explainer(streams, averaged)
    rows = []
    for name, ours_name in PAIRS.items():
        if name.startswith(DST) and name not in published:
            continue
        known = ours_name if ours_name in metrics else ""
        ours = metrics[known].compute(scored, intervals=False)["value"] if known else None
        value = published.get(name)
        rows.append(ProfileRow(name, value, known, ours, explain(name, value, ours) if known else ""))
    return tuple(rows)


def _explainer(streams: Sequence[Stream], averaged: int) -> Callable[[str, float | None, float | None], str]:
    """Return a function that explains why a published score differs from PROSPECT's.

    The explanation is empty if they are equal.
    """
    failed = sum(stream.record.status != "ok" for stream in streams)
    lost = _lost(streams)
    general = []
    if averaged:
        general.append(f"published: mean over {averaged} datasets; PROSPECT: pooled counts")
    if lost:
        general.append(f"{format_count(lost, 'pair')} of cost 0 (same frame, same words) lost as published, kept here")
    if failed:
        general.append(f"{format_count(failed, 'failed stream')}: silence as published, the worst value here")

    def explain(name: str, published: float | None, ours: float | None) -> str:
        if published is not None and ours is not None and abs(published - ours) < EQUAL:
            return ""
        parts = [reason for start, reason in REASONS.items() if name.startswith(start)] + general
        if ours is None and published == 0.0:
            parts.append("no denominator: 0 in the published score, undefined in PROSPECT")
        return "; ".join(parts) or "a different pairing of equal or nearly equal cost (published: float32)"

    return explain

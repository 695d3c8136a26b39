"""Scores of the baselines over the episodes of a run, kept on disk.

    python -c "from prospect_eval.scoring.baseline_scores import score_baselines; help(score_baselines)"

Baselines depend on the references, on what they learn from, on the code and on the tools: the same of all these gives the
scores of before from the cache folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prospect_core.timeline import Episode
from prospect_core.util.atomic import write_atomic
from prospect_core.util.cache_dir import cache_dir
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import dump_json
from prospect_eval.metrics import Metric, Scored, ScoringResources
from prospect_eval.metrics.base import DESCRIPTION
from prospect_eval.models.baselines.priors import Priors
from prospect_eval.models.baselines.trivial import BASELINES, make_trivial_baseline
from prospect_eval.runs.environment import digest_environment_code
from prospect_eval.runs.schemas import PackedCounts
from prospect_eval.scoring.shards import prepare_scoring_shard_meteor
from prospect_eval.scoring.sufficient_statistics import Table, compute_sufficient_statistics, pack_sufficient_statistics
from prospect_eval.suites.training_data import NO_TRAINING, TrainingEpisodes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BaselineScores:
    """Of each baseline: its ``tables`` of entries, the ``counts`` by episode of the headline metrics, and ``info``: its
    description, what it sees of the reference, and what it learnt from."""

    tables: dict[str, Table]
    counts: dict[str, PackedCounts]
    info: dict[str, dict[str, str]]


def score_baselines(
    digests: Sequence[str],
    episodes: Callable[[], list[Episode]],
    resources: ScoringResources,
    metrics: Sequence[Metric],
    training: TrainingEpisodes,
) -> BaselineScores:
    """The scores of all baselines.

    Args:
        digests: Digest of each reference episode, in the order of their ids.
        episodes: Reads the reference episodes; called only where the cache does not have the scores.
        tools: Similarity and METEOR in use.
        metrics: What is computed.
        training: What the learning baselines learn from.
    """
    signatures = [metric.signature_text for metric in metrics]
    key = "\n".join([digest_environment_code(), training.digest, *signatures, *digests])
    file = cache_dir() / "baselines" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    try:
        return BaselineScores(**json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError):
        pass  # not there, or cut off: computed again
    try:
        learnt_from = training.load()
    except (DataError, OSError) as error:
        logger.debug("the training episodes cannot be read", exc_info=error)
        return score_baselines(digests, episodes, resources, metrics, NO_TRAINING)
    scores = _score(learnt_from, episodes(), resources, metrics, training)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, dump_json(asdict(scores)))
    except OSError as error:
        logger.debug("%s cannot be written", file, exc_info=error)
    return scores


def _score(
    learnt_from: Sequence[Episode],
    references: Sequence[Episode],
    resources: ScoringResources,
    metrics: Sequence[Metric],
    training: TrainingEpisodes,
) -> BaselineScores:
    headline = [metric for metric in metrics if metric.headline]
    priors = Priors(learnt_from, references, resources.similarity)
    scores = BaselineScores({}, {}, {})
    for name, about in BASELINES.items():
        rows = Scored.over(map(make_trivial_baseline(name, references, priors), references), resources)
        prepare_scoring_shard_meteor(rows, resources)
        table, counted = compute_sufficient_statistics(metrics, rows)
        scores.tables[name] = {metric: trim_baseline_score_entry(entry) for metric, entry in table.items()}
        by_episode = {episode.id: item for episode, item in zip(references, counted, strict=True)}
        scores.counts[name] = pack_sufficient_statistics(headline, by_episode)
        scores.info[name] = {
            "description": about.description,
            "sees": about.sees,
            "learnt_from": training.about if about.learns else "",
        }
    return scores


def trim_baseline_score_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry without what the run's own entry of that metric says already."""
    return {key: value for key, value in entry.items() if key not in DESCRIPTION}

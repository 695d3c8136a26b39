"""Scores of the baselines over the episodes of a run, cached on disk.

The scores depend on the references, the training episodes, the code and the resources for scoring.
If all of these are the same, the scores come from the cache folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prospect_core.records import EpisodeRecord
from prospect_core.timeline import Episode
from prospect_core.util.atomic import write_atomic
from prospect_core.util.cache_dir import cache_dir
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import dump_json
from prospect_eval.metrics import Metric, Scored, ScoringResources
from prospect_eval.metrics.base import DESCRIPTION
from prospect_eval.models.baselines.priors import Priors
from prospect_eval.models.baselines.procedure_baselines import PROCEDURE_BASELINES, make_procedure_baseline
from prospect_eval.models.baselines.procedure_prior import ProcedurePriors, make_procedure_priors
from prospect_eval.models.baselines.trivial import BASELINES, make_trivial_baseline
from prospect_eval.runs.environment import digest_environment_code
from prospect_eval.runs.schemas import PackedCounts
from prospect_eval.scoring.shards import prepare_scoring_shard_meteor
from prospect_eval.scoring.sufficient_statistics import Table, compute_sufficient_statistics, pack_sufficient_statistics
from prospect_eval.suites.training_data import NO_TRAINING, TrainingEpisodes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BaselineScores:
    """Scores of the baselines by name.

    Attributes:
        tables: Entries of all metrics.
        counts: Counts by episode of the headline metrics.
        info: Description, the part of the reference that the baseline sees, and its training
            episodes.
    """

    tables: dict[str, Table]
    counts: dict[str, PackedCounts]
    info: dict[str, dict[str, str]]


@dataclass(frozen=True)
class AdditionalBaselines:
    """Baselines of procedures that a suite shows in addition to the usual ones.

    Attributes:
        names: Names of `PROCEDURE_BASELINES`.
        training: Episodes from which they learn.
    """

    names: tuple[str, ...] = ()
    training: TrainingEpisodes = NO_TRAINING

    @property
    def digest(self) -> str:
        """Identifies the baselines and their training episodes."""
        return " ".join([*self.names, self.training.digest])


NO_ADDITIONAL = AdditionalBaselines()


def score_baselines(
    digests: Sequence[str],
    episodes: Callable[[], list[Episode]],
    resources: ScoringResources,
    metrics: Sequence[Metric],
    training: TrainingEpisodes,
    additional: AdditionalBaselines = NO_ADDITIONAL,
) -> BaselineScores:
    """Return the scores of all baselines.

    Args:
        digests: Digest of each reference episode, in the order of their ids.
        episodes: Reads the reference episodes. It is called only if the scores are not in the
            cache.
        resources: Resources for scoring.
        metrics: The metrics to compute.
        training: Episodes from which the learned baselines learn.
        additional: Further baselines.
    """
    signatures = [metric.signature_text for metric in metrics]
    key = "\n".join([digest_environment_code(), training.digest, additional.digest, *signatures, *digests])
    file = cache_dir() / "baselines" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    try:
        return BaselineScores(**json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError):
        pass  # missing or truncated: compute the scores again
    try:
        learned_from, procedures = training.load(), additional.training.load()
    except (DataError, OSError) as error:
        logger.debug("the training episodes cannot be read", exc_info=error)
        return score_baselines(
            digests, episodes, resources, metrics, NO_TRAINING, AdditionalBaselines(additional.names)
        )
    references = episodes()
    priors = Priors(learned_from, references, resources.similarity)
    baselines = [
        *_list_usual(references, priors, training),
        *_list_additional(additional, make_procedure_priors(procedures, references)),
    ]
    scores = _score(baselines, references, resources, metrics)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, dump_json(asdict(scores)))
    except OSError as error:
        logger.debug("%s cannot be written", file, exc_info=error)
    return scores


@dataclass(frozen=True)
class _ScoredBaseline:
    """A baseline with its description for readers."""

    name: str
    info: dict[str, str]
    predict: Callable[[Episode], EpisodeRecord]


def _list_usual(references: Sequence[Episode], priors: Priors, training: TrainingEpisodes) -> Iterator[_ScoredBaseline]:
    for name, about in BASELINES.items():
        source = training.about if about.learns else ""
        info = {"description": about.description, "sees": about.sees, "learnt_from": source}
        yield _ScoredBaseline(name, info, make_trivial_baseline(name, references, priors))


def _list_additional(additional: AdditionalBaselines, priors: ProcedurePriors) -> Iterator[_ScoredBaseline]:
    for name in additional.names:
        predict = make_procedure_baseline(name, priors)
        about = PROCEDURE_BASELINES[name]
        source = additional.training.about if about.learns else ""
        info = {"description": about.description, "sees": about.sees, "learnt_from": source}
        yield _ScoredBaseline(name, info, predict)


def _score(
    baselines: Iterable[_ScoredBaseline],
    references: Sequence[Episode],
    resources: ScoringResources,
    metrics: Sequence[Metric],
) -> BaselineScores:
    headline = [metric for metric in metrics if metric.headline]
    scores = BaselineScores({}, {}, {})
    for baseline in baselines:
        rows = Scored.over(map(baseline.predict, references), resources)
        prepare_scoring_shard_meteor(rows, resources)
        table, counted = compute_sufficient_statistics(metrics, rows)
        scores.tables[baseline.name] = {metric: trim_baseline_score_entry(entry) for metric, entry in table.items()}
        by_episode = {episode.id: item for episode, item in zip(references, counted, strict=True)}
        scores.counts[baseline.name] = pack_sufficient_statistics(headline, by_episode)
        scores.info[baseline.name] = baseline.info
    return scores


def trim_baseline_score_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry without the keys that describe the metric."""
    return {key: value for key, value in entry.items() if key not in DESCRIPTION}

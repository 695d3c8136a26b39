"""`hf_evaluate` wrappers: every metric as a module of Hugging Face's `evaluate`, offline.

    import evaluate
    from prospect_eval.metrics.hf_evaluate import MODULE

    bleu = evaluate.load(MODULE, "bleu_of_texts")
    bleu.compute(predictions=["put it away"], references=["put it away"])

``evaluate.load(MODULE, NAME)`` and ``load_hf_evaluate_metric(NAME)`` accept the name of any metric.
``predictions`` are then the records of ``episodes/*.json`` as JSON text; a record contains its
reference. ``bleu_of_texts``, ``chrf_of_texts``, ``meteor_of_texts`` and ``cider_of_texts`` accept
texts and reference texts. ``compute`` returns {name: value, "ci95", "status", "reason",
"signature"}. ``evaluate.combine`` joins several metrics; keys that they share get the metric's name
as prefix.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import evaluate

import prospect_eval
from prospect_core.records import EpisodeRecord
from prospect_core.util.errors import UserError, require_choice
from prospect_core.util.json_io import load_json
from prospect_eval.metrics import Metric, Scored, ScoringResources, all_metrics, text
from prospect_eval.metrics.resources import make_scoring_resources
from prospect_eval.metrics.scored import add_corpus_to_scored_resources

#: module for `evaluate.load`, with a metric's name as configuration
MODULE = str(Path(str(prospect_eval.__file__)).parent / "hf_modules" / "prospect_metric")
OF_TEXTS = {
    "bleu_of_texts": text.bleu,
    "chrf_of_texts": text.chrf,
    "meteor_of_texts": text.meteor,
    "cider_of_texts": text.cider,
}
_TEXT = datasets.Value("string")
_ABOUT_TEXTS = "Score of predicted texts against one reference text each."
_ABOUT_RECORDS = "``predictions`` are prediction records as JSON text, each with its own reference."


class StoredMetric(evaluate.Metric):
    """One metric by name.

    Args:
        config_name: Name of the metric.
        resources: Resources for scoring; the packaged ones by default.
        options: Options of `evaluate.Metric`, such as ``keep_in_memory``.

    Raises:
        UserError: No metric has this name. The message has the nearest names.
    """

    def __init__(
        self, config_name: str | None = None, resources: ScoringResources | None = None, **options: Any
    ) -> None:
        if config_name is None:
            raise UserError(
                "give the name of a metric: evaluate.load(MODULE, 'matched_f1'); docs/reference/metrics.md lists them"
            )
        self.resources = resources
        self.metric = None if config_name in OF_TEXTS else self._find(config_name)
        super().__init__(config_name=config_name, **options)
        # `evaluate` names a module after its class; this name distinguishes combined modules
        self.info.module_name = config_name

    def _find(self, name: str) -> Metric:
        self.resources = self.resources or make_scoring_resources()
        metrics = {metric.name: metric for metric in all_metrics(self.resources)}
        require_choice("metric", name, [*OF_TEXTS, *metrics])
        return metrics[name]

    def _info(self) -> evaluate.MetricInfo:
        columns = {"predictions": _TEXT} if self.metric else {"predictions": _TEXT, "references": _TEXT}
        return evaluate.MetricInfo(
            description=self.metric.definition if self.metric else _ABOUT_TEXTS,
            citation="",
            inputs_description=_ABOUT_RECORDS if self.metric else _ABOUT_TEXTS,
            features=datasets.Features(columns),
        )

    def _compute(self, predictions: list[str], references: list[str] | None = None) -> dict[str, Any]:
        if self.metric is None:
            return {self.config_name: OF_TEXTS[self.config_name](predictions, references or [])}
        assert self.resources is not None
        records = [load_json(EpisodeRecord, item, f"prediction {k}") for k, item in enumerate(predictions)]
        resources = add_corpus_to_scored_resources(self.resources, records)
        metric = next(metric for metric in all_metrics(resources) if metric.name == self.metric.name)
        entry = metric.compute(Scored.over(records, resources))
        kept = {key: entry[key] for key in ("ci95", "status", "reason", "signature")}
        return {self.metric.name: entry["value"], **kept}


def load_hf_evaluate_metric(name: str, resources: ScoringResources | None = None) -> StoredMetric:
    """Load a metric that is held in memory, without files, locks or network.

    Args:
        name: Name of the metric.
        resources: Resources for scoring; the packaged ones by default.

    Raises:
        UserError: No metric has this name.
    """
    return StoredMetric(name, resources, keep_in_memory=True)

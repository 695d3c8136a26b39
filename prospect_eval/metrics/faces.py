"""Every metric as an ``evaluate.Metric``, made here and offline: nothing is looked up or fetched by name.

    python -c "from prospect_eval.metrics.faces import face; print(face('bleu_of_texts').compute(predictions=['put it away'], references=['put it away']))"

``face(NAME)`` for any name in ``metrics.json``: ``predictions`` are records as they lie in ``episodes/*.json``, as JSON
text; a record carries its own reference. ``bleu_of_texts``, ``chrf_of_texts``, ``meteor_of_texts`` and
``cider_of_texts`` take texts and reference texts. ``compute`` gives {name: value, "ci95", "status", "reason",
"signature"}. CIDEr's document frequencies and the values of answers are those of the tools' corpus, or, without one, of
the records given: pass ``prospect_eval.tools.tools_of_run(folder)`` for the numbers of a run folder. Needs the extra ``evaluate``.
"""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from prospect_core.errors import choose
from prospect_core.jsonio import load
from prospect_core.records import EpisodeRecord
from prospect_eval.metrics import Scored, Tools, all_metrics, text
from prospect_eval.metrics.scored import with_corpus
from prospect_eval.tools import make_tools

OF_TEXTS = {
    "bleu_of_texts": text.bleu,
    "chrf_of_texts": text.chrf,
    "meteor_of_texts": text.meteor,
    "cider_of_texts": text.cider,
}


def face(name: str, tools: Tools | None = None) -> evaluate.Metric:
    """The metric of that name; an unknown one is a `UserError` with the nearest names."""
    if name in OF_TEXTS:
        return _TextFace(name)
    tools = tools or make_tools()
    choose("metric", name, [*OF_TEXTS, *(metric.name for metric in all_metrics(tools))])
    return _RecordFace(name, tools)


class _Face(evaluate.Metric):
    """Held in memory: no file, no lock, no network."""

    columns: dict[str, Any]
    about: str

    def __init__(self, name: str) -> None:
        self.metric_name = name
        super().__init__(keep_in_memory=True)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.about,
            citation="",
            inputs_description=self.about,
            features=datasets.Features(self.columns),
        )


class _TextFace(_Face):
    columns = {"predictions": datasets.Value("string"), "references": datasets.Value("string")}  # noqa: RUF012
    about = "One score of predicted texts held against one reference text each."

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, Any]:
        return {self.metric_name: OF_TEXTS[self.metric_name](predictions, references)}


class _RecordFace(_Face):
    columns = {"predictions": datasets.Value("string")}  # noqa: RUF012
    about = "One score of prediction records, given as JSON text."

    def __init__(self, name: str, tools: Tools) -> None:
        self.tools = tools
        super().__init__(name)

    def _compute(self, predictions: list[str]) -> dict[str, Any]:
        records = [load(EpisodeRecord, text, f"prediction {k}") for k, text in enumerate(predictions)]
        tools = with_corpus(self.tools, records)
        metric = next(metric for metric in all_metrics(tools) if metric.name == self.metric_name)
        entry = metric.compute(Scored.over(records, tools))
        return {self.metric_name: entry.pop("value"), **entry}

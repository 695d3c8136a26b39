"""The resources that a run folder was scored with: its similarity model and its corpus.

python -c "from prospect_eval.scoring.run_resources import open_run_resources; help(open_run_resources)"
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from prospect_core.util.errors import UserError
from prospect_eval.metrics.base import ScoringResources
from prospect_eval.metrics.resources import make_scoring_resources
from prospect_eval.runs.schemas import read_metrics_schema
from prospect_eval.scoring.corpora import FILE as CORPUS
from prospect_eval.scoring.corpora import read_scoring_corpus


def open_run_resources(folder: Path, *others: Path) -> ScoringResources:
    """The tools that run folders were scored with.

    Args:
        folder: A scored run folder; its similarity model and its corpus are used.
        others: Run folders that are read together with it.

    Returns:
        The tools.

    Raises:
        UserError: The folders were scored with different similarity models, or the model is not the same any more.
    """
    model, signature = _similarity_of(folder)
    for other in others:
        if (found := _similarity_of(other)[1]) != signature:
            raise UserError(
                f"these runs were scored with different similarity models: {signature} in {folder}, {found} in {other};"
                " score both with the same --similarity"
            )
    resources = make_scoring_resources(model or None)
    if resources.similarity_signature != signature:
        raise UserError(
            f"{folder}: scored with the similarity model {signature}, and {resources.similarity_model} is"
            f" {resources.similarity_signature}; `prospect-eval score {folder} --similarity MODEL` scores it again"
        )
    corpus = folder / CORPUS
    return replace(resources, corpus=read_scoring_corpus(corpus) if corpus.is_file() else None)


def _similarity_of(folder: Path) -> tuple[str, str]:
    """The similarity model of a scored run folder: how to open it, and its signature."""
    metrics = read_metrics_schema(folder)
    if known := metrics.get("similarity"):
        return known["model"], known["signature"]
    # a folder of before the model was kept: every signature of a matched metric names it
    parts = (part for entry in metrics["metrics"].values() for part in entry.get("signature", "").split("|"))
    return "", next((part.removeprefix("sim:") for part in parts if part.startswith("sim:")), "")

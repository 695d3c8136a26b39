"""The resources with which a run folder was scored: its similarity model and its corpus."""

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
    """Open the resources with which run folders were scored.

    Args:
        folder: A scored run folder, whose similarity model and corpus are used.
        others: Run folders that are read together with it.

    Returns:
        The resources.

    Raises:
        UserError: The folders were scored with different similarity models, or the model has
            changed.
    """
    model, signature = _similarity_of(folder)
    for other in others:
        if (found := _similarity_of(other)[1]) != signature:
            raise UserError(
                f"the runs were scored with different similarity models: {signature} in {folder}, {found} in {other};"
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
    """Return how to open the similarity model of a scored run folder, and its signature."""
    metrics = read_metrics_schema(folder)
    if known := metrics.get("similarity"):
        return known["model"], known["signature"]
    # older folders do not store the model, but every signature of a matched metric contains it
    parts = (part for entry in metrics["metrics"].values() for part in entry.get("signature", "").split("|"))
    return "", next((part.removeprefix("sim:") for part in parts if part.startswith("sim:")), "")

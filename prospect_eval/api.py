"""Everything that follows from a run folder's records: counts and metrics, frames, the report, and DONE.json last.

python -c "from prospect_eval.api import score_run; help(score_run)"
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from prospect_core.util.atomic import write_atomic
from prospect_core.util.json_io import dump
from prospect_eval.matching.settings import STANDARD, ScoreSettings
from prospect_eval.runs.folder import held


def score_run(
    folder: Path,
    similarity: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    settings: ScoreSettings = STANDARD,
) -> tuple[dict[str, Any], Path]:
    """Score the records of a run folder and write everything that follows from them.

    Args:
        folder: The run folder.
        similarity: The folder or name of a sentence-transformers model; by default the one that the folder was scored
            with before, or else the packaged one.
        progress: Called with (parts done, parts).

    Returns:
        The contents of ``metrics.json`` with the counts added, and the report's path.
    """
    with held(folder):
        return _finish(folder, similarity, progress, settings)


def _finish(
    folder: Path, similarity: str | None, progress: Callable[[int, int], None], settings: ScoreSettings
) -> tuple[dict[str, Any], Path]:
    from prospect_eval.runs.schemas import similarity_model
    from prospect_eval.scoring.parallel import score_folder

    similarity = similarity or similarity_model(folder)
    metrics = score_folder(folder, similarity, progress, settings)
    corpus = metrics.pop("corpus")
    from prospect_eval.diagnostics.latency import store_delivery
    from prospect_eval.gate.gate import VERDICT
    from prospect_eval.metrics.resources import make_resources
    from prospect_eval.report.pages.run_page import write_report
    from prospect_eval.runs.folder import read_records
    from prospect_eval.scoring.corpora import FILE, read_corpus, write_corpus
    from prospect_eval.scoring.frame_table import write_frames
    from prospect_eval.scoring.score import write_metrics

    # from the first file that is written anew to the last one, the folder is not whole
    (folder / "DONE.json").unlink(missing_ok=True)
    config, records = read_records(folder)
    write_corpus(folder / FILE, corpus, config)
    write_metrics(folder, metrics)
    # a verdict was on what the scores were before
    (folder / VERDICT).unlink(missing_ok=True)
    resources = replace(make_resources(similarity, settings), corpus=read_corpus(folder / FILE))
    store_delivery(folder, records, resources)
    write_frames(folder, records, resources)
    path = write_report(folder, config, records, metrics, resources)
    done = {"schema": 1, "episodes": metrics["episodes"], "predictions_digest": metrics["predictions_digest"]}
    write_atomic(folder / "DONE.json", dump(done, indent=1) + "\n")
    return metrics, path

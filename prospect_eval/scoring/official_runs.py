"""Official numbers of the runs of published benchmarks, with constant answers and blind baselines."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from prospect_core.data.dataset import Dataset
from prospect_core.records import EpisodeRecord, digest_records
from prospect_core.util.errors import DataError, UserError
from prospect_eval.runs.folder import RunConfig
from prospect_eval.scoring.official_baselines import score_blind_baselines
from prospect_eval.scoring.official_constants import CONSTANTS_FILE
from prospect_eval.scoring.official_scores import (
    FILE,
    OfficialScoring,
    read_official_scores,
    write_official_scores,
)
from prospect_eval.suites.benchmark_dataset import OpenedBenchmark, open_benchmark
from prospect_eval.suites.suite import open_suite

logger = logging.getLogger(__name__)


def score_run_officially(config: RunConfig, records: Sequence[EpisodeRecord]) -> OfficialScoring | None:
    """Return the official numbers of a run.

    Returns:
        None if the suite has no published benchmark.

    Raises:
        DataError: The dataset of the run or the annotations of the benchmark no longer exist.
    """
    if not config.suite:
        return None
    name = open_suite(config.suite).benchmark
    if not name or (replay := open_benchmark(name).replay) is None:
        return None
    dataset = Dataset.open(config.data)
    annotations = OpenedBenchmark(open_benchmark(name), Path(dataset.info.videos_root)).annotations
    return OfficialScoring(
        open_benchmark(name),
        replay.score_records(annotations, records),
        replay.constants(annotations, records),
        config.knobs.rules.describe(),
        config.missing_videos,
        digest_records(records),
        score_blind_baselines(replay, annotations, records),
    )


def store_official_scores(folder: Path, config: RunConfig, records: Sequence[EpisodeRecord]) -> None:
    """Write ``official.json`` of a run of a published benchmark.

    If the annotations cannot be read, an earlier file for the same predictions stays.
    """
    try:
        found = score_run_officially(config, records)
    except (DataError, UserError) as error:
        logger.warning("%s: the official numbers are not computed again (%s)", folder, error)
        stored = read_official_scores(folder)
        if stored is not None and stored.get("predictions_digest") != digest_records(records):
            (folder / FILE).unlink()
            (folder / CONSTANTS_FILE).unlink(missing_ok=True)
        return
    if found is not None:
        write_official_scores(folder, found)

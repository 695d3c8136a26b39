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
from prospect_eval.scoring.official_verdicts import OfficialVerdicts, read_official_verdicts
from prospect_eval.suites.benchmark import AskJudge
from prospect_eval.suites.benchmark_dataset import OpenedBenchmark, open_benchmark
from prospect_eval.suites.suite import open_suite

logger = logging.getLogger(__name__)


def score_run_officially(
    config: RunConfig, records: Sequence[EpisodeRecord], judged: OfficialVerdicts | None = None
) -> OfficialScoring | None:
    """Return the official numbers of a run.

    Args:
        config: Configuration of the run.
        records: Its records.
        judged: Verdicts of an LLM judge; None for none.

    Returns:
        None if the suite has no published benchmark.

    Raises:
        DataError: The dataset of the run or the annotations of the benchmark no longer exist.
    """
    opened = _open_replayed_benchmark(config)
    if opened is None:
        return None
    benchmark, replay = opened.benchmark, opened.benchmark.replay
    assert replay is not None
    if judged is not None and replay.judge is not None:
        score = replay.judge.score(opened.annotations, records, judged.verdicts)
    else:
        score = replay.score_records(opened.annotations, records)
    return OfficialScoring(
        benchmark,
        score,
        replay.constants(opened.annotations, records),
        config.knobs.rules.describe(),
        config.missing_videos,
        digest_records(records),
        score_blind_baselines(replay, opened.annotations, records),
        "" if judged is None else judged.judge,
    )


def _open_replayed_benchmark(config: RunConfig) -> OpenedBenchmark | None:
    """Return the benchmark of a run with its annotations; None if its suite has none."""
    if not config.suite:
        return None
    name = open_suite(config.suite).benchmark
    if not name or open_benchmark(name).replay is None:
        return None
    return OpenedBenchmark(open_benchmark(name), Path(Dataset.open(config.data).info.videos_root))


def needs_official_verdicts(config: RunConfig) -> bool:
    """Return whether official values of a run need an LLM judge."""
    try:
        name = open_suite(config.suite).benchmark if config.suite else ""
    except UserError:  # the file of the suite no longer exists
        return False
    replay = open_benchmark(name).replay if name else None
    return replay is not None and replay.judge is not None


def collect_official_verdicts(
    config: RunConfig, records: Sequence[EpisodeRecord], ask: AskJudge, judge: str, key: str
) -> OfficialVerdicts:
    """Ask an LLM judge for the verdicts that the official values of a run need.

    Replies with a verdict come from the cache if the same judge gave them before.

    Args:
        config: Configuration of the run.
        records: Its records.
        ask: Gives the LLM judge's reply to a prompt.
        judge: Name of the LLM judge in tables.
        key: Everything that changes its replies; part of the cache's key.

    Raises:
        UserError: No official value of this run needs an LLM judge.
        DataError: The annotations are missing, or the LLM judge cannot be reached.
    """
    opened = _open_replayed_benchmark(config)
    replay = None if opened is None else opened.benchmark.replay
    if opened is None or replay is None or replay.judge is None:
        raise UserError("no official value of this run needs an LLM judge; use --only dialogues")
    verdicts = replay.judge.collect(opened.annotations, records, ask, key)
    return OfficialVerdicts(judge, digest_records(records), verdicts)


def store_official_scores(folder: Path, config: RunConfig, records: Sequence[EpisodeRecord]) -> None:
    """Write ``official.json`` of a run of a published benchmark, with the verdicts of an LLM judge if there are any.

    If the annotations cannot be read, an earlier file for the same predictions stays.
    """
    try:
        judged = read_official_verdicts(folder, digest_records(records))
        found = score_run_officially(config, records, judged)
    except (DataError, UserError) as error:
        logger.warning("%s: the official numbers are not computed again (%s)", folder, error)
        stored = read_official_scores(folder)
        if stored is not None and stored.get("predictions_digest") != digest_records(records):
            (folder / FILE).unlink()
            (folder / CONSTANTS_FILE).unlink(missing_ok=True)
        return
    if found is not None:
        write_official_scores(folder, found)

"""An evaluation from its options: suite, data, model and run folder, ready to replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from prospect_core.data.dataset import Dataset
from prospect_core.data.jsonl_index import LazyEpisodes
from prospect_core.parallel.protocol import WorkerOptions
from prospect_core.records import Knobs
from prospect_core.util.console import format_count
from prospect_core.util.errors import DataError
from prospect_eval.models.base import Predictor, PredictorOptions
from prospect_eval.models.registry import open_registered_predictor
from prospect_eval.runs.distributed import replay_distributed
from prospect_eval.runs.environment import digest_environment_code
from prospect_eval.runs.executor import Outcome, execute_run, find_missing_videos, select_run_episodes
from prospect_eval.runs.folder import RunConfig
from prospect_eval.suites.suite import Suite, open_suite, open_suite_source

if TYPE_CHECKING:
    from prospect_core.parallel.scheduler import WorkerTally

#: called with (name of what is under way, done, total); total is None where nobody knows it
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class EvaluationOptions:
    """What to evaluate, and on what.

    Attributes:
        ckpt: A checkpoint folder, a released name, ``baseline:NAME``, ``hf:NAME`` or ``endpoint:MODEL``.
        data: A dataset folder; either this or a suite with data of its own.
        suite: A suite by name or its YAML file.
        split: The split to replay; None for the suite's.
        limit: Maximum number of episodes.
        strategy: The context strategy; None for the suite's first.
        predictor: How the model is replayed otherwise; its protocol is set from ``protocol``.
        output: The run folder; None for ``runs/CKPT-DATA-STRATEGY``.
        on_error: ``fail`` ends at the first episode that fails, ``skip`` keeps it as failed.
        workers: Worker processes or a Ray cluster; None to replay in this process.
        teacher_forced: Whether to take the teacher-forced pass, too.
        latency_episodes: Episodes of the latency pass; None for no such pass.
        protocol: The suite's protocol by name, or switches such as ``history=gold``; None for the suite's first.
        on_missing: What to do where videos are missing: ``fail`` ends before the first episode, ``skip`` leaves their
            episodes out. None: ``fail`` for published benchmarks; of other datasets each episode fails by itself.
    """

    ckpt: str
    data: Path | None = None
    suite: str | None = None
    split: str | None = None
    limit: int | None = None
    strategy: str | None = None
    predictor: PredictorOptions = field(default_factory=PredictorOptions)
    output: Path | None = None
    on_error: str = "fail"
    workers: WorkerOptions | None = None
    teacher_forced: bool = False
    latency_episodes: int | None = None
    protocol: str | None = None
    on_missing: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """An evaluation that is ready to replay into ``folder``."""

    options: EvaluationOptions
    folder: Path
    config: RunConfig
    dataset: Dataset
    episodes: LazyEpisodes
    predictor: Predictor
    missing: tuple[str, ...] = ()


def prepare_evaluation(options: EvaluationOptions, progress: Progress = lambda name, done, total: None) -> Evaluation:
    """Open data and model; nothing is written.

    Args:
        options: What to evaluate.
        progress: Receives how many of the built-in videos are made.

    Raises:
        UserError: Options that do not fit each other, the model or the data.
        DataError: Data or a checkpoint that cannot be used.
    """
    suite = open_suite(options.suite) if options.suite else Suite()
    split = options.split or suite.split
    source, dataset = open_suite_source(
        options.data, options.suite, split, partial(progress, "videos"), options.protocol
    )
    missing = _missing_videos(options.on_missing or ("fail" if suite.benchmark else None), dataset, split)
    episodes = select_run_episodes(dataset, split, options.limit, missing)
    protocol = suite.protocol(options.protocol)
    asked = replace(options.predictor, strategy=options.strategy or suite.strategies[0], protocol=protocol)
    # passes over the model need it in this process
    here = options.workers is None or options.teacher_forced or options.latency_episodes is not None
    predictor = open_registered_predictor(options.ckpt, dataset, episodes, replace(asked, distributed=not here))
    config = RunConfig(
        model=options.ckpt,
        model_digest=predictor.digest,
        data=source,
        data_digest=dataset.digest,
        split=split,
        limit=options.limit,
        knobs=predictor.knobs,
        code=digest_environment_code(),
        thresholds_from=predictor.thresholds_from,
        suite=options.suite or "",
        missing_videos=len(missing),
    )
    name = Path(options.suite).stem if options.suite else dataset.info.name
    folder = options.output or Path("runs") / _run_name(options.ckpt, name, predictor.knobs)
    return Evaluation(replace(options, predictor=asked), folder, config, dataset, episodes, predictor, missing)


def _missing_videos(on_missing: str | None, dataset: Dataset, split: str) -> tuple[str, ...]:
    """The videos to leave out; a `DataError` that lists the first of them unless they may be skipped."""
    if on_missing is None:
        return ()
    missing = find_missing_videos(dataset, split)
    if missing and on_missing == "fail":
        shown = ", ".join(str(dataset.video(video)) for video in missing[:5])
        more = f" and {len(missing) - 5:,} more" if len(missing) > 5 else ""
        raise DataError(
            f"{format_count(len(missing), 'video')} missing: {shown}{more}; put them there, or run the others with"
            " --on-missing skip"
        )
    return missing


def replay_evaluation(
    evaluation: Evaluation, progress: Progress = lambda name, done, total: None
) -> tuple[Outcome, dict[int, WorkerTally]]:
    """Replay every episode that has no record yet; each record is on disk as soon as its episode ends.

    Returns:
        How many episodes were replayed, reused and failed, and what each worker has done.
    """
    options, config, folder = evaluation.options, evaluation.config, evaluation.folder
    tallies: dict[int, WorkerTally] = {}

    def report(now: dict[int, WorkerTally]) -> None:
        tallies.update(now)
        for number, tally in now.items():
            progress(f"worker {number} on {tally.host}", tally.jobs, None)

    replay = None
    if options.workers is not None:
        replay = replay_distributed(
            config,
            evaluation.dataset.root,
            options.predictor,
            options.on_error,
            folder,
            evaluation.episodes,
            options.workers,
            report,
        )
    outcome = execute_run(
        folder,
        config,
        evaluation.predictor,
        evaluation.episodes,
        options.on_error,
        partial(progress, "replay"),
        replay,
    )
    return outcome, tallies


def _run_name(ckpt: str, data: str, knobs: Knobs) -> str:
    parts = [Path(ckpt.replace(":", "-")).name, data, knobs.strategy]
    if knobs.budget:
        parts.append(str(knobs.budget))
    if knobs.cache_dtype != "model":
        parts.append(knobs.cache_dtype)
    if knobs.dtype != "float32":
        parts.append(knobs.dtype)
    if knobs.protocol is not None:
        parts += [knobs.rules.initiative, *(["gold"] if knobs.rules.history == "gold" else [])]
    return "-".join(parts)

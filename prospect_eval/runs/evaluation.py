"""Preparation of an evaluation from its options: suite, data, model and run folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from prospect_core.data.dataset import Dataset
from prospect_core.data.jsonl_index import LazyEpisodes
from prospect_core.parallel.protocol import WorkerOptions
from prospect_core.records import ClockSettings, Knobs, ReplayProtocol
from prospect_core.stream.clocked_replay import check_clock_protocol
from prospect_core.util.console import format_count
from prospect_core.util.errors import DataError, UserError
from prospect_eval.models.base import Predictor, PredictorOptions
from prospect_eval.models.baselines.procedure_baselines import require_procedure_baselines
from prospect_eval.models.registry import is_registered_baseline, open_registered_predictor
from prospect_eval.runs.distributed import replay_distributed
from prospect_eval.runs.environment import digest_environment_code
from prospect_eval.runs.executor import Outcome, execute_run, find_missing_videos, select_run_episodes
from prospect_eval.runs.folder import RunConfig
from prospect_eval.suites.suite import Suite, open_suite, open_suite_source

if TYPE_CHECKING:
    from prospect_core.parallel.scheduler import WorkerTally

logger = logging.getLogger(__name__)

#: called with (name of the phase, done, total); total is None if unknown
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class EvaluationOptions:
    """The options of an evaluation.

    Attributes:
        ckpt: A checkpoint folder, a released name, ``baseline:NAME``, ``hf:NAME`` or
            ``endpoint:MODEL``.
        data: A dataset folder; None if the suite has data.
        suite: A suite by name or path.
        split: The split to replay; None for the suite's.
        limit: Maximum number of episodes; None for all.
        strategy: The context strategy; None for the suite's first.
        predictor: Other settings of the replay. ``strategy`` and ``protocol`` of this object
            replace those in it.
        output: The run folder; None for ``runs/CKPT-DATA-STRATEGY``.
        on_error: ``fail`` to stop at the first episode that fails, ``skip`` to record it as failed.
        workers: Worker processes or a Ray cluster; None to replay in this process.
        teacher_forced: Whether to run the teacher-forced pass.
        latency_episodes: Number of episodes of the latency pass; None for no such pass.
        protocol: Name of a protocol of the suite, or switches such as ``history=gold``; None for
            the suite's first protocol.
        on_missing: ``fail`` to stop before the first episode if videos are missing, ``skip`` to
            leave out their episodes. None means ``fail`` for published benchmarks, except for
            baselines, which look at no picture; for other datasets each such episode fails by
            itself.
        clock: ``replay``, ``simulated`` or ``live``; None for the clock of the protocol.
        timing: Settings of the clocks ``simulated`` and ``live``; None for those of the protocol.
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
    clock: Literal["replay", "simulated", "live"] | None = None
    timing: ClockSettings | None = None


@dataclass(frozen=True)
class Evaluation:
    """An evaluation that is ready to replay.

    Attributes:
        options: The options, with strategy and protocol of the suite filled in.
        folder: The run folder.
        config: Configuration of the run.
        dataset: The dataset.
        episodes: The episodes to replay.
        predictor: The model.
        missing: Missing videos, whose episodes are left out.
    """

    options: EvaluationOptions
    folder: Path
    config: RunConfig
    dataset: Dataset
    episodes: LazyEpisodes
    predictor: Predictor
    missing: tuple[str, ...] = ()


def prepare_evaluation(options: EvaluationOptions, progress: Progress = lambda name, done, total: None) -> Evaluation:
    """Open data and model without writing anything.

    Args:
        options: The options of the evaluation.
        progress: Called with ("videos", done, total) while built-in videos are made.

    Raises:
        UserError: Options that contradict each other, the model or the data.
        DataError: Unusable data or an unusable checkpoint.
    """
    suite = open_suite(options.suite) if options.suite else Suite()
    require_procedure_baselines(suite.baselines, options.suite or "")
    split = options.split or suite.split
    source, dataset = open_suite_source(
        options.data, options.suite, split, partial(progress, "videos"), options.protocol
    )
    missing = _missing_videos(_on_missing(options, suite, dataset, split), dataset, split)
    episodes = select_run_episodes(dataset, split, options.limit, missing)
    protocol = _choose_clock(suite.protocol(options.protocol), options)
    asked = replace(options.predictor, strategy=options.strategy or suite.strategies[0], protocol=protocol)
    # the teacher-forced and latency passes need the model in this process
    here = options.workers is None or options.teacher_forced or options.latency_episodes is not None
    predictor = open_registered_predictor(options.ckpt, dataset, episodes, replace(asked, distributed=not here))
    if predictor.knobs.rules.clock != (protocol or ReplayProtocol()).clock:
        raise UserError(
            f"--ckpt {options.ckpt}: this adapter ignores the protocol, so its clock {protocol.clock if protocol else 'replay'} would have no effect;"
            " its knobs must hold the protocol of the options"
        )
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


def _on_missing(options: EvaluationOptions, suite: Suite, dataset: Dataset, split: str) -> str | None:
    """Return how missing videos are treated. Baselines look at no picture and run without videos."""
    if options.on_missing is not None or not suite.benchmark:
        return options.on_missing
    if not is_registered_baseline(options.ckpt):
        return "fail"
    if missing := find_missing_videos(dataset, split):
        logger.warning(
            "%s missing: baselines need none, but these episodes end with the official window",
            format_count(len(missing), "video"),
        )
    return None


def _choose_clock(protocol: ReplayProtocol | None, options: EvaluationOptions) -> ReplayProtocol | None:
    """Return the protocol with the clock of the options; None for autonomous replay.

    Raises:
        UserError: The protocol does not allow the clock, or workers would share a live clock.
    """
    clock = options.clock or (protocol.clock if protocol else "replay")
    if clock == "replay":
        if options.timing is not None:
            raise UserError("--clock replay has no latency and no busy frames; choose --clock simulated or live")
        return protocol and replace(protocol, clock="replay", timing=None)
    rules = replace(protocol or ReplayProtocol(), clock=clock)
    rules = replace(rules, timing=options.timing or rules.timing or ClockSettings())
    check_clock_protocol(rules)
    if clock == "live" and options.workers is not None:
        raise UserError("--clock live replays one episode at a time, so that others do not slow it; remove --workers")
    return rules


def _missing_videos(on_missing: str | None, dataset: Dataset, split: str) -> tuple[str, ...]:
    """Return the missing videos to leave out; raise a `DataError` that lists them under ``fail``."""
    if on_missing is None:
        return ()
    missing = find_missing_videos(dataset, split)
    if missing and on_missing == "fail":
        shown = ", ".join(str(dataset.video(video)) for video in missing[:5])
        more = f" and {len(missing) - 5:,} more" if len(missing) > 5 else ""
        raise DataError(
            f"{format_count(len(missing), 'video')} missing: {shown}{more}; copy them there, or run the others with"
            " --on-missing skip"
        )
    return missing


def replay_evaluation(
    evaluation: Evaluation, progress: Progress = lambda name, done, total: None
) -> tuple[Outcome, dict[int, WorkerTally]]:
    """Replay all episodes that have no record yet.

    Each record is written when its episode ends.

    Args:
        evaluation: The prepared evaluation.
        progress: Called with (name, done, total) for the replay and for each worker.

    Returns:
        Numbers of replayed, reused and failed episodes, and the counts of each worker by its
        number.
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
        parts += [] if knobs.rules.clock == "replay" else [knobs.rules.clock]
    return "-".join(parts)

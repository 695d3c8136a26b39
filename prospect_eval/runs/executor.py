"""Execution of a run: replays episodes into a run folder. It can continue after any interruption."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prospect_core.data.dataset import Dataset
from prospect_core.data.jsonl_index import LazyEpisodes, clips_from_jsonl_index, select_from_jsonl_index
from prospect_core.records import SCHEMA, EpisodeRecord, EpisodeTiming
from prospect_core.timeline import Episode
from prospect_core.util.atomic import write_atomic
from prospect_core.util.console import format_count
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import dump_json, load_json
from prospect_core.util.signals import defer_interrupt
from prospect_eval.runs.folder import (
    RunConfig,
    hold_run_folder,
    note_run_folder_environment,
    open_run_folder,
    read_run_folder_timings,
    run_folder_record_path,
)

if TYPE_CHECKING:
    from prospect_eval.models.base import Predictor

logger = logging.getLogger(__name__)

#: minimum time between two writes of the timings, in seconds
SAVE_S = 5.0


@dataclass(frozen=True)
class Kept:
    """The result of an episode.

    Attributes:
        id: Id of the episode.
        status: Status of the record.
        timing: Timing of the episode.
        body: The record as JSON; None if a worker has already written it.
    """

    id: str
    status: str
    timing: EpisodeTiming
    body: str | None


#: replays the episodes at these indices of the run's selection and yields each one when it ends
Replay = Callable[[Sequence[int]], Iterator[Kept]]


@dataclass(frozen=True)
class Outcome:
    """Numbers of episodes of a run.

    Attributes:
        new: Episodes that were replayed now.
        reused: Episodes with a record from an earlier attempt.
        failed: Episodes that failed now.
    """

    new: int
    reused: int
    failed: int


def select_run_episodes(data: Dataset, split: str, limit: int | None, missing: tuple[str, ...] = ()) -> LazyEpisodes:
    """Return the episodes of a run, sorted by video and id, each read on access.

    Args:
        data: The dataset.
        split: The split.
        limit: Maximum number of episodes; None for all.
        missing: Videos whose episodes are left out.

    Raises:
        DataError: No episode is left, or rows or videos have changed since the dataset was made.
    """
    rows = data.rows(split)
    clips = rows.clips()
    gone = set(missing)
    places = [place for place, clip in enumerate(clips) if clip.video not in gone]
    if not places:
        why = f"all {len(gone)} videos are missing, the first {data.video(missing[0])}" if gone else "it is empty"
        raise DataError(f"{data.root}: split {split!r} has no episodes: {why}")
    chosen = sorted(places, key=lambda k: (clips[k].video, clips[k].id))[:limit]
    data.require_same_videos(clips[k] for k in chosen)
    for line in data.missing_parts(clips[k] for k in chosen):
        logger.warning(line)
    return rows.some(chosen)


def find_missing_videos(data: Dataset, split: str) -> tuple[str, ...]:
    """Return the videos of a split that do not exist, sorted, as the rows name them."""
    named = dict.fromkeys(clip.video for clip in data.rows(split).clips())
    return tuple(sorted(video for video in named if not data.video(video).exists()))


def execute_run(
    folder: Path,
    config: RunConfig,
    predictor: Predictor,
    episodes: Sequence[Episode],
    on_error: str = "fail",
    progress: Callable[[int, int], None] = lambda done, total: None,
    replay: Replay | None = None,
) -> Outcome:
    """Replay all episodes that have no record yet.

    Each record is written when its episode ends. After the first interrupt the running episodes are
    finished and written, then `KeyboardInterrupt` is raised.

    Args:
        folder: The run folder.
        config: Configuration of the run.
        predictor: The model.
        episodes: The episodes of the run.
        on_error: ``fail`` to stop at the first episode that fails, ``skip`` to record it as failed.
        progress: Called with (episodes done, episodes).
        replay: Replays the episodes elsewhere (`prospect_eval.runs.distributed`); None to replay in
            this process.

    Raises:
        UserError: The folder contains another run.
        DataError: An episode failed and ``on_error`` is ``fail``, or a record contradicts itself.
    """
    with hold_run_folder(folder), defer_interrupt("the running episodes, which are saved"):
        begun = (folder / "run.json").exists()
        open_run_folder(folder, config)
        if predictor.use_folder is not None:
            predictor.use_folder(folder)
        try:
            return _infer(
                folder, replay or make_executor_replay(config, predictor, episodes, on_error), episodes, progress
            )
        except BaseException:
            if not begun:
                _clear(folder)
            raise


def _clear(folder: Path) -> None:
    """Remove the files of a run without any episode, so that the folder accepts another run."""
    with suppress(OSError):
        (folder / "episodes").rmdir()
        for name in ("run.json", "timings.json"):
            (folder / name).unlink(missing_ok=True)


def make_executor_replay(config: RunConfig, predictor: Predictor, episodes: Sequence[Episode], on_error: str) -> Replay:
    """Return a replay by a predictor in this process."""

    def replay(places: Sequence[int]) -> Iterator[Kept]:
        for episode, result in predictor.predict(select_from_jsonl_index(episodes, places)):
            yield keep_executor_result(config, predictor.name, episode, result, on_error)

    return replay


def keep_executor_result(
    config: RunConfig,
    maker: str,
    episode: Episode,
    result: tuple[EpisodeRecord, EpisodeTiming] | DataError,
    on_error: str,
) -> Kept:
    """Return the result of a prediction in the form that is written.

    Args:
        config: Configuration of the run.
        maker: Name of the predictor, for the message.
        episode: The episode.
        result: Record and timing, or the error that the episode failed with.
        on_error: ``fail`` or ``skip``.

    Raises:
        DataError: The episode failed and ``on_error`` is ``fail``, or the record contradicts
            itself.
    """
    if isinstance(result, DataError):
        if on_error == "fail":
            raise result
        logger.debug("episode %s failed and is skipped", episode.id, exc_info=result)
        record = EpisodeRecord(SCHEMA, config.model, config.knobs, episode, status="failed", error=str(result))
        timing = EpisodeTiming(episode.id, 0.0, {})
    else:
        record, timing = result
        record = _drop_unasked_utterances(config, record)
    problems = record.problems() if record.status == "ok" else []
    if problems:
        raise DataError(f"{maker}: returned an inconsistent record: {problems[0]}")
    return Kept(episode.id, record.status, timing, dump_json(record))


def _drop_unasked_utterances(config: RunConfig, record: EpisodeRecord) -> EpisodeRecord:
    """Return the record without utterances if the protocol asks the model instead of letting it speak.

    A model that cannot follow the protocol may still speak by itself.
    """
    if config.knobs.rules.records_utterances or not record.utterances:
        return record
    logger.info(
        "episode %s: %s by itself, not recorded under a protocol that is %s",
        record.episode.id,
        format_count(len(record.utterances), "utterance"),
        config.knobs.rules.initiative,
    )
    return replace(record, utterances=())


def _infer(folder: Path, replay: Replay, episodes: Sequence[Episode], progress: Callable[[int, int], None]) -> Outcome:
    # temporary files of a killed process
    for stray in [*folder.glob(".*.*.*"), *(folder / "episodes").glob(".*")]:
        stray.unlink(missing_ok=True)
    timings = read_run_folder_timings(folder)
    seconds = timings.setdefault("episodes", {})
    found = [run_folder_record_path(folder, clip.id) for clip in clips_from_jsonl_index(episodes)]
    todo = [place for place, path in enumerate(found) if not (path.is_file() and _reusable(path, episodes[place]))]
    if todo:
        (folder / "DONE.json").unlink(missing_ok=True)
        note_run_folder_environment(folder)
    reused = len(episodes) - len(todo)
    failed = 0
    progress(reused, len(episodes))
    with _saved_now_and_then(folder / "timings.json", timings) as save:
        for done, one in enumerate(replay(todo) if todo else (), reused + 1):
            if one.body is not None:
                write_atomic(run_folder_record_path(folder, one.id), one.body)
            seconds[one.id] = asdict(one.timing)
            save()
            failed += one.status == "failed"
            progress(done, len(episodes))
    return Outcome(len(todo), reused, failed)


@contextmanager
def _saved_now_and_then(file: Path, timings: dict[str, Any]) -> Iterator[Callable[[], None]]:
    """Yield a function that writes the timings at most every `SAVE_S` seconds.

    Writing them after each of thousands of episodes would take too long. The last state is written
    when the context ends.
    """
    last, unsaved = 0.0, False

    def write() -> None:
        write_atomic(file, dump_json({"schema": 1, **timings}))

    def save() -> None:
        nonlocal last, unsaved
        unsaved = time.monotonic() - last <= SAVE_S
        if not unsaved:
            write()
            last = time.monotonic()

    try:
        yield save
    finally:
        if unsaved:
            write()


def _reusable(path: Path, episode: Episode) -> bool:
    """Return whether a record file is valid and has exactly this episode."""
    try:
        record = load_json(EpisodeRecord, path.read_bytes(), str(path))
    except DataError as error:
        logger.debug("%s is damaged and is replayed again", path, exc_info=error)
        return False
    return record.episode == episode and record.status == "ok"

"""A suite through a model into a run folder; resumable at any moment.

prospect-eval run --ckpt workbench-tiny --suite workbench --output runs/first

run.json          what was asked, and what it ran on
episodes/*.json   one whole prediction record each
timings.json      everything that varies from run to run
metrics.json, counts.json, frames.parquet, report.html   derived from the records
corpus.json       reference texts and answers of the whole split, which scoring needs
DONE.json         written last: the run is complete
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from prospect_core.data.dataset import Dataset
from prospect_core.data.index import Rows, clips_of, some_of
from prospect_core.errors import DataError, UserError
from prospect_core.interrupt import patient
from prospect_core.jsonio import dump, flat, load, write_atomic
from prospect_core.lock import LOCK, OWNER, locked
from prospect_core.records import SCHEMA, EpisodeRecord, EpisodeTiming, Knobs
from prospect_core.terminal import say
from prospect_core.timeline import Episode
from prospect_eval.derived import read_run
from prospect_eval.provenance import environment

if TYPE_CHECKING:
    from prospect_eval.adapters import Predictor

logger = logging.getLogger(__name__)

#: what a folder may hold before it is a run folder
MARKS = (LOCK, OWNER)
#: seconds between two writings of timings
SAVE_S = 5.0


@dataclass(frozen=True)
class RunConfig:
    """What makes two runs the same run: a run is only ever continued when all of this is equal."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}
    model: str
    model_digest: str
    data: str
    data_digest: str
    split: str
    limit: int | None
    knobs: Knobs
    code: str
    #: where the thresholds come from: the data that they were chosen on, as the checkpoint tells
    thresholds_from: str = ""
    #: the suite's name or file, where one was asked for
    suite: str = ""


@dataclass(frozen=True)
class Kept:
    """What came of an episode: its record as JSON (None where a worker has written it already) and its timing."""

    id: str
    status: str
    timing: EpisodeTiming
    body: str | None


#: replays the episodes at these places of the run's selection, in the order in which they end
Replay = Callable[[Sequence[int]], Iterator[Kept]]


@dataclass(frozen=True)
class Outcome:
    """How many episodes were predicted now, found from before, and failed."""

    new: int
    reused: int
    failed: int


def select(data: Dataset, split: str, limit: int | None) -> Rows:
    """The split's episodes, at most ``limit``, videos together, each read when it is asked for; none is an error, and so are
    rows and videos that have changed since the dataset was made."""
    rows = data.rows(split)
    clips = rows.clips()
    if not clips:
        raise DataError(f"{data.root}: split {split!r} has no episode to run")
    chosen = sorted(range(len(clips)), key=lambda k: (clips[k].video, clips[k].id))[:limit]
    data.require_same_videos(clips[k] for k in chosen)
    for line in data.missing_parts(clips[k] for k in chosen):
        logger.warning(line)
    return rows.some(chosen)


def record_path(folder: Path, episode_id: str) -> Path:
    """Where an episode's record lies; any id makes a legal file name."""
    name = quote(episode_id, safe="")
    if len(name) > 200:
        name = f"{name[:150]}-{hashlib.sha256(episode_id.encode()).hexdigest()[:16]}"
    return folder / "episodes" / f"{name}.json"


def infer(
    folder: Path,
    config: RunConfig,
    predictor: Predictor,
    episodes: Sequence[Episode],
    on_error: str = "fail",
    progress: Callable[[int, int], None] = lambda done, total: None,
    replay: Replay | None = None,
) -> Outcome:
    """Predict every episode that has no record yet. Each record is on disk as soon as its episode ends.

    ``replay`` does it elsewhere (`prospect_eval.apart`); by default the predictor does it here. Interrupted once, the episodes under way are still predicted and kept before `KeyboardInterrupt` ends it.
    """
    with held(folder), patient("the episodes under way"):
        begun = (folder / "run.json").exists()
        open_folder(folder, config)
        try:
            return _infer(folder, replay or replay_here(config, predictor, episodes, on_error), episodes, progress)
        except BaseException:
            if not begun:
                _clear(folder)
            raise


def _clear(folder: Path) -> None:
    """Take back a run that came to nothing: what it was is not to stand in the way of what is tried next."""
    with suppress(OSError):
        (folder / "episodes").rmdir()
        for name in ("run.json", "timings.json"):
            (folder / name).unlink(missing_ok=True)


def replay_here(config: RunConfig, predictor: Predictor, episodes: Sequence[Episode], on_error: str) -> Replay:
    """By a predictor in this process."""

    def replay(places: Sequence[int]) -> Iterator[Kept]:
        for episode, result in predictor.predict(some_of(episodes, places)):
            yield kept(config, predictor.name, episode, result, on_error)

    return replay


def kept(
    config: RunConfig,
    maker: str,
    episode: Episode,
    result: tuple[EpisodeRecord, EpisodeTiming] | DataError,
    on_error: str,
) -> Kept:
    """What is kept of a prediction; one that failed, or that contradicts itself, is raised unless ``on_error`` is skip."""
    if isinstance(result, DataError):
        if on_error == "fail":
            raise result
        logger.debug("episode %s failed and is skipped", episode.id, exc_info=result)
        record = EpisodeRecord(SCHEMA, config.model, config.knobs, episode, status="failed", error=str(result))
        timing = EpisodeTiming(episode.id, 0.0, {})
    else:
        record, timing = result
    problems = record.problems() if record.status == "ok" else []
    if problems:
        raise DataError(f"{maker}: made a record that contradicts itself: {problems[0]}")
    return Kept(episode.id, record.status, timing, dump(record))


def _infer(folder: Path, replay: Replay, episodes: Sequence[Episode], progress: Callable[[int, int], None]) -> Outcome:
    # what a killed process was writing
    for stray in [*folder.glob(".*.*.*"), *(folder / "episodes").glob(".*")]:
        stray.unlink(missing_ok=True)
    timings = read_timings(folder)
    seconds = timings.setdefault("episodes", {})
    found = [record_path(folder, clip.id) for clip in clips_of(episodes)]
    todo = [place for place, path in enumerate(found) if not (path.is_file() and _reusable(path, episodes[place]))]
    if todo:
        (folder / "DONE.json").unlink(missing_ok=True)
        note_environment(folder)
    reused = len(episodes) - len(todo)
    failed = 0
    progress(reused, len(episodes))
    with _saved_now_and_then(folder / "timings.json", timings) as save:
        for done, one in enumerate(replay(todo) if todo else (), reused + 1):
            if one.body is not None:
                write_atomic(record_path(folder, one.id), one.body)
            seconds[one.id] = asdict(one.timing)
            save()
            failed += one.status == "failed"
            progress(done, len(episodes))
    return Outcome(len(todo), reused, failed)


@contextmanager
def _saved_now_and_then(file: Path, timings: dict[str, Any]) -> Iterator[Callable[[], None]]:
    """Timings of thousands of episodes are not written anew after each: every few seconds, and however it ends."""
    last, unsaved = 0.0, False

    def write() -> None:
        write_atomic(file, dump({"schema": 1, **timings}))

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


def read_records(folder: Path) -> tuple[RunConfig, list[EpisodeRecord]]:
    """A run folder's configuration and its records by episode id."""
    config = read_config(folder)
    records = (load(EpisodeRecord, path.read_bytes(), str(path)) for path in record_files(folder))
    return config, sorted(records, key=lambda r: r.episode.id)


def read_config(folder: Path) -> RunConfig:
    """A run folder's configuration."""
    file = folder / "run.json"
    if not file.is_file():
        raise DataError(f"{folder}: not a run folder (no run.json)")
    return load(RunConfig, dump(read_run(folder)["config"]), str(file))


def record_files(folder: Path) -> list[Path]:
    """A run folder's record files; none is a `DataError`."""
    files = sorted((folder / "episodes").glob("*.json"))
    if not files:
        raise DataError(f"{folder}: holds no episode; start the run again to go on")
    return files


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """A run folder, new or not, for this process alone; one that holds something else is refused."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {folder}: is a file; choose another place")
    if folder.exists() and not (folder / "run.json").exists() and any(f.name not in MARKS for f in folder.iterdir()):
        raise UserError(f"--output {folder}: exists and is not a run folder; choose another one")
    with locked(folder, str(folder)):
        yield


def open_folder(folder: Path, config: RunConfig) -> None:
    """Begin a run folder, or go on with one of the same configuration; another one is refused with what differs."""
    file = folder / "run.json"
    if not file.exists():
        (folder / "episodes").mkdir(parents=True, exist_ok=True)
        body = {"schema": 1, "config": asdict(config), "environment": environment()}
        write_atomic(file, dump(body, indent=1) + "\n")
        return
    before, now = flat(read_run(folder)["config"]), flat(asdict(config))
    different = [key for key in now if before.get(key) != now[key]]
    if different:
        shown = "; ".join(f"{key}: {_short(before.get(key))} there, {_short(now[key])} now" for key in different)
        raise UserError(f"--output {folder}: holds another run ({shown}); choose another folder or delete it")


def note_environment(folder: Path) -> None:
    """Note the environment in which a run goes on, where it is none of those that its episodes were replayed in before.

    They lie under ``resumed`` in ``run.json``; versions that differ from those that the run began with are reported.
    """
    body = read_run(folder)
    now, first = environment(), body.get("environment", {})
    known = [first, *body.get("resumed", [])]
    if now in known:
        return
    write_atomic(folder / "run.json", dump({**body, "resumed": [*known[1:], now]}, indent=1) + "\n")
    then, here = (flat({"python": one.get("python"), **(one.get("versions") or {})}) for one in (first, now))
    if changed := [f"{name} {then.get(name)} then, {here[name]} now" for name in here if then.get(name) != here[name]]:
        say(f"note: {folder} began with other versions: {'; '.join(changed)}; run.json names all of them", err=True)


def _short(value: Any) -> str:
    """A digest by its beginning."""
    text = str(value)
    return text[:12] if re.fullmatch("[0-9a-f]{40,}", text) else text


def _reusable(path: Path, episode: Episode) -> bool:
    """Whether a record file is whole and of this very episode; a broken one is done again."""
    try:
        record = load(EpisodeRecord, path.read_bytes(), str(path))
    except DataError as error:
        logger.debug("%s is broken and is done again", path, exc_info=error)
        return False
    return record.episode == episode and record.status == "ok"


def read_timings(folder: Path) -> dict[str, Any]:
    """What a run folder's ``timings.json`` holds; nothing where it is lost or broken, for no score hangs on it."""
    file = folder / "timings.json"
    if not file.is_file():
        return {}
    try:
        return dict(json.loads(file.read_bytes()))
    except (ValueError, TypeError, RecursionError):
        return {}

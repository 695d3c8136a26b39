"""Run folders: their configuration, records, environment and timings.

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
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from prospect_core.records import EpisodeRecord, Knobs
from prospect_core.util.atomic import write_atomic
from prospect_core.util.console import print_line
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.folder_lock import LOCK, OWNER, lock_folder
from prospect_core.util.json_io import dump_json, flatten_json, load_json
from prospect_eval.runs.environment import collect_run_environment
from prospect_eval.runs.schemas import read_run_schema

if TYPE_CHECKING:
    pass

#: what a folder may hold before it is a run folder
MARKS = (LOCK, OWNER)


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
    #: videos that were missing, with their episodes left out
    missing_videos: int = 0


def run_folder_record_path(folder: Path, episode_id: str) -> Path:
    """Where an episode's record lies; any id makes a legal file name."""
    name = quote(episode_id, safe="")
    if len(name) > 200:
        name = f"{name[:150]}-{hashlib.sha256(episode_id.encode()).hexdigest()[:16]}"
    return folder / "episodes" / f"{name}.json"


def read_run_folder_records(folder: Path) -> tuple[RunConfig, list[EpisodeRecord]]:
    """A run folder's configuration and its records by episode id."""
    config = read_run_folder_config(folder)
    records = (load_json(EpisodeRecord, path.read_bytes(), str(path)) for path in list_run_folder_record_files(folder))
    return config, sorted(records, key=lambda r: r.episode.id)


def read_run_folder_config(folder: Path) -> RunConfig:
    """A run folder's configuration."""
    file = folder / "run.json"
    if not file.is_file():
        raise DataError(f"{folder}: not a run folder (no run.json)")
    return load_json(RunConfig, dump_json(read_run_schema(folder)["config"]), str(file))


def list_run_folder_record_files(folder: Path) -> list[Path]:
    """A run folder's record files; none is a `DataError`."""
    files = sorted((folder / "episodes").glob("*.json"))
    if not files:
        raise DataError(f"{folder}: holds no episode; start the run again to go on")
    return files


@contextmanager
def hold_run_folder(folder: Path) -> Iterator[None]:
    """A run folder, new or not, for this process alone; one that holds something else is refused."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {folder}: is a file; choose another place")
    if folder.exists() and not (folder / "run.json").exists() and any(f.name not in MARKS for f in folder.iterdir()):
        raise UserError(f"--output {folder}: exists and is not a run folder; choose another one")
    with lock_folder(folder, str(folder)):
        yield


def open_run_folder(folder: Path, config: RunConfig) -> None:
    """Begin a run folder, or go on with one of the same configuration; another one is refused with what differs."""
    file = folder / "run.json"
    if not file.exists():
        (folder / "episodes").mkdir(parents=True, exist_ok=True)
        body = {"schema": 1, "config": asdict(config), "environment": collect_run_environment()}
        write_atomic(file, dump_json(body, indent=1) + "\n")
        return
    before, now = flatten_json(asdict(read_run_folder_config(folder))), flatten_json(asdict(config))
    different = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    if different:
        shown = "; ".join(f"{key}: {_short(before.get(key))} there, {_short(now.get(key))} now" for key in different)
        raise UserError(f"--output {folder}: holds another run ({shown}); choose another folder or delete it")


def note_run_folder_environment(folder: Path) -> None:
    """Note the environment in which a run goes on, where it is none of those that its episodes were replayed in before.

    They lie under ``resumed`` in ``run.json``; versions that differ from those that the run began with are reported.
    """
    body = read_run_schema(folder)
    now, first = collect_run_environment(), body.get("environment", {})
    known = [first, *body.get("resumed", [])]
    if now in known:
        return
    write_atomic(folder / "run.json", dump_json({**body, "resumed": [*known[1:], now]}, indent=1) + "\n")
    then, here = (flatten_json({"python": one.get("python"), **(one.get("versions") or {})}) for one in (first, now))
    if changed := [f"{name} {then.get(name)} then, {here[name]} now" for name in here if then.get(name) != here[name]]:
        print_line(
            f"note: {folder} began with other versions: {'; '.join(changed)}; run.json names all of them", err=True
        )


def _short(value: Any) -> str:
    """A digest by its beginning."""
    text = str(value)
    return text[:12] if re.fullmatch("[0-9a-f]{40,}", text) else text


def read_run_folder_timings(folder: Path) -> dict[str, Any]:
    """What a run folder's ``timings.json`` holds; nothing where it is lost or broken, for no score hangs on it."""
    file = folder / "timings.json"
    if not file.is_file():
        return {}
    try:
        return dict(json.loads(file.read_bytes()))
    except (ValueError, TypeError, RecursionError):
        return {}

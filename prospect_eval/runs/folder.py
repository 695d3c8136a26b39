"""Run folders: their configuration, records, environment and timings.

run.json          configuration and environment
episodes/*.json   one prediction record each
timings.json      measured times, which differ between repetitions
metrics.json, counts.json, frames.parquet, report.html   derived from the records
corpus.json       reference texts and answers of the whole split, for scoring
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
from prospect_eval.text.response_store import RESPONSES

if TYPE_CHECKING:
    pass

#: files that a folder may contain before it is a run folder
MARKS = (LOCK, OWNER)


@dataclass(frozen=True)
class RunConfig:
    """Configuration of a run. A run folder continues only with an equal configuration.

    Attributes:
        model: The model, as given with ``--ckpt``.
        model_digest: Digest that identifies the weights or the code of the model.
        data: Dataset folder or ``suite:NAME``.
        data_digest: Digest of the dataset.
        split: The split.
        limit: Maximum number of episodes; None for all.
        knobs: Settings of the replay.
        code: Version and digest of the code of both packages.
        thresholds_from: Source of the thresholds, such as the data that they were chosen on.
        suite: Name or file of the suite; empty without one.
        missing_videos: Number of missing videos, whose episodes are left out.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}
    model: str
    model_digest: str
    data: str
    data_digest: str
    split: str
    limit: int | None
    knobs: Knobs
    code: str
    thresholds_from: str = ""
    suite: str = ""
    missing_videos: int = 0


def run_folder_record_path(folder: Path, episode_id: str) -> Path:
    """Return the path of an episode's record. Every id gives a legal file name."""
    name = quote(episode_id, safe="")
    if len(name) > 200:
        name = f"{name[:150]}-{hashlib.sha256(episode_id.encode()).hexdigest()[:16]}"
    return folder / "episodes" / f"{name}.json"


def read_run_folder_records(folder: Path) -> tuple[RunConfig, list[EpisodeRecord]]:
    """Return a run folder's configuration and its records, sorted by episode id.

    Raises:
        DataError: The folder is not a run folder, contains no episode, or contains a damaged
            record.
    """
    config = read_run_folder_config(folder)
    records = (load_json(EpisodeRecord, path.read_bytes(), str(path)) for path in list_run_folder_record_files(folder))
    return config, sorted(records, key=lambda r: r.episode.id)


def read_run_folder_config(folder: Path) -> RunConfig:
    """Return a run folder's configuration.

    Raises:
        DataError: The folder is not a run folder, or its configuration is damaged.
    """
    file = folder / "run.json"
    if not file.is_file():
        raise DataError(f"{folder}: not a run folder (no run.json)")
    return load_json(RunConfig, dump_json(read_run_schema(folder)["config"]), str(file))


def list_run_folder_record_files(folder: Path) -> list[Path]:
    """Return the record files of a run folder, sorted.

    Raises:
        DataError: The folder contains no record.
    """
    files = sorted((folder / "episodes").glob("*.json"))
    if not files:
        raise DataError(f"{folder}: holds no episodes; repeat its `prospect-eval run` command to continue")
    return files


@contextmanager
def hold_run_folder(folder: Path) -> Iterator[None]:
    """Lock a run folder, new or existing, for this process.

    Args:
        folder: The folder; it is created if it does not exist.

    Raises:
        UserError: The path is a file, or a folder that contains something else.
        DataError: Another process holds the folder.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {folder}: is a file; choose another folder")
    if folder.exists() and not (folder / "run.json").exists() and _has_other_files(folder):
        raise UserError(f"--output {folder}: exists but is not a run folder; choose another folder")
    with lock_folder(folder, str(folder)):
        yield


def _has_other_files(folder: Path) -> bool:
    """Return whether a folder holds files other than those that may precede ``run.json``."""
    names = (file.name for file in folder.iterdir())
    return any(name not in MARKS and not name.startswith(RESPONSES) for name in names)


def open_run_folder(folder: Path, config: RunConfig) -> None:
    """Create a run folder, or check that an existing one has the same configuration.

    Args:
        folder: The run folder.
        config: Configuration of the run.

    Raises:
        UserError: The folder contains a run with another configuration; the message lists the
            differences.
    """
    file = folder / "run.json"
    if not file.exists():
        (folder / "episodes").mkdir(parents=True, exist_ok=True)
        body = {"schema": 1, "config": asdict(config), "environment": collect_run_environment()}
        write_atomic(file, dump_json(body, indent=1) + "\n")
        return
    before, now = flatten_json(asdict(read_run_folder_config(folder))), flatten_json(asdict(config))
    different = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    if different:
        shown = "; ".join(f"{key}: {_short(before.get(key))} before, {_short(now.get(key))} now" for key in different)
        raise UserError(
            f"--output {folder}: holds a run with other options ({shown}); choose another folder or delete it"
        )


def note_run_folder_environment(folder: Path) -> None:
    """Add the current environment to ``run.json`` if a continued run has not had it before.

    It is added under ``resumed``. Versions that differ from those at the start of the run are
    printed.
    """
    body = read_run_schema(folder)
    now, first = collect_run_environment(), body.get("environment", {})
    known = [first, *body.get("resumed", [])]
    if now in known:
        return
    write_atomic(folder / "run.json", dump_json({**body, "resumed": [*known[1:], now]}, indent=1) + "\n")
    then, here = (flatten_json({"python": one.get("python"), **(one.get("versions") or {})}) for one in (first, now))
    if changed := [
        f"{name} {then.get(name)} before, {here[name]} now" for name in here if then.get(name) != here[name]
    ]:
        print_line(
            f"note: {folder} was started with other versions: {'; '.join(changed)}; run.json lists all versions",
            err=True,
        )


def _short(value: Any) -> str:
    """Return a digest shortened to 12 digits, and any other value as text."""
    text = str(value)
    return text[:12] if re.fullmatch("[0-9a-f]{40,}", text) else text


def read_run_folder_timings(folder: Path) -> dict[str, Any]:
    """Return the contents of a run folder's ``timings.json``.

    The result is empty if the file is missing or damaged, because no score depends on it.
    """
    file = folder / "timings.json"
    if not file.is_file():
        return {}
    try:
        return dict(json.loads(file.read_bytes()))
    except (ValueError, TypeError, RecursionError):
        return {}

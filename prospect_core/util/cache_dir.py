"""Cache folder for reproducible files: ``$XDG_CACHE_HOME/prospect``, by default ``~/.cache/prospect``.

If that folder is not writable, this process and its children use a temporary one: no result depends
on a writable home.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

from prospect_core.util.errors import DataError

#: environment variable that passes the temporary folder to child processes
_TEMPORARY = "PROSPECT_TEMPORARY_CACHE"
ADVICE = "set XDG_CACHE_HOME to a writable folder"


def cache_dir() -> Path:
    """Return the cache folder, which may not exist yet; a temporary one if it is not writable.

    Raises:
        DataError: If no temporary folder can be made either.
    """
    chosen = chosen_cache_dir()
    return chosen if chosen is not None and is_cache_dir_writable(chosen) else _temporary(chosen)


def chosen_cache_dir() -> Path | None:
    """Return the configured cache folder, writable or not; None without a home folder."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "prospect"
    try:
        return Path.home() / ".cache" / "prospect"
    except RuntimeError:
        # a user without a home folder, as in many containers
        return None


def is_cache_dir_writable(folder: Path) -> bool:
    """Check whether files can be made in a folder, or the folder in its nearest existing parent."""
    try:
        there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    except OSError:
        return False
    return there.is_dir() and os.access(there, os.R_OK | os.W_OK | os.X_OK)


@cache
def _temporary(chosen: Path | None) -> Path:
    if (shared := os.environ.get(_TEMPORARY)) and Path(shared).is_dir():
        return Path(shared) / "prospect"
    what = "there is no home folder for the cache" if chosen is None else f"{chosen}: cannot write to the cache folder"
    try:
        folder = tempfile.mkdtemp(prefix="prospect-cache-")
    except OSError as error:
        raise DataError(f"{what}, nor to a temporary one; {ADVICE}") from error
    os.environ[_TEMPORARY] = folder
    atexit.register(_remove, folder, os.getpid())
    print(f"note: {what}; {folder} is used instead and deleted at the end; {ADVICE}", file=sys.stderr)
    return Path(folder) / "prospect"


def _remove(folder: str, owner: int) -> None:
    # forked processes inherit the registration
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)

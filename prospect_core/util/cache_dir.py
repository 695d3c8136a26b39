"""Where things that can be made again are kept: ``$XDG_CACHE_HOME/prospect``, by default ``~/.cache/prospect``.

    python -c "from prospect_core.util.cache_dir import cache_dir; print(cache_dir())"

Where that folder cannot be written, a temporary one is used in its place, for this process and those that it starts: no
result depends on a writable home.
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

#: names the temporary folder to processes that this one starts
_TEMPORARY = "PROSPECT_TEMPORARY_CACHE"
ADVICE = "set XDG_CACHE_HOME to a folder that can be written"


def cache_dir() -> Path:
    """The folder, which may not exist yet; a temporary one where the chosen one cannot be written.

    Raises:
        DataError: There is no place for a temporary folder either.
    """
    chosen = chosen_cache_dir()
    return chosen if chosen is not None and is_cache_dir_writable(chosen) else _temporary(chosen)


def chosen_cache_dir() -> Path | None:
    """The folder that environment and home choose, whether it can be written or not; None without a home."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "prospect"
    try:
        return Path.home() / ".cache" / "prospect"
    except RuntimeError:
        # a user without a home, as in many containers
        return None


def is_cache_dir_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or in the one above it where it would be made first."""
    try:
        there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    except OSError:
        return False
    return there.is_dir() and os.access(there, os.R_OK | os.W_OK | os.X_OK)


@cache
def _temporary(chosen: Path | None) -> Path:
    if (shared := os.environ.get(_TEMPORARY)) and Path(shared).is_dir():
        return Path(shared) / "prospect"
    what = "there is no home folder for the cache" if chosen is None else f"{chosen}: the cache cannot be written"
    try:
        folder = tempfile.mkdtemp(prefix="prospect-cache-")
    except OSError as error:
        raise DataError(f"{what}, nor can a temporary one; {ADVICE}") from error
    os.environ[_TEMPORARY] = folder
    atexit.register(_remove, folder, os.getpid())
    print(f"note: {what}; {folder} is used in its place and removed at the end; {ADVICE}", file=sys.stderr)
    return Path(folder) / "prospect"


def _remove(folder: str, owner: int) -> None:
    # forked processes inherit the registration
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)

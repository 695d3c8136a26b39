"""A folder that appears whole or not at all, made by one process even where several want it.

python -c "from prospect_core.data.staging import staged; help(staged)"
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prospect_core.errors import UserError


@contextmanager
def staged(root: Path) -> Iterator[Path]:
    """A new folder to fill beside ``root``, which it becomes at the end; an error leaves nothing.

    A ``root`` that exists is refused (`UserError`), also where another process has just made it: two that make the same
    wait for each other. What one that was killed left behind goes.
    """
    from filelock import FileLock

    def refuse() -> None:
        if root.exists():
            raise UserError(f"{root} exists already; choose another folder or delete it first")

    refuse()
    root.parent.mkdir(parents=True, exist_ok=True)
    scratch, lock = root.parent / f".{root.name}.part", root.parent / f".{root.name}.lock"
    with FileLock(lock):
        refuse()
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            yield scratch
            scratch.rename(root)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        finally:
            # from here on the folder itself refuses others
            with suppress(OSError):
                lock.unlink()

"""Cache of expensive test inputs (worlds, tokenizers, checkpoints, runs), made once per content hash.

One process makes a folder while the others wait. All workers of a test run and later runs share it.
Tests only read these folders; a test that changes files works on a copy.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from filelock import FileLock

from tests.helpers.paths import ROOT

PACKAGES = ("prospect_core", "prospect_eval")
#: libraries whose version can change the files of a maker
LIBRARIES = ("av", "numpy", "pillow", "tokenizers", "torch", "transformers")
#: age in seconds after which unused folders of other content hashes are deleted
KEPT_SECONDS = 7 * 24 * 3600
#: Python 3.11 can raise SystemError when two threads parse at the same time
PARSER = threading.Lock()
#: written last into a folder; its modification time is the last use of the folder
WHOLE = ".whole"


class FixtureCache:
    """Folders below ``root``, each made once per content hash of its maker's source code and parameters."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(
        self, name: str, modules: Iterable[str], parameters: Mapping[str, object], make: Callable[[Path], None]
    ) -> Path:
        """Return the folder ``name``; ``make(folder)`` makes it unless it exists for this content.

        Args:
            name: Contents of the folder; part of its path.
            modules: Modules of this repository that ``make`` uses. Their source code, and that of
                all modules of this repository which they import, directly or not, is part of the
                content hash.
            parameters: Everything else that determines the content, as JSON values.
            make: Fills a folder that does not exist yet.

        Returns:
            The path of the complete folder, which must not be changed.
        """
        key = content_hash(tuple(sorted(modules)), json.dumps(dict(parameters), sort_keys=True))
        folder = self.root / f"{name}-{key}"
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / f"{name}.lock"):
            if not (folder / WHOLE).is_file():
                self._make(folder, make)
                self._delete_unused(name, keep=folder)
            (folder / WHOLE).touch()
        return folder

    def _make(self, folder: Path, make: Callable[[Path], None]) -> None:
        unfinished = folder.with_name(f".unfinished-{folder.name}")
        for left in (unfinished, folder):
            if left.exists():
                shutil.rmtree(left)
        make(unfinished)
        (unfinished / WHOLE).touch()
        unfinished.rename(folder)

    def _delete_unused(self, name: str, keep: Path) -> None:
        for other in self.root.glob(f"{name}-*"):
            whole = other / WHOLE
            unused = not whole.is_file() or time.time() - whole.stat().st_mtime > KEPT_SECONDS
            if other != keep and unused:
                shutil.rmtree(other)


@cache
def content_hash(modules: tuple[str, ...], parameters: str) -> str:
    """Return 16 hex digits over source code, parameters, and the versions of Python and of `LIBRARIES`."""
    digest = hashlib.sha256()
    digest.update(parameters.encode())
    digest.update(repr(sys.version_info[:2]).encode())
    for library in LIBRARIES:
        digest.update(f"{library}=={importlib.metadata.version(library)}".encode())
    for file in source_files(modules):
        digest.update(file.relative_to(ROOT).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def source_files(modules: Iterable[str]) -> list[Path]:
    """Return the sorted files of ``modules`` and of every module of this repository that they import."""
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        file = _file_of(waiting.pop())
        if file is not None and file not in found:
            found.add(file)
            waiting.extend(_imported_names(file))
    return sorted(found)


def _file_of(name: str) -> Path | None:
    """Return the source file of a module or package of this repository; None for any other name."""
    if name.split(".")[0] not in PACKAGES:
        return None
    path = ROOT.joinpath(*name.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def _imported_names(file: Path) -> Iterator[str]:
    """Yield every name that an import statement anywhere in the file may mean as a module."""
    with PARSER:
        tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Return {relative path: (size, modification time in ns)} of the files below ``folder``."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            status = os.stat(os.path.join(parent, name))
            relative = os.path.relpath(os.path.join(parent, name), folder)
            found[relative] = (status.st_size, status.st_mtime_ns)
    return found

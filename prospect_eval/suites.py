"""Where the data of a run come from: a dataset folder, or a built-in suite by name.

python -c "from prospect_eval.suites import open_data; print(open_data('suite:workbench', 'val').root)"
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prospect_core.data.dataset import Dataset
from prospect_core.errors import choose

SUITES = ("workbench",)
PREFIX = "suite:"


def open_data(source: str, split: str, progress: Callable[[int, int], None] = lambda done, total: None) -> Dataset:
    """``suite:NAME`` (made on first use) or a folder; the same string means the same data on every machine."""
    if not source.startswith(PREFIX):
        return Dataset.open(Path(source))
    from prospect_core.workbench.generate import SPLITS, cached

    choose("suite", source.removeprefix(PREFIX), SUITES)
    choose("split", split, SPLITS)
    return cached(split, progress=progress)

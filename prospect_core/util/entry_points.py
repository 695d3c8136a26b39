"""What installed packages bring under an entry point: metrics, strategies, adapters, evaluators.

python -c "from prospect_core.util.entry_points import list_entry_points; print(list_entry_points('prospect.metrics'))"
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from prospect_core.util.errors import DataError


def list_entry_points(group: str) -> list[EntryPoint]:
    """All entry points of a group; two packages may bring the same name."""
    return list(entry_points(group=group))


def load_entry_point(point: EntryPoint) -> Any:
    """What a package brings; one that cannot be imported, for whatever reason of its own, is a `DataError` that names it."""
    try:
        return point.load()
    except Exception as error:
        package = f" of the package {point.dist.name}" if point.dist else ""
        why = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        raise DataError(
            f"{point.group} {point.name!r} ({point.value}){package}: cannot be imported ({why}); mend it or uninstall it"
        ) from error

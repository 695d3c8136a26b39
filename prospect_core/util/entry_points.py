"""Entry points of installed packages: metrics, strategies, adapters, evaluators."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from prospect_core.util.errors import DataError


def list_entry_points(group: str) -> list[EntryPoint]:
    """Return all entry points of a group; two packages may provide the same name."""
    return list(entry_points(group=group))


def load_entry_point(point: EntryPoint) -> Any:
    """Import the object of an entry point.

    Raises:
        DataError: If the import fails for any reason; the message names the package.
    """
    try:
        return point.load()
    except Exception as error:
        package = f" of the package {point.dist.name}" if point.dist else ""
        why = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        raise DataError(
            f"{point.group} {point.name!r} ({point.value}){package}: cannot be imported ({why}); repair or uninstall it"
        ) from error

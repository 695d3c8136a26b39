"""Stored metric tables: order of the headline metrics, families, best baselines.

Everything is read from the entries of ``metrics.json``, so metrics of installed packages need no
registration here. The module imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Table = Mapping[str, Mapping[str, Any]]

#: heading of metrics without a family
NO_FAMILY = "Other"


def metric_table_headlines(table: Table, first: Iterable[str] = ()) -> list[str]:
    """Return the names of the metrics that tables show, in order.

    Args:
        table: Entries of ``metrics.json`` by metric name.
        first: Names that come first, such as those of a suite. Unknown ones are left out.

    Returns:
        ``first``, then the headline metrics in the order of the table, each followed by its
        companion. After ``first``, undefined ones are left out. All metrics if the table is older
        than headline marks.
    """
    chosen = list(first)
    headlines = [
        name
        for name, entry in table.items()
        if entry.get("headline", True) and not (chosen and entry.get("value") is None)
    ]
    return _with_companions(table, [*chosen, *headlines])


def metric_table_leading_names(table: Table) -> list[str]:
    """Return the first headline metric of each family, for narrow tables."""
    leading: dict[str, str] = {}
    for name in metric_table_headlines(table):
        leading.setdefault(table[name].get("family", name), name)
    return _with_companions(table, leading.values())


def group_metric_table_families(table: Table, titles: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Group metric names by family, in the order of the table.

    Args:
        table: Entries of ``metrics.json`` by metric name.
        titles: Title of each family by its name, from ``families`` of ``metrics.json``.

    Returns:
        (title, metric names) of each family.
    """
    out: dict[str, list[str]] = {}
    for name, entry in table.items():
        out.setdefault(titles.get(entry.get("family", ""), NO_FAMILY), []).append(name)
    return list(out.items())


def metric_table_resampled_units(table: Table) -> str:
    """Return the units of resampling in the plural, such as ``participants and videos``."""
    kinds: dict[str, None] = {}
    for entry in table.values():
        parts = dict(part.partition(":")[::2] for part in str(entry.get("signature", "")).split("|"))
        kinds |= dict.fromkeys(parts.get("cluster", "video").split("+"))
    return " and ".join(f"{kind}s" for kind in sorted(kinds)) or "videos"


def metric_table_trivial_baselines(metrics: Mapping[str, Any]) -> list[str]:
    """Return the names of the baselines that do not use the reference.

    If the file does not mark them, these are all except the oracle.

    Args:
        metrics: Contents of ``metrics.json``.
    """
    marked: Mapping[str, Any] = metrics.get("baseline_info", {})
    return [
        name
        for name in metrics["baselines"]
        if marked.get(name, {}).get("sees", "nothing") == "nothing" and name != "oracle"
    ]


def best_metric_table_baseline(metrics: Mapping[str, Any], name: str) -> tuple[str, float] | None:
    """Return the best trivial baseline with its value of a metric.

    Args:
        metrics: Contents of ``metrics.json``.
        name: The metric.

    Returns:
        (baseline, value). None if no such baseline has a value or the metric has no direction.
    """
    sides: dict[str, Callable[[float], float]] = {
        "higher": lambda v: v,
        "lower": lambda v: -v,
        "zero": lambda v: -abs(v),
    }
    better = sides.get(metrics["metrics"][name].get("better", "higher"))
    values = {
        rival: metrics["baselines"][rival].get(name, {}).get("value")
        for rival in metric_table_trivial_baselines(metrics)
    }
    known = {rival: value for rival, value in values.items() if value is not None}
    if better is None or not known:
        return None
    best = max(known, key=lambda rival: better(known[rival]))
    return best, known[best]


def _with_companions(table: Table, names: Iterable[str]) -> list[str]:
    """Return each name once, followed by its companion; unknown names are left out."""
    out: dict[str, None] = {}
    for name in names:
        if name not in table or name in out:
            continue
        out[name] = None
        companion = table[name].get("companion", "")
        if companion in table:
            out.pop(companion, None)
            out[companion] = None
    return list(out)

"""Stored metric tables: the order of their headline metrics, and their families.

    python -c "from prospect_eval.runs.metric_tables import metric_table_headlines; help(metric_table_headlines)"

Everything is read from the entries of ``metrics.json``, so that metrics of installed packages need no list anywhere.
Nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Table = Mapping[str, Mapping[str, Any]]

#: heading of metrics whose entry names no family
NO_FAMILY = "Other"


def metric_table_headlines(table: Table, first: Iterable[str] = ()) -> list[str]:
    """Names of the metrics that tables show, in their order.

    Args:
        table: Entries of ``metrics.json`` by metric name.
        first: Names that come before all others, such as those of a suite; unknown ones are left out.

    Returns:
        ``first``, then the headline metrics in the order of the table, each followed by its companion. All metrics where
        the table was written before entries said which are headlines.
    """
    headlines = [name for name, entry in table.items() if entry.get("headline", True)]
    return _with_companions(table, [*first, *headlines])


def metric_table_leading_names(table: Table) -> list[str]:
    """The first headline metric of each family, for tables that have little room."""
    leading: dict[str, str] = {}
    for name in metric_table_headlines(table):
        leading.setdefault(table[name].get("family", name), name)
    return _with_companions(table, leading.values())


def group_metric_table_families(table: Table, titles: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """(title, metric names) of each family, in the order of the table.

    Args:
        table: Entries of ``metrics.json`` by metric name.
        titles: Title of each family by its name, as ``families`` of ``metrics.json`` holds them.
    """
    out: dict[str, list[str]] = {}
    for name, entry in table.items():
        out.setdefault(titles.get(entry.get("family", ""), NO_FAMILY), []).append(name)
    return list(out.items())


def metric_table_resampled_units(table: Table) -> str:
    """What intervals are taken over, in the plural: ``videos``, ``participants``, or ``participants and videos``."""
    kinds: dict[str, None] = {}
    for entry in table.values():
        parts = dict(part.partition(":")[::2] for part in str(entry.get("signature", "")).split("|"))
        kinds |= dict.fromkeys(parts.get("cluster", "video").split("+"))
    return " and ".join(f"{kind}s" for kind in sorted(kinds)) or "videos"


def metric_table_trivial_baselines(metrics: Mapping[str, Any]) -> list[str]:
    """Names of the baselines that see nothing of an episode's reference, as ``metrics.json`` marks them.

    Of a file that marks none, all but the oracle.
    """
    marked: Mapping[str, Any] = metrics.get("baseline_info", {})
    return [
        name
        for name in metrics["baselines"]
        if marked.get(name, {}).get("sees", "nothing") == "nothing" and name != "oracle"
    ]


def best_metric_table_baseline(metrics: Mapping[str, Any], name: str) -> tuple[str, float] | None:
    """The best baseline that sees nothing, with its value of a metric.

    Args:
        metrics: Contents of ``metrics.json``.
        name: The metric.

    Returns:
        (baseline, value), or None where no such baseline has a value or the metric has no better side.
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
    """Each name once, followed by its companion wherever else that may stand; unknown names are left out."""
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

"""Official numbers of a published benchmark, as totals of items, so that they can be resampled and compared.

Every official metric of the supported benchmarks is a function of sums over items (polls, turns, sessions, samples). A
benchmark module therefore gives the sums of each item and one function from pooled sums to official values. The official
value is that function of all items; an interval resamples the videos and pools their items again.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

#: an item with a prediction, one without, and one whose prediction cannot be read
ItemStatus = Literal["scored", "missing", "failed"]
#: official values by name, at full precision, in the benchmark's own unit; None where the formula is undefined
OfficialValues = dict[str, float | None]
#: official values of pooled totals
ValuesOfTotals = Callable[[Mapping[str, float]], OfficialValues]


@dataclass(frozen=True)
class ItemScore:
    """Contribution of one item to the official sums.

    Attributes:
        id: The item's id, unique in the benchmark.
        video: The video that the item is about: the unit of resampling.
        task: The benchmark's task or category of the item; empty where it has none.
        totals: Sums by name. A sum that an item does not name is 0.
        status: ``missing`` and ``failed`` items count as the official scorer counts them.
    """

    id: str
    video: str
    task: str
    totals: Mapping[str, float]
    status: ItemStatus = "scored"


@dataclass(frozen=True)
class OfficialScore:
    """The official numbers of one set of predictions.

    Attributes:
        values: Official values by name.
        items: The items that they are computed from.
        notes: One line for each quirk of the published scorer that this set met, with how often.
    """

    values: OfficialValues
    items: tuple[ItemScore, ...]
    notes: tuple[str, ...] = ()

    def count(self, status: ItemStatus) -> int:
        """Number of items with this status."""
        return sum(item.status == status for item in self.items)


def pool_item_totals(items: Iterable[ItemScore]) -> dict[str, float]:
    """Sums of all items by name, exactly rounded."""
    parts: dict[str, list[float]] = defaultdict(list)
    for item in items:
        for name, value in item.totals.items():
            parts[name].append(value)
    return {name: math.fsum(values) for name, values in parts.items()}


def make_official_score(
    items: Iterable[ItemScore], values_of_totals: ValuesOfTotals, notes: Iterable[str] = ()
) -> OfficialScore:
    """The official numbers of these items."""
    kept = tuple(items)
    return OfficialScore(values_of_totals(pool_item_totals(kept)), kept, tuple(notes))

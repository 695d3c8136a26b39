"""Episode ids: each may occur once in a data set.

python -c "from prospect_core.data.episode_ids import find_repeated_episode_id; print(find_repeated_episode_id([('a', 'row 1'), ('b', 'row 2'), ('a', 'row 3')]))"
"""

from __future__ import annotations

from collections.abc import Iterable


def find_repeated_episode_id(named: Iterable[tuple[str, object]]) -> tuple[str, object, object] | None:
    """The first id that occurs a second time.

    Args:
        named: The id of each episode and the place that it comes from.

    Returns:
        The id, its first place and its second place; None where no id occurs twice.
    """
    places: dict[str, object] = {}
    for name, place in named:
        if name in places:
            return name, places[name], place
        places[name] = place
    return None

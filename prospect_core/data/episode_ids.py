"""Check that each episode id occurs once in a dataset."""

from __future__ import annotations

from collections.abc import Iterable


def find_repeated_episode_id(named: Iterable[tuple[str, object]]) -> tuple[str, object, object] | None:
    """Find the first id that occurs a second time.

    Args:
        named: (id, place) of each episode, where a place is anything printable.

    Returns:
        (id, first place, second place), or None if all ids differ.
    """
    places: dict[str, object] = {}
    for name, place in named:
        if name in places:
            return name, places[name], place
        places[name] = place
    return None

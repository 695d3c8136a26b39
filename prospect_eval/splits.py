"""Every metric again over a part of the data: by user type, dataset, video length, and by kind of turn.

    python -c "from prospect_eval.splits import splits; help(splits)"

Parts of the first kind are sets of episodes. Parts by kind of turn (proactive, responsive, each label) count the turns of
that kind in all episodes: metrics that are not about turns have no such part, and metrics that need to know the kind of
an utterance without a partner have none by label, for such an utterance has no label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prospect_eval.metrics import Metric, Scored
from prospect_eval.metrics.scored import labels_of

#: upper ends in minutes, with names
LENGTHS_MIN = ((2.0, "under 2 min"), (5.0, "2-5 min"), (15.0, "5-15 min"), (float("inf"), "15 min and more"))


def splits(
    scored: Sequence[Scored], metrics: Sequence[Metric]
) -> Iterator[tuple[str, str, list[Metric], list[Scored]]]:
    """(by what, part, metrics that make sense there, the episodes seen so); a part that is everything is left out."""
    for by, name_of in (
        ("user_type", lambda s: s.record.episode.user_type or "unknown"),
        ("dataset", lambda s: s.record.episode.dataset or "unknown"),
        ("length", lambda s: next(name for limit, name in LENGTHS_MIN if s.minutes < limit)),
    ):
        parts: dict[str, list[Scored]] = {}
        for item in scored:
            parts.setdefault(name_of(item), []).append(item)
        if len(parts) > 1:
            for part in sorted(parts):
                yield by, part, list(metrics), parts[part]
    of_turns = [metric for metric in metrics if metric.turns == "all"]
    of_pairs = [metric for metric in metrics if metric.turns == "pairs"]
    for kind in ("proactive", "responsive"):
        yield "turn", kind, [*of_turns, *of_pairs], [item.view(kind) for item in scored]
    for label in sorted({label for item in scored for turn in item.turns for label in labels_of(turn)}):
        yield "label", label, of_pairs, [item.view(f"label:{label}") for item in scored]

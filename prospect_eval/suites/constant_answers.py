"""Rank of a constant answer among models: the number of models that score below it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prospect_eval.suites.official_score import OfficialScore


@dataclass(frozen=True)
class ConstantRank:
    """Models below and above a constant answer in one official value.

    Attributes:
        value: Name of the official value.
        constant: The value of the constant answer; None where it is undefined.
        below: Models with a lower value, lowest first.
        not_below: Models with the same or a higher value, lowest first.
        undefined: Models without this value; all models where that of the constant answer is undefined.
    """

    value: str
    constant: float | None
    below: tuple[str, ...]
    not_below: tuple[str, ...]
    undefined: tuple[str, ...]

    @property
    def models(self) -> int:
        """Number of models that have the value."""
        return len(self.below) + len(self.not_below)

    def describe(self) -> str:
        """Return the rank as a sentence."""
        return f"{self.value} of the constant answer is above that of {len(self.below)} of {self.models} models"


def rank_constant_answer(constant: OfficialScore, models: Mapping[str, OfficialScore], value: str) -> ConstantRank:
    """Compare the official value of a constant answer with the values of models.

    Args:
        constant: Official numbers of the constant answer.
        models: Official numbers of the models, by name.
        value: Name of an official value; higher is better.
    """
    limit = constant.values.get(value)
    known = {name: found for name, score in models.items() if (found := score.values.get(value)) is not None}
    if limit is None:
        return ConstantRank(value, None, (), (), tuple(models))
    order = sorted(known, key=lambda name: (known[name], name))
    return ConstantRank(
        value=value,
        constant=limit,
        below=tuple(name for name in order if known[name] < limit),
        not_below=tuple(name for name in order if known[name] >= limit),
        undefined=tuple(name for name in models if name not in known),
    )

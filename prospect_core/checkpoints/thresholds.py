"""Thresholds that a checkpoint stores, with the data that they were chosen on; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prospect_core.data.dataset import Dataset

#: suffix of ``thresholds_data`` if the thresholds were chosen on test data by force
FORCED = " forced"
#: value of all thresholds of a model before thresholds are chosen
NEUTRAL = 0.5
#: threshold that no probability reaches: of a model that has not learned to speak
NEVER = 1.01


@dataclass(frozen=True)
class CheckpointThresholds:
    """Thresholds of a checkpoint, each 0 to 1, or `NEVER`.

    Attributes:
        speaking: Speaking threshold.
        update: Update threshold.
        mistake: Mistake threshold; None if it was not chosen.
    """

    speaking: float
    update: float
    mistake: float | None = None


def clear_checkpoint_thresholds(config: Any) -> None:
    """Reset the thresholds of a model's configuration to `NEUTRAL` and clear ``thresholds_data``."""
    config.speaking_threshold = NEUTRAL
    config.update_threshold = NEUTRAL
    config.mistake_threshold = NEUTRAL
    config.thresholds_data = ""


def make_thresholds_entry(chosen: CheckpointThresholds, data: Dataset, split: str) -> dict[str, Any]:
    """Make the threshold entries of a model's configuration.

    Args:
        chosen: The thresholds; no entry is made for a mistake threshold that was not chosen.
        data: Data set that they were chosen on.
        split: Split of that data set; a test split is marked with `FORCED`.
    """
    mark = FORCED if split.startswith("test") else ""
    entry: dict[str, Any] = {"speaking_threshold": chosen.speaking, "update_threshold": chosen.update}
    if chosen.mistake is not None:
        entry["mistake_threshold"] = chosen.mistake
    return {**entry, "thresholds_data": f"{data.info.name}/{split}/{data.digest[:16]}{mark}"}

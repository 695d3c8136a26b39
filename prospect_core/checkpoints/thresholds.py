"""Thresholds that a checkpoint stores, with the data that they were chosen on; needs no torch."""

from __future__ import annotations

from typing import Any

from prospect_core.data.dataset import Dataset

#: suffix of ``thresholds_data`` if the thresholds were chosen on test data by force
FORCED = " forced"
#: value of both thresholds of a model before thresholds are chosen
NEUTRAL = 0.5


def clear_checkpoint_thresholds(config: Any) -> None:
    """Reset both thresholds of a model's configuration to `NEUTRAL` and clear ``thresholds_data``."""
    config.speaking_threshold = NEUTRAL
    config.update_threshold = NEUTRAL
    config.thresholds_data = ""


def make_thresholds_entry(chosen: tuple[float, float], data: Dataset, split: str) -> dict[str, Any]:
    """Make the threshold entries of a model's configuration.

    Args:
        chosen: (speaking threshold, update threshold), each 0 to 1.
        data: Data set that they were chosen on.
        split: Split of that data set; a test split is marked with `FORCED`.
    """
    mark = FORCED if split.startswith("test") else ""
    return {
        "speaking_threshold": chosen[0],
        "update_threshold": chosen[1],
        "thresholds_data": f"{data.info.name}/{split}/{data.digest[:16]}{mark}",
    }

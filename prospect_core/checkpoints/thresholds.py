"""How a checkpoint stores its thresholds and the data that they were chosen on. Needs no torch: reports read it too.

python -c "from prospect_core.checkpoints.thresholds import make_thresholds_entry; help(make_thresholds_entry)"
"""

from __future__ import annotations

from typing import Any

from prospect_core.data.dataset import Dataset

#: ends ``thresholds_data`` where the choice was forced on test data
FORCED = " forced"
#: both thresholds of a model for which none were chosen
NEUTRAL = 0.5


def clear_checkpoint_thresholds(config: Any) -> None:
    """Set both thresholds of a model's configuration to `NEUTRAL` and clear what they were chosen on."""
    config.speaking_threshold = NEUTRAL
    config.update_threshold = NEUTRAL
    config.thresholds_data = ""


def make_thresholds_entry(chosen: tuple[float, float], data: Dataset, split: str) -> dict[str, Any]:
    """The entries of a model's configuration: the thresholds, and name and digest of what they were chosen on, with
    `FORCED` behind it where that is test data."""
    mark = FORCED if split.startswith("test") else ""
    return {
        "speaking_threshold": chosen[0],
        "update_threshold": chosen[1],
        "thresholds_data": f"{data.info.name}/{split}/{data.digest[:16]}{mark}",
    }

"""Scoring parameters that a user can change. Their values are part of the metric signatures."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from prospect_core.util.errors import UserError

#: a matched pair is correct if its cosine is above this value
GOOD_SIMILARITY = 0.5
#: weight and power of the distance in time in the cost of a matched pair; the values of ProAssist
DISTANCE_FACTOR, DISTANCE_POWER = 0.3, 1.5
#: speech rate of the assistant's voice
WORDS_PER_MINUTE = 150.0


@dataclass(frozen=True)
class MatchSettings:
    """Parameters of the matching of utterances.

    Attributes:
        good_similarity: A matched pair is correct if its cosine is above this value.
        window_scale: Factor on both sides of the dataset's matching window, above 0.
        window_s: One window (late, early) in seconds for every dataset, both at least 0. None takes
            the window of the dataset.
        distance_factor: Weight of the distance in time in the cost of a pair, at least 0.
        distance_power: Power of the distance in time, above 0.

    Raises:
        UserError: A value is outside its range.
    """

    good_similarity: float = GOOD_SIMILARITY
    window_scale: float = 1.0
    window_s: tuple[float, float] | None = None
    distance_factor: float = DISTANCE_FACTOR
    distance_power: float = DISTANCE_POWER

    def __post_init__(self) -> None:
        if self.window_s is not None and not all(math.isfinite(side) and side >= 0 for side in self.window_s):
            raise UserError(f"window {self.window_s}: seconds late and early, both at least 0")
        if not (math.isfinite(self.distance_factor) and self.distance_factor >= 0):
            raise UserError(f"distance factor {self.distance_factor}: must be at least 0")
        if not (math.isfinite(self.distance_power) and self.distance_power > 0):
            raise UserError(f"distance power {self.distance_power}: must be above 0")
        if not math.isfinite(self.good_similarity):
            raise UserError(f"similarity threshold {self.good_similarity}: must be a finite number")
        if not (math.isfinite(self.window_scale) and self.window_scale > 0):
            raise UserError(f"window scale {self.window_scale}: must be above 0")

    def window(self, dataset: str) -> tuple[float, float]:
        """Return the matching window (late, early) of a dataset, in seconds."""
        # a lazy import: the command line loads this module for its help
        from prospect_core.data.formats.proassist import proassist_matching_window

        late, early = self.window_s or proassist_matching_window(dataset)
        return late * self.window_scale, early * self.window_scale

    @property
    def signature(self) -> dict[str, str]:
        """Entries of a metric signature."""
        scale = "" if self.window_scale == 1 else f" x{self.window_scale:g}"
        window = "dataset" if self.window_s is None else "-".join(f"{side:g}s" for side in self.window_s)
        return {
            "factor": f"{self.distance_factor:g}",
            "power": f"{self.distance_power:g}",
            "window": f"{window}{scale}",
            "good": f">{self.good_similarity:g}",
        }


@dataclass(frozen=True)
class ScoreSettings:
    """All parameters of scoring.

    Attributes:
        match: Parameters of the matching of utterances.
        words_per_minute: Speech rate of the assistant's voice for the latency-aware scores, above
            0.

    Raises:
        UserError: The speech rate is not above 0.
    """

    match: MatchSettings = field(default_factory=MatchSettings)
    words_per_minute: float = WORDS_PER_MINUTE

    def __post_init__(self) -> None:
        if not (math.isfinite(self.words_per_minute) and self.words_per_minute > 0):
            raise UserError(f"speech rate {self.words_per_minute}: must be above 0 words a minute")


#: default settings
STANDARD = ScoreSettings()

"""Parameters of scoring that a user can change; their values are part of the metric signatures."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from prospect_core.errors import UserError

#: a matched pair counts as correct when its cosine is above this
GOOD_SIMILARITY = 0.5
#: words a minute of the assistant's voice
WORDS_PER_MINUTE = 150.0


@dataclass(frozen=True)
class MatchSettings:
    """Parameters of the matching of utterances.

    Attributes:
        good_similarity: A matched pair is correct when its cosine is above this value.
        window_scale: Factor on both sides of the matching window of the dataset.
    """

    good_similarity: float = GOOD_SIMILARITY
    window_scale: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.good_similarity):
            raise UserError(f"similarity threshold {self.good_similarity}: must be a finite number")
        if not (math.isfinite(self.window_scale) and self.window_scale > 0):
            raise UserError(f"window scale {self.window_scale}: must be above 0")

    def window(self, dataset: str) -> tuple[float, float]:
        """Matching window (late, early) in seconds of a dataset."""
        # imported here: the command line shows these settings in its help
        from prospect_core.data.origin_formats import window_for

        late, early = window_for(dataset)
        return late * self.window_scale, early * self.window_scale

    @property
    def signature(self) -> dict[str, str]:
        """Entries of a metric signature."""
        scale = "" if self.window_scale == 1 else f" x{self.window_scale:g}"
        return {"window": f"dataset{scale}", "good": f">{self.good_similarity:g}"}


@dataclass(frozen=True)
class ScoreSettings:
    """All parameters of scoring.

    Attributes:
        match: Parameters of the matching of utterances.
        words_per_minute: Speech rate of the assistant's voice, for the latency-aware scores.
    """

    match: MatchSettings = field(default_factory=MatchSettings)
    words_per_minute: float = WORDS_PER_MINUTE

    def __post_init__(self) -> None:
        if not (math.isfinite(self.words_per_minute) and self.words_per_minute > 0):
            raise UserError(f"speech rate {self.words_per_minute}: must be above 0 words a minute")


#: the settings of every number unless a user asks for others
STANDARD = ScoreSettings()

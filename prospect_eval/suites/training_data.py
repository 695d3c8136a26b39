"""Training episodes of a run's data, from which baselines learn.

No video is opened or generated.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from prospect_core.data.dataset import Dataset
from prospect_core.timeline import Episode
from prospect_core.util.errors import DataError, UserError
from prospect_eval.suites.suite import BUILT_IN_DATA, PREFIX, open_suite, suite_file

logger = logging.getLogger(__name__)

SPLIT = "train"
#: maximum number of training episodes, spread evenly over the split
EPISODES = 120
#: the same for baselines of procedures, which need several recordings of each activity
PROCEDURE_EPISODES = 2_000


@dataclass(frozen=True)
class TrainingEpisodes:
    """Episodes from which a baseline learns.

    Without a source, an episode's priors come from the other videos of its own split.

    Attributes:
        source: Description of the episodes; empty if there are none.
        digest: Identifies the episodes.
        load: Reads the episodes.
    """

    source: str = ""
    digest: str = ""
    load: Callable[[], list[Episode]] = field(default=list, repr=False, compare=False)

    @property
    def about(self) -> str:
        """Description of the training episodes for a reader."""
        return self.source or "the other videos of the split (leave-one-video-out)"


NO_TRAINING = TrainingEpisodes()


def open_suite_training_data(data: str, split: str, limit: int = EPISODES) -> TrainingEpisodes:
    """Open the training episodes of a run's data.

    Args:
        data: ``data`` of ``run.json``: a folder, ``suite:NAME``, or empty if unknown.
        split: The run's split. A run of the train split has no training episodes.
        limit: Maximum number of episodes.

    Returns:
        At most ``limit`` episodes of the train split. A `TrainingEpisodes` without a source if the
        data has no train split or cannot be opened.
    """
    try:
        return _training_of(data, split, limit)
    except (DataError, UserError, OSError) as error:
        logger.debug("the train split of %s cannot be opened", data, exc_info=error)
        return NO_TRAINING


def select_suite_training_data(data: Dataset, split: str, limit: int = EPISODES) -> TrainingEpisodes:
    """Select training episodes from an open dataset.

    Args:
        data: The dataset.
        split: The run's split. A run of the train split has no training episodes.
        limit: Maximum number of episodes, spread evenly over the split. Of the built-in data, at
            most `EPISODES` are used.

    Returns:
        At most ``limit`` episodes of the train split. A `TrainingEpisodes` without a source if
        there is no train split.
    """
    if split == SPLIT or SPLIT not in data.splits:
        return _built_in() if data.info.name == BUILT_IN_DATA and split != SPLIT else NO_TRAINING
    # opens the file now, so that a missing or damaged file is detected before the episodes are used
    rows = data.rows(SPLIT)
    count = min(limit, len(rows))
    chosen = np.linspace(0, len(rows) - 1, count).round().astype(int).tolist()
    return TrainingEpisodes(
        f"{count} episodes of the train split",
        hashlib.sha256(f"{data.digest} {count}".encode()).hexdigest(),
        lambda: [rows[k] for k in chosen],
    )


def _training_of(data: str, split: str, limit: int) -> TrainingEpisodes:
    if not data or split == SPLIT:
        return NO_TRAINING
    if not data.startswith(PREFIX):
        return select_suite_training_data(Dataset.open(Path(data)), split, limit)
    name = data.removeprefix(PREFIX)
    place = open_suite(name).data
    if place is None:
        return NO_TRAINING
    return (
        _built_in()
        if place == BUILT_IN_DATA
        else select_suite_training_data(Dataset.open(suite_file(name).parent / place), split, limit)
    )


def _built_in() -> TrainingEpisodes:
    """Return episodes of the workbench's train split, annotated without generating videos."""
    from prospect_core.workbench.generate import WORLD_VERSION, generate_workbench_video

    def load() -> list[Episode]:
        found: list[Episode] = []
        number = 0
        while len(found) < EPISODES:
            found += generate_workbench_video(0, SPLIT, number)[0]
            number += 1
        return found[:EPISODES]

    return TrainingEpisodes(f"{EPISODES} episodes of the train split", f"workbench {WORLD_VERSION} 0 {EPISODES}", load)

"""Training episodes of the data that a run is about, for the baselines that learn from them.

    python -c "from prospect_eval.suites.training_data import open_suite_training_data; print(open_suite_training_data('suite:workbench', 'test'))"

No video is opened or made.
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
#: episodes that are learnt from, spread evenly over the split
EPISODES = 120


@dataclass(frozen=True)
class TrainingEpisodes:
    """Episodes to learn from. ``source`` says in words what they are, ``digest`` identifies them; without a source, an
    episode's priors come from the other videos of its own split."""

    source: str = ""
    digest: str = ""
    load: Callable[[], list[Episode]] = field(default=list, repr=False, compare=False)

    @property
    def about(self) -> str:
        """What is learnt from, for people."""
        return self.source or "the other videos of the same split (leave-one-video-out)"


NO_TRAINING = TrainingEpisodes()


def open_suite_training_data(data: str, split: str) -> TrainingEpisodes:
    """The training episodes of a run's data.

    Args:
        data: ``data`` of ``run.json``: a folder, ``suite:NAME``, or empty where it is not known.
        split: The run's split; of the train split itself nothing is learnt.

    Returns:
        At most `EPISODES` episodes of the train split; a `TrainingEpisodes` without a source where the data has no train split
        or cannot be opened.
    """
    try:
        return _training_of(data, split)
    except (DataError, UserError, OSError) as error:
        logger.debug("the train split of %s cannot be opened", data, exc_info=error)
        return NO_TRAINING


def select_suite_training_data(data: Dataset, split: str) -> TrainingEpisodes:
    """The same of an opened data set."""
    if split == SPLIT or SPLIT not in data.splits:
        return _built_in() if data.info.name == BUILT_IN_DATA and split != SPLIT else NO_TRAINING
    # a file that is gone or damaged shows here, not when the episodes are wanted
    rows = data.rows(SPLIT)
    count = min(EPISODES, len(rows))
    chosen = np.linspace(0, len(rows) - 1, count).round().astype(int).tolist()
    return TrainingEpisodes(
        f"{count} episodes of the train split",
        hashlib.sha256(f"{data.digest} {count}".encode()).hexdigest(),
        lambda: [rows[k] for k in chosen],
    )


def _training_of(data: str, split: str) -> TrainingEpisodes:
    if not data or split == SPLIT:
        return NO_TRAINING
    if not data.startswith(PREFIX):
        return select_suite_training_data(Dataset.open(Path(data)), split)
    name = data.removeprefix(PREFIX)
    place = open_suite(name).data
    if place is None:
        return NO_TRAINING
    return (
        _built_in()
        if place == BUILT_IN_DATA
        else select_suite_training_data(Dataset.open(suite_file(name).parent / place), split)
    )


def _built_in() -> TrainingEpisodes:
    """The workbench's train split, whose annotation is made without its videos."""
    from prospect_core.workbench.generate import WORLD_VERSION, generate_workbench_video

    def load() -> list[Episode]:
        found: list[Episode] = []
        number = 0
        while len(found) < EPISODES:
            found += generate_workbench_video(0, SPLIT, number)[0]
            number += 1
        return found[:EPISODES]

    return TrainingEpisodes(f"{EPISODES} episodes of the train split", f"workbench {WORLD_VERSION} 0 {EPISODES}", load)

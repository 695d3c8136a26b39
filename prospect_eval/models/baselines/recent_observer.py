"""Observers that see only the last seconds of the reference and remember nothing else.

Their belief in each frame: a step in progress is in progress, a step that ended within the last
seconds is completed, every other step is not started. ``dst_head_jga`` scores this belief.
``dst_jga`` scores a tracker that applies every legal change towards the belief. The tracker
remembers what the observer has forgotten, so it shows how much a memory contributes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from prospect_core.records import EpisodeRecord
from prospect_core.timeline import STEP_STATES, Episode
from prospect_eval.models.baselines.believed_states import track_believed_states
from prospect_eval.models.baselines.trivial import make_trivial_baseline_record


def recent_observer(name: str, seconds: float) -> Callable[[Episode], EpisodeRecord]:
    """Return an observer of the last seconds as a function of an episode.

    Args:
        name: Name of the baseline.
        seconds: Number of last seconds that it sees.
    """

    def observe(episode: Episode) -> EpisodeRecord:
        codes = recent_observer_beliefs(episode, seconds)
        believed = [tuple(STEP_STATES[code] for code in row) for row in codes.tolist()]
        return make_trivial_baseline_record(
            f"baseline:{name}", episode, [], track_believed_states(episode, believed), believed
        )

    return observe


def recent_observer_beliefs(episode: Episode, seconds: float) -> np.ndarray:
    """Return the belief of an observer of the last seconds.

    Args:
        episode: The episode.
        seconds: Number of last seconds that it sees.

    Returns:
        (frames, steps) indices of the states: 0 not started, 1 in progress, 2 completed.
    """
    places = {step: place for place, step in enumerate(episode.task.step_ids)}
    believed = np.zeros((episode.num_frames, len(places)), dtype=int)
    began = {step: 0 for step in places if episode.initial_state[step] == "in_progress"}
    visible = max(1, round(seconds * episode.fps))
    ended: dict[str, int] = {}
    for frame, step, change in episode.transitions():
        now = frame - episode.start_frame
        if change == "complete":
            believed[began.pop(step) : now, places[step]] = 1
            ended[step] = now
        else:
            if step in ended:
                believed[ended[step] : min(now, ended[step] + visible), places[step]] = 2
                del ended[step]
            began[step] = now
    for step, now in ended.items():
        believed[now : now + visible, places[step]] = 2
    for step, now in began.items():
        believed[now:, places[step]] = 1
    return believed

"""Scores of the teacher-forced pass in ``teacher_forced.json``, separate from the stream's scores.

    prospect-eval run --ckpt workbench-tiny --suite workbench --limit 3 --teacher-forced

Each score is computed per turn, then averaged over an episode's turns, then over videos, as in
VideoLLM-online and ProAssist. Without a turn it is undefined, where those two use 0 or 1.

- ``tf_time_diff_s``: mean of |frame_diff| / fps, in seconds. 0 is best. Turns at the end of the
  episode have none.
- ``tf_fluency``: consecutive correct decisions and tokens over all decisions and tokens of the
  turn: (D + right) / (D + T) if on time, (D - k) / (D + T) if early by k frames, (D - 1) / (D + T)
  if late.
- ``tf_perplexity``: exp of the mean cross-entropy of the turn's tokens. 1 is best.
- ``tf_token_accuracy``: number of correct tokens before the first wrong one over the turn's tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from prospect_core.records import TeacherForcedTurn
from prospect_core.timeline import Episode
from prospect_eval.metrics import Metric
from prospect_eval.metrics.base import POSITIVE, ratio
from prospect_eval.metrics.families import PASSES
from prospect_eval.stats.clusters import Cluster, find_episode_cluster

_metric = partial(Metric, family=PASSES)

#: turns of an episode and its frames per second
Forced = tuple[Sequence[TeacherForcedTurn], float]


def teacher_forced_fluency(turn: TeacherForcedTurn) -> float:
    """Return the fluency of one turn, 0..1.

    A turn without ``frame_diff`` was not spoken and counts as late.
    """
    if turn.on_time:
        right = turn.decisions + turn.right
    elif turn.frame_diff is not None and turn.frame_diff < 0:
        right = turn.decisions + turn.frame_diff
    else:
        right = turn.decisions - 1
    return right / (turn.decisions + turn.tokens)


def _mean_of(value: Callable[[TeacherForcedTurn, float], float | None]) -> Callable[[Any], np.ndarray | str]:
    def counts(forced: Forced) -> np.ndarray | str:
        turns, fps = forced
        found = [v for v in (value(turn, fps) for turn in turns) if v is not None]
        return np.array([float(np.mean(found)), 1.0]) if found else "no reference turn to compare with"

    return counts


_PASS = {"pass": "teacher-forced", "turns": "mean"}
METRICS = [
    _metric(
        "tf_time_diff_s", _mean_of(lambda turn, fps: None if turn.frame_diff is None else abs(turn.frame_diff) / fps),
        ratio, _PASS, pool="mean", better="lower", unit="s", range=POSITIVE,
        definition="Mean absolute time from a reference turn to the decision to speak, over the reference's own context.",
        failure_mode="A miss costs no more than the frames since the previous turn; errors never compound.",
    ),
    _metric("tf_fluency", _mean_of(lambda turn, fps: teacher_forced_fluency(turn)), ratio, _PASS, pool="mean",
            definition="Share of a turn's decisions and tokens that are right without interruption, over the reference's own"
            " context.",
            failure_mode="Silent frames of the reference dominate."),
    _metric("tf_perplexity", _mean_of(lambda turn, fps: math.exp(min(turn.nats, 700.0))), ratio, _PASS, pool="mean",
           better="lower", range=(1.0, np.inf),
            definition="Exponential of the mean cross-entropy of a reference turn's tokens.",
            failure_mode="Depends on the tokenizer: not comparable between tokenizers."),
    _metric("tf_token_accuracy", _mean_of(lambda turn, fps: turn.right / turn.tokens), ratio, _PASS, pool="mean",
            definition="Share of a reference turn's tokens that are right up to the first wrong one.",
            failure_mode="A different first word makes it 0."),
]  # fmt: skip


def score_teacher_forced(
    episodes: Sequence[Episode], turns: Mapping[str, Sequence[TeacherForcedTurn]], threshold: float
) -> dict[str, Any]:
    """Compute the contents of ``teacher_forced.json``.

    Args:
        episodes: The episodes of the run.
        turns: The turns of each episode under teacher forcing, by episode id.
        threshold: Speaking threshold of the pass.

    Returns:
        The metrics and the turns as plain values.
    """
    rows: list[tuple[Cluster, Forced]] = [
        (find_episode_cluster(e), (turns[e.id], e.fps)) for e in episodes if e.id in turns
    ]
    table = {}
    for metric in METRICS:
        counts: Callable[[Any], np.ndarray | str] = metric.counts
        table[metric.name] = metric.entry(metric.pooled((cluster, counts(forced)) for cluster, forced in rows))
    found = {episode: [asdict(turn) for turn in of] for episode, of in turns.items()}
    return {"schema": 1, "speaking_threshold": threshold, "metrics": table, "episodes": found}

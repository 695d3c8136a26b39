"""When the assistant speaks: frame-exact and event F1.

    python -c "from prospect_eval.metrics.speaking import METRICS; print([m.name for m in METRICS])"

Event F1 at T seconds: predicted and reference utterances are paired one to one when at most T seconds apart (most
pairs, then least time between them); F1 = 2 pairs / (predicted + reference), 0..1, undefined when both are none.
Proactive and responsive turns are counted apart: a pair by its reference, an unpaired utterance by what it is itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from prospect_eval.matching import match_events
from prospect_eval.metrics.base import Metric, Scored, f1, ratio


def frame_counts(scored: Scored) -> np.ndarray:
    """(frames where both speak, predicted, reference)."""
    predicted, reference = {f for f, _ in scored.predictions}, {f for f, _ in scored.references}
    return np.array([len(predicted & reference), len(predicted), len(reference)])


def event_counts(seconds: float, kind: str = "") -> Callable[[Scored], np.ndarray]:
    """Counts (pairs, predicted, reference) within ``seconds``, of all turns or of one kind."""

    def counts(scored: Scored) -> np.ndarray:
        episode = scored.record.episode
        predicted, reference = [f for f, _ in scored.predictions], [f for f, _ in scored.references]
        pairs = match_events(predicted, reference, seconds * episode.fps)
        if not kind:
            return np.array([len(pairs), len(predicted), len(reference)])
        theirs, ours = episode.responsive(predicted), episode.responsive(reference)
        wanted = kind == "responsive"
        hits = sum((reference[r] in ours) == wanted for _, r in pairs)
        paired = {p for p, _ in pairs}
        extra = sum((f in theirs) == wanted for k, f in enumerate(predicted) if k not in paired)
        return np.array([hits, hits + extra, sum((f in ours) == wanted for f in reference)])

    return counts


def quiet_alarms(scored: Scored) -> np.ndarray:
    """(utterances with no reference within 5 s, minutes with none)."""
    episode = scored.record.episode
    reference = np.array([f for f, _ in scored.references])
    frames = np.arange(episode.start_frame, episode.end_frame)
    near = np.zeros(len(frames), bool)
    for frame in reference:
        near |= np.abs(frames - frame) <= 5 * episode.fps
    alarms = sum(not near[f - episode.start_frame] for f, _ in scored.predictions)
    return np.array([alarms, (~near).sum() / episode.fps / 60])


METRICS = [
    Metric("speaking_f1", frame_counts, f1, {"match": "frame"}, help="frame-exact F1 of speaking"),
    *(
        Metric(f"speaking_event_f1@{t}s", event_counts(t), f1, {"match": "one-to-one", "tol": f"{t}s"})
        for t in (1, 2, 5, 10)
    ),
    *(
        Metric(f"{kind}_event_f1@{t}s", event_counts(t, kind), f1, {"match": "one-to-one", "tol": f"{t}s"})
        for kind in ("proactive", "responsive")
        for t in (1, 2)
    ),
    Metric("false_alarms_per_minute", quiet_alarms, ratio, {"quiet": "5s"}, better="lower", unit="1/min"),
]

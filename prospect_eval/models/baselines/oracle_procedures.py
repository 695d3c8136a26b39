"""The oracle's mistakes and expected steps: those of the reference."""

from __future__ import annotations

from prospect_core.records import PredictedMistake, PredictedNextStep
from prospect_core.timeline import Episode


def oracle_baseline_mistakes(episode: Episode) -> tuple[PredictedMistake, ...]:
    """Return the reference mistakes that have a span, each at the first frame of its span.

    A mistake of a substep names no step because predictions name steps only.
    """
    found = {
        PredictedMistake(
            episode.span_frames(mistake.span).start,
            mistake.step if mistake.step in episode.task.step_ids else "",
            mistake.tag,
        ): None
        for mistake in episode.mistakes
        if mistake.span is not None
    }
    return tuple(sorted(found, key=lambda mistake: mistake.frame))


def oracle_baseline_mistake_prob(episode: Episode) -> tuple[float, ...]:
    """Return 1 on the frames in a span of a mistake, otherwise 0; empty if no mistake has a span."""
    spans = [episode.span_frames(mistake.span) for mistake in episode.mistakes if mistake.span is not None]
    if not spans:
        return ()
    frames = range(episode.start_frame, episode.end_frame)
    return tuple(float(any(frame in span for span in spans)) for frame in frames)


def oracle_baseline_next_steps(episode: Episode) -> tuple[PredictedNextStep, ...]:
    """Return the next step to start, from the first frame and from each frame with a start."""
    starts: dict[int, str] = {}
    for frame, step, change in episode.transitions():
        if change == "start":
            starts.setdefault(frame, step)
    coming = [(frame, step) for frame, step in starts.items() if frame > episode.start_frame]
    since = [episode.start_frame, *(frame for frame, _ in coming)]
    return tuple(PredictedNextStep(frame, step) for frame, (_, step) in zip(since, coming, strict=False))

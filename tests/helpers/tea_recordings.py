"""Two hand-made recordings of one procedure, with overlapping steps, a skipped step and mistakes."""

from __future__ import annotations

from collections.abc import Sequence

from prospect_core.timeline import Episode, Mistake, Step, StepOccurrence, Task, make_occurrence_transitions

TEA = Task("Make tea", (Step("S1", "boil the water"), Step("S2", "pour the tea"), Step("S3", "drink")))
#: the same steps under other ids, in another order and letter case
OTHER_TEA = Task("make TEA", (Step("A", "Drink"), Step("B", "Pour the tea"), Step("C", "Boil  the water")))


def record_steps(
    name: str,
    task: Task,
    spans: Sequence[tuple[str, float, float]],
    frames: int = 120,
    mistakes: Sequence[Mistake] = (),
    fps: float = 1.0,
) -> Episode:
    """Make an episode from executions of steps.

    Args:
        name: Name of the episode and its video.
        task: The task.
        spans: (step id, start, end) in seconds.
        frames: Number of frames.
        mistakes: The mistakes.
        fps: Frames per second.
    """
    ordered = sorted(spans, key=lambda span: span[1])
    occurrences = tuple(StepOccurrence(f"O{k}", *span) for k, span in enumerate(ordered))
    return Episode(
        id=name,
        video=f"{name}.mp4",
        fps=fps,
        start_frame=0,
        end_frame=frames,
        task=task,
        events=make_occurrence_transitions(occurrences),
        occurrences=occurrences,
        mistakes=tuple(mistakes),
    ).validate()


def tea_recordings() -> list[Episode]:
    """Return the two recordings."""
    first = record_steps(
        "first",
        TEA,
        [("S1", 10, 30), ("S2", 40, 50)],
        mistakes=[
            Mistake("M1", "Timing Error", "S1", (10, 30)),
            Mistake("M2", "Order Error", "S2", (40, 50)),
            Mistake("M3", "Missing Step", "S3"),
        ],
    )
    second = record_steps(
        "second",
        OTHER_TEA,
        [("C", 20, 60), ("B", 50, 80), ("A", 100, 110)],
        mistakes=[Mistake("M1", "Timing Error", "C", (20, 60))],
    )
    return [first, second]

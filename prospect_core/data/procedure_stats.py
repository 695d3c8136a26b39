"""Statistics of what people do with the steps of a task: lengths, overlap, order, repetition, mistakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from prospect_core.timeline import Episode, StepSpan


@dataclass
class ProcedureTally:
    """Counts over the steps of episodes; two tallies can be merged.

    Episodes without steps are not counted.

    Attributes:
        counts: Sums by name.
        seconds: Length of each span in which a step is in progress.
    """

    counts: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def add(self, episode: Episode) -> None:
        """Count one more episode."""
        if not episode.task.steps:
            return
        spans = episode.step_spans()
        open_steps = count_open_steps(spans, episode)
        starts = [span for span in spans if span.first > episode.start_frame or episode.initial is None]
        firsts = list(dict.fromkeys(span.step for span in spans))
        place = {step: number for number, step in enumerate(episode.task.step_ids)}
        pairs = list(combinations((place[step] for step in firsts), 2))
        several = [span for span in starts if _starts_during_another(span, spans)]
        skipped = len(episode.task.steps) - len(firsts)
        self.seconds += [span.frames / episode.fps for span in spans]
        self.counts.update(
            episodes=1,
            frames=episode.num_frames,
            steps=len(episode.task.steps),
            spans=len(spans),
            idle=int((open_steps == 0).sum()),
            parallel=int((open_steps > 1).sum()),
            starts=len(starts),
            interleaved=len(several),
            repeats=len(spans) - len(firsts),
            skipped=skipped,
            pairs=len(pairs),
            in_order=sum(earlier < later for earlier, later in pairs),
            mistakes=len(episode.mistakes),
            with_mistake=bool(episode.mistakes),
            with_overlap=bool(several),
            with_repeat=len(spans) > len(firsts),
            with_skip=skipped > 0,
        )

    def merge(self, other: ProcedureTally) -> None:
        """Add the counts of another tally."""
        self.counts.update(other.counts)
        self.seconds += other.seconds

    def table(self) -> dict[str, Any]:
        """Return names and values in display order; empty without steps."""
        n = self.counts
        if not n["episodes"]:
            return {}

        def percent(part: str, whole: str) -> float | None:
            return round(100 * n[part] / n[whole], 1) if n[whole] else None

        def mean(part: str) -> float:
            return round(n[part] / n["episodes"], 2)

        low, middle, high = np.quantile(self.seconds, (0.1, 0.5, 0.9)) if self.seconds else (None, None, None)
        return {
            "occurrences of steps an episode (mean)": mean("spans"),
            "occurrence seconds (10 %)": _round(low),
            "occurrence seconds (median)": _round(middle),
            "occurrence seconds (90 %)": _round(high),
            "frames without a step in progress (%)": percent("idle", "frames"),
            "frames with several steps in progress (%)": percent("parallel", "frames"),
            "starts during another step (%)": percent("interleaved", "starts"),
            "pairs of steps in the listed order (%)": percent("in_order", "pairs"),
            "repeated occurrences (%)": percent("repeats", "spans"),
            "steps never done (%)": percent("skipped", "steps"),
            "episodes with overlapping steps (%)": percent("with_overlap", "episodes"),
            "episodes with a repeated step (%)": percent("with_repeat", "episodes"),
            "episodes with a step never done (%)": percent("with_skip", "episodes"),
            "episodes with an annotated mistake (%)": percent("with_mistake", "episodes"),
            "annotated mistakes an episode (mean)": mean("mistakes"),
        }


def count_open_steps(spans: Sequence[StepSpan], episode: Episode) -> np.ndarray:
    """Count the steps in progress at each frame.

    Args:
        spans: The spans of the episode.
        episode: The episode.

    Returns:
        (F,) counts.
    """
    changes = np.zeros(episode.num_frames + 1, int)
    for span in spans:
        changes[span.first - episode.start_frame] += 1
        changes[span.end - episode.start_frame] -= 1
    return np.cumsum(changes)[:-1]


def _starts_during_another(span: StepSpan, spans: Sequence[StepSpan]) -> bool:
    return any(other.step != span.step and other.first < span.first < other.end for other in spans)


def _round(value: float | None) -> float | None:
    return None if value is None else round(float(value), 1)

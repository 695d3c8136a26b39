"""Annotation coverage: what a source of training episodes annotates, and which objectives it can teach.

Data without dialogue does not say that the assistant stays silent, and data without steps does not
say that nothing changes. Such objectives carry no loss on the episodes of that source.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from prospect_core.sequence.builder import TokenSequence
from prospect_core.sequence.labels import IGNORE
from prospect_core.timeline import Episode

#: entry of `Episode.meta`, and its value for annotators who looked for mistakes and may have found none
MISTAKES_META, ANNOTATED = "mistakes", "annotated"


@dataclass(frozen=True)
class AnnotationCoverage:
    """Kinds of annotation that a source has.

    Attributes:
        dialogue: Whether any episode has an assistant turn.
        steps: Whether the task of any episode has steps.
        mistakes: Whether any episode has a mistake, or ``meta["mistakes"] == "annotated"``. Episodes
            of such a source without a mistake are then known to have none.
    """

    dialogue: bool = True
    steps: bool = True
    mistakes: bool = False

    def gaps(self, mistake_head: bool = False) -> list[str]:
        """Describe each missing kind of annotation with the objectives that carry no loss.

        Args:
            mistake_head: Whether the model learns mistakes; a lack of them is not mentioned otherwise.
        """
        lines = []
        if not self.dialogue:
            lines.append("no dialogue: speaking and response carry no loss")
        if not self.steps:
            lines.append("no steps: update and state carry no loss")
        if mistake_head and not self.mistakes:
            lines.append("no annotation of mistakes: mistake carries no loss")
        return lines


def find_annotation_coverage(episodes: Iterable[Episode], mistakes: bool = False) -> AnnotationCoverage:
    """Find what the episodes of a source annotate; reading stops when everything is found.

    Args:
        episodes: All episodes of the source.
        mistakes: Whether to look for mistakes.
    """
    dialogue = steps = False
    found = not mistakes
    for episode in episodes:
        dialogue = dialogue or any(event.kind == "assistant" for event in episode.events)
        steps = steps or bool(episode.task.steps)
        found = found or bool(episode.mistakes) or episode.meta.get(MISTAKES_META) == ANNOTATED
        if dialogue and steps and found:
            break
    return AnnotationCoverage(dialogue, steps, mistakes and found)


def mask_unannotated_sequence_labels(sequence: TokenSequence, coverage: AnnotationCoverage) -> TokenSequence:
    """Return a window without the labels of objectives that its source does not annotate.

    Args:
        sequence: The window.
        coverage: Annotation of its source.
    """
    frames = len(sequence.frames)
    if not coverage.dialogue:
        sequence = replace(sequence, speaking=[IGNORE] * frames, lm_labels=[IGNORE] * len(sequence.lm_labels))
    if not coverage.steps:
        nothing = [[IGNORE] * len(states) for states in sequence.states]
        sequence = replace(sequence, update=[IGNORE] * frames, states=nothing)
    if not coverage.mistakes:
        sequence = replace(sequence, mistakes=[IGNORE] * frames)
    return sequence

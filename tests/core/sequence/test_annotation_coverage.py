"""Labels of mistakes, and labels that a source without an annotation does not have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prospect_core.sequence.annotation_coverage import (
    AnnotationCoverage,
    find_annotation_coverage,
    mask_unannotated_sequence_labels,
)
from prospect_core.sequence.builder import SequenceBuilder
from prospect_core.sequence.labels import IGNORE, make_sequence_mistake_labels
from prospect_core.timeline import Event, Mistake, Task
from tests.helpers.drawn_procedures import make_procedure

pytestmark = pytest.mark.integration

MISTAKES = (
    Mistake("m1", "Timing Error", "S1", (2.0, 4.5)),
    Mistake("m2", "Order Error", "S2", (4.0, 6.0)),
    Mistake("m3", "Missing Step", "S3"),
)
EPISODE = make_procedure("e", [(1, 2.0, 4.5), (2, 4.0, 6.0)], 12, MISTAKES)


@pytest.fixture
def builder(tokenizer):
    return SequenceBuilder(tokenizer, 2)


def test_mistake_labels_by_hand():
    """At 1 frame per second: frames 2..5 of 2..4.5 s and 4..6 of 4..6 s; a skipped step has none."""
    assert make_sequence_mistake_labels(EPISODE, range(12)) == [0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
    slow = replace(EPISODE, fps=0.5, end_frame=6)
    assert make_sequence_mistake_labels(slow, range(6)) == [0, 1, 1, 1, 0, 0]


def test_sequence_window_labels_supervised_mistakes(builder):
    assert builder.window(EPISODE).mistakes == [0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
    clip = EPISODE.window(5, 9)
    assert builder.window(clip, whole=EPISODE).mistakes == [1, 1, 0, 0]
    assert builder.window(clip, whole=EPISODE, supervised={6, 8}).mistakes == [IGNORE, 1, IGNORE, 0]


def test_find_annotation_coverage_of_procedures():
    assert find_annotation_coverage([EPISODE], mistakes=True) == AnnotationCoverage(False, True, True)
    assert find_annotation_coverage([EPISODE]) == AnnotationCoverage(False, True, False)
    faultless = replace(EPISODE, mistakes=())
    assert not find_annotation_coverage([faultless], mistakes=True).mistakes
    # one annotated episode says that the others were annotated too
    assert find_annotation_coverage([faultless, EPISODE], mistakes=True).mistakes
    marked = replace(faultless, meta={"mistakes": "annotated"})
    assert find_annotation_coverage([faultless, marked], mistakes=True).mistakes
    other = replace(faultless, meta={"mistakes": "unknown"})
    assert not find_annotation_coverage([other], mistakes=True).mistakes


def test_find_annotation_coverage_of_dialogue():
    question = replace(
        EPISODE, task=Task("talk", ()), occurrences=(), mistakes=(), events=(Event("u", 1, "user", "Hm?"),)
    )
    assert find_annotation_coverage([question]) == AnnotationCoverage(False, False, False)
    answer = replace(question, events=(*question.events, Event("a", 2, "assistant", "Yes.")))
    assert find_annotation_coverage([question, answer]) == AnnotationCoverage(True, False, False)


def test_find_annotation_coverage_stops_when_complete():
    spoken = replace(EPISODE, events=(*EPISODE.events, Event("a", 9, "assistant", "Well done.")))

    def episodes():
        yield spoken
        raise AssertionError("everything was found in the first episode")

    assert find_annotation_coverage(episodes(), mistakes=True) == AnnotationCoverage(True, True, True)


def test_annotation_coverage_gaps_name_objectives():
    assert AnnotationCoverage().gaps() == []
    assert AnnotationCoverage(dialogue=False).gaps() == ["no dialogue: speaking and response carry no loss"]
    assert AnnotationCoverage(steps=False).gaps(mistake_head=True) == [
        "no steps: update and state carry no loss",
        "no annotation of mistakes: mistake carries no loss",
    ]


def test_mask_unannotated_labels_keeps_other_objectives(builder):
    spoken = replace(EPISODE, events=(*EPISODE.events, Event("a", 9, "assistant", "Well done.")))
    whole = builder.window(spoken)
    assert mask_unannotated_sequence_labels(whole, AnnotationCoverage(mistakes=True)) == whole
    silent = mask_unannotated_sequence_labels(whole, AnnotationCoverage(dialogue=False, mistakes=True))
    assert set(silent.speaking) == set(silent.lm_labels) == {IGNORE}
    assert (silent.update, silent.states, silent.mistakes) == (whole.update, whole.states, whole.mistakes)
    blank = mask_unannotated_sequence_labels(whole, AnnotationCoverage(steps=False))
    assert set(blank.update) == {label for row in blank.states for label in row} == set(blank.mistakes) == {IGNORE}
    assert (blank.speaking, blank.lm_labels, blank.ids) == (whole.speaking, whole.lm_labels, whole.ids)

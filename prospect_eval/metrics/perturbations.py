"""Perturbation test of metrics: perturbed predictions and the expected change of each metric.

A perturbation is a function (record, grade) -> record. Grade 0 changes nothing. For each
perturbation `TABLE` lists the metrics that must fall with the grade and those that must not change.
The other metrics are exempt because their change depends on the words. `prospect-eval selfcheck`
applies the perturbations to the oracle's records of any dataset.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from prospect_core.records import EpisodeRecord, PredictedUtterance

Perturbation = Callable[[EpisodeRecord, int], EpisodeRecord]


@dataclass(frozen=True)
class Expected:
    """Expected effect of a perturbation on metrics, by name.

    Attributes:
        falls: Metrics that must fall.
        stays: Metrics that must not change.
        rises: Rates that must rise; lower is better.
    """

    falls: tuple[str, ...]
    stays: tuple[str, ...]
    rises: tuple[str, ...] = ()


def perturb_by_delay(record: EpisodeRecord, frames: int) -> EpisodeRecord:
    """Move every utterance later by a number of frames; drop utterances after the end."""
    end = record.episode.end_frame
    moved = tuple(replace(u, frame=u.frame + frames) for u in record.utterances)
    return replace(record, utterances=tuple(u for u in moved if u.frame < end))


def perturb_by_dropping_utterances(record: EpisodeRecord, eighths: int) -> EpisodeRecord:
    """Drop a number of every eight utterances.

    A higher grade drops the utterances of the lower grades too.

    Args:
        record: The record.
        eighths: Number of utterances to drop out of eight.
    """
    order = np.random.default_rng(0).permutation(len(record.utterances)) * 8 // max(1, len(record.utterances))
    kept = tuple(u for u, place in zip(record.utterances, order, strict=True) if place >= eighths)
    return replace(record, utterances=kept)


def perturb_by_duplicating_utterances(record: EpisodeRecord, times: int) -> EpisodeRecord:
    """Repeat every utterance on the following frames that have no utterance.

    Args:
        record: The record.
        times: Number of repetitions.
    """
    said = {u.frame: u for u in record.utterances}
    for utterance in record.utterances:
        for later in range(1, times + 1):
            frame = utterance.frame + later
            if frame < record.episode.end_frame:
                said.setdefault(frame, replace(utterance, frame=frame))
    return replace(record, utterances=tuple(said[frame] for frame in sorted(said)))


def perturb_by_shuffling_text(record: EpisodeRecord, grade: int) -> EpisodeRecord:
    """Replace the text of each utterance by that of a later one.

    Args:
        record: The record.
        grade: Distance to the utterance whose text is taken.
    """
    texts = [u.text for u in record.utterances]
    turned = texts[grade:] + texts[:grade]
    said = tuple(PredictedUtterance(u.frame, text) for u, text in zip(record.utterances, turned, strict=True))
    return replace(record, utterances=said)


def perturb_by_swapping_slots(record: EpisodeRecord, grade: int) -> EpisodeRecord:
    """Replace objects, counts and yes/no by other values of the same slot.

    Args:
        record: The record.
        grade: Distance to the new value in the list of the slot's values.
    """
    values: dict[str, list[str]] = {}
    for turn in record.episode.utterances():
        for event in turn.events:
            for key, value in event.slots.items():
                if key in ("object", "count", "answer") and value not in values.setdefault(key, []):
                    values[key].append(value)
    swap = {v: group[(k + grade) % len(group)] for group in values.values() for k, v in enumerate(group)}
    if not swap:
        return record
    pattern = re.compile(
        "|".join(rf"(?<![\w-]){re.escape(v)}(?![\w-])" for v in sorted(swap, key=len, reverse=True)), re.I
    )
    lower = {value.lower(): other for value, other in swap.items()}
    said = tuple(replace(u, text=pattern.sub(lambda m: lower[m[0].lower()], u.text)) for u in record.utterances)
    return replace(record, utterances=said)


def perturb_by_shifting_dst(record: EpisodeRecord, frames: int) -> EpisodeRecord:
    """Move every transition later by a number of frames, at most to the last frame."""
    last = record.episode.end_frame - 1
    return replace(record, transitions=tuple(replace(t, frame=min(last, t.frame + frames)) for t in record.transitions))


PERTURBATIONS: dict[str, Perturbation] = {
    "delay": perturb_by_delay,
    "drop": perturb_by_dropping_utterances,
    "duplicate": perturb_by_duplicating_utterances,
    "shuffle_text": perturb_by_shuffling_text,
    "swap_slots": perturb_by_swapping_slots,
    "shift_dst": perturb_by_shifting_dst,
}
_SPEAKING = (
    "speaking_f1",
    "speaking_event_f1@1s",
    "speaking_event_f1@2s",
    "speaking_event_area",
    "proactive_event_f1@1s",
)
_STATE = ("dst_jga", "dst_macro_f1", "transition_f1@1s", "dst_gca", "dst_edit", "dst_pos", "dst_final_accuracy")
TABLE: dict[str, Expected] = {
    "delay": Expected(("speaking_f1", "speaking_precision", "speaking_recall"), _STATE),
    "drop": Expected(
        ("speaking_f1", "speaking_event_recall@1s", "speaking_event_f1@2s", "matched_recall", "matched_f1", "matched_jaccard"),
        ("speaking_precision", "speaking_event_precision@1s", "speaking_duplicate_rate", *_STATE),
        ("speaking_missed_rate",),
    ),
    "duplicate": Expected(
        ("speaking_f1", "speaking_event_precision@1s", "speaking_event_f1@2s", "matched_precision", "matched_f1"),
        ("speaking_recall", "speaking_event_recall@1s", *_STATE),
        ("speaking_duplicate_rate", "speaking_redundant_rate"),
    ),
    "shuffle_text": Expected(("matched_f1", "bleu_w", "similarity_w"), (*_SPEAKING, *_STATE)),
    "swap_slots": Expected(("content_accuracy",), (*_SPEAKING, *_STATE)),
    "shift_dst": Expected(
        ("dst_jga", "dst_step_accuracy", "dst_macro_f1"), (*_SPEAKING, "matched_f1", "bleu", "dst_edit", "dst_pos")
    ),
}  # fmt: skip

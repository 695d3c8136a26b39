"""Detection of the filmed person's mistakes: events, tags, delay and probability."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from prospect_core.records import EpisodeRecord
from prospect_core.timeline import Episode
from prospect_eval.matching.assignment import assign_allowed_pairs
from prospect_eval.metrics.base import Metric, Scored, f1, precision, ratio, recall
from prospect_eval.metrics.families import PROCEDURES
from prospect_eval.metrics.histogram import (
    average_precision_without_histogram,
    histogram_average_precision,
    histogram_average_precision_gradient,
    histogram_quantile,
    histogram_quantile_interval,
    probability_histogram,
    seconds_histogram,
)

_metric = partial(Metric, family=PROCEDURES)

#: kinds of CaptainCook4D, each with a recall of its own
MISTAKE_TAGS = (
    "order_error",
    "technique_error",
    "preparation_error",
    "measurement_error",
    "missing_step",
    "timing_error",
    "temperature_error",
    "other",
)
#: longer delays count as this one
LONGEST_DELAY_S = 600
DELAY_GRID_PER_S = 4
NO_MISTAKE_PROBABILITY = "the record holds no mistake probabilities"


@dataclass(frozen=True)
class MistakeSpan:
    """Reference mistakes of one step that begin on one frame: one event.

    Attributes:
        step: Id of the step; empty if the data names none, or a substep.
        frames: Frames of the longest of its spans.
        tags: Kinds of the mistakes, as `normalize_mistake_tag` writes them.
    """

    step: str
    frames: range
    tags: frozenset[str]


def normalize_mistake_tag(tag: str) -> str:
    """Return a tag in lower case with underscores: ``Order Error`` becomes ``order_error``."""
    return re.sub(r"[^a-z0-9]+", "_", tag.lower()).strip("_")


def merge_reference_mistakes(episode: Episode) -> list[MistakeSpan]:
    """Return the mistakes of an episode that have a span, merged by step and first frame.

    Mistakes of one execution often share the span and differ in the tag. A substep counts as no
    step because a prediction can name steps only.

    Args:
        episode: The episode.

    Returns:
        The events in the order of their first mistakes.
    """
    merged: dict[tuple[str, int], MistakeSpan] = {}
    for mistake in episode.mistakes:
        if mistake.span is None:
            continue
        step = mistake.step if mistake.step in episode.task.step_ids else ""
        frames = episode.span_frames(mistake.span)
        tags = frozenset([normalize_mistake_tag(mistake.tag)])
        known = merged.get((step, frames.start), MistakeSpan(step, frames, tags))
        longest = max(known.frames, frames, key=len)
        merged[step, frames.start] = MistakeSpan(step, longest, known.tags | tags)
    return list(merged.values())


def match_mistakes(predicted: Sequence[tuple[int, str]], reference: Sequence[MistakeSpan]) -> list[tuple[int, int]]:
    """Pair predicted with reference mistakes one to one.

    A prediction fits a reference whose span holds its frame, if both name the same step or one
    names none. The assignment has the most pairs, and of those the least sum of delays.

    Args:
        predicted: (frame, step) of the predictions.
        reference: The reference mistakes.

    Returns:
        (prediction, reference) indices of the pairs.
    """
    costs = np.full((len(predicted), len(reference)), np.inf)
    for column, span in enumerate(reference):
        for row, (frame, step) in enumerate(predicted):
            if frame in span.frames and (not step or not span.step or step == span.step):
                costs[row, column] = frame - span.frames.start
    return assign_allowed_pairs(costs)


def _predicted_mistakes(record: EpisodeRecord) -> list[tuple[int, str]]:
    """Return the (frame, step) of the predicted mistakes, each once."""
    return list(dict.fromkeys((mistake.frame, mistake.step) for mistake in record.mistakes))


def _sides(scored: Scored) -> tuple[list[tuple[int, str]], list[MistakeSpan], list[tuple[int, int]]]:
    """Return the predicted and the reference mistakes, and their pairs."""

    def make() -> tuple[list[tuple[int, str]], list[MistakeSpan], list[tuple[int, int]]]:
        predicted, reference = _predicted_mistakes(scored.record), merge_reference_mistakes(scored.record.episode)
        return predicted, reference, match_mistakes(predicted, reference)

    return scored.once("mistakes", make)


def mistake_counts(scored: Scored) -> np.ndarray:
    """Count (pairs, predicted, reference) mistakes."""
    predicted, reference, pairs = _sides(scored)
    return np.array([len(pairs), len(predicted), len(reference)])


def mistake_tag_counts(scored: Scored) -> np.ndarray:
    """Count (pairs, predicted, reference) mistakes with equal tags, over (mistake, tag)."""
    _, reference, _ = _sides(scored)
    named = dict.fromkeys((m.frame, m.step, normalize_mistake_tag(m.tag)) for m in scored.record.mistakes)
    hits = 0
    for tag in {tag for span in reference for tag in span.tags}:
        ours = [(frame, step) for frame, step, name in named if name == tag]
        hits += len(match_mistakes(ours, [span for span in reference if tag in span.tags]))
    return np.array([hits, len(named), sum(len(span.tags) for span in reference)])


def mistake_tag_recall_counts(tag: str) -> Callable[[Scored], np.ndarray | str]:
    """Return a function that counts (hit, reference) mistakes of a tag, hit by any predicted mistake.

    Args:
        tag: One of `MISTAKE_TAGS`.
    """

    def counts(scored: Scored) -> np.ndarray | str:
        predicted, reference, _ = _sides(scored)
        wanted = [span for span in reference if tag in span.tags]
        if not wanted:
            return f"no mistake with a time and the tag {tag}"
        return np.array([len(match_mistakes(predicted, wanted)), len(wanted)])

    return counts


def mistake_delays(scored: Scored) -> np.ndarray | str:
    """Compute the histogram of the seconds from the start of a mistake's span to its hit."""
    predicted, reference, pairs = _sides(scored)
    if not pairs:
        return "no mistake is hit"
    delays = [(predicted[p][0] - reference[r].frames.start) / scored.fps for p, r in pairs]
    return seconds_histogram(np.minimum(delays, LONGEST_DELAY_S).tolist(), LONGEST_DELAY_S, DELAY_GRID_PER_S)


def _mistake_labels(scored: Scored) -> np.ndarray:
    """Return (F,) booleans: whether each frame is in the span of a reference mistake."""
    episode = scored.record.episode
    labels = np.zeros(episode.num_frames, bool)
    for span in merge_reference_mistakes(episode):
        labels[span.frames.start - episode.start_frame : span.frames.stop - episode.start_frame] = True
    return labels


def mistake_probabilities(scored: Scored) -> np.ndarray | None:
    """Return (2, F) labels and mistake probabilities; None without probabilities.

    A failed episode has the worst ones.
    """
    labels = _mistake_labels(scored)
    if scored.failed:
        return np.stack([labels, ~labels]).astype(float)
    return np.stack([labels, scored.record.mistake_prob]) if scored.record.mistake_prob else None


def mistake_histogram(scored: Scored) -> np.ndarray | str:
    """Compute the histogram of the mistake probabilities of frames inside and outside of mistakes."""
    found = mistake_probabilities(scored)
    if found is None:
        return NO_MISTAKE_PROBABILITY
    return probability_histogram(found[0] > 0, found[1].tolist())


#: rule of a hit in the definitions; mistakes of one step that begin on one frame are one, those without a time are left out
_HIT = "in the mistake's span, with no other step named, one to one"
_ONE_TO_ONE = {"match": "one-to-one", "merge": "step,start", "without span": "left out"}
_ALARM = "Spans of whole executions are long, so alarms at a fixed period hit many."
METRICS = [
    _metric(
        "mistake_f1",
        mistake_counts,
        f1,
        _ONE_TO_ONE,
        definition=f"F1 of predicted mistakes of the filmed person that hit a reference mistake with a time ({_HIT}).",
        failure_mode=f"{_ALARM} Ignores the kind of mistake.",
        companion="mistake_delay_median_s",
    ),
    _metric(
        "mistake_precision",
        mistake_counts,
        precision,
        _ONE_TO_ONE,
        definition=f"Share of the predicted mistakes that hit a reference mistake with a time ({_HIT}).",
        failure_mode="A model that predicts a single sure mistake scores 1; repeated alarms for one mistake are wrong.",
    ),
    _metric(
        "mistake_recall",
        mistake_counts,
        recall,
        _ONE_TO_ONE,
        definition=f"Share of the reference mistakes with a time that a predicted mistake hits ({_HIT}).",
        failure_mode="A model that predicts a mistake on every frame scores 1.",
    ),
    _metric(
        "mistake_tag_f1",
        mistake_tag_counts,
        f1,
        {**_ONE_TO_ONE, "tag": "equal"},
        definition=f"F1 of predicted mistakes that hit a reference mistake of the same tag ({_HIT}); each tag counts.",
        failure_mode=f"{_ALARM} Frequent tags count most.",
    ),
    *(
        _metric(
            f"mistake_recall@{tag}",
            mistake_tag_recall_counts(tag),
            ratio,
            {**_ONE_TO_ONE, "tag": tag},
            definition=f"Share of the reference mistakes with a time and the tag {tag} that a predicted mistake of any tag hits.",
            failure_mode="A model that predicts a mistake on every frame scores 1.",
        )
        for tag in MISTAKE_TAGS
    ),
    _metric(
        "mistake_delay_median_s",
        mistake_delays,
        partial(histogram_quantile, q=0.5, limit_s=LONGEST_DELAY_S, per_s=DELAY_GRID_PER_S),
        {**_ONE_TO_ONE, "limit": f"{LONGEST_DELAY_S}s", "grid": f"1/{DELAY_GRID_PER_S}s"},
        interval=partial(histogram_quantile_interval, q=0.5, limit_s=LONGEST_DELAY_S, per_s=DELAY_GRID_PER_S),
        better="lower",
        unit="s",
        range=(0.0, LONGEST_DELAY_S),
        definition="Median of the seconds from the first frame of a mistake's span to the predicted mistake that hits it.",
        failure_mode="Covers only mistakes that are hit; spans often begin before the mistake can be seen; in steps of"
        f" 1/{DELAY_GRID_PER_S} s.",
    ),
    _metric(
        "mistake_average_precision",
        mistake_histogram,
        histogram_average_precision,
        {"unit": "frame"},
        sample=mistake_probabilities,
        exact=average_precision_without_histogram,
        gradient=histogram_average_precision_gradient,
        definition="Average precision of the mistake probability over all frames, without a threshold; frames in the span of"
        " a mistake are positive.",
        failure_mode="Long mistakes count most; frames of a span before the mistake can be seen are positive, too.",
    ),
]

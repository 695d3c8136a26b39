"""Timing metrics of other benchmarks, computed from the same record, each with its failure mode.

References are points in time. If a metric needs a span, it is the dataset's matching window around
the point (prediction early .. late). If a metric needs an LLM judge, sentence similarity replaces
it, and the metric's name ends in ``surrogate``. Similarities below 0 count as 0. An utterance
belongs to the nearest reference whose span contains it.

- ``chunk_macro_f1@8s``, ``chunk_g_mean@8s`` (Pro2Bench): the video is cut into chunks of 8 s, each
  with or without an utterance; mean and geometric mean of the F1 of both classes.
- ``sw_f1``: 2 TP / (2 TP + .2 FP + 2 FN) over one-to-one pairs within the span.
- ``estp_f1_surrogate`` (ESTP-Bench): 2 sum(S) / (2 sum(S) + FP + FN) over pairs in the window [t -
  early - 1, t + late + 2]. The score of a pair is S = (answer + time) / 10 with answer = 1 + 4 cos
  and time = 5 - 5 min(1, |dt| / max(1, span + 3)). Times are in seconds.
- ``pauc_surrogate`` (ProactiveVideoQA, omega .5): the area under the quality, over time within a
  span, of all predicted text up to that time. The quality is 2 cos in 0..2, and 0.5 before the
  first reply; mean over references. Silence scores 0.25.

The following metrics use the benchmarks' own scorers (`prospect_eval.suites`) on the times of the
decision frames:

- ``omnipro_time_f1@3s`` (OmniPro): utterances paired with references at most 3 s apart, closest
  first; 2 pairs / (predicted + reference).
- ``omnipro_joint_f1@3s`` (OmniPro): only pairs with correct content count: the position, count or
  state in the slots of the reference, by the OmniPro task in the episode's ``meta``
  (``omnipro_task``). Without the task it is undefined.
- ``fitcoach_t_f@1.5s`` (QEVD-FIT-COACH): recall by the nearest prediction of each reference,
  precision by the nearest reference of each prediction, less than 1.5 s away and in order.
- ``estp_timing_f1`` (ESTP-Bench, after descriptions by third parties): 2 hits / (2 hits + missed +
  false alarms). A reference is hit by an utterance from 1 s before to 2 s after its reply span, or
  its time without one. Utterances outside all these windows are false alarms.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from prospect_core.data.formats.proassist import proassist_matching_window
from prospect_eval.matching.matcher import match_events
from prospect_eval.metrics.base import Metric, Scored, ratio
from prospect_eval.metrics.families import FIELD_TIMING

_metric = partial(Metric, family=FIELD_TIMING)

#: (frame, text) for each reference
Spans = list[list[tuple[int, str]]]
CHUNK_S = 8
OMEGA = 0.5
SW_WEIGHTS = (2.0, 0.2, 2.0)


def rival_timing_chunk_counts(scored: Scored) -> np.ndarray:
    """Count (both, predicted, reference, all) chunks of 8 s with an utterance."""
    episode = scored.record.episode
    length = CHUNK_S * episode.fps
    chunks = int(np.ceil(episode.num_frames / length))
    sides = [
        {int((frame - episode.start_frame) // length) for frame, _ in side}
        for side in (scored.predictions, scored.references)
    ]
    return np.array([len(sides[0] & sides[1]), len(sides[0]), len(sides[1]), chunks])


def _chunk_f1s(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return F1 of chunks with and without an utterance, from `rival_timing_chunk_counts`."""
    both, predicted, reference, chunks = np.moveaxis(counts, -1, 0)
    silent = chunks - predicted - reference + both
    with np.errstate(divide="ignore", invalid="ignore"):
        return 2 * both / (predicted + reference), 2 * silent / (2 * chunks - predicted - reference)


def rival_timing_chunk_macro_f1(counts: np.ndarray) -> np.ndarray:
    """Return the mean F1 of both classes of chunks, undefined if a class never occurs.

    Args:
        counts: (..., 4) summed `rival_timing_chunk_counts`.
    """
    first, second = _chunk_f1s(counts)
    return np.asarray((first + second) / 2)


def rival_timing_chunk_geometric_mean(counts: np.ndarray) -> np.ndarray:
    """Return the geometric mean of the F1 of both classes, undefined if a class never occurs.

    Args:
        counts: (..., 4) summed `rival_timing_chunk_counts`.
    """
    first, second = _chunk_f1s(counts)
    return np.asarray(np.sqrt(first * second))


def _span(scored: Scored) -> tuple[float, float]:
    """Return the span (late, early) in frames."""
    late, early = proassist_matching_window(scored.record.episode.dataset)
    return late * scored.fps, early * scored.fps


def _pairs_within(scored: Scored, late: float, early: float) -> list[tuple[int, int]]:
    """Return (prediction, reference) indices, paired by time.

    A prediction is at most ``early`` frames before or ``late`` frames after its reference.
    """
    predicted = [frame for frame, _ in scored.predictions]
    reference = [frame for frame, _ in scored.references]
    return match_events(predicted, reference, early, late)


def rival_timing_weighted_counts(scored: Scored) -> np.ndarray:
    """Count (pairs, predicted, reference) within the span."""
    pairs = _pairs_within(scored, *_span(scored))
    return np.array([len(pairs), len(scored.predictions), len(scored.references)])


def rival_timing_weighted_f1(counts: np.ndarray) -> np.ndarray:
    """Return the weighted F1, in which a miss costs ten times a false alarm.

    Args:
        counts: (..., 3) summed `rival_timing_weighted_counts`.
    """
    hits, predicted, reference = np.moveaxis(counts, -1, 0)
    hit, alarm, miss = SW_WEIGHTS
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(hit * hits / (hit * hits + alarm * (predicted - hits) + miss * (reference - hits)))


def rival_timing_estp_counts(scored: Scored) -> np.ndarray:
    """Count (sum of the pairs' scores, false positives, false negatives)."""
    late, early = _span(scored)
    pairs = _pairs_within(scored, late + 2 * scored.fps, early + scored.fps)
    scale = max(1.0, (late + early) / scored.fps + 3)
    total, similar = 0.0, _similarities(scored)
    predictions, references = scored.predictions, scored.references
    for p, r in pairs:
        (frame, text), (due, reference) = predictions[p], references[r]
        answer = 1 + 4 * similar(text, reference)
        total += (answer + 5 - 5 * min(1.0, abs(frame - due) / scored.fps / scale)) / 10
    return np.array([total, len(scored.predictions) - len(pairs), len(scored.references) - len(pairs)])


def rival_timing_estp_f1(counts: np.ndarray) -> np.ndarray:
    """Return 2 sum(S) / (2 sum(S) + FP + FN).

    Args:
        counts: (..., 3) summed `rival_timing_estp_counts`.
    """
    earned, alarms, missed = np.moveaxis(counts, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(2 * earned / (2 * earned + alarms + missed))


def rival_timing_texts_in_spans(scored: Scored) -> Spans:
    """Return the utterances in the span of each reference.

    Returns:
        For each reference, (frame, all text of the span up to this frame).
    """
    spans: Spans = scored.once("spans", lambda: _said_in_spans(scored))
    return spans


def _said_in_spans(scored: Scored) -> Spans:
    late, early = _span(scored)
    due = np.array([frame for frame, _ in scored.references], dtype=float)
    out: Spans = [[] for _ in due]
    for frame, text in scored.predictions:
        gap = frame - due
        held = np.flatnonzero((gap >= -early) & (gap <= late))
        if len(held):
            span = out[int(held[np.abs(gap[held]).argmin()])]
            span.append((frame, f"{span[-1][1]} {text}" if span else text))
    return out


def rival_timing_pauc_counts(scored: Scored) -> np.ndarray | str:
    """Count (sum of the areas, references)."""
    if not scored.references:
        return "no reference turn"
    if scored.failed:
        return np.array([0.0, len(scored.references)])
    late, early = _span(scored)
    spans = rival_timing_texts_in_spans(scored)
    total, similar = 0.0, _similarities(scored)
    for replies, (due, reference) in zip(spans, scored.references, strict=True):
        begin, end = due - early, due + late
        edges = [begin, *(begin + (1 - OMEGA) * (frame - begin) for frame, _ in replies), end]
        quality = [0.5, *(2 * similar(said, reference) for _, said in replies)]
        area = sum((b - a) * q for a, b, q in zip(edges[:-1], edges[1:], quality, strict=True))
        total += area / ((end - begin) * 2)
    return np.array([total, len(spans)])


def _similarities(scored: Scored) -> Callable[[str, str], float]:
    """Return the cosine (0..1) between predicted text and a reference as a function.

    The predicted text is an utterance, or all utterances of a span up to a frame.
    """
    said = {text for replies in rival_timing_texts_in_spans(scored) for _, text in replies} | {
        t for _, t in scored.predictions
    }
    rows = {text: k for k, text in enumerate(sorted(said))}
    wordings: dict[str, set[str]] = {}
    for (_, text), accepted in zip(scored.references, scored.wordings, strict=True):
        wordings.setdefault(text, set()).update(accepted)
    columns = {text: k for k, text in enumerate(sorted(set().union(*wordings.values())))}

    def cosines() -> np.ndarray:
        return np.clip(scored.resources.similarity(list(rows), list(columns)), 0, 1)

    table = scored.once("cosines", cosines) if rows and columns else np.zeros((0, 0))
    return lambda text, reference: max(float(table[rows[text], columns[each]]) for each in wordings[reference])


def rival_timing_metrics(similarity_signature: str) -> list[Metric]:
    """Return the metrics of the family.

    Args:
        similarity_signature: Name and digest of the similarity model.
    """
    span, sim = {"span": "dataset window"}, {"sim": similarity_signature}
    return [
        _metric(
            "chunk_macro_f1@8s",
            rival_timing_chunk_counts,
            rival_timing_chunk_macro_f1,
            {"chunk": "8s"},
            definition="Mean of the F1 of 8 s chunks with an utterance and of chunks without one (Pro2Bench).",
            failure_mode="Ignores the words, the number of utterances and the moment within a chunk.",
        ),
        _metric(
            "chunk_g_mean@8s",
            rival_timing_chunk_counts,
            rival_timing_chunk_geometric_mean,
            {"chunk": "8s"},
            definition="Geometric mean of the F1 of 8 s chunks with an utterance and of chunks without one (Pro2Bench).",
            failure_mode="Is 0 when one of the two kinds of chunk is never right; ignores the words, the number of"
            " utterances and the moment within a chunk.",
        ),
        _metric(
            "sw_f1",
            rival_timing_weighted_counts,
            rival_timing_weighted_f1,
            {**span, "w": "2,.2,2"},
            definition="F1 of utterances paired within the dataset's time window, where a false alarm costs a tenth of a"
            " miss.",
            failure_mode="Talking on every frame scores well; ignores the words.",
        ),
        _metric(
            "estp_f1_surrogate",
            rival_timing_estp_counts,
            rival_timing_estp_f1,
            {**span, **sim, "judge": "similarity"},
            definition="ESTP-Bench's F1 of pairs graded by answer and time, with sentence similarity in place of its LLM judge.",
            failure_mode="Is 1.0 whenever every turn is paired, however poor the answers.",
        ),
        _metric(
            "pauc_surrogate",
            rival_timing_pauc_counts,
            ratio,
            {**span, **sim, "judge": "similarity", "omega": "0.5"},
            definition="ProactiveVideoQA's area under the curve of reply quality around each reference turn, with sentence"
            " similarity in place of its LLM judge.",
            failure_mode="Silence scores 0.25; utterances outside the time windows cost nothing.",
        ),
    ]

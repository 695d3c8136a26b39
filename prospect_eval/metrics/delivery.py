"""Latency-aware speaking: an utterance counts when its computation and its speech have ended.

As in streaming perception (Li et al. 2020), an output counts when it is available, not when its
input was taken. An utterance of frame f is ready at f / fps + the compute seconds of that frame. It
is spoken at a constant rate (150 words a minute by default,
``prospect-eval score --words-per-minute``) and starts only after the previous utterance has ended.
Its *delivered time* is the end of its speech.

The reference is delivered by the same rule at the same rate with a compute time of 0: repeating the
reference scores 1. Event precision, recall and F1 at T seconds, and the delay, are defined as in
the family Speaking, for delivered times.

*Compute time*: prediction records have none because they are equal on every machine. The metrics in
``metrics.json`` use 0 (signature ``compute:0``). The same metrics with the suffix
``_with_compute`` use the plain pass of ``prospect-eval run --latency N`` and are in
``timings.json``. Episodes without a plain pass are undefined there. The compute seconds of a frame
run from its arrival to the end of its step and include the time to wait for earlier steps. Under
the clocks ``simulated`` and ``live`` an utterance is already on the frame on which it is ready, so
these metrics are undefined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from prospect_eval.matching.matcher import match_events
from prospect_eval.matching.settings import STANDARD, ScoreSettings
from prospect_eval.metrics.base import UNBOUNDED, Metric, Scored, f1, precision, ratio, recall
from prospect_eval.metrics.families import DELIVERY
from prospect_eval.metrics.histogram import histogram_quantile, histogram_quantile_interval, seconds_histogram

TOLERANCES_S = (1, 2, 5)
PAIRED_WITHIN_S = 5
UNMEASURED = "no latency pass over this episode; `prospect-eval run --latency N` measures N episodes"
CLOCKED = "the clock of the run has already delayed its utterances by their compute time"
Counts = Callable[[Scored], np.ndarray | str]


def compute_delivery_delays(steps: Sequence[float], fps: float) -> np.ndarray:
    """Return the seconds from the arrival of each frame to the end of its step.

    Args:
        steps: (F,) seconds of each frame's step.
        fps: Frames that arrive per second. A step starts when its frame has arrived and the
            previous step has ended.

    Returns:
        (F,) delays in seconds.
    """
    ended, out = 0.0, []
    for frame, seconds in enumerate(steps):
        arrival = frame / fps
        ended = max(arrival, ended) + seconds
        out.append(ended - arrival)
    return np.array(out, dtype=float)


def delivery_times(ready: Sequence[float], texts: Sequence[str], words_per_minute: float) -> list[tuple[float, float]]:
    """Return the speech of utterances in order.

    Args:
        ready: Seconds at which each utterance is decided and computed.
        texts: Text of each utterance; words are separated by spaces.
        words_per_minute: Speech rate.

    Returns:
        (start, end) of each utterance in seconds.
    """
    ended, out = -np.inf, []
    for moment, text in zip(ready, texts, strict=True):
        begin = max(moment, ended)
        ended = begin + 60 * len(text.split()) / words_per_minute
        out.append((float(begin), float(ended)))
    return out


def _ready(scored: Scored, utterances: Sequence[tuple[int, str]], compute: Sequence[float] | None) -> list[float]:
    start = scored.record.episode.start_frame
    return [frame / scored.fps + (0.0 if compute is None else compute[frame - start]) for frame, _ in utterances]


def _spoken(scored: Scored, measured: bool) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Return (start, end) of the predicted and of the reference speech."""

    def work_out() -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        rate = scored.resources.settings.words_per_minute
        compute = scored.compute if measured else None
        predicted, reference = scored.predictions, scored.references
        ours = delivery_times(_ready(scored, predicted, compute), [text for _, text in predicted], rate)
        theirs = delivery_times(_ready(scored, reference, None), [text for _, text in reference], rate)
        return ours, theirs

    return scored.once(("spoken", measured, scored.resources.settings.words_per_minute), work_out)


def _pairs(scored: Scored, seconds: float, measured: bool) -> list[tuple[int, int]]:
    """Return (prediction, reference) indices, paired by delivered time."""

    def work_out() -> list[tuple[int, int]]:
        ours, theirs = _spoken(scored, measured)
        ends = [end for _, end in ours], [end for _, end in theirs]
        # sums of seconds are rounded: a difference of exactly the tolerance is accepted
        return match_events(*ends, seconds + 1e-6)

    return scored.once(("delivered", seconds, measured, scored.resources.settings.words_per_minute), work_out)


def _lacking(scored: Scored, measured: bool) -> str:
    if measured and scored.record.knobs.rules.clock != "replay":
        return CLOCKED
    return UNMEASURED if measured and scored.compute is None else ""


def delivery_event_counts(seconds: float, measured: bool) -> Counts:
    """Return a function that counts (pairs, predicted, reference) by delivered time.

    Args:
        seconds: Tolerance of a pair.
        measured: Whether the compute time comes from a plain pass; otherwise it is 0.
    """

    def counts(scored: Scored) -> np.ndarray | str:
        return _lacking(scored, measured) or scored.tally(_pairs(scored, seconds, measured))

    return counts


def delivery_delay_histogram(measured: bool) -> Counts:
    """Return a function that computes a histogram of signed delays of delivered times within 5 s.

    Args:
        measured: Whether the compute time comes from a plain pass; otherwise it is 0.
    """

    def counts(scored: Scored) -> np.ndarray | str:
        if reason := _lacking(scored, measured):
            return reason
        (ours, theirs), kept = _spoken(scored, measured), scored.counts_reference
        pairs = _pairs(scored, PAIRED_WITHIN_S, measured)
        delays = [ours[p][1] - theirs[r][1] for p, r in pairs if kept[r]]
        limited = np.clip(delays, -PAIRED_WITHIN_S, PAIRED_WITHIN_S).tolist()
        return seconds_histogram(limited, PAIRED_WITHIN_S) if delays else "no utterance within 5 s of a reference"

    return counts


def delivery_overlap_counts(measured: bool) -> Counts:
    """Return a function that counts (utterances ready before the previous one ended, utterances).

    Args:
        measured: Whether the compute time comes from a plain pass; otherwise it is 0.
    """

    def counts(scored: Scored) -> np.ndarray | str:
        if reason := _lacking(scored, measured):
            return reason
        ours, _ = _spoken(scored, measured)
        ready = _ready(scored, scored.predictions, scored.compute if measured else None)
        waiting = sum(begin > moment + 1e-9 for (begin, _), moment in zip(ours, ready, strict=True))
        return np.array([waiting, len(ours)])

    return counts


_metric = partial(Metric, family=DELIVERY)
_WORDS = "Ignores which words are spoken: only their number counts, at an assumed speech rate."
_EVENT_DEFINITIONS = {
    "f1": "F1 of utterances whose speech ends at most {} s from the end of a reference turn's speech",
    "precision": "Share of the utterances whose speech ends at most {} s from the end of a reference turn's speech",
    "recall": "Share of the reference turns whose speech ends at most {} s from the end of an utterance's speech",
}


def delivery_metrics(settings: ScoreSettings = STANDARD, measured: bool = False) -> list[Metric]:
    """Return the metrics of the family.

    Args:
        settings: Settings with the speech rate.
        measured: Whether the compute time comes from a plain pass; otherwise it is 0.
    """
    suffix = "_with_compute" if measured else ""
    said = {"wpm": f"{settings.words_per_minute:g}", "compute": "plain pass" if measured else "0"}
    computing = "(measured compute time)" if measured else "(compute time taken as 0)"
    formulas = {"f1": f1, "precision": precision, "recall": recall}
    out = []
    for seconds in TOLERANCES_S:
        counts = delivery_event_counts(seconds, measured)
        for name in formulas if seconds == 2 else ("f1",):
            out.append(
                _metric(
                    f"delivered_event_{name}@{seconds}s{suffix}",
                    counts,
                    formulas[name],
                    {"match": "one-to-one", "tol": f"{seconds}s", **said},
                    turns="pairs" if name == "recall" else "all",
                    definition=f"{_EVENT_DEFINITIONS[name].format(seconds)} {computing}.",
                    failure_mode=_WORDS,
                )
            )
    delay = _metric(
        f"delivered_delay_median_s{suffix}",
        delivery_delay_histogram(measured),
        partial(histogram_quantile, q=0.5, limit_s=PAIRED_WITHIN_S),
        interval=partial(histogram_quantile_interval, q=0.5, limit_s=PAIRED_WITHIN_S),
        signature={"match": "one-to-one", "tol": f"{PAIRED_WITHIN_S}s", **said},
        better="zero",
        unit="s",
        turns="pairs",
        range=UNBOUNDED,
        definition=f"Median seconds from the end of the reference's speech to the end of the model's {computing};"
        " negative is early.",
        failure_mode="Covers only pairs within 5 s, so a model that speaks rarely but in time scores well; in steps of"
        " 1/60 s.",
    )
    overlap = _metric(
        f"delivered_overlap_share{suffix}",
        delivery_overlap_counts(measured),
        ratio,
        said,
        better="lower",
        definition=f"Share of the utterances that are ready before the previous one has been spoken {computing}.",
        failure_mode="A model that speaks rarely has no overlaps.",
    )
    return [*out, delay, overlap]

"""Latency and memory of a plain pass: the metrics in ``timings.json``.

    prospect-eval run --ckpt workbench-tiny --suite workbench --limit 3 --latency 2

The entries have the form of those in ``metrics.json``:

- ``ms_per_frame_p50``, ``_p95``, ``_p99``: milliseconds of a step (vision, decisions, reply,
  compression) over all frames.
- ``time_to_first_token_ms``: median milliseconds from a frame to the first token of its reply.
- ``real_time_factor``: seconds of steps and decoding per second of video. Above 1 a live stream
  falls behind.
- ``process_peak_bytes``, ``device_peak_bytes`` (undefined on a CPU), ``weights_bytes``,
  ``cache_max_bytes``: maximum over the episodes. The rest of the process's peak is libraries and
  activations. ``cache_peak_bytes`` in ``metrics.json`` is another value: the mean of the
  episodes' peaks.

The quantiles are computed from the times, their intervals from histograms with bins of .5 %. All
metrics are undefined after a replay only: a replay encodes frames in batches, so its times do not
measure the latency of a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from prospect_core.records import EpisodeLatency, EpisodeRecord
from prospect_core.util.atomic import write_atomic
from prospect_core.util.json_io import dump_json, load_json
from prospect_eval.metrics import Metric, Scored, ScoringResources, delivery
from prospect_eval.metrics.base import POSITIVE, ratio
from prospect_eval.metrics.families import PASSES
from prospect_eval.runs.folder import read_run_folder_timings

_metric = partial(Metric, family=PASSES)

Measured = tuple[str, EpisodeLatency]
_EDGES_MS = 0.001 * np.exp(0.005 * np.arange(5001))
UNMEASURED = "not measured; `prospect-eval run --latency N` measures it in a latency pass over N episodes"
_MACHINE = "Depends on the machine and on the other programs that run on it."


def _histogram(ms: Sequence[float]) -> np.ndarray:
    return np.bincount(np.searchsorted(_EDGES_MS, ms), minlength=len(_EDGES_MS) + 1).astype(float)


def _quantile(counts: np.ndarray, q: float) -> np.ndarray:
    """Return the upper edge of the bin that holds the quantile, NaN for an empty histogram."""
    cumulated = np.cumsum(counts, axis=-1)
    total = cumulated[..., -1]
    place = (cumulated < (q * total)[..., None]).sum(-1).clip(max=len(_EDGES_MS) - 1)
    return np.asarray(np.where(total > 0, _EDGES_MS[place], np.nan))


def _of_times(take: Callable[[EpisodeLatency], Sequence[float]], q: float, name: str, definition: str) -> Metric:
    def counts(measured: Any) -> np.ndarray | str:
        times = take(measured)
        return _histogram([1000 * t for t in times]) if times else "the model never spoke"

    def sample(measured: Any) -> np.ndarray | None:
        times = take(measured)
        return np.array([1000 * t for t in times]) if times else None

    return _metric(
        name,
        counts,
        partial(_quantile, q=q),
        {"pass": "plain"},
        better="lower",
        unit="ms",
        range=POSITIVE,
        sample=sample,
        exact=lambda samples: float(np.quantile(np.concatenate(samples), q)),
        definition=definition,
        failure_mode=_MACHINE,
    )


def _real_time(measured: Any) -> np.ndarray:
    return np.array([sum(measured.steps) + measured.decoding, measured.video_seconds])


_FRAME_QUANTILES = {50: "Median", 95: "95th percentile", 99: "99th percentile"}
METRICS = [
    *(
        _of_times(
            lambda m: m.steps,
            p / 100,
            f"ms_per_frame_p{p}",
            f"{quantile} of the milliseconds of one frame: vision, decisions, reply and compression.",
        )
        for p, quantile in _FRAME_QUANTILES.items()
    ),
    _of_times(
        lambda m: m.first_tokens,
        0.5,
        "time_to_first_token_ms",
        "Median milliseconds from a frame to the first token of the reply to it.",
    ),
    _metric(
        "real_time_factor",
        _real_time,
        ratio,
        {"pass": "plain"},
        better="lower",
        range=POSITIVE,
        definition="Seconds of computing and video decoding per second of video; above 1 a live stream falls behind.",
        failure_mode=_MACHINE,
    ),
]
PEAKS = {
    "process_peak_bytes": "Largest memory of the process during the latency pass.",
    "device_peak_bytes": "Largest memory on the accelerator during the latency pass.",
    "weights_bytes": "Memory of the model's weights.",
    "cache_max_bytes": "Largest size of the KV cache over the episodes of the latency pass.",
}


def compute_latency_diagnostics(measured: Sequence[Measured]) -> dict[str, dict[str, Any]]:
    """Compute the latency and memory metrics of a plain pass.

    Args:
        measured: (video, latency) of each episode; may be empty.

    Returns:
        The entry of each metric by name. All are undefined if ``measured`` is empty.
    """
    out: dict[str, dict[str, Any]] = {}
    for metric in METRICS:
        counts: Callable[[Any], np.ndarray | str] = metric.counts
        taken: Callable[[Any], np.ndarray | None] | None = metric.sample
        samples = [s for s in (taken(m) for _, m in measured) if s is not None] if taken else []
        out[metric.name] = metric.entry(metric.pooled((video, counts(m)) for video, m in measured), samples)
    for name, definition in PEAKS.items():
        field = "cache_bytes" if name == "cache_max_bytes" else name
        values = [value for _, m in measured if (value := getattr(m, field)) is not None]
        out[name] = {
            "value": max(values, default=None), "ci95": None, "n_videos": len({video for video, _ in measured}),
            "n_scored": len(values), "n_undefined": len(measured) - len(values),
            "status": "ok" if values else "undefined", "reason": "" if values else "the model ran on a CPU",
            "signature": f"metric:{name}|pass:plain|pool:max", "definition": definition,
        }  # fmt: skip
    if not measured:
        out = {name: {**entry, "reason": UNMEASURED} for name, entry in out.items()}
    return out


def store_latency_diagnostics(folder: Path, measured: Sequence[Measured]) -> dict[str, dict[str, Any]]:
    """Store a plain pass and its metrics in a run folder's ``timings.json``.

    Args:
        folder: The run folder.
        measured: (video, latency) of each episode.

    Returns:
        The entry of each metric by name.
    """
    table = compute_latency_diagnostics(measured)
    rows = [{"video": video, **asdict(m)} for video, m in measured]
    whole = {"schema": 1, "episodes": {}, **read_run_folder_timings(folder), "metrics": table, "plain_pass": rows}
    write_atomic(folder / "timings.json", dump_json(whole))
    return table


def store_delivery_by_measured_latency(
    folder: Path, records: Sequence[EpisodeRecord], resources: ScoringResources
) -> None:
    """Store latency-aware scores with measured compute time in ``timings.json``, if it exists.

    They vary between machines, unlike the scores in ``metrics.json``. Episodes without a
    plain pass are undefined.

    Args:
        folder: The run folder.
        records: Prediction records.
        resources: Resources for scoring.
    """
    if not (whole := read_run_folder_timings(folder)):
        return
    steps = {measured.episode: measured.steps for _, measured in read_latency_diagnostics(folder)}
    scored = [_timed(Scored(record, resources), steps) for record in records if record.status == "ok"]
    table = {
        metric.name: metric.compute(scored) for metric in delivery.delivery_metrics(resources.settings, measured=True)
    }
    write_atomic(folder / "timings.json", dump_json({**whole, "metrics": {**whole.get("metrics", {}), **table}}))


def _timed(scored: Scored, steps: Mapping[str, Sequence[float]]) -> Scored:
    """Return the view with the compute seconds of its plain pass, if that pass is complete."""
    episode = scored.record.episode
    found = steps.get(episode.id, ())
    if len(found) != episode.num_frames:
        return scored
    return replace(scored, compute=tuple(delivery.compute_delivery_delays(found, episode.fps).tolist()))


def read_latency_diagnostics(folder: Path) -> list[Measured]:
    """Read the plain pass in a run folder. Empty if there is none."""
    rows = read_run_folder_timings(folder).get("plain_pass", [])
    return [(row.pop("video"), load_json(EpisodeLatency, dump_json(row), f"{folder}/timings.json")) for row in rows]

"""Latency and memory of a plain pass: the metrics of ``timings.json``, in the form of those of ``delivery_metrics.json``.

    prospect-eval run --ckpt workbench-tiny --suite workbench --limit 3 --latency 2

* ``ms_per_frame_p50``, ``_p95``, ``_p99``: milliseconds of a step (vision, decisions, reply, compression) over all frames.
* ``time_to_first_token_ms``: median milliseconds from a frame to the first token of the reply to it.
* ``real_time_factor``: seconds of steps and decoding per second of video; above 1 a live stream falls behind.
* ``process_peak_bytes``, ``device_peak_bytes`` (undefined on a CPU), ``weights_bytes``, ``cache_max_bytes``: the maximum
  over episodes; the rest of the process's peak, without weights and cache, is libraries and activations.
  ``cache_peak_bytes`` of ``delivery_metrics.json`` is another number: the mean of the episodes' peaks.

Intervals of the quantiles come from histograms (bins of .5 %), the values themselves from the times. Undefined after a
replay: its frames are encoded in batches and tell nothing of a stream's latency.
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
UNMEASURED = "not measured: `prospect-eval run --latency N` measures it in a plain pass over N episodes"


def _histogram(ms: Sequence[float]) -> np.ndarray:
    return np.bincount(np.searchsorted(_EDGES_MS, ms), minlength=len(_EDGES_MS) + 1).astype(float)


def _quantile(counts: np.ndarray, q: float) -> np.ndarray:
    """The upper edge of the bin that holds the quantile; NaN where nothing was counted."""
    cumulated = np.cumsum(counts, axis=-1)
    total = cumulated[..., -1]
    place = (cumulated < (q * total)[..., None]).sum(-1).clip(max=len(_EDGES_MS) - 1)
    return np.asarray(np.where(total > 0, _EDGES_MS[place], np.nan))


def _of_times(take: Callable[[EpisodeLatency], Sequence[float]], q: float, name: str) -> Metric:
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
    )


def _real_time(measured: Any) -> np.ndarray:
    return np.array([sum(measured.steps) + measured.decoding, measured.video_seconds])


METRICS = [
    *(_of_times(lambda m: m.steps, p / 100, f"ms_per_frame_p{p}") for p in (50, 95, 99)),
    _of_times(lambda m: m.first_tokens, 0.5, "time_to_first_token_ms"),
    _metric("real_time_factor", _real_time, ratio, {"pass": "plain"}, better="lower", range=POSITIVE),
]
PEAKS = ("process_peak_bytes", "device_peak_bytes", "weights_bytes", "cache_max_bytes")


def compute_latency_diagnostics(measured: Sequence[Measured]) -> dict[str, dict[str, Any]]:
    """{name: entry} of (video, latency) pairs; all undefined without any."""
    out: dict[str, dict[str, Any]] = {}
    for metric in METRICS:
        counts: Callable[[Any], np.ndarray | str] = metric.counts
        taken: Callable[[Any], np.ndarray | None] | None = metric.sample
        samples = [s for s in (taken(m) for _, m in measured) if s is not None] if taken else []
        out[metric.name] = metric.entry(metric.pooled((video, counts(m)) for video, m in measured), samples)
    for name in PEAKS:
        field = "cache_bytes" if name == "cache_max_bytes" else name
        values = [value for _, m in measured if (value := getattr(m, field)) is not None]
        out[name] = {
            "value": max(values, default=None), "ci95": None, "n_videos": len({video for video, _ in measured}),
            "n_scored": len(values), "n_undefined": len(measured) - len(values),
            "status": "ok" if values else "undefined", "reason": "" if values else "the model ran on a CPU",
            "signature": f"metric:{name}|pass:plain|pool:max",
        }  # fmt: skip
    if not measured:
        out = {name: {**entry, "reason": UNMEASURED} for name, entry in out.items()}
    return out


def store_latency_diagnostics(folder: Path, measured: Sequence[Measured]) -> dict[str, dict[str, Any]]:
    """Put the plain pass and its metrics into a run folder's ``timings.json``; returns the metrics."""
    table = compute_latency_diagnostics(measured)
    rows = [{"video": video, **asdict(m)} for video, m in measured]
    whole = {"schema": 1, "episodes": {}, **read_run_folder_timings(folder), "metrics": table, "plain_pass": rows}
    write_atomic(folder / "timings.json", dump_json(whole))
    return table


def store_delivery_by_measured_latency(
    folder: Path, records: Sequence[EpisodeRecord], resources: ScoringResources
) -> None:
    """Put the latency-aware scores with measured compute time into a run folder's ``timings.json``, where there is one.

    They vary from machine to machine, which ``delivery_metrics.json`` does not. Episodes without a plain pass are undefined.
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
    """The view with the compute seconds of its plain pass, where it has a whole one."""
    episode = scored.record.episode
    found = steps.get(episode.id, ())
    if len(found) != episode.num_frames:
        return scored
    return replace(scored, compute=tuple(delivery.compute_delivery_delays(found, episode.fps).tolist()))


def read_latency_diagnostics(folder: Path) -> list[Measured]:
    """The plain pass that a run folder holds; empty where there was none."""
    rows = read_run_folder_timings(folder).get("plain_pass", [])
    return [(row.pop("video"), load_json(EpisodeLatency, dump_json(row), f"{folder}/timings.json")) for row in rows]

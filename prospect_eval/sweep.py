"""The closed-loop sweep: one replay at every threshold, each in a run folder of its own.

    prospect-eval sweep --closed-loop --ckpt workbench-tiny --suite workbench --limit 6 --speaking 0.3,0.5,0.7

Folders are named after what differs (``speaking-0.30``), so starting the same sweep again goes on where it stopped.
One knob is moved at a time; the other one stays at the checkpoint's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prospect_core.timeline import Episode
from prospect_eval.adapters import Predictor
from prospect_eval.metrics import Metric, Scored, Tools
from prospect_eval.run import RunConfig, infer, read_records
from prospect_eval.thresholds import KNOBS

#: what a curve shows at every threshold
SHOWN = ("speaking_event_f1@1s", "speaking_event_f1@2s", "proactive_event_f1@1s", "matched_f1",
         "false_alarms_per_minute", "update_event_f1@1s", "transition_f1@2s", "dst_jga")  # fmt: skip


def closed_loop(
    folder: Path,
    thresholds: Mapping[str, Sequence[float]],
    open_at: Callable[[str, float], tuple[Predictor, RunConfig]],
    episodes: Sequence[Episode],
    metrics: Sequence[Metric],
    tools: Tools,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """The contents of ``thresholds.json`` of a sweep. ``open_at(knob, threshold)`` opens the model with that one knob
    moved; ``thresholds`` are those of each knob."""
    steps = [(knob, threshold) for knob in KNOBS for threshold in sorted(set(thresholds.get(knob, ())))]
    shown = [metric for metric in metrics if metric.name in SHOWN]
    curves: dict[str, list[dict[str, Any]]] = {knob: [] for knob in KNOBS}
    for done, (knob, threshold) in enumerate(steps):
        predictor, config = open_at(knob, threshold)
        run = folder / f"{knob}-{threshold:.2f}"

        def advance(within: int, of: int, done: int = done) -> None:
            progress(done * of + within, len(steps) * of)

        infer(run, config, predictor, episodes, progress=advance)
        scored = Scored.over([r for r in read_records(run)[1] if r.status == "ok"], tools)
        table = {metric.name: metric.compute(scored) for metric in shown}
        curves[knob].append({"threshold": threshold, "metrics": table})
    return {"schema": 1, "loop": "closed", "curves": curves}

"""Measure the agreement of the clocks, and the scores of a model over its latency.

    python -m benchmarks.performance.clock --output reports/serving/clock.json

* Zero latency: test episodes are replayed under the clock ``replay``, and under ``simulated`` without
  latency with each policy for busy models. ``clock_zero_latency_equal`` states whether all digests
  are equal.
* Agreement: the same episodes under the clock ``live``, and under ``simulated`` with the measured
  latencies. ``clock_agreement`` is the share of common decisions; ``clock_live_equal`` states whether
  the digests are equal. The video runs faster than in real time (``--speed``), so that frames are
  dropped.
* Curve: headline metrics at several ms per frame.

The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prospect_core.records import ClockSettings, EpisodeRecord, LatencyModel, digest_records
from prospect_core.util.atomic import write_atomic
from prospect_core.util.console import quiet_transformers
from prospect_core.util.json_io import dump_json
from prospect_eval.analysis.clock_agreement import compute_clock_agreement
from prospect_eval.api import score_run
from prospect_eval.diagnostics.latency_model import read_latency_model
from prospect_eval.runs.environment import collect_run_environment
from prospect_eval.runs.evaluation import EvaluationOptions, prepare_evaluation, replay_evaluation
from prospect_eval.runs.folder import read_run_folder_records
from prospect_eval.runs.metric_tables import metric_table_headlines

SHIPPED = "workbench-tiny"
#: milliseconds per frame of the curve
LATENCIES_MS = (0, 100, 500, 1000, 3000)


class ClockBench:
    """Replays test episodes under several clocks.

    Args:
        root: Folder of the runs.
        limit: Number of episodes.
    """

    def __init__(self, root: Path, limit: int) -> None:
        self._root, self._limit = root, limit

    def replay(self, name: str, **options: Any) -> list[EpisodeRecord]:
        """Replay the episodes into a run folder with this name; return the records."""
        asked = EvaluationOptions(SHIPPED, suite="workbench", limit=self._limit, output=self._root / name, **options)
        replay_evaluation(prepare_evaluation(asked))
        return read_run_folder_records(self._root / name)[1]

    def agree(self, speed: float) -> dict[str, Any]:
        """Compare the clocks."""
        plain = digest_records(self.replay("replay"))
        policies: Sequence[Any] = ("drop", "queue")
        zero = {
            busy: digest_records(
                self.replay(f"zero-{busy}", clock="simulated", timing=ClockSettings(busy, latency=LatencyModel()))
            )
            for busy in policies
        }
        live = self.replay("live", clock="live", timing=ClockSettings(speed=speed))
        timing = read_latency_model(str(self._root / "live"))
        repeated = self.replay("repeated", clock="simulated", timing=timing)
        dropped = sum(last - first + 1 for record in live for first, last in record.dropped)
        return {
            "clock_zero_latency_equal": all(digest == plain for digest in zero.values()),
            "clock_agreement": compute_clock_agreement(live, repeated),
            "clock_live_equal": digest_records(live) == digest_records(repeated),
            "live": {
                "episodes": len(live),
                "frames": sum(record.episode.num_frames for record in live),
                "dropped": dropped,
                "speed": speed,
            },
        }

    def curve(self) -> dict[str, Any]:
        """Return the headline metrics by ms per frame, with the share of dropped frames."""
        points = []
        for latency in LATENCIES_MS:
            name = f"latency-{latency}"
            timing = ClockSettings(latency=LatencyModel(frame_ms=latency))
            records = self.replay(name, clock="simulated", timing=timing)
            table = score_run(self._root / name)[0]["metrics"]
            dropped = sum(last - first + 1 for record in records for first, last in record.dropped)
            frames = sum(record.episode.num_frames for record in records)
            metrics = {metric: table[metric]["value"] for metric in metric_table_headlines(table)}
            points.append({"frame_ms": latency, "dropped_share": round(dropped / frames, 4), "metrics": metrics})
            print(f"{latency} ms per frame: {points[-1]}", flush=True)
        return {"clock_curve": points}


def main() -> None:
    """Run all parts and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--speed", type=float, default=20.0, help="Seconds of video per second of the live clock.")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    quiet_transformers()
    with tempfile.TemporaryDirectory() as folder:
        bench = ClockBench(Path(folder), options.episodes)
        result = bench.agree(options.speed) | bench.curve()
    whole = {
        "command": " ".join(["python -m benchmarks.performance.clock", *sys.argv[1:]]),
        **result,
        "environment": collect_run_environment(),
    }
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(options.output, dump_json(whole, indent=1) + "\n")
    print(json.dumps({key: value for key, value in result.items() if not isinstance(value, dict | list)}))


if __name__ == "__main__":
    main()

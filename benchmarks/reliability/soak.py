"""Run hours of stream and a thousand episodes; check that memory and open files do not grow.

    python -m benchmarks.reliability.soak --hours 12 --episodes 1000

* Stream: the loop of `watch_live_source` over a source without pauses, under ``dst_refresh`` with a
  fixed budget and a user question every minute.
* Run: a data set of many short episodes through a checkpoint.

Resident memory and open files are measured at intervals. ``growth`` is mean memory over the last
tenth relative to the second tenth (caches fill during the first). ``private_growth`` excludes file
pages, such as stored features, which the system keeps in memory while there is room. The last line
of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.live.sources import watch_live_source
from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.records import Knobs
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.util.console import quiet_transformers

FPS, ASKS_S = 2, 60
#: frames per episode of the run
LENGTH = 20


class Meter:
    """Series of measurements of this process: memory in MB, open files and threads."""

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.rows: list[tuple[float, float, int, int]] = []

    def read(self) -> None:
        """Take one measurement."""
        memory = self.process.memory_info()
        private = memory.rss - getattr(memory, "shared", 0)
        self.rows.append((memory.rss / 1e6, private / 1e6, self.process.num_fds(), self.process.num_threads()))

    def result(self) -> dict[str, Any]:
        """Return first, last and highest values, and the growth from the second tenth to the last."""
        rows = np.array(self.rows)
        tenth = max(1, len(rows) // 10)
        early, late = rows[tenth : 2 * tenth].mean(0), rows[-tenth:].mean(0)
        names = ("rss_mb", "private_mb", "files", "threads")
        out = {n: {"early": round(e, 1), "late": round(x, 1)} for n, e, x in zip(names, early, late, strict=True)}
        out["rss_mb"]["peak"] = round(rows[:, 0].max(), 1)
        return {**out, "growth": round(late[0] / early[0], 4), "private_growth": round(late[1] / early[1], 4)}


def soak_stream(ckpt: str, data: Dataset, hours: float, budget: int) -> dict[str, Any]:
    """Run hours of a stream through `watch_live_source`.

    Args:
        ckpt: Checkpoint.
        data: Data set with a test split, whose first video repeats.
        hours: Length of the stream, in hours.
        budget: Token budget of the context.
    """
    model, tokenizer = load_model_checkpoint(ckpt)
    episode = next(iter(data.episodes("test")))
    runner = VLMStreamRunner(model, tokenizer, Knobs("dst_refresh", budget, 0.5, 0.5))
    runner.reset(episode.task, fps=FPS)
    source = data.frame_source(episode, model.config.frame_format)
    pictures = list(source.frames(0, source.num_frames))
    frames, meter = round(hours * 3600 * FPS), Meter()
    taken = threading.Semaphore()
    seen = {"frames": 0, "said": 0, "compressions": 0, "most": 0}

    def arrivals() -> Iterator[tuple[int, np.ndarray]]:
        for number in range(frames):
            # without pauses and without dropping a frame
            taken.acquire()
            yield number, pictures[number % len(pictures)]

    def heard() -> str | None:
        return "What is left to do?" if seen["frames"] % (ASKS_S * FPS) == 0 else None

    def tell(output: Any, dropped: int) -> None:
        seen["frames"] += 1
        seen["said"] += output.utterance is not None
        seen["compressions"] += output.compression is not None
        seen["most"] = max(seen["most"], output.cache_tokens)
        if seen["frames"] % max(1, frames // 200) == 0:
            meter.read()
        taken.release()

    watch_live_source(runner, episode.task, arrivals(), FPS, 60, heard, tell)
    return {"hours": round(seen["frames"] / FPS / 3600, 2), "budget": budget, **seen, **meter.result()}


def soak_run(ckpt: str, data: Dataset, episodes: int) -> dict[str, Any]:
    """Replay ``episodes`` episodes of ten seconds into a run folder."""
    from prospect_eval.models.base import PredictorOptions
    from prospect_eval.models.registry import open_registered_predictor
    from prospect_eval.runs.executor import execute_run
    from prospect_eval.runs.folder import RunConfig

    rows = list(data.episodes("test"))
    many = []
    for k in range(episodes):
        episode = rows[k % len(rows)]
        begin = episode.start_frame + LENGTH * (k % (episode.num_frames // LENGTH))
        many.append(replace(episode.window(begin, begin + LENGTH), id=f"{episode.id}-{k:05d}"))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "set"
        root.mkdir()
        for video in {e.video for e in many}:
            (root / video).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(data.root / video, root / video)
        dataset = write_dataset(root, "soak", "1", FPS, {"test": many})
        predictor = open_registered_predictor(ckpt, dataset, many, PredictorOptions())
        config = RunConfig(ckpt, predictor.digest, "soak", dataset.digest, "test", None, predictor.knobs, "")
        meter = Meter()

        def progress(done: int, total: int) -> None:
            if done % max(1, total // 200) == 0:
                meter.read()

        outcome = execute_run(Path(name) / "run", config, predictor, many, progress=progress)
        return {"episodes": outcome.new, **meter.result()}


def soak(ckpt: str, data: Dataset, hours: float, episodes: int, budget: int) -> dict[str, Any]:
    """Run both parts."""
    quiet_transformers()
    return {"stream": soak_stream(ckpt, data, hours, budget), "run": soak_run(ckpt, data, episodes)}


def main() -> None:
    """Run both parts and print one JSON object."""
    from prospect_eval.suites.suite import open_suite_data

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ckpt", default="workbench-tiny")
    parser.add_argument("--hours", type=float, default=12)
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--budget", type=int, default=800)
    options = parser.parse_args()
    data = open_suite_data("suite:workbench", "test")
    print(json.dumps(soak(options.ckpt, data, options.hours, options.episodes, options.budget)))


if __name__ == "__main__":
    main()

"""Measure the speed and memory of the metrics.

    make bench-metrics

Matching: one hour at 2 frames/s with 500 utterances. Its time is the median of five calls in
milliseconds; its memory is the peak of a separate process beyond the embeddings. Scoring: 100 such
episodes are scored again from disk in a separate process whose cache folder already holds
embeddings and baselines. `benchmarks.quality.intervals` measures how often intervals cover the true
value. The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

FPS, FRAMES, STEPS, SAID, EPISODES = 2, 7200, 8, 500, 100
VERBS = ("put", "wipe", "cut", "cover", "fetch")
THINGS = ("red mug", "blue bowl", "green plate", "old lamp", "white jug", "box", "pan", "knife")
PLACES = ("away", "on the tray", "near the sink", "carefully")


def sentence(rng: np.random.Generator) -> str:
    """Draw one of about 640 instructions."""
    opening = rng.choice(("Now", "Next", "Please", "Then"))
    return f"{opening} {rng.choice(VERBS)} the {rng.choice(THINGS)} {rng.choice(PLACES)}."


def make_record(number: int) -> Any:
    """Make the record of one hour of dialogue with eight steps and a slightly wrong model."""
    from prospect_core.records import SCHEMA, EpisodeRecord, Knobs, PredictedTransition, PredictedUtterance
    from prospect_core.timeline import Change, Episode, Event, Step, Task

    rng = np.random.default_rng(number)
    due = np.sort(rng.choice(FRAMES, SAID, replace=False)).tolist()
    events = [
        Event(
            f"a{f}",
            f / FPS,
            "assistant",
            sentence(rng),
            labels=("initiative|instruction", "responsive|feedback")[k % 2],
        )
        for k, f in enumerate(due)
    ]
    moments = np.sort(rng.choice(FRAMES, 2 * STEPS, replace=False)).tolist()
    for k, frame in enumerate(moments):
        change: Change = "complete" if k % 2 else "start"
        events.append(Event(f"d{k}", frame / FPS, "transition", step=f"S{k // 2 + 1}", change=change))
    events.sort(key=lambda e: (e.time, e.kind != "transition"))
    task = Task("tidy up", tuple(Step(f"S{k + 1}", f"{VERBS[k % 5]} the {THINGS[k]}") for k in range(STEPS)))
    user = ("no_talk", "talk_some", "talk_more")[number % 3]
    episode = Episode(
        f"e{number}", f"v{number}", FPS, 0, FRAMES, task, tuple(events), user_type=user, dataset="hours"
    ).validate()
    frames = sorted(
        {int(np.clip(f + d, 0, FRAMES - 1)) for f, d in zip(due, rng.normal(0, 3, SAID).round(), strict=True)}
    )
    probs = rng.dirichlet((1, 1, 1), (FRAMES, STEPS)).round(6).tolist()
    return EpisodeRecord(
        SCHEMA, "hours", Knobs(), episode, tuple(rng.random(FRAMES).round(6).tolist()),
        tuple(rng.random(FRAMES).round(6).tolist()), tuple(tuple(map(tuple, row)) for row in probs),
        tuple(range(FRAMES)), tuple(range(FRAMES)), tuple(PredictedUtterance(f, sentence(rng)) for f in frames),
        tuple(PredictedTransition(min(FRAMES - 1, f + 2), s, c) for f, s, c in episode.transitions()),
    )  # fmt: skip


def make_run(folder: Path) -> None:
    """Write a run folder with ``EPISODES`` such records."""
    from prospect_core.records import Knobs
    from prospect_core.util.json_io import dump_json
    from prospect_eval.runs.folder import RunConfig, open_run_folder

    open_run_folder(folder, RunConfig("hours", "", "", "", "test", None, Knobs(), ""))
    for number in range(EPISODES):
        (folder / "episodes" / f"{number}.json").write_text(dump_json(make_record(number)))


def match_hour() -> dict[str, float]:
    """Measure the milliseconds and megabytes of matching one hour with given embeddings."""
    from prospect_eval.matching.matcher import match_utterances

    record = make_record(0)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2, SAID, 384))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    predictions = [(u.frame, u.text + str(k)) for k, u in enumerate(record.utterances)]
    references = [(u.frame, u.text) for u in record.episode.utterances()]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        match_utterances(
            predictions, references, lambda a, b: vectors[0, : len(a)] @ vectors[1, : len(b)].T, (2, 4), FPS
        )
        seconds.append(time.perf_counter() - begin)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"match_hour_ms": round(1000 * sorted(seconds)[2], 2), "match_hour_mb": round(peak, 2)}


def rescore(folder: str) -> dict[str, float]:
    """Measure the seconds from the records on disk to metrics.json on disk."""
    begin = time.perf_counter()
    from prospect_eval.scoring.parallel import score_folder_in_parallel

    metrics = score_folder_in_parallel(Path(folder))
    from prospect_eval.scoring.score import write_score_metrics

    write_score_metrics(Path(folder), metrics)
    return {"rescore_100_hours_s": round(time.perf_counter() - begin, 2)}


def run_task(task: str, *arguments: str, **environment: str) -> dict[str, float]:
    """Run one task of this module in a separate process.

    Args:
        task: ``match`` or ``rescore``.
        *arguments: Further command-line arguments.
        **environment: Environment variables to add.

    Returns:
        The figures that the task prints.
    """
    command = [sys.executable, "-m", "benchmarks.performance.metrics", "--task", task, *arguments]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def main() -> None:
    """Run the benchmark, or with ``--task`` one part of it in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--task", choices=("match", "rescore"))
    parser.add_argument("folder", nargs="?")
    options = parser.parse_args()
    if options.task:
        print(json.dumps(match_hour() if options.task == "match" else rescore(options.folder)))
        return
    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.json_io import dump_json
    from prospect_eval.runs.environment import collect_run_environment

    result: dict[str, Any] = run_task("match")
    print(result, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        run, cache = Path(folder) / "run", str(Path(folder) / "cache")
        make_run(run)
        first = run_task("rescore", str(run), XDG_CACHE_HOME=cache)
        result |= run_task("rescore", str(run), XDG_CACHE_HOME=cache)
        result["first_scoring_s"] = first["rescore_100_hours_s"]
    whole = {"command": "make bench-metrics", **result, "environment": collect_run_environment()}
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(options.output, dump_json(whole, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

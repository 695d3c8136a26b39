"""Compare the suites of published benchmarks with published values, rank constant answers, and measure the cost of polls.

    make bench-field
    python -m benchmarks.quality.field --reference FOLDER --output reports/field.json

* NAME_cases, ovo_models_equal: cases with all values of the published scorer, and all cases. Without ``--reference`` these
  are null.
* ovo_forward_constants: forward score of each constant answer to OVO-Bench, and the number of published models below it.
* polls_speedup, frames_ratio, answers_equal: polls in one pass against a new stream for each poll, on videos of OVO-Bench's
  forward tasks with its poll times from ``--reference``, or invented ones (`benchmarks.quality.polling_cost`).
  polls_cpu_speedup is the ratio of processor seconds, which other programs of the machine change less. These are values of
  the model ``medium`` on all videos; polls_by_shape has those of the models ``small`` and ``tower`` on ``--videos`` random videos,
  too. frames_ratio_of_all_videos: the same ratio counted from the poll times of all videos.

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

from benchmarks.quality.polling_cost import (
    MEDIUM,
    SMALL,
    TOWER,
    choose_episodes,
    count_frames_ratio,
    invent_annotations,
    measure_polling_cost,
)
from benchmarks.quality.published_values import COMPARISONS, CaseCounts, score_ovo_models
from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import ReadCounts, open_benchmark
from prospect_eval.suites.constant_answers import rank_constant_answer
from prospect_eval.suites.ovo_bench.annotations import OvoBenchAnnotations

NO_REFERENCE = "no folder of reference values: give --reference FOLDER"
FORWARD = "forward"
SHAPES = {"medium": MEDIUM, "small": SMALL, "tower": TOWER}
#: shapes that are measured on all videos; the others on a sample
ON_ALL_VIDEOS = ("medium",)


def compare_with_published(reference: Path | None) -> dict[str, Any]:
    """Count equal cases by benchmark; null with a reason where they cannot be compared."""
    counts: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for key, compare in COMPARISONS.items():
        counts[key] = None
        if reference is None:
            reasons[key] = NO_REFERENCE
            continue
        try:
            counts[key] = CaseCounts.of(compare(reference)).plain()
        except (DataError, OSError) as error:
            reasons[key] = str(error)
    return {**counts, **({"reasons": reasons} if reasons else {})}


def rank_forward_constants(reference: Path | None) -> dict[str, Any]:
    """Rank the constant answers to OVO-Bench's forward tasks among the published models, highest first."""
    if reference is None:
        return {"ovo_forward_constants": None}
    try:
        models = score_ovo_models(reference)
    except (DataError, OSError):
        return {"ovo_forward_constants": None}
    benchmark = open_benchmark("ovo_bench")
    annotations = benchmark.read_annotations(reference / "ovo_bench")
    rows = []
    for name, make in benchmark.constants.items():
        rank = rank_constant_answer(benchmark.score(annotations, make(annotations)), models, FORWARD)
        exploits = name in benchmark.exploits
        row = {"constant": name, FORWARD: rank.constant, "beats": len(rank.below), "models": rank.models}
        rows.append({**row, "exploits_scorer": exploits})
    return {"ovo_forward_constants": sorted(rows, key=lambda row: -(row[FORWARD] or 0.0))}


def measure_polls(reference: Path | None, videos: int, shapes: Sequence[str]) -> dict[str, Any]:
    """Measure polls on videos of OVO-Bench, or on invented ones.

    Args:
        reference: Folder of published files; None for invented videos.
        videos: Number of videos of the shapes that are not in `ON_ALL_VIDEOS`.
        shapes: Names of `SHAPES`; the values of the first one stand at the top.
    """
    try:
        if reference is None:
            raise DataError(NO_REFERENCE)
        annotations, times = open_benchmark("ovo_bench").read_annotations(reference / "ovo_bench"), "OVO-Bench"
    except DataError:
        annotations, times = invent_annotations(videos), "invented"
    forward = OvoBenchAnnotations(tuple(annotations.forward), ReadCounts({}))
    counted = {"all_tasks": count_frames_ratio(annotations), "forward_tasks": count_frames_ratio(forward)}
    found = {}
    for name in shapes:
        shape = SHAPES[name]
        episodes = choose_episodes(forward, sys.maxsize if name in ON_ALL_VIDEOS else videos)
        with tempfile.TemporaryDirectory() as folder:
            found[name] = {**measure_polling_cost(episodes, Path(folder), shape), "vision": dict(shape.vision)}
        print(f"polls, {name}: {json.dumps(found[name])}", file=sys.stderr, flush=True)
    first = {key: value for key, value in found[shapes[0]].items() if key != "vision"}
    stated = {"poll_times": times, "polled_tasks": "forward", "frames_ratio_of_all_videos": counted}
    return {**first, "polls_by_shape": found, **stated}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, help="folder of published files and values [default: none]")
    parser.add_argument("--videos", type=int, default=12, help="videos of the sample for the shapes small and tower")
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES), help="models of the polls")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.console import quiet_transformers
    from prospect_core.util.json_io import dump_json
    from prospect_eval.runs.environment import collect_run_environment

    quiet_transformers()
    result = {
        **compare_with_published(options.reference),
        **rank_forward_constants(options.reference),
        **measure_polls(options.reference, options.videos, options.shapes),
    }
    if options.output:
        command = " ".join(["python -m benchmarks.quality.field", *sys.argv[1:]])
        options.output.parent.mkdir(parents=True, exist_ok=True)
        body = {"command": command, **result, "environment": collect_run_environment()}
        write_atomic(options.output, dump_json(body, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

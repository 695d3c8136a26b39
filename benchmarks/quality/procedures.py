"""Read published step annotations, check them against reference counts, and measure what is known without a video.

    make bench-procedures REFERENCE=FOLDER
    python -m benchmarks.quality.procedures --reference FOLDER --output reports/procedures

FOLDER holds the folders ``captaincook4d`` and ``goalstep`` with the published annotations and, for the counts, a file
``expected.json`` each.

* captaincook4d_equal, goalstep_equal: recordings with all counts of ``expected.json``, and all recordings.
* states_equal: whether the state of every step at every frame, by replay of the transitions, is the state that the occurrences
  give by the rule of `prospect_core.timeline.occurrences`.
* oracle_below_one: metrics that the reference itself does not bring to 1.
* baselines: values and 95 % intervals of blind baselines on the validation split.
* statistics: how steps are done, and the same for the workbench.
* training (with ``--minutes``): a tiny model trained on generated videos under CaptainCook4D's annotation, against never-update
  on its training recordings.

The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.quality.procedure_training import train_on_procedures
from prospect_core.data.dataset import Dataset
from prospect_core.data.procedures.procedure_import import ProcedureChoices, read_published_procedures
from prospect_core.data.stats import make_dataset_stats_table
from prospect_core.records import EpisodeRecord
from prospect_core.timeline import Episode, StepState, frame_ceil
from prospect_core.util.errors import UserError
from prospect_core.workbench.generate import generate_cached_workbench
from prospect_eval.metrics import all_metrics
from prospect_eval.metrics.base import Scored
from prospect_eval.metrics.resources import make_scoring_resources
from prospect_eval.models.baselines.priors import Priors
from prospect_eval.models.baselines.procedure_baselines import PROCEDURE_BASELINES, make_procedure_baseline
from prospect_eval.models.baselines.procedure_prior import make_procedure_priors
from prospect_eval.models.baselines.trivial import make_trivial_baseline

SPLIT = "val"
#: folders of the reference, and their key in the result
PUBLISHED = ("captaincook4d", "goalstep")
#: metrics of the table of baselines
HEADLINES = (
    "dst_jga",
    "dst_head_jga",
    "transition_f1@5s",
    "transition_f1@30s",
    "occurrence_f1@25",
    "mistake_f1",
    "order_violation_f1",
    "next_step_accuracy",
    "skipped_step_f1",
)
#: metrics of tracking and mistakes that a perfect record brings to 1
PERFECT = (
    *HEADLINES,
    "transition_f1@1s",
    "dst_gca",
    "dst_edit",
    "dst_pos",
    "mistake_precision",
    "mistake_recall",
    "mistake_tag_f1",
)
#: relative and absolute difference up to which two counts are equal
TOLERANCE = 1e-6

Counts = Mapping[str, Any]


def is_equal_count(found: Any, expected: Any) -> bool:
    """Compare two JSON values; numbers may differ by `TOLERANCE`."""
    if isinstance(expected, Mapping):
        return (
            isinstance(found, Mapping)
            and set(found) == set(expected)
            and all(is_equal_count(found[key], value) for key, value in expected.items())
        )
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(is_equal_count, found, expected))
    if isinstance(expected, float) and not isinstance(found, bool | str):
        return bool(abs(found - expected) <= TOLERANCE * max(1.0, abs(expected)))
    return bool(found == expected)


def compare_counts(found: Counts, expected: Counts, items: str) -> dict[str, Any]:
    """Count the items with equal counts.

    Args:
        found: Counts of the reader.
        expected: The content of ``expected.json``.
        items: Key of the counts by recording or video.

    Returns:
        ``equal`` and ``total`` recordings, and ``different``: the other keys whose counts differ.
    """
    rows: Counts = expected[items]
    equal = sum(is_equal_count(found[items].get(name), row) for name, row in rows.items())
    others = [key for key in expected if key not in (items, "definitions")]
    different = [key for key in others if not is_equal_count(found.get(key), expected[key])]
    return {"equal": equal, "total": len(rows), "different": different}


def check_states(episodes: Sequence[Episode]) -> bool:
    """Compare replayed states with those that the occurrences give, at every frame of every episode."""
    return all(_states_follow_rule(episode) for episode in episodes)


def _states_follow_rule(episode: Episode) -> bool:
    last = episode.end_frame - 1
    spans: dict[str, list[tuple[int, int]]] = {step: [] for step in episode.task.step_ids}
    for item in episode.occurrences:
        if item.step in spans:
            first, end = (min(frame_ceil(time, episode.fps), last) for time in (item.start, item.end))
            spans[item.step].append((first, end))
    changes = episode.states_by_change()
    place = 0
    for frame in range(episode.start_frame, episode.end_frame):
        while place + 1 < len(changes) and changes[place + 1][0] <= frame:
            place += 1
        if tuple(_state_by_rule(of, frame) for of in spans.values()) != changes[place][1].states:
            return False
    return True


def _state_by_rule(spans: Sequence[tuple[int, int]], frame: int) -> StepState:
    begun = [end for first, end in spans if first <= frame]
    if any(end > frame for end in begun):
        return "in_progress"
    return "completed" if begun else "not_started"


def score_procedures(episodes: Sequence[Episode], predict: Callable[[Episode], EpisodeRecord]) -> dict[str, Any]:
    """Return {metric: {value, ci95, ci95_participants, reason}} of a predictor.

    ``ci95`` resamples recordings, ``ci95_participants`` the filmed persons where the data names them, as every other
    command does.
    """
    resources = make_scoring_resources()
    records = list(map(predict, episodes))
    apart = [replace(record, episode=replace(record.episode, participant="")) for record in records]
    by_person, by_recording = (Scored.over(of, resources) for of in (records, apart))
    out = {}
    for metric in all_metrics(resources):
        if metric.name in PERFECT:
            table = metric.compute(by_recording)
            persons = metric.compute(by_person)["ci95"]
            out[metric.name] = {"value": table["value"], "ci95": table["ci95"], "ci95_participants": persons}
            if table["value"] is None:
                out[metric.name]["reason"] = table["reason"]
    return out


def measure_baselines(episodes: Sequence[Episode], training: Sequence[Episode]) -> dict[str, Any]:
    """Score the trackers without a model, best joint goal accuracy first among the blind ones."""
    priors, learnt = Priors(training, episodes), make_procedure_priors(training, episodes)
    predictors: dict[str, Callable[[Episode], EpisodeRecord]] = {
        name: make_trivial_baseline(name, episodes, priors)
        for name in ("oracle", "never_update", "linear_schedule", "recite_steps")
    }
    predictors |= {name: make_procedure_baseline(name, learnt) for name in PROCEDURE_BASELINES}
    return {name: score_procedures(episodes, predict) for name, predict in predictors.items()}


def measure_published(root: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read one published set and measure it.

    Args:
        root: Folder of the annotations.

    Returns:
        Comparison of counts (None without ``expected.json``), and the measurements.
    """
    begin = time.perf_counter()
    rows = read_published_procedures(root, ProcedureChoices())
    seconds = time.perf_counter() - begin
    expected = root / "expected.json"
    items = "recordings" if "recordings" in rows.counts else "videos"
    counts = compare_counts(rows.counts, json.loads(expected.read_text()), items) if expected.is_file() else {}
    splits = {split: list(of) for split, of in rows.splits.items()}
    chosen = splits.get(SPLIT) or next(iter(splits.values()))
    baselines = measure_baselines(chosen, splits.get("train", []))
    ceiling = baselines["oracle"]
    return counts, {
        "read_s": round(seconds, 2),
        "states_equal": check_states([episode for of in splits.values() for episode in of]),
        "oracle_below_one": [name for name, entry in ceiling.items() if (entry["value"] or 1.0) < 1 - TOLERANCE],
        "baselines_split": {"split": SPLIT, "recordings": len(chosen), "training": len(splits.get("train", []))},
        "baselines": {name: {m: of[m] for m in HEADLINES if m in of} for name, of in baselines.items()},
        "statistics": {split: make_dataset_stats_table(of) for split, of in splits.items()},
    }


def find_best_blind(baselines: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """Return the best baseline that uses nothing of the reference, and its distance from the oracle."""
    blind = ["never_update", "linear_schedule", "recite_steps"]
    blind += [name for name, of in PROCEDURE_BASELINES.items() if of.sees == "nothing"]
    values = {name: baselines[name][metric]["value"] for name in blind}
    known = {name: value for name, value in values.items() if value is not None}
    ceiling = baselines["oracle"][metric]["value"]
    if not known or ceiling is None:
        return {"baseline": None, "value": None, "below_oracle": None}
    best = max(known, key=lambda name: known[name])
    return {"baseline": best, "value": known[best], "below_oracle": ceiling - known[best]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, help="folder of the published annotations")
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="minutes of training on generated videos [default: 0]"
    )
    parser.add_argument("--output", type=Path, help="folder of the report")
    options = parser.parse_args(arguments)
    if options.reference is None:
        raise SystemExit("give --reference FOLDER with the folders " + " and ".join(PUBLISHED))
    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.console import quiet_transformers
    from prospect_core.util.json_io import dump_json
    from prospect_eval.runs.environment import collect_run_environment

    quiet_transformers()
    result: dict[str, Any] = {}
    details: dict[str, Any] = {}
    for name in PUBLISHED:
        try:
            counts, details[name] = measure_published(options.reference / name)
        except UserError as error:
            result[f"{name}_equal"], details[name] = None, {"reason": str(error)}
            continue
        result[f"{name}_equal"] = counts or None
        result[name] = {key: details[name][key] for key in ("states_equal", "oracle_below_one", "read_s")}
        result[name]["best_blind"] = {
            metric: find_best_blind(details[name]["baselines"], metric) for metric in HEADLINES
        }
    workbench: Dataset = generate_cached_workbench("test")
    details["workbench"] = {"statistics": {"test": make_dataset_stats_table(workbench.episodes("test"))}}
    if options.minutes:
        result["training"] = train_on_procedures(options.reference / PUBLISHED[0], options.minutes)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        body = {
            "command": " ".join(["python -m benchmarks.quality.procedures", *sys.argv[1:]]),
            **result,
            "details": details,
            "environment": collect_run_environment(),
        }
        write_atomic(options.output / "procedures.json", dump_json(body, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

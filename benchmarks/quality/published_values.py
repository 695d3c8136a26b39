"""Count the values of published scorers that the suites reproduce, from a folder of reference values.

The folder has one folder for each benchmark, with cases (inputs and the published value), sets of predictions and expected
values. A case on which the published scorer stops has no value and is not counted.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prospect_core.util.json_io import read_json
from prospect_eval.suites.benchmark import ReadCounts, open_benchmark
from prospect_eval.suites.egoproactive.annotations import make_egoproactive_annotations
from prospect_eval.suites.egoproactive.benchmark import score_egoproactive
from prospect_eval.suites.egoproactive.official import (
    egoproactive_values,
    read_chunk_class,
    score_egoproactive_tasks,
)
from prospect_eval.suites.egoproactive.results import match_egoproactive_rows
from prospect_eval.suites.fitcoach.official import (
    FeedbackList,
    FeedbackSession,
    StreamTokens,
    read_stream_feedback,
    score_fitcoach_sessions,
)
from prospect_eval.suites.official_score import ItemScore, OfficialScore, pool_item_totals
from prospect_eval.suites.omnimmi.annotations import make_omnimmi_annotations
from prospect_eval.suites.omnimmi.benchmark import score_omnimmi
from prospect_eval.suites.omnimmi.results import OmniMmiResults, match_omnimmi_rows
from prospect_eval.suites.omnipro.official import parse_emission, score_omnipro_samples
from prospect_eval.suites.omnipro.results import make_omnipro_results
from prospect_eval.suites.ovo_timing.annotations import TASKS, TimingAnnotations
from prospect_eval.suites.ovo_timing.results import TimingResults, TimingRow, read_prediction
from prospect_eval.suites.proactivevideoqa.annotations import make_proactivevideoqa_annotations
from prospect_eval.suites.proactivevideoqa.official import (
    compute_area_share,
    count_replay_rounds,
    read_last_digit_score,
    score_proactivevideoqa_replies,
)
from prospect_eval.suites.proactivevideoqa.results import match_proactivevideoqa_rows
from prospect_eval.suites.result_rows import ResultRow
from prospect_eval.suites.streamingbench.annotations import PROACTIVE_OUTPUT

TOLERANCE = 1e-12


@dataclass(frozen=True)
class CaseCounts:
    """Counts of cases: those with all values equal, and all that have a published value."""

    equal: int
    total: int

    @staticmethod
    def of(outcomes: Iterator[bool]) -> CaseCounts:
        """Count the outcomes of comparisons."""
        found = list(outcomes)
        return CaseCounts(sum(found), len(found))

    def plain(self) -> dict[str, int]:
        """Return the counts as JSON."""
        return {"equal": self.equal, "total": self.total}


def is_equal(found: Any, expected: Any) -> bool:
    """Compare numbers within 1e-12, relative and absolute; of objects the expected entries."""
    if isinstance(expected, dict):
        return isinstance(found, Mapping) and all(
            name in found and is_equal(found[name], value) for name, value in expected.items()
        )
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(is_equal, found, expected))
    if isinstance(expected, float) and isinstance(found, int | float):
        return math.isclose(found, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(found == expected)


def list_cases(root: Path, file: str, key: str = "cases") -> list[Any]:
    """Read the cases of a file of a benchmark's folder."""
    found: list[Any] = read_json(root / file)[key]
    return found


def has_value(case: Mapping[str, Any]) -> bool:
    """Return whether the published scorer gives a value for a case."""
    expected = case.get("expected", {})
    return "raises" not in case and not (isinstance(expected, dict) and "raises" in expected)


def _rows(values: Sequence[Any]) -> list[ResultRow]:
    return [ResultRow(f"row {number}", value) for number, value in enumerate(values)]


def compare_ovo_models(root: Path) -> Iterator[bool]:
    """Compare tasks, categories and total of each published model."""
    expected = read_json(root / "ovo_bench" / "expected.json")["models"]
    for model, score in score_ovo_models(root).items():
        if model in expected:
            block = expected[model]
            wanted = {name: task["accuracy"] for name, task in block["tasks"].items()}
            wanted |= {name: category["accuracy"] for name, category in block["categories"].items()}
            yield is_equal(score.values, {**wanted, "total": block["total"]})


def score_ovo_models(root: Path) -> dict[str, OfficialScore]:
    """Score the result folders of all models of OVO-Bench."""
    benchmark = open_benchmark("ovo_bench")
    annotations = benchmark.read_annotations(root / "ovo_bench")
    folders = sorted(folder for folder in (root / "ovo_bench" / "results").iterdir() if folder.is_dir())
    return {
        folder.name: benchmark.score(annotations, benchmark.read_results([folder], annotations)) for folder in folders
    }


def compare_ovo_timing(root: Path) -> Iterator[bool]:
    """Compare the sets of detections and the cases of OVO-Timing."""
    benchmark = open_benchmark("ovo_timing")
    annotations = benchmark.read_annotations(root / "ovo_bench")
    expected = read_json(root / "ovo_timing" / "expected.json")["sets"]
    for file in sorted((root / "ovo_timing" / "sets").glob("*.json")):
        score = benchmark.score(annotations, benchmark.read_results([file], annotations))
        yield is_equal(score.values, _timing_values(expected[file.stem]))
    for case in filter(has_value, list_cases(root / "ovo_timing", "cases.json")):
        rows = []
        for number, row in enumerate(case["rows"]):
            detections, state = read_prediction(row["prediction"])
            if row["task"] in TASKS:
                rows.append(TimingRow(str(number), row["task"], tuple(row["gt_timestamp"]), detections, state))
        score = benchmark.score(TimingAnnotations((), ReadCounts({})), TimingResults(tuple(rows)))
        yield is_equal(score.values, _timing_values(case["expected"]))


def _timing_values(expected: Mapping[str, Any]) -> dict[str, float]:
    by_task = {f"{task}.{name}": value for task in TASKS for name, value in expected[task].items() if name != "n"}
    return {**by_task, **{name: value for name, value in expected.items() if name.startswith("average_")}}


def compare_streamingbench(root: Path) -> Iterator[bool]:
    """Compare the predictions and the cases of StreamingBench, Proactive Output, and its constants with the loop's values."""
    benchmark, folder = open_benchmark("streamingbench"), root / "streamingbench_po"
    annotations = benchmark.read_annotations(folder)
    expected = read_json(folder / "expected.json")
    for file in sorted((folder / "predictions").glob("*.json")):
        score = benchmark.score(annotations, benchmark.read_results([file], annotations))
        yield _has_stats(score, expected["predictions"][file.stem]["stats"])
    for name, block in expected.get("baselines", {}).items():
        if name in benchmark.constants:
            yield _has_stats(benchmark.score(annotations, benchmark.constants[name](annotations)), block["stats"])
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "case.json"
        for case in filter(has_value, list_cases(folder, "cases.json")):
            if not case["expected"].get("stats"):
                continue
            file.write_text(json.dumps(case["data"]), "utf-8")
            found = benchmark.read_annotations(file)
            score = benchmark.score(found, benchmark.read_results([file], found, "m"))
            yield _has_stats(score, case["expected"]["stats"])


def _has_stats(score: OfficialScore, stats: Mapping[str, Any]) -> bool:
    wanted: dict[str, float] = {}
    for task, block in stats.items():
        before = "" if task == PROACTIVE_OUTPUT else f"{task}."
        wanted |= {before + name: block[name] for name in ("time_accuracy", "answer_accuracy")}
    return is_equal(score.values, wanted)


def compare_egoproactive(root: Path) -> Iterator[bool]:
    """Compare the cases, counts and tags of EgoProactive."""
    folder = root / "egoproactive"
    for case in filter(has_value, list_cases(folder, "cases.json")):
        annotations = make_egoproactive_annotations(_rows(case["gold"]))
        results = match_egoproactive_rows(_rows(case["predictions"]), annotations)
        yield is_equal(_egoproactive_form(score_egoproactive(annotations, results)), case["expected"])
    cells = ("tp", "fp", "tn", "fn")
    for case in list_cases(folder, "counts.json"):
        values = egoproactive_values({cell: float(case[cell]) for cell in cells})
        support = sum(case[cell] for cell in cells)
        yield is_equal({**values, "support": support}, case["metrics"])
    for case in list_cases(folder, "tags.json"):
        yield read_chunk_class(case["text"]) == case["tag"]


def _egoproactive_form(score: OfficialScore) -> dict[str, Any]:
    def add_counts(items: Sequence[ItemScore], values: Mapping[str, Any]) -> dict[str, Any]:
        totals = pool_item_totals(items)
        counts = {cell: int(totals.get(cell, 0)) for cell in ("tp", "fp", "tn", "fn")}
        return {**values, **counts, "support": sum(counts.values())}

    by_task = score_egoproactive_tasks(score.items)
    return {
        "overall": add_counts(score.items, score.values),
        "per_task": {
            task: add_counts([item for item in score.items if item.task == task], values)
            for task, values in by_task.items()
        },
        "total_sessions": len(score.items),
        "skipped_chunks": int(pool_item_totals(score.items).get("skipped_chunks", 0)),
        "official_rounded": {name: None if value is None else round(value, 4) for name, value in score.values.items()},
    }


def compare_omnimmi(root: Path) -> Iterator[bool]:
    """Compare the cases and sets of OmniMMI."""
    folder = root / "omnimmi"
    for case in filter(has_value, list_cases(folder, "cases.json")):
        yield is_equal(_omnimmi_form(_score_omnimmi_case(case)), case["expected"])
    benchmark = open_benchmark("omnimmi")
    annotations = benchmark.read_annotations(folder / "data")
    for file in sorted((folder / "sets").glob("*.json")):
        score = benchmark.score(annotations, benchmark.read_results([file], annotations))
        yield is_equal(_omnimmi_form(score), read_json(file)["expected"])


def _score_omnimmi_case(case: Mapping[str, Any]) -> OfficialScore:
    if case["task"] == "sg":
        qa = [{"question": "?", "answer": "a", "timestamp": "0.0 -- 1.0"}]
        items = [{"video": "v.mp4", "qa": qa * number} for number in case["turns"]]
        annotations = make_omnimmi_annotations(grounding=_rows(items))
        verdicts = {item.id: tuple(own) for item, own in zip(annotations.grounding, case["verdicts"], strict=True)}
        return score_omnimmi(annotations, OmniMmiResults(verdicts=verdicts))
    values = [json.loads(row) if isinstance(row, str) else row for row in case["rows"]]
    alerts = [value for value in values if "answer" in value]
    turns = [value for value in values if "conversation" in value]
    annotations = make_omnimmi_annotations(alerts=_rows(alerts), turn_taking=_rows(turns))
    return score_omnimmi(annotations, match_omnimmi_rows(_rows(values), annotations))


def _omnimmi_form(score: OfficialScore) -> dict[str, Any]:
    """Return the values in the form of the published output."""
    (task,) = {item.task for item in score.items}
    values = score.values
    if task != "sg":
        total = int(pool_item_totals(score.items)[f"{task}/items"])
        found = {"total_data_point": total, "average_accuracy": values[f"{task}_accuracy"]}
        if task == "pa":
            found |= {"average_precision": values["pa_precision"], "average_iou": values["pa_iou"]}
        return found
    steps = [name.partition("@")[2] for name in values if name.startswith("sg_step_accuracy@")]
    return {
        "average_accuracy": values["sg_accuracy"],
        "average_score": values["sg_score"],
        "each_step_accuracy": {step: values[f"sg_step_accuracy@{step}"] for step in steps},
        "each_accumulated_step_accuracy": {step: values[f"sg_accumulated_step_accuracy@{step}"] for step in steps},
    }


def compare_pauc(root: Path) -> Iterator[bool]:
    """Compare the cases, verdicts, areas and rounds of ProactiveVideoQA."""
    folder = root / "proactivevideoqa"
    for case in filter(has_value, list_cases(folder, "cases.json")):
        yield _has_pauc(case)
    for case in list_cases(folder, "verdicts.json"):
        yield read_last_digit_score(case["text"]) == case["score"]
    for case in list_cases(folder, "areas.json"):
        points = [tuple(point) for point in case["points"]]
        yield is_equal(compute_area_share(points, case["span"], case["omega"]), case["ratio"])
    for case in list_cases(folder, "rounds.json"):
        yield count_replay_rounds(case["duration"], case["last_reply_end"], case["fps"]) == case["rounds"]


def _has_pauc(case: Mapping[str, Any]) -> bool:
    ids = [row["question_id"] for row in case["gold"]]
    cells = [row if isinstance(row, str) else json.dumps(row) for row in case["predictions"]]
    table = [
        {"question_id": ids[number] if number < len(ids) else "", "prediction": cell}
        for number, cell in enumerate(cells)
    ]
    annotations = make_proactivevideoqa_annotations(_rows(case["gold"]))
    results = match_proactivevideoqa_rows(_rows(table), annotations)
    wanted = {f"omega={float(omega):g}": share for omega, share in case["expected"]["pauc"].items()}
    omegas = sorted(float(omega) for omega in case["expected"]["pauc"])
    score = score_proactivevideoqa_replies(annotations.questions, results.replies, case["verdicts"], omegas=omegas)
    return is_equal({name: (score.values[name] or 0.0) / 100 for name in wanted}, wanted)


def compare_omnipro(root: Path) -> Iterator[bool]:
    """Compare the cases, sets and texts of OmniPro with the library's values."""
    folder = root / "omnipro"
    names = ("time_precision", "time_recall", "time_f1", "content_accuracy", "joint_f1")
    for case in list_cases(folder, "cases.json"):
        wanted = case["expected"]["library"]
        if "raises" in wanted:
            continue
        samples = make_omnipro_results(_rows([case["sample"]])).samples
        score = score_omnipro_samples(samples, case["tolerance"])
        found = {name: score.values[f"{samples[0].task}/{name}"] for name in names}
        yield is_equal(found, {name: wanted[name] for name in names if name in wanted})
    for case in list_cases(folder, "sets.json", "sets"):
        score = score_omnipro_samples(make_omnipro_results(_rows(case["samples"])).samples)
        overall = case["expected"]["library_micro"]["overall"]
        yield is_equal(score.values, {name: overall[name] for name in names})
    for case in list_cases(folder, "parse.json"):
        parsed = parse_emission(case["raw"], case["task"])
        found_fields = {
            "valid": parsed.valid,
            "position": parsed.position,
            "count": parsed.count,
            "state": parsed.state,
        }
        yield is_equal(found_fields, {name: value for name, value in case.items() if name not in ("task", "raw")})


def compare_fitcoach(root: Path) -> Iterator[bool]:
    """Compare the cases and streams of FitCoach."""
    folder = root / "fitcoach"
    for case in filter(has_value, list_cases(folder, "cases.json")):
        sessions = [_make_session(number, fields) for number, fields in enumerate(case["sessions"])]
        score = score_fitcoach_sessions(sessions)
        totals = pool_item_totals(score.items)
        found = {
            "t_f_score": score.values["t_f_score"],
            "stats": {
                "total_num_gt_feedbacks": totals["references"],
                "total_num_pred_feedbacks": totals["predictions"],
                "total_matched_gt_feedbacks": totals["matched references"],
                "total_matched_pred_feedbacks": totals["matched predictions"],
            },
        }
        yield is_equal(found, {name: case["expected"][name] for name in found})
    tokens = StreamTokens(frame=-1, begin=-2, end=-3)
    for case in filter(has_value, list_cases(folder, "streams.json")):
        stream = read_stream_feedback(
            case["tokens"], case["frames_per_second"], tokens, lambda some: " ".join(map(str, some))
        )
        wanted = case["expected"]
        yield is_equal([list(stream.texts), list(stream.times)], [wanted["responses"], wanted["timestamps"]])


def _make_session(number: int, fields: Mapping[str, Any]) -> FeedbackSession:
    return FeedbackSession(
        id=str(number),
        video=str(number),
        reference=FeedbackList(tuple(fields["gt_timestamps"]), tuple(fields["gt_feedbacks"])),
        predicted=FeedbackList(tuple(fields["pred_timestamps"]), tuple(fields["pred_feedbacks"])),
    )


#: comparisons by the key of their counts
COMPARISONS: dict[str, Callable[[Path], Iterator[bool]]] = {
    "ovo_models_equal": compare_ovo_models,
    "ovo_timing_cases": compare_ovo_timing,
    "streamingbench_cases": compare_streamingbench,
    "egoproactive_cases": compare_egoproactive,
    "omnimmi_cases": compare_omnimmi,
    "pauc_cases": compare_pauc,
    "omnipro_cases": compare_omnipro,
    "fitcoach_cases": compare_fitcoach,
}

"""OmniPro as a benchmark: annotations, join of result files, constants, faults, and the commands."""

from __future__ import annotations

import json

import pytest

from prospect_core.util.errors import DataError, UserError
from prospect_eval.suites.benchmark import open_benchmark
from prospect_eval.suites.omnipro.annotations import make_omnipro_annotations, read_omnipro_annotations
from prospect_eval.suites.omnipro.constants import emit_periodically
from prospect_eval.suites.omnipro.problems import find_omnipro_problems
from prospect_eval.suites.omnipro.results import make_omnipro_results
from prospect_eval.suites.omnipro.scores import score_omnipro
from prospect_eval.suites.result_rows import ResultRow
from prospect_eval.suites.suite import suite_file
from tests.helpers.commands import evaluate
from tests.helpers.field_cases import assert_equal_values, each_field_case

BENCHMARK = open_benchmark("omnipro")
VALUES = ("time_precision", "time_recall", "time_f1", "content_accuracy", "joint_f1")


def rows(*values):
    return [ResultRow(f"row {number}", value) for number, value in enumerate(values)]


def sample(name="s", triggers=({"trigger_time_sec": 10},), task="instant_event_alert", **more):
    given = {"id": name, "task": task, "question": "?", "duration": 40, "ground_truth": list(triggers)}
    return {**given, **more}


def result(name="s", emissions=((10, "now"),), task="instant_event_alert", **more):
    return {"id": name, "task": task, "predictions": [{"t_sec": time, "raw": raw} for time, raw in emissions], **more}


def score(annotated, *results):
    annotations = make_omnipro_annotations(rows(*annotated))
    return score_omnipro(annotations, make_omnipro_results(rows(*results), annotations))


@each_field_case("omnipro", "sets.json", key="sets")
def test_omnipro_reference_set_as_files_is_equal(case, tmp_path):
    by_id = {one["id"]: one for one in case["samples"]}
    if len(by_id) < len(case["samples"]):
        pytest.skip("the ids of this set repeat")
    file = tmp_path / "results.jsonl"
    file.write_text("\n".join(json.dumps(one) for one in case["samples"]), "utf-8")
    annotations = BENCHMARK.read_annotations(file)
    found = BENCHMARK.score(annotations, BENCHMARK.read_results([file], annotations))
    overall = case["expected"]["library_micro"]["overall"]
    assert_equal_values(found.values, {name: overall[name] for name in VALUES})
    assert found.count("missing") == 0


def test_annotation_file_gives_triggers_that_results_lack():
    assert score([sample()], result()).values["time_f1"] == 1.0


def test_results_are_scored_against_their_own_triggers():
    own = result(ground_truth=[{"trigger_time_sec": 30}])
    found = score([sample()], own)
    assert found.values["time_f1"] == 0.0
    assert any("another ground truth than the annotation's: 1 (s)" in note for note in found.notes)


def test_sample_without_row_is_missing_and_not_counted():
    found = score([sample(), sample("t")], result())
    assert (found.values["time_f1"], found.count("missing")) == (1.0, 1)
    assert "samples without a row, left out: 1 (t)" in found.notes


def test_row_that_annotations_lack_is_scored_with_a_note():
    found = score([sample()], result(), result("x", ground_truth=[{"trigger_time": "00:10"}]))
    assert (found.values["time_f1"], found.count("scored")) == (1.0, 2)
    assert any("rows that the annotations lack, scored as they stand: 1 (x)" in note for note in found.notes)


def test_annotations_of_folder_prefer_benchmark_json(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "benchmark.json").write_text(json.dumps([sample("a"), sample("b"), sample("a")]))
    (tmp_path / "x.jsonl").write_text(json.dumps(sample("c")))
    found = read_omnipro_annotations(tmp_path)
    assert [one.id for one in found.samples] == ["a", "b"]
    assert found.counts.refused == {"row with the id of an earlier one": 1}
    assert [problem.kind for problem in find_omnipro_problems(found)] == ["duplicate id"]


def test_annotations_of_result_folder_are_their_ground_truth(tmp_path):
    row = {**sample(), **result(), "eval_config": {"t_start": 5, "t_end": 41}}
    del row["duration"]
    (tmp_path / "instant_event_alert.jsonl").write_text(json.dumps(row))
    (found,) = read_omnipro_annotations(tmp_path).samples
    assert (found.asked, found.end, found.emissions, len(found.triggers)) == (5.0, 41.0, (), 1)


def test_annotations_of_another_file_are_refused_in_one_line(tmp_path):
    (tmp_path / "x.json").write_text('[{"a": 1}]')
    with pytest.raises(DataError, match="no OmniPro samples, which have 'task' and 'ground_truth'") as error:
        read_omnipro_annotations(tmp_path / "x.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("task", "texts"),
    [("instant_event_alert", ["Now."] * 4), ("cumulative_counting", ["1", "2", "3", "4"])],
)
def test_periodic_constant_speaks_up_to_the_end(task, texts):
    (one,) = make_omnipro_annotations(rows(sample(task=task, question_time="00:05"))).samples
    found = emit_periodically(one, 8)
    assert [emission.time for emission in found] == [13.0, 21.0, 29.0, 37.0]
    assert [emission.text for emission in found] == texts


def test_constant_every_10s_finds_the_alert_of_10_s():
    annotations = make_omnipro_annotations(rows(sample()))
    found = BENCHMARK.score(annotations, BENCHMARK.constants["every_10s"](annotations))
    assert found.values["time_f1"] == pytest.approx(2 * 0.25 * 1 / 1.25)
    silent = BENCHMARK.score(annotations, BENCHMARK.constants["silent"](annotations))
    assert silent.values["macro_time_f1"] == 0.0


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"task": "dance"}, "unknown task"),
        ({"question": " "}, "sample without a question"),
        ({"triggers": ()}, "sample without a trigger"),
        ({"triggers": ({"trigger_time": "soon"},)}, "unreadable trigger time"),
        ({"question_time": "00:20"}, "trigger before the question"),
        ({"duration": 9}, "trigger after the end"),
        ({"triggers": [{"trigger_time_sec": 10}, {"trigger_time_sec": 5}]}, "triggers out of order"),
        ({"triggers": [{"trigger_time_sec": 5}, {"trigger_time_sec": 7}]}, "triggers whose answers the published loop merges"),
        ({"task": "snapshot_counting"}, "trigger without its content"),
        ({"task": "realtime_state_monitor"}, "trigger without its content"),
        ({"task": "event_narration"}, "trigger without its content"),
        ({"task": "explicit_target_grounding", "triggers": ({"trigger_time_sec": 1, "position": "middle"},)},
         "trigger without its content"),
    ],
)  # fmt: skip
def test_find_omnipro_problems_names_each_kind(changed, kind):
    found = find_omnipro_problems(make_omnipro_annotations(rows(sample(**changed))))
    assert [problem.kind for problem in found] == [kind]


@pytest.fixture
def published(tmp_path):
    """Twelve alerts on twelve videos; one model is right on all, the other one on the first six."""
    names = [f"s{number}" for number in range(12)]
    annotated = [sample(name, video_id=name) for name in names]
    (tmp_path / "benchmark.json").write_text(json.dumps(annotated))
    for model, right in (("good", 12), ("half", 6)):
        lines = [result(name, [(10 if number < right else 30, "now")]) for number, name in enumerate(names)]
        (tmp_path / f"{model}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


def test_score_command_writes_official_numbers(published, capsys):
    command = ("score", published / "half.jsonl", "--suite", "omnipro", "--data", published, "--json")
    assert evaluate(*command) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["values"]["joint_f1"]["value"] == 0.5
    assert found["values"]["macro_joint_f1"]["best_constant"]["name"] == "every_10s"
    assert found["counts"] == {"scored": 12, "missing": 0, "failed": 0}


def test_leaderboard_command_ranks_models(published, capsys):
    files = (published / "half.jsonl", published / "good.jsonl")
    assert evaluate("leaderboard", *files, "--suite", "omnipro", "--data", published, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [place["name"] for place in found["places"]] == ["good", "half", "constant every_10s"]


def test_run_command_names_the_score_command(published):
    with pytest.raises(UserError, match="use `prospect-eval score FILES --suite omnipro`"):
        suite_file("omnipro")

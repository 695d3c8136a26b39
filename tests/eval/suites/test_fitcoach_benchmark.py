"""FitCoach as a benchmark: annotations, join of predictions, constants, faults, and the command."""

from __future__ import annotations

import json

import pytest

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import open_benchmark
from prospect_eval.suites.fitcoach.annotations import make_fitcoach_annotations, read_fitcoach_annotations
from prospect_eval.suites.fitcoach.problems import find_fitcoach_problems
from prospect_eval.suites.fitcoach.results import match_fitcoach_rows, read_fitcoach_results
from prospect_eval.suites.fitcoach.scores import score_fitcoach
from prospect_eval.suites.official_score import pool_item_totals
from prospect_eval.suites.result_rows import ResultRow
from tests.helpers.commands import evaluate
from tests.helpers.field_cases import each_field_case

BENCHMARK = open_benchmark("fitcoach")


def rows(*values):
    return [ResultRow(f"row {number}", value) for number, value in enumerate(values)]


def reference(times=(5.0, 20.0), texts=("Go.", "Stop."), **more):
    return {"gt_timestamps": list(times), "gt_feedbacks": list(texts), **more}


def prediction(times=(5.0, 20.0), texts=("Go.", "Stop."), **more):
    return {"pred_timestamps": list(times), "pred_feedbacks": list(texts), **more}


def score(annotated, *results):
    annotations = make_fitcoach_annotations(rows(*annotated))
    return score_fitcoach(annotations, match_fitcoach_rows(rows(*results), annotations))


@each_field_case("fitcoach", "cases.json", keep=lambda case: "raises" not in case["expected"] and case["sessions"])
def test_fitcoach_reference_case_as_files_is_equal(case, tmp_path):
    file = tmp_path / "sessions.json"
    file.write_text(json.dumps(case["sessions"]), "utf-8")
    annotations = BENCHMARK.read_annotations(tmp_path)
    found = BENCHMARK.score(annotations, BENCHMARK.read_results([file], annotations))
    assert found.values["t_f_score"] == pytest.approx(case["expected"]["t_f_score"], rel=1e-12, abs=1e-15)
    totals = pool_item_totals(found.items)
    assert totals["references"] == case["expected"]["stats"]["total_num_gt_feedbacks"]
    assert totals["predictions"] == case["expected"]["stats"]["total_num_pred_feedbacks"]


def test_frame_texts_pair_with_times_in_order(tmp_path):
    row = {"long_range_video_file": "v.mp4", "feedbacks": ["", "Go.", "", "Stop."], "feedback_timestamps": [2, 5.5]}
    (tmp_path / "feedbacks_long_range.json").write_text(json.dumps([row]))
    (session,) = read_fitcoach_annotations(tmp_path).sessions
    assert (session.id, session.feedback.times, session.feedback.texts) == ("v.mp4", (2.0, 5.5), ("Go.", "Stop."))


def test_rows_join_by_id_or_by_position():
    annotated = [reference(id="a"), reference((50.0,), ("Up.",), id="b")]
    by_id = score(annotated, prediction((50.0,), ("Up.",), id="b"), prediction(id="a"))
    by_position = score(annotated, prediction(), prediction((50.0,), ("Up.",)))
    assert by_id.values == by_position.values
    assert by_id.values["t_f_score"] == pytest.approx(1.0)


def test_session_without_row_is_missing_and_silent():
    found = score([reference(id="a"), reference(id="b")], prediction(id="a"))
    assert found.values["temporal_recall"] == pytest.approx(0.5)
    assert (found.count("missing"), found.count("scored")) == (1, 1)
    assert "sessions without a row, counted as silence: 1" in found.notes


@pytest.mark.parametrize("broken", [{"pred_timestamps": ["x"]}, {"pred_feedbacks": "Go."}])
def test_unreadable_row_is_failed_and_silent(broken):
    found = score([reference(id="a")], {**prediction(id="a"), **broken})
    assert (found.values["t_f_score"], found.count("failed")) == (0.0, 1)


def test_unknown_and_repeated_rows_are_left_out():
    found = score([reference(id="a")], prediction(id="a"), prediction((), (), id="a"), prediction(id="x"))
    assert found.values["t_f_score"] == pytest.approx(1.0)
    assert "row of a session that an earlier row has: 1" in found.notes
    assert "sessions that the annotations lack: x" in found.notes


def test_quirks_of_predictions_are_noted():
    found = score([reference(id="a")], prediction((20.0, 5.0), ("Go.", "", "Stop."), id="a"))
    assert [note.partition(":")[0] for note in found.notes] == [
        "predictions without text, which count and are never matched for recall",
        "sessions whose numbers of predicted times and texts differ; the texts are counted",
        "sessions with predicted times out of order, which lose matches",
    ]


@pytest.mark.parametrize("text", ["[]", '[{"a": 1}]', "3"])
def test_annotations_of_another_file_are_refused_in_one_line(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match="holds no session of FitCoach") as error:
        read_fitcoach_annotations(tmp_path / "x.json")
    assert "\n" not in str(error.value)


def test_results_of_another_file_are_refused_in_one_line(tmp_path):
    (tmp_path / "x.json").write_text('[{"a": 1}]')
    annotations = make_fitcoach_annotations(rows(reference()))
    with pytest.raises(DataError, match="no FitCoach predictions") as error:
        read_fitcoach_results([tmp_path / "x.json"], annotations)
    assert "\n" not in str(error.value)


def test_constant_every_5s_matches_references_on_its_grid():
    annotations = make_fitcoach_annotations(rows(reference(duration=22)))
    found = BENCHMARK.score(annotations, BENCHMARK.constants["every_5s"](annotations))
    assert found.values["temporal_recall"] == pytest.approx(1.0)
    assert found.values["temporal_precision"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"times": (), "texts": ()}, "session without feedback"),
        ({"texts": ("Go.",)}, "times and texts differ in number"),
        ({"texts": ("Go.", " ")}, "feedback without text"),
        ({"duration": 10}, "feedback outside the session"),
        ({"times": (5.0, 7.0)}, "feedback nearer than twice the tolerance"),
    ],
)
def test_find_fitcoach_problems_names_each_kind(changed, kind):
    found = find_fitcoach_problems(make_fitcoach_annotations(rows(reference(**changed))))
    assert [problem.kind for problem in found] == [kind]


def test_find_fitcoach_problems_reference_that_does_not_match_itself():
    found = find_fitcoach_problems(make_fitcoach_annotations(rows(reference((20.0, 20.0)))))
    assert "the reference does not match itself" in [problem.kind for problem in found]
    found = find_fitcoach_problems(make_fitcoach_annotations(rows(reference((20.0, 5.0)))))
    assert "times out of order" in [problem.kind for problem in found]


def test_score_command_writes_official_numbers(tmp_path, capsys):
    (tmp_path / "sessions.json").write_text(json.dumps([reference(id=f"s{k}") for k in range(12)]))
    (tmp_path / "model.jsonl").write_text("\n".join(json.dumps(prediction(id=f"s{k}")) for k in range(6)))
    command = ("score", tmp_path / "model.jsonl", "--suite", "fitcoach", "--data", tmp_path, "--json")
    assert evaluate(*command) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["values"]["temporal_recall"]["value"] == pytest.approx(0.5)
    assert found["counts"] == {"scored": 6, "missing": 6, "failed": 0}
    assert found["values"]["t_f_score"]["best_constant"]["value"] > 0.5

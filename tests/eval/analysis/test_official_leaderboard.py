"""Official leaderboards and tables of invented OVO-Bench results."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from prospect_core.util.errors import DataError, UserError
from prospect_eval.analysis.official_leaderboard import make_official_leaderboard
from prospect_eval.cli.commands import prospect_eval
from tests.helpers.ovo_bench_items import choice_entry, write_ovo_bench


@pytest.fixture
def published(tmp_path):
    """Twelve questions on twelve videos, whose right answer is B; one model is right on all, the other on the first six."""
    entries = [choice_entry(k, video=f"v{k}.mp4", options=["a", "on the table"], gt=1) for k in range(12)]
    file = tmp_path / "ovo_bench_new.json"
    write_ovo_bench(file, entries)
    for model, letters in (("good", "B" * 12), ("half", "B" * 6 + "A" * 6)):
        rows = [
            {"id": k, "task": entry["task"], "video": entry["video"], "response": letter, "ground_truth": "B"}
            for k, (entry, letter) in enumerate(zip(entries, letters, strict=True))
        ]
        folder = tmp_path / "results" / model
        folder.mkdir(parents=True)
        (folder / f"{model}_offline.json").write_text(json.dumps({"backward": rows, "realtime": [], "forward": []}))
    return tmp_path


def test_leaderboard_ranks_models_with_the_best_constant_answer(published):
    models = [published / "results" / model for model in ("half", "good")]
    board = make_official_leaderboard("ovo_bench", published, models, "backward")
    assert [(place.name, place.intervals["backward"].point) for place in board.places] == [
        ("good", 1.0),
        ("constant mc_B", 1.0),
        ("half", 0.5),
    ]
    assert board.beaten == ("half",)
    assert board.places[0].against_best == []


def test_leaderboard_by_an_unknown_value_is_refused(published):
    with pytest.raises(UserError, match="backward"):
        make_official_leaderboard("ovo_bench", published, [published / "results" / "good"], "backwards")


def test_leaderboard_of_published_files_needs_the_annotations(published):
    with pytest.raises(UserError, match="give --data FOLDER"):
        make_official_leaderboard("ovo_bench", None, [published / "results" / "good"])


def test_score_of_published_files_prints_percent_and_the_scorer_weakness(published):
    command = ["score", str(published / "results" / "half"), "--suite", "ovo_bench", "--data", str(published)]
    done = CliRunner().invoke(prospect_eval, command)
    assert done.exit_code == 0
    assert "50.00" in done.output
    assert "all_letters" in done.output


def test_score_of_published_files_writes_official_json(published, tmp_path):
    command = ["score", str(published / "results" / "half"), "--suite", "ovo_bench", "--data", str(published)]
    done = CliRunner().invoke(prospect_eval, [*command, "--output", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0
    written = json.loads((tmp_path / "out" / "official.json").read_text("utf-8"))
    assert written["values"]["backward"]["value"] == 0.5
    assert json.loads(done.stdout)["values"] == written["values"]


@pytest.fixture
def folders(published, tmp_path):
    """Folders with the official numbers of both models."""
    found = [tmp_path / "scored" / model for model in ("half", "good")]
    for folder in found:
        results = str(published / "results" / folder.name)
        command = ["score", results, "--suite", "ovo_bench", "--data", str(published), "--output", str(folder)]
        assert CliRunner().invoke(prospect_eval, command).exit_code == 0
    return found


def test_leaderboard_of_folders_alone_has_the_best_constant_answer(published, folders):
    board = make_official_leaderboard("ovo_bench", None, folders, "backward")
    with_files = make_official_leaderboard(
        "ovo_bench", published, [published / "results" / model for model in ("half", "good")], "backward"
    )
    assert board == with_files
    assert [place.name for place in board.places] == ["good", "constant mc_B", "half"]


def test_leaderboard_of_folders_without_constants_says_so(folders):
    for folder in folders:
        (folder / "official_constants.json").unlink()
    board = make_official_leaderboard("ovo_bench", None, folders, "backward")
    assert [place.name for place in board.places] == ["good", "half"]
    assert board.notes == ("no folder holds constant answers: score the runs again to rank them",)
    with pytest.raises(UserError, match="score the runs again, or give --data FOLDER"):
        make_official_leaderboard("ovo_bench", None, folders, "backward", "mc_B")


def test_leaderboard_ignores_constants_of_other_predictions(folders):
    file = folders[0] / "official_constants.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), "predictions_digest": "other"}))
    board = make_official_leaderboard("ovo_bench", None, folders[:1], "backward")
    assert [place.name for place in board.places] == ["half"]


def test_leaderboard_damaged_constants_are_refused_in_one_line(folders):
    (folders[0] / "official_constants.json").write_text(
        '{"schema": 1, "predictions_digest": "", "constants": {"a": [[1]]}}'
    )
    with pytest.raises(DataError, match="damaged; score the run again") as error:
        make_official_leaderboard("ovo_bench", None, folders, "backward")
    assert "\n" not in str(error.value)


def test_leaderboard_tests_each_model_against_a_constant_answer(folders):
    board = make_official_leaderboard("ovo_bench", None, folders, "backward", "mc_A")
    places = {place.name: place for place in board.places}
    assert set(places) == {"good", "half", "constant mc_A", "constant mc_B"}
    assert places["constant mc_A"].against_constant is None
    against = {name: places[name].against_constant for name in ("good", "half")}
    assert [(found.first, found.second) for found in against.values()] == [(0.0, 1.0), (0.0, 0.5)]
    # 12 videos all better: p = 2 / 2**12, doubled by Holm; 6 of 6 differing videos: p = 2 / 2**6
    assert against["good"].p == pytest.approx(2 * 2 / 2**12)
    assert against["half"].p == pytest.approx(2 / 2**6)
    assert [found.verdict for found in against.values()] == ["better", "better"]


def test_leaderboard_unknown_constant_answer_lists_the_names(folders):
    with pytest.raises(UserError, match=r"--constant 'mc_Z' is unknown.*mc_B"):
        make_official_leaderboard("ovo_bench", None, folders, "backward", "mc_Z")


def test_leaderboard_command_prints_the_tests_against_a_constant_answer(folders):
    command = ["leaderboard", *map(str, folders), "--suite", "ovo_bench", "--by", "backward", "--constant", "mc_A"]
    done = CliRunner().invoke(prospect_eval, command)
    assert done.exit_code == 0
    assert "against mc_A" in done.output.replace("\n", " ")


def test_leaderboard_constant_without_suite_is_refused(folders):
    done = CliRunner().invoke(prospect_eval, ["leaderboard", *map(str, folders), "--constant", "mc_A"])
    assert done.exit_code != 0


def test_leaderboard_of_a_run_and_published_files_notes_the_unknown_protocol(published, tmp_path):
    command = ["score", str(published / "results" / "half"), "--suite", "ovo_bench", "--data", str(published)]
    run = tmp_path / "run"
    assert CliRunner().invoke(prospect_eval, [*command, "--output", str(run)]).exit_code == 0
    stored = json.loads((run / "official.json").read_text("utf-8"))
    (run / "official.json").write_text(json.dumps({**stored, "protocol": "polled"}))
    board = make_official_leaderboard("ovo_bench", published, [run, published / "results" / "good"], "backward")
    assert board.notes == (
        "the protocol of good is not stated in their files: the comparison assumes that it is equal",
    )

"""Official leaderboards and tables of invented OVO-Bench results."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from prospect_core.util.errors import UserError
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

"""Official numbers of runs: blind baselines without videos, tables of rivals, verdicts of an LLM judge."""

from __future__ import annotations

import json

import pytest

from prospect_eval.suites.benchmark import open_benchmark
from tests.helpers.commands import evaluate, one_line
from tests.helpers.ovo_bench_items import choice_entry, clue_entry, count_entry, step_entry, write_ovo_bench

pytestmark = pytest.mark.integration


def entries():
    return [choice_entry(1), count_entry(2), step_entry(3), clue_entry(4)]


def run_baseline(name, suite, root, output, *options):
    asked = ("--ckpt", f"baseline:{name}", "--suite", suite, "--data", root, "--output", output, *options)
    assert evaluate("run", *asked) == 0
    return json.loads((output / "official.json").read_text("utf-8"))


def test_baseline_without_videos_writes_official_values_and_rivals(tmp_path, capsys, caplog):
    write_ovo_bench(tmp_path / "ovo_bench_new.json", entries())
    official = run_baseline("periodic", "ovo_timing", tmp_path, tmp_path / "run")
    captured = capsys.readouterr()
    assert "missing: baselines need none" in caplog.text
    assert "best blind baseline" in captured.out
    assert official["counts"] == {"scored": 3, "missing": 0, "failed": 0}
    assert set(official["baselines"]) == {
        "silent", "always_talk", "periodic", "rate_matched_random", "reply_to_user", "recite_steps",
    }  # fmt: skip
    entry = official["values"]["average_f1_at_2s"]
    assert official["baselines"]["periodic"]["average_f1_at_2s"] == entry["value"]
    assert entry["best_baseline"]["value"] == max(found["average_f1_at_2s"] for found in official["baselines"].values())
    assert official["baselines"]["silent"]["average_f1_at_2s"] == 0.0
    assert "best blind baseline" in (tmp_path / "run" / "report.html").read_text("utf-8")


def test_always_talking_baseline_equals_the_constant_of_the_frame_rate(tmp_path):
    """At 2 frames a second always_talk has the recall of a constant that speaks every second."""
    write_ovo_bench(tmp_path / "ovo_bench_new.json", entries())
    official = run_baseline("silent", "ovo_timing", tmp_path, tmp_path / "run", "--protocol", "official")
    assert official["values"]["average_f1_at_2s"]["value"] == 0.0
    constants, baselines = official["constants"], official["baselines"]
    assert baselines["always_talk"]["average_recall_at_2s"] == constants["every_1s"]["average_recall_at_2s"] > 0


def test_polled_suite_scores_the_silent_baseline_alone(tmp_path):
    write_ovo_bench(tmp_path / "ovo_bench_new.json", entries())
    official = run_baseline("always_talk", "ovo_bench", tmp_path, tmp_path / "run", "--protocol", "official")
    assert set(official["baselines"]) == {"silent"}
    records = [json.loads(file.read_text("utf-8")) for file in (tmp_path / "run" / "episodes").iterdir()]
    assert records
    assert all(not record.get("utterances") for record in records)


def test_model_without_videos_is_refused(tmp_path, capsys):
    write_ovo_bench(tmp_path / "ovo_bench_new.json", entries())
    command = (
        "run",
        "--ckpt",
        "workbench-tiny",
        "--suite",
        "ovo_timing",
        "--data",
        tmp_path,
        "--output",
        tmp_path / "r",
    )
    assert evaluate(*command) != 0
    assert "missing" in one_line(capsys)


def test_leaderboard_of_runs_alone_ranks_the_constant_answers_of_the_run(tmp_path, capsys):
    write_ovo_bench(tmp_path / "ovo_bench_new.json", entries())
    runs = [tmp_path / name for name in ("periodic", "silent")]
    for run in runs:
        run_baseline(run.name, "ovo_timing", tmp_path, run)
    capsys.readouterr()
    assert evaluate("leaderboard", *runs, "--suite", "ovo_timing", "--json") == 0
    places = json.loads(capsys.readouterr().out)["places"]
    constants = [place for place in places if place["is_constant"]]
    official = json.loads((runs[0] / "official.json").read_text("utf-8"))
    best = official["values"]["average_f1_at_2s"]["best_constant"]
    assert [place["name"] for place in constants] == [f"constant {best['name']}"]
    assert constants[0]["intervals"]["average_f1_at_2s"]["point"] == pytest.approx(best["value"])
    assert best["name"] in open_benchmark("ovo_timing").constants

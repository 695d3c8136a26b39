"""Verdicts of an LLM judge on runs of published benchmarks, with a server on this machine."""

from __future__ import annotations

import json
import uuid

import pytest

from tests.helpers.chat_server import server
from tests.helpers.commands import evaluate, one_line

pytestmark = pytest.mark.integration

QUESTION = {
    "question_id": "q",
    "video": "q.mp4",
    "duration": 20.0,
    "conversation": [{"role": "user", "content": "What happens?", "time": 2}],
    "answer": [{"content": "the dog barks", "related_timespan": [4, 8], "reply_timespan": [4, 10]}],
}
STATES = {
    "video": "s.mp4",
    "qa": [
        {"question": "What now?", "answer": "cutting", "timestamp": "0.0 -- 6.0"},
        {"question": "And now?", "answer": "frying", "timestamp": "6.0 -- 11.0"},
    ],
}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def grader():
    """Name of an LLM judge that no other test uses, so that the cache holds no reply of it."""
    return f"grader-{uuid.uuid4().hex}"


def run_oracle_without_videos(suite, root, output):
    asked = ("--ckpt", "baseline:oracle", "--suite", suite, "--data", root, "--output", output)
    assert evaluate("run", *asked) == 0
    return read_official(output)


def read_official(run):
    return json.loads((run / "official.json").read_text("utf-8"))


def judge(run, url, model):
    return evaluate("judge", run, "--endpoint", url, "--model", model, "--only", "official")


@pytest.fixture
def replies_run(tmp_path):
    """A run of the oracle on one question of ProactiveVideoQA."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "anno.json").write_text(json.dumps([QUESTION]))
    official = run_oracle_without_videos("proactivevideoqa", tmp_path / "data", tmp_path / "run")
    assert official["values"]["omega=0.5"]["value"] is None
    return tmp_path / "run"


def test_judged_run_has_official_values_also_after_scoring(replies_run, grader, capsys):
    with server(lambda body, number: "3") as (url, asked):
        assert judge(replies_run, url, grader) == 0
        assert "judged by" in capsys.readouterr().out
        judged = read_official(replies_run)
        assert judged["values"]["omega=0.5"]["value"] > 50
        assert judged["judge"] == grader
        assert evaluate("score", replies_run) == 0
        assert read_official(replies_run) == judged
        assert len(asked) == 1
        # a second judgement takes the reply from the cache
        assert judge(replies_run, url, grader) == 0
        assert len(asked) == 1
    prompt = asked[0][2]["messages"][0]["content"]
    assert "Ground Truth Answer: the dog barks" in prompt
    assert asked[0][2]["temperature"] == 0.0
    assert f"Judged by {grader}" in (replies_run / "report.html").read_text("utf-8")


def test_bad_verdict_scores_less_than_a_good_one(replies_run, grader):
    values = []
    for grade in ("1", "3"):
        with server(lambda body, number, grade=grade: grade) as (url, _):
            assert judge(replies_run, url, f"{grader}-{grade}") == 0
        values.append(read_official(replies_run)["values"]["omega=0.5"]["value"])
    assert values[0] < values[1]


def test_verdicts_of_other_predictions_do_not_count(replies_run, grader, caplog):
    with server(lambda body, number: "3") as (url, _):
        assert judge(replies_run, url, grader) == 0
    file = replies_run / "official_verdicts.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), "predictions_digest": "other"}))
    assert evaluate("score", replies_run) == 0
    assert read_official(replies_run)["values"]["omega=0.5"]["value"] is None
    assert "about other predictions" in caplog.text


def test_judged_grounding_of_omnimmi_has_accuracy_and_score(tmp_path, grader):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dynamic_state_grounding.json").write_text(json.dumps([STATES]))
    run = tmp_path / "run"
    assert (
        run_oracle_without_videos("omnimmi", tmp_path / "data", run)["values"].get("sg_accuracy", {}).get("value")
        is None
    )
    with server(lambda body, number: "{'pred': 'yes', 'score': 4}") as (url, asked):
        assert judge(run, url, grader) == 0
    assert len(asked) == 2
    assert evaluate("score", run) == 0
    values = read_official(run)["values"]
    assert (values["sg_accuracy"]["value"], values["sg_score"]["value"]) == (1.0, 4.0)


def test_judge_without_only_also_grades_the_dialogues(replies_run, grader, capsys):
    grades = json.dumps({"correctness": 4, "promptness": 3, "efficiency": 5, "overall": 4})

    def answer(body, number):
        return "3" if "Ground Truth Answer" in body["messages"][0]["content"] else grades

    with server(answer) as (url, asked):
        capsys.readouterr()
        command = ("judge", replies_run, "--endpoint", url, "--model", grader, "--repeats", 1, "--json")
        assert evaluate(*command) == 0
        assert len(asked) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["official"] == read_official(replies_run)
    assert found["metrics"] == json.loads((replies_run / "judge.json").read_text("utf-8"))["metrics"]


def test_judge_only_official_needs_a_benchmark_with_verdicts(tmp_path, capsys):
    from tests.helpers.ovo_bench_items import count_entry, write_ovo_bench

    write_ovo_bench(tmp_path / "ovo_bench_new.json", [count_entry(2)])
    run_oracle_without_videos("ovo_timing", tmp_path, tmp_path / "run")
    capsys.readouterr()
    assert judge(tmp_path / "run", "http://127.0.0.1:1/v1", "m") == 2
    assert "no official value of this run needs an LLM judge; use --only dialogues" in one_line(capsys)


def test_leaderboard_refuses_runs_of_different_judges(replies_run, tmp_path, grader, capsys):
    other = tmp_path / "other"
    run_oracle_without_videos("proactivevideoqa", tmp_path / "data", other)
    with server(lambda body, number: "3") as (url, _):
        assert judge(replies_run, url, grader) == 0
        assert judge(other, url, f"{grader}-2") == 0
    capsys.readouterr()
    assert evaluate("leaderboard", replies_run, other, "--suite", "proactivevideoqa") == 2
    assert "values with different LLM judges are not comparable" in one_line(capsys)

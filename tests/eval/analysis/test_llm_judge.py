"""The LLM judge, with a server on this machine."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing

import pytest

from prospect_core.records import Knobs
from prospect_core.timeline import Event
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import dump_json
from prospect_eval.analysis.llm_judge import (
    judge_agreement,
    judge_dialogue,
    judge_messages,
    judge_records,
    read_judge_verdict,
)
from prospect_eval.models.chat_client import Endpoint
from prospect_eval.runs.folder import RunConfig, open_run_folder, run_folder_record_path
from prospect_eval.text.disk_cache import DiskCache
from tests.helpers.chat_server import reply, server
from tests.helpers.commands import evaluate, one_line
from tests.helpers.predictions import episode, predict, say

pytestmark = pytest.mark.integration

GOOD = '{"correctness": 4, "promptness": 3, "efficiency": 5, "overall": 4}'


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def record(number=0):
    asked = Event("u", 6.0, "user", "What\nnow?")
    reference = episode(say(2.0, "Boil the water."), asked, say(8.0, "Pour it."), id_=f"e{number}", video=f"v{number}")
    return predict(reference, [(6, f"Boil it {number}."), (12, "Pour."), (30, "Done.")])


def test_judge_messages_contain_both_dialogues_with_times():
    assert judge_dialogue(record(), reference=True).splitlines() == [
        "[2.0 s] Assistant: Boil the water.", "[6.0 s] User: What now?", "[8.0 s] Assistant: Pour it.",
    ]  # fmt: skip
    # on the same frame the assistant's turn is first, because the user's turn follows the frame
    assert judge_dialogue(record(), reference=False).splitlines() == [
        "[3.0 s] Assistant: Boil it 0.", "[6.0 s] Assistant: Pour.", "[6.0 s] User: What now?", "[15.0 s] Assistant: Done.",
    ]  # fmt: skip
    assert "(nothing is said)" in judge_messages(predict(episode(say(2.0))))[1]["content"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD, 4),
        (f"It speaks late. {{so}} Hm.\n---\nb\n---\n```json\n{GOOD}\n```", 4),
        (f"{GOOD} that is {GOOD}", 4),
        ("I refuse", "no verdict"),
        ("", "no verdict"),
        ('{"a": 1} and {"correctness": 4', "no verdict"),
        (GOOD + GOOD.replace("5", "1"), "several verdicts"),
        (GOOD.replace("overall", "total"), "criteria missing or unknown"),
        (GOOD.replace("}", ', "more": 1}'), "criteria missing or unknown"),
        (GOOD.replace("5", "9"), "not whole numbers from 1 to 5"),
        (GOOD.replace("5", '"5"'), "not whole numbers from 1 to 5"),
        (GOOD.replace("5", "4.5"), "not whole numbers from 1 to 5"),
        (GOOD.replace("5", "true"), "not whole numbers from 1 to 5"),
        ("{" * 100_000, "no verdict"),
    ],
)
def test_read_judge_verdict_is_strict(text, expected):
    found = read_judge_verdict(text)
    assert (found["overall"] if isinstance(found, dict) else found) == expected


def test_judge_agreement_by_hand():
    assert judge_agreement([[3, 3, 3], [5, 5, 5]]) == {"equal": 1.0, "mean_difference": 0.0, "alpha": 1.0}
    # pairs 0, 1, 1 of the first and 0 of the second; alpha: D_o = (2/5)(1+1)/2 = .4, D_e = 2 var(1, 1, 2, 4, 4) = 4.6
    found = judge_agreement([[1, 1, 2], [4, 4], [5]])
    assert (found["equal"], found["mean_difference"]) == (0.5, 0.5)
    assert found["alpha"] == pytest.approx(1 - 0.4 / 4.6)
    assert judge_agreement([[3], []]) == {"equal": None, "mean_difference": None, "alpha": None}
    assert judge_agreement([[3, 3], [3, 3]])["alpha"] is None


def test_judge_command_writes_scores_and_agreement(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "run"
    open_run_folder(folder, RunConfig("m", "", "", "", "test", None, Knobs(), ""))
    for n in range(3):
        run_folder_record_path(folder, f"e{n}").write_text(dump_json(record(n)))

    def answer(body, number):
        text = body["messages"][1]["content"]
        return "I would rather not." if "Boil it 2." in text and number % 2 else f"Fine.\n{GOOD}"

    monkeypatch.setenv("MY_KEY", "secret")
    with server(answer) as (url, asked):
        given = ("judge", folder, "--endpoint", url, "--model", "m", "--repeats", 4, "--key-variable", "MY_KEY")
        assert evaluate(*given) == 0
        assert len(asked) == 12
        path, key, body = asked[0]
        assert (path, key, body["temperature"], body["top_p"]) == ("/v1/chat/completions", "Bearer secret", 0.5, 0.95)
        first = (folder / "judge.json").read_bytes()
        unreadable = json.loads(first)["replies"]["unreadable"]["no verdict"]
        assert evaluate(*given) == 0
        # only unreadable replies are requested again
        assert len(asked) == 12 + unreadable
    result = json.loads(first)
    assert result["metrics"]["judge_overall"]["value"] == 4.0
    assert result["metrics"]["judge_efficiency"]["n_videos"] == 3
    assert result["replies"]["asked"] == 12
    assert set(result["replies"]["unreadable"]) == {"no verdict"}
    assert 0 < result["replies"]["unreadable"]["no verdict"] < 4
    assert b"secret" not in first
    assert "replies were unreadable" in capsys.readouterr().out


def kept_replies() -> int:
    """Return the number of replies in the cache of the LLM judge."""
    file = DiskCache("judge/replies").file
    if not file.is_file():
        return 0
    with closing(sqlite3.connect(file)) as base:
        number: int = base.execute("select count(*) from kept").fetchone()[0]
        return number


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (reply(None, finish_reason="length"), "used up"),
        (reply(None, refusal="I will not."), "refuses to answer .I will not.."),
        (reply("I would rather not."), "no verdict"),
        (reply(""), "no verdict"),
    ],
)
def test_judge_records_unreadable_reply_is_not_cached(bad, reason):
    well, before = [], kept_replies()
    with server(lambda *_: GOOD if well else (200, bad)) as (url, asked):
        with pytest.raises(DataError, match=f"none of 2 replies .*{reason}"):
            judge_records([record()], Endpoint(url, "m"), repeats=2)
        assert kept_replies() == before
        well.append(True)
        for _ in range(2):
            result = judge_records([record()], Endpoint(url, "m"), repeats=2)
            assert result["metrics"]["judge_overall"]["value"] == 4.0
    assert len(asked) == 4
    assert kept_replies() == before + 2


def test_judge_records_cached_unreadable_reply_is_requested_again(monkeypatch):
    with server(lambda *_: GOOD) as (url, asked), monkeypatch.context() as patch:
        # an earlier version stored every reply
        patch.setattr("prospect_eval.analysis.llm_judge.is_judge_verdict", lambda text: True)
        patch.setattr("tests.eval.analysis.test_llm_judge.GOOD", "nonsense")
        with pytest.raises(DataError, match="no verdict"):
            judge_records([record()], Endpoint(url, "m"), repeats=1)
        patch.undo()
        judge_records([record()], Endpoint(url, "m"), repeats=1)
        judge_records([record()], Endpoint(url, "m"), repeats=1)
    assert len(asked) == 2


def test_judge_records_options_are_sent_and_signed():
    with server(lambda *_: GOOD) as (url, asked):
        options = {"temperature": None, "max_completion_tokens": 900}
        result = judge_records([record()], Endpoint(url, "m", options=options), repeats=1)
    assert asked[0][2].keys() == {"model", "messages", "top_p", "max_completion_tokens"}
    assert '"max_completion_tokens":900' in result["metrics"]["judge_overall"]["signature"]


def test_judge_records_busy_server_is_retried():
    with server(lambda _, number: (503, "{}") if number < 3 else GOOD) as (url, asked):
        result = judge_records([record()], Endpoint(url, "m"), repeats=1)
    assert len(asked) == 3
    assert result["metrics"]["judge_overall"]["value"] == 4.0


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ((401, '{"error": {"message": "no such key"}}'), UserError, "refuses the key"),
        ((404, '{"error": {"message": "no such model"}}'), UserError, "refuses the request for 'm'"),
        ((200, "not json"), DataError, "no usable answer"),
        ((200, "{}"), DataError, "no usable answer"),
        ((500, "{}"), DataError, "no usable answer"),
        ("nonsense", DataError, "none of 2 replies of 'm' could be read .no verdict: 2."),
    ],
)
def test_judge_records_error_is_one_line(given, kind, message):
    with server(lambda *_: given) as (url, _), pytest.raises(kind, match=message):
        judge_records([record()], Endpoint(url, "m", retries=0), repeats=2)


def test_judge_command_unreachable_or_slow_server_is_one_line(tmp_path, capsys):
    with pytest.raises(DataError, match="no usable answer"):
        Endpoint("http://127.0.0.1:9/v1", "m", retries=0).complete([], 0, 1, 5)
    wait = threading.Event()
    with server(lambda *_: (wait.wait(5), GOOD)[1]) as (url, _):
        with pytest.raises(DataError, match="within the time-out"):
            Endpoint(url, "m", timeout_s=0.2, retries=0).complete([{"role": "user", "content": "x"}], 0, 1, 5)
        wait.set()
    assert evaluate("judge", tmp_path, "--endpoint", "localhost:1", "--model", "m") == 3
    assert "not a run folder" in one_line(capsys)


def test_judge_records_replies_before_failure_are_cached():
    records = [record(n) for n in range(6)]
    with server(lambda _, number: GOOD if number < 4 else (400, "{}")) as (url, asked):
        with pytest.raises(UserError, match="refuses"):
            judge_records(records, Endpoint(url, "m", retries=0), repeats=1, workers=1)
        before = len(asked)
        with pytest.raises(UserError, match="refuses"):
            judge_records(records, Endpoint(url, "m", retries=0), repeats=1, workers=1)
        # the three answered requests are not repeated
        assert len(asked) - before <= 3

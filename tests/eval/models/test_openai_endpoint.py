"""Real servers: thinking, finish reasons, refusals, errors, long contexts, refused parameters."""

from __future__ import annotations

import json

import pytest

from prospect_core.records import EpisodeRecord
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import load_json, read_json
from prospect_eval.models.chat_client import Endpoint, read_chat_client_options
from prospect_eval.models.chat_reply import NoReplyError, strip_chat_reply_thinking
from tests.helpers.chat_server import reply, server
from tests.helpers.commands import evaluate, one_line

pytestmark = pytest.mark.integration

ASKED = [{"role": "user", "content": "Now?"}]


@pytest.fixture(autouse=True)
def own_network(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def asked_once(body, status=200, **options):
    with server(lambda *_: (status, body)) as (url, _):
        return Endpoint(url, "m", retries=0, **options).complete(ASKED, 0, 1, 128)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Pour it.", ("Pour it.", False)),
        ("<think>Is S1->start due?</think>\n\nSILENT", ("SILENT", False)),
        ("<THINKING>a</THINKING> Pour <think>b</think>it.", ("Pour it.", False)),
        ("so it is due</think>Pour it.", ("Pour it.", False)),
        ("a</think>b</think>Pour it.", ("Pour it.", False)),
        ("<think>a <think>b</think> Pour it.", ("Pour it.", False)),
        ("[THINK]a[/THINK]Pour it.", ("Pour it.", False)),
        ("◁think▷a◁/think▷Pour it.", ("Pour it.", False)),
        ("<seed:think>a</seed:think>Pour it.", ("Pour it.", False)),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>Pour.<|return|>",
            ("Pour.", False),
        ),
        ("<think>a cup is seen, and", ("", True)),
        ("I think > you < know", ("I think > you < know", False)),
        ("", ("", False)),
    ],
)
def test_strip_thinking_removes_marked_text(text, expected):
    assert strip_chat_reply_thinking(text) == expected


@pytest.mark.parametrize(
    ("body", "text", "cut"),
    [
        (reply("Pour it."), "Pour it.", False),
        (reply("Now take the cup and then", "length"), "Now take the cup and then", True),
        (reply("SILENT", reasoning_content="S1->start?"), "SILENT", False),
        (reply(None), "", False),
        (reply(None, reasoning="Nothing is due."), "", False),
        (reply([{"type": "text", "text": "Pour "}, {"type": "text", "text": "it."}]), "Pour it.", False),
        (
            reply([{"type": "thinking", "thinking": "x"}, {"type": "output_text", "text": "Pour it."}]),
            "Pour it.",
            False,
        ),
        (reply(["Pour it."]), "Pour it.", False),
        (reply([]), "", False),
    ],
)
def test_read_chat_reply_removes_thinking(body, text, cut):
    found = asked_once(body)
    assert (found.text, found.cut) == (text, cut)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (reply(None, "length", reasoning_content="A cup"), "used up by thinking; .*--request-option max_tokens=N"),
        (reply("", "length", reasoning="A cup"), "used up by thinking"),
        (reply("<think>A cup", "length"), "used up by thinking"),
        (reply("<think>A cup", "stop"), "used up by thinking"),
        (reply(None, "length"), "used up by text before the answer"),
        (reply(None, None, reasoning_content="A cup"), "used up by thinking"),
        (reply([{"type": "thinking", "thinking": "x"}], "length"), "used up"),
        (reply(None, "content_filter"), "a content filter withheld"),
        (reply("Take", "content_filter"), "a content filter withheld"),
        (reply(None, refusal="no"), "refuses to answer .no."),
        (reply([{"type": "refusal", "refusal": "no"}]), "refuses to answer .no."),
        (reply(None, "tool_calls"), "called a tool"),
    ],
)
def test_read_chat_reply_no_answer_raises(body, message):
    with pytest.raises(NoReplyError, match=message):
        asked_once(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"error": {"message": "the model is loading", "code": 503}}', "sends an error: the model is loading"),
        ('{"error": "out of memory"}', "sends an error: out of memory"),
        ('{"object": "error", "message": "no such adapter"}', "sends an error: no such adapter"),
        ('{"detail": "not ready"}', "sends an error: not ready"),
        ('{"error": {"message": "the context length is exceeded"}}', "exceeded.*--frames-shown"),
        ('{"choices": []}', "holds no choices"),
        ('{"choices": [{"index": 0}]}', "holds no message"),
        (reply(7), "content is int"),
        ("<html>busy</html>", "no usable answer"),
    ],
)
def test_read_chat_reply_error_with_status_200_raises(body, message):
    with pytest.raises(DataError, match=message) as caught:
        asked_once(body)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 4096 tokens, you requested 9000",
        "the request exceeds the available context size (4096 tokens)",
        "prompt is too long: 9000 tokens > 4096 maximum",
        "context_length_exceeded",
        "Requested tokens (9000) exceed context window of 4096",
    ],
)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_endpoint_context_overflow_is_data_error(words, status):
    with pytest.raises(DataError, match=r"longer than the context of 'm'.*--frames-shown"):
        asked_once(json.dumps({"error": {"message": words}}), status)


def test_endpoint_refused_parameter_names_option():
    with pytest.raises(UserError, match="--request-option KEY=null removes a parameter") as caught:
        asked_once('{"error": {"message": "Unsupported parameter: max_tokens"}}', 400)
    assert not isinstance(caught.value, DataError)


def test_endpoint_late_refusal_is_data_error():
    with server(lambda _, number: reply("SILENT") and ("SILENT" if number == 1 else (400, "{}"))) as (url, _):
        endpoint = Endpoint(url, "m", retries=0)
        endpoint.complete(ASKED, 0, 1, 128)
        with pytest.raises(DataError, match="refuses a request"):
            endpoint.complete(ASKED, 0, 1, 128)


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({}, {"temperature": 0, "top_p": 1, "max_tokens": 128}),
        ({"temperature": None, "top_p": None}, {"max_tokens": 128}),
        ({"max_tokens": 2048, "seed": 7}, {"temperature": 0, "top_p": 1, "max_tokens": 2048, "seed": 7}),
        ({"max_completion_tokens": 2048}, {"temperature": 0, "top_p": 1, "max_completion_tokens": 2048}),
        (
            {"reasoning": {"effort": "low"}},
            {"temperature": 0, "top_p": 1, "max_tokens": 128, "reasoning": {"effort": "low"}},
        ),
    ],
)
def test_endpoint_sends_request_options(options, sent):
    with server(lambda *_: "SILENT") as (url, asked):
        Endpoint(url, "m", options=options).complete(ASKED, 0, 1, 128)
    assert {k: v for k, v in asked[0][2].items() if k not in ("model", "messages")} == sent


def test_request_options_are_json_or_text():
    given = ("a=1", "b=null", "c=low", 'd={"x": [true]}', "e=x=y", "f=")
    assert read_chat_client_options(given) == {"a": 1, "b": None, "c": "low", "d": {"x": [True]}, "e": "x=y", "f": ""}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("max_tokens", "give KEY=VALUE"),
        ("=1", "give KEY=VALUE"),
        ("stream=true", "cannot be set"),
        ("model=x", "cannot be set"),
    ],
)
def test_request_options_invalid_raise(given, message):
    with pytest.raises(UserError, match=message):
        read_chat_client_options((given,))


@pytest.fixture
def run_endpoint(short_world, tmp_path, capsys):
    """Run one short episode with a server that sends the given answers.

    Returns:
        (exit code, the record or None, standard error).
    """

    def run(answer, *further):
        with server(answer) as (url, _):
            given = (
                "run",
                "--ckpt",
                "endpoint:m",
                "--endpoint",
                url,
                "--data",
                short_world.root,
                "--limit",
                1,
                "--streams",
                1,
            )
            code = evaluate(*given, "--output", tmp_path / "r", *further)
        files = list((tmp_path / "r" / "episodes").glob("*.json"))
        record = load_json(EpisodeRecord, files[0].read_bytes(), "x") if files else None
        return code, record, one_line(capsys) if code else ""

    return run


@pytest.mark.parametrize(
    "body", [reply(None, "length", reasoning_content="A cup"), reply(None, "content_filter", refusal="no")]
)
def test_run_endpoint_thinking_or_refusal_is_not_silence(run_endpoint, body):
    code, record, line = run_endpoint(lambda *_: (200, body))
    assert code == 3
    assert record is None
    assert line.startswith("error: frame ")


def test_run_endpoint_failed_reply_with_skip_fails_episode(run_endpoint):
    code, record, _ = run_endpoint(lambda *_: (200, reply(None, "content_filter")), "--on-error", "skip")
    assert code == 3
    assert record.status == "failed"
    assert "content filter" in record.error


def test_run_endpoint_overflow_with_skip_fails_episode(run_endpoint):
    words = '{"error": {"message": "maximum context length is 100 tokens"}}'
    code, record, _ = run_endpoint(lambda _, number: "SILENT" if number < 3 else (400, words), "--on-error", "skip")
    assert code == 3
    assert record.status == "failed"
    assert "maximum context length is 100 tokens" in record.error


def test_run_endpoint_thinking_is_not_spoken(run_endpoint):
    code, record, _ = run_endpoint(lambda *_: "<think>Is S1->start due? Better wait.</think>\n\nSILENT")
    assert code == 0
    assert (record.utterances, record.transitions, record.refusals) == ((), (), ())


def test_run_endpoint_truncated_reply_is_marked(run_endpoint, tmp_path):
    cut = (200, reply("Now take the cup and then", "length"))
    code, record, _ = run_endpoint(lambda _, number: cut if number == 3 else "SILENT", "--request-option", "seed=3")
    assert code == 0
    assert all(utterance.cut for utterance in record.utterances)
    assert record.utterances
    assert '{"seed":3}' in read_json(tmp_path / "r" / "run.json")["config"]["model_digest"]


def test_run_command_request_option_needs_endpoint(short_world, capsys):
    assert evaluate("run", "--ckpt", "baseline:silent", "--data", short_world.root, "--request-option", "a=1") == 2
    assert "--request-option works only with endpoint:MODEL" in one_line(capsys)

"""Streams to servers in the shape of vLLM: probabilities, thresholds, usage, and runs that continue."""

from __future__ import annotations

import base64
import io
import json
import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from prospect_core.data.dataset import write_dataset
from prospect_core.records import EpisodeRecord, Knobs, ReplayProtocol, ServerUsage
from prospect_core.stream.replay import replay_episode
from prospect_core.timeline import Episode, Poll
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import load_json
from prospect_eval.models.base import PredictorOptions
from prospect_eval.models.chat_client import Endpoint
from prospect_eval.models.chat_encoding import CHAT_ENCODINGS
from prospect_eval.models.openai_endpoint import EndpointSettings, EndpointStream, encode_openai_picture
from prospect_eval.runs.evaluation import EvaluationOptions, prepare_evaluation, replay_evaluation
from tests.helpers.chat_server import server, vllm_error, vllm_reply
from tests.helpers.commands import evaluate, one_line
from tests.helpers.streams import TASK, pictures

pytestmark = pytest.mark.integration

#: answers with the probability of silence 0.9, 0.6 and 0.2
SURE = ("SILENT", (("SILENT", 0.9, {"Take": 0.06}),))
UNSURE = ("SILENT", (("SILENT", 0.6, {"Take": 0.3}),))
SPEAKS = ("Take it.", (("Take", 0.7, {"SILENT": 0.2}), (" it", 0.9, {}), (".", 0.9, {})))


@pytest.fixture(autouse=True)
def own_network(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def scripted(*answers):
    """Return a server's function that answers with probabilities, in a cycle."""
    return lambda _, number: (200, vllm_reply(*answers[(number - 1) % len(answers)]))


def stream_of(url, **settings):
    return EndpointStream(Endpoint(url, "m", retries=0), EndpointSettings(**settings))


def outputs(answer, frames=3, **settings):
    with server(answer) as (url, asked):
        stream = stream_of(url, **settings)
        stream.reset(TASK)
        return [stream.step(picture) for picture in pictures(frames)], [body for _, _, body in asked], stream


def test_endpoint_stream_records_speaking_probability():
    steps, asked, stream = outputs(scripted(SURE, UNSURE, SPEAKS))
    assert [step.speaking_prob for step in steps] == pytest.approx([0.1, 0.4, 0.8])
    assert [step.text for step in steps] == ["", "", "Take it."]
    assert [step.cache_tokens for step in steps] == [100] * 3
    assert stream.server_usage == ServerUsage(3, 0, 0, 300, 288, 1 + 1 + 3)
    assert steps[2].utterance.tokens == 3
    assert [body["model"] for body in asked] == ["m"] * 3


def test_endpoint_stream_threshold_above_answer_silences_it():
    steps, asked, _ = outputs(scripted(SPEAKS), threshold=0.9)
    assert [step.text for step in steps] == [""] * 3
    assert len(asked) == 3


def test_endpoint_stream_threshold_below_silence_asks_again():
    def answer(body, _):
        insists = "not with SILENT" in body["messages"][-1]["content"][-1].get("text", "")
        return 200, vllm_reply("Pour it.") if insists else vllm_reply(*UNSURE)

    steps, asked, _ = outputs(answer, frames=2, threshold=0.4)
    assert [step.text for step in steps] == ["Pour it.", "Pour it."]
    assert [step.speaking_prob for step in steps] == pytest.approx([0.4, 0.4])
    # the second request of a frame extends the first and is not kept
    assert asked[1]["messages"][:-1] == asked[0]["messages"][:-1]
    assert asked[1]["messages"][-1]["content"][:-1] == asked[0]["messages"][-1]["content"]
    assert "not with SILENT" not in json.dumps(asked[2]["messages"])
    assert "logprobs" not in asked[1]


def test_endpoint_stream_silence_after_second_request_stays_silence():
    steps, asked, _ = outputs(scripted(UNSURE), frames=1, threshold=0.3)
    assert steps[0].text == ""
    assert len(asked) == 2


def test_endpoint_stream_threshold_without_probabilities_raises():
    with pytest.raises(UserError, match="sends no log-probabilities of 'm'; remove --speaking-threshold"):
        outputs(lambda *_: "SILENT", threshold=0.5)
    mixed = [vllm_reply(*SURE), vllm_reply("SILENT")]
    with pytest.raises(DataError, match=r"frame 1 \(0.5 s\): .*with this reply"):
        outputs(lambda _, number: (200, mixed[number - 1]), threshold=0.5)


def test_endpoint_stream_missing_probability_leaves_them_out():
    with server(lambda _, n: (200, vllm_reply(*SURE) if n == 1 else vllm_reply("SILENT"))) as (url, _):
        episode = Episode("e", "v", 2, 0, 3, TASK, ()).validate()
        record, timing = replay_episode(stream_of(url), episode, pictures(3), Knobs(), "m")
    assert record.speaking_prob == ()
    assert record.cache_tokens == (100,) * 3
    assert record.problems() == []
    assert timing.server.requests == 3


@pytest.mark.parametrize("name", sorted(CHAT_ENCODINGS))
def test_endpoint_stream_requests_extend_each_other(name):
    _, asked, _ = outputs(
        scripted(SURE, SURE, SPEAKS), 12, frames_shown=6, frames_dropped=3, encoding=CHAT_ENCODINGS[name]
    )
    flat = [[(m["role"], json.dumps(p)) for m in body["messages"] for p in m["content"]] for body in asked]
    extends = [after[: len(before)] == before for before, after in pairwise(flat)]
    # 6 pictures, then 3 are removed with the seventh, tenth, ...
    assert extends == [True] * 5 + [False] + [True] * 2 + [False] + [True] * 2
    shown = [sum('"image_url"' in part for _, part in parts) for parts in flat]
    assert shown == [1, 2, 3, 4, 5, 6, 4, 5, 6, 4, 5, 6]


def test_endpoint_stream_poll_ignores_threshold():
    episode = Episode("e", "v", 2, 0, 4, TASK, (), polls=(Poll("a", 1.0, "What is seen?"),)).validate()
    with server(scripted(("A cup.", SPEAKS[1]))) as (url, asked):
        stream = stream_of(url, threshold=1.0)
        record, _ = replay_episode(stream, episode, pictures(4), Knobs(protocol=ReplayProtocol("polled")), "m")
    assert [answer.text for answer in record.answers] == ["A cup."]
    assert len(asked) == 1


@pytest.mark.parametrize("picture_type", ["jpeg", "png"])
def test_encode_openai_picture_keeps_picture(picture_type):
    picture = np.full((32, 48, 3), (200, 30, 90), np.uint8)
    url = encode_openai_picture(picture, picture_type)
    head, _, body = url.partition(",")
    assert head == f"data:image/{picture_type};base64"
    read = np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))
    assert np.abs(read.astype(int) - picture).max() <= (3 if picture_type == "jpeg" else 0)


@pytest.fixture
def run_three(short_world, tmp_path):
    """Replay three episodes of eight frames against a server.

    Returns:
        A function of (answer, port, options) that returns (error or None, bodies of the requests, port).
    """
    root = tmp_path / "set"
    shutil.copytree(short_world.root, root)
    first = next(iter(short_world.episodes("test")))
    starts = [first.start_frame + 8 * number for number in range(3)]
    cut = [replace(first.window(start, start + 8), id=f"part{start}") for start in starts]
    write_dataset(root, "three", "1", 2, {"test": cut})

    def run(answer, port=0, **options):
        error = None
        with server(answer, port) as (url, asked):
            predictor = PredictorOptions(endpoint=url, streams=1, **options)
            given = EvaluationOptions("endpoint:m", root, predictor=predictor, output=tmp_path / "run")
            try:
                replay_evaluation(prepare_evaluation(given))
            except UserError as raised:
                error = raised
        return error, [body for _, _, body in asked], int(url.split(":")[2].split("/")[0])

    return run


def records_of(folder):
    return [load_json(EpisodeRecord, p.read_bytes(), "x") for p in sorted((folder / "episodes").glob("*.json"))]


def deterministic(body, _=0):
    """Answer by the content of the chat, so that a second run gets the same answers."""
    parts = [part for message in body["messages"] for part in message["content"]]
    number = sum(part["type"] == "image_url" for part in parts)
    return 200, vllm_reply(*(SPEAKS if number % 3 == 0 else UNSURE))


def test_run_endpoint_continues_without_asking_twice(run_three, tmp_path, monkeypatch):
    monkeypatch.setattr("prospect_eval.models.chat_transport._FIRST_WAIT_S", 0.01)

    def breaks(body, number):
        return deterministic(body) if number <= 12 else (500, vllm_error("killed", code=500))

    error, asked, port = run_three(breaks)
    assert "killed" in str(error)
    answered = asked[:12]
    error, more, _ = run_three(deterministic, port)
    assert error is None
    said = [json.dumps(body["messages"]) for body in (*answered, *more)]
    assert len(said) == 24
    assert len(set(said)) == 24
    continued = records_of(tmp_path / "run")
    timings = json.loads((tmp_path / "run" / "timings.json").read_text())["episodes"]
    assert sum(one["server"]["reused"] for one in timings.values()) == 4
    assert sum(one["server"]["prompt_tokens"] for one in timings.values()) == 24 * 100
    # the same records as without the interruption
    (tmp_path / "run").rename(tmp_path / "continued")
    error, asked, _ = run_three(deterministic, port)
    assert (error, len(asked)) == (None, 24)
    assert records_of(tmp_path / "run") == continued
    assert all(record.speaking_prob for record in continued)


def test_run_endpoint_failed_start_keeps_replies_for_next_run(run_three, tmp_path):
    def breaks(body, number):
        return deterministic(body) if number <= 3 else (400, vllm_error("no such thing"))

    error, _, port = run_three(breaks)
    assert isinstance(error, DataError)
    assert not (tmp_path / "run" / "run.json").exists()
    error, asked, _ = run_three(deterministic, port)
    assert (error, len(asked)) == (None, 21)


def test_run_endpoint_killed_process_continues(run_three, tmp_path):
    """Replies are on disk as soon as they are there: a copy of the folder at any time continues."""
    copies = []

    def answer(body, number):
        if number == 21:
            shutil.copytree(tmp_path / "run", tmp_path / "killed")
            copies.append(number)
        return deterministic(body)

    _, _, port = run_three(answer)
    assert copies == [21]
    whole = records_of(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "killed").rename(tmp_path / "run")
    error, asked, _ = run_three(deterministic, port)
    assert (error, len(asked)) == (None, 4)
    assert records_of(tmp_path / "run") == whole


def test_run_endpoint_speaking_threshold_is_used_and_reported(run_three, tmp_path):
    error, _, _ = run_three(deterministic, speaking_threshold=0.9, frames_shown=5, chat_encoding="qwen_vl")
    assert error is None
    config = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert config["knobs"]["speaking_threshold"] == 0.9
    assert config["thresholds_from"] == "the command line"
    assert "qwen_vl chat, at most 5 frames shown, 2 dropped, 384 px jpeg" in config["model_digest"]
    assert all(record.utterances == () for record in records_of(tmp_path / "run"))


def test_run_endpoint_without_probabilities_notes_it(run_three, capsys):
    run_three(lambda *_: (200, vllm_reply("SILENT")))
    assert "sends no log-probabilities; the speaking probability is unknown" in one_line(capsys)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames_shown": 4, "frames_dropped": 5}, "--frames-dropped 5: more than the 4 frames shown"),
        ({"chat_encoding": "x"}, "--chat-encoding 'x' is unknown"),
        ({"budget": 500}, "manages no context"),
    ],
)
def test_run_endpoint_invalid_option_is_refused(run_three, options, message):
    error, asked, _ = run_three(deterministic, **options)
    assert message in str(error)
    assert asked == []


@pytest.mark.parametrize(
    "option",
    [("--picture-size", 64), ("--picture-type", "png"), ("--chat-encoding", "generic"), ("--frames-dropped", 2)],
)
def test_run_baseline_refuses_options_of_endpoints(short_world, capsys, option):
    assert evaluate("run", "--ckpt", "baseline:silent", "--data", short_world.root, *option) == 2
    assert f"{option[0]} works only with" in one_line(capsys)

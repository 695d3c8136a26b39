"""Models of other kinds: any chat model as a stream, a Hugging Face model, and an endpoint."""

from __future__ import annotations

import base64
import io
import json
import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.performance.plain import write_plain
from prospect_core.data.dataset import write_dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.records import EpisodeRecord, Knobs, Refusal
from prospect_core.stream.replay import replay_episode
from prospect_core.timeline import Task
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import load_json
from prospect_eval.models.any_stream import make_any_stream_predictor
from prospect_eval.models.chat import ChatAnswer, ChatStream, read_chat_answer
from prospect_eval.models.chat_history import NOT_SHOWN
from prospect_eval.models.huggingface import RereadingStream, load_huggingface_model
from tests.helpers.chat_server import server
from tests.helpers.commands import evaluate, one_line
from tests.helpers.streams import TASK, busy_episode, pictures

pytestmark = pytest.mark.integration


class Told(ChatStream):
    """Gives prescribed answers and stores its chats."""

    def __init__(self, answers, frames_shown=None):
        super().__init__(frames_shown)
        self.answers, self.asked = iter(answers), []

    def answer(self, messages):
        self.asked.append([(m["role"], [p.get("text", "picture") for p in m["content"]]) for m in messages])
        return ChatAnswer(next(self.answers))


@pytest.mark.parametrize(
    ("answer", "said", "changes"),
    [
        ("SILENT", "", []),
        (' "Silent." ', "", []),
        ("", "", []),
        ("Take the cup.", "Take the cup.", []),
        ("S1->start", "", [("S1", "start")]),
        ("S1->start; S2 -> complete\nWell done!", "Well done!", [("S1", "start"), ("S2", "complete")]),
        ("[DST] S1->reopen. SILENT", "", [("S1", "reopen")]),
        ("Be SILENT now", "Be SILENT now", []),
        ("SILENT. Nothing is due.", "", []),
        ("**SILENT** - the user works on.", "", []),
        ("SILENT mode is off.", "SILENT mode is off.", []),
        ("...", "", []),
        ("S1->started", "S1->started", []),
    ],
)
def test_read_chat_answer_splits_words_and_changes(answer, said, changes):
    assert read_chat_answer(answer) == (said, changes)


def test_chat_stream_applies_state_rules():
    answers = ["SILENT", "S1->start", "Go on.", "S2->complete Fine.", "S1->start S9->start", "SILENT"]
    model = Told(answers, frames_shown=2)
    model.reset(TASK, fps=2)
    outputs = [model.step(p, "Hello?" if n == 2 else None) for n, p in enumerate(pictures(6))]
    assert [o.text for o in outputs] == ["", "", "Go on.", "Fine.", "", ""]
    assert [(t.frame, t.step, t.change) for o in outputs for t in o.transitions] == [
        (1, "S1", "start"), (3, "S2", "start"), (3, "S2", "complete"),
    ]  # fmt: skip
    # S1 is already in progress, S9 is not a step
    assert [r for o in outputs for r in o.refusals] == [
        Refusal(4, "S1", "in_progress"),
        Refusal(4, "S9", "in_progress"),
    ]
    assert "put the red cube in the box (not started)" in model.asked[0][0][1][0]
    assert model.asked[0][1:] == [("user", ["\nFrame from 00:00:", "picture"])]
    for asked in model.asked:
        # user and assistant alternate, also after all pictures of a turn are removed
        assert [role for role, _ in asked] == ["system", *["user", "assistant"] * (len(asked) // 2)][: len(asked)]
    assert model.asked[4][1:] == [
        ("user", [NOT_SHOWN]),
        ("assistant", ["S1->start"]),
        ("user", ['The user says: "Hello?"']),
        ("assistant", ["Go on."]),
        ("user", ["\nFrame from 00:01:", "picture"]),
        ("assistant", ["S2->start S2->complete Fine."]),
        ("user", ["\nFrame from 00:02:", "picture"]),
    ]
    model = Told(["SILENT"])
    model.reset(Task("look"))
    assert model.step(pictures(1)[0]).frame == 0
    assert "none are given" in model.asked[0][0][1][0]


def test_chat_stream_unknown_values_stay_empty():
    model = Told(["SILENT"] * 11 + ["Stop."])
    record, _ = replay_episode(model, busy_episode(12), pictures(12), Knobs(), "x")
    assert record.problems() == []
    assert (record.speaking_prob, record.update_prob, record.state_probs, record.cache_tokens) == ((), (), (), ())
    assert [(u.frame, u.text) for u in record.utterances] == [(11, "Stop.")]
    # the user turn after frame 3 is read with frame 4
    shown = ["\nFrame from 00:00:", "picture", "\nFrame from 00:00:", "picture"]
    shown += ["\nFrame from 00:01:", "picture", "\nFrame from 00:01:", "picture"]
    assert model.asked[3][1][1] == shown
    assert model.asked[4][1][1] == [
        *shown, 'The user says: "what about number 3"', "\nFrame from 00:02:", "picture"
    ]  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory, world, tokenizer):
    """A random small image-text model in the layout for `from_pretrained`."""
    import copy

    from prospect_core.model.modeling import DSTSmolVLM
    from tests.helpers.small_models import small_config

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("plain") / "idefics"
    write_plain(DSTSmolVLM(small_config(tokenizer)), copy.deepcopy(tokenizer), folder)
    return folder


def test_rereading_stream_reads_whole_history(plain):
    model, processor = load_huggingface_model(str(plain), "cpu")
    stream = RereadingStream(model, processor, threshold=1.01)
    stream.reset(TASK)
    silent = [stream.step(p, "What now?" if n == 2 else None) for n, p in enumerate(pictures(4))]
    assert [o.text for o in silent] == [""] * 4
    tokens = [o.cache_tokens for o in silent]
    # 16 patches pooled to 4 tokens, two marks around them and one before, and the words of the time
    assert tokens[1] - tokens[0] == tokens[3] - tokens[2] > 7
    assert tokens[2] - tokens[1] > tokens[1] - tokens[0]
    assert all(0 < o.speaking_prob <= 1 for o in silent)
    # the probability of the words under the model, over the whole chat
    inputs, silence = stream._inputs(stream.messages())
    assert inputs["pixel_values"].shape[1] == 4
    read = processor.tokenizer.decode(inputs["input_ids"][0])
    assert [read.count(f"Frame from 00:0{second}:") for second in range(3)] == [2, 2, 0]
    assert read.count("<image>") == 4 * 4
    assert processor.tokenizer.decode(silence) == " SILENT"
    probability, ids = 1.0, inputs["input_ids"]
    with torch.no_grad():
        for token in silence:
            given = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
            probability *= float(model(**given).logits[0, -1].softmax(-1)[token])
            ids = torch.cat([ids, torch.tensor([[token]])], 1)
    # for a random model it is close to 0
    assert stream._probability(*stream._inputs(stream.messages())) == pytest.approx(probability, rel=1e-3)
    assert silent[3].speaking_prob == pytest.approx(1 - probability, abs=1e-6)
    talking = RereadingStream(model, processor, threshold=0.0)
    talking.reset(TASK)
    first = talking.step(pictures(1)[0])
    # a random model can write only marks, which are not words
    assert first.utterance is None or first.utterance.tokens <= 128
    inputs, silence = talking._inputs(talking.messages()[:2])
    expected = model.generate(
        **inputs, max_new_tokens=128, do_sample=False, bad_words_ids=[silence], eos_token_id=talking.ends
    )
    words = processor.tokenizer.decode(expected[0, first.cache_tokens :], skip_special_tokens=True)
    assert first.text == read_chat_answer(words.strip())[0]


def test_run_command_huggingface_model_by_name(plain, short_world, tmp_path, capsys, monkeypatch):
    shutil.copytree(short_world.root, tmp_path / "set")
    episode = next(short_world.episodes("test"))
    start = episode.start_frame
    write_dataset(tmp_path / "set", "few", "1", 2, {"test": [episode.window(start, start + 16)]})
    given = ("run", "--ckpt", f"hf:{plain}", "--data", tmp_path / "set", "--speaking-threshold", 1)
    # a random model talks on every frame, and every frame needs a forward over all earlier ones
    monkeypatch.setattr("prospect_eval.models.huggingface.REPLY_TOKENS", 2)
    assert evaluate(*given, "--output", tmp_path / "run") == 0
    (path,) = (tmp_path / "run" / "episodes").iterdir()
    record = load_json(EpisodeRecord, path.read_bytes(), "x")
    assert record.knobs == Knobs(speaking_threshold=1.0)
    assert len(record.speaking_prob) == record.episode.num_frames
    assert record.update_prob == ()
    capsys.readouterr()
    assert evaluate(*given, "--output", tmp_path / "b", "--strategy", "drop_all", "--budget", 900) == 2
    assert "so --strategy, --budget would have no effect" in one_line(capsys)
    assert evaluate("run", "--ckpt", f"hf:{tmp_path}", "--data", short_world.root, "--output", tmp_path / "c") == 3
    assert "cannot be loaded" in one_line(capsys)
    assert evaluate("run", "--ckpt", "hf:x", "--endpoint", "http://127.0.0.1:1", "--data", short_world.root) == 2
    assert "--endpoint needs endpoint:MODEL" in one_line(capsys)


@pytest.mark.slow
def test_run_command_endpoint_limits_concurrent_requests(short_world, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    under_way, most, lock = [], [], threading.Lock()

    def answer(body, number):
        with lock:
            under_way.append(number)
            most.append(len(under_way))
        time.sleep(0.005)
        with lock:
            under_way.remove(number)
        if number == 5:
            return 503, '{"error": {"message": "busy"}}'
        return "S1->start Well begun." if number % 40 == 7 else "SILENT"

    out = tmp_path / "run"
    with server(answer) as (url, asked):
        given = ("run", "--ckpt", "endpoint:tiny", "--data", short_world.root, "--limit", 3, "--output", out)
        assert evaluate(*given, "--endpoint", url, "--streams", 2) == 0
        assert max(most) == 2
        frames = [json.loads(p.read_text())["episode"] for p in (out / "episodes").iterdir()]
        needed = sum(e["end_frame"] - e["start_frame"] for e in frames)
        used = [one["server"] for one in json.loads((out / "timings.json").read_text())["episodes"].values()]
        # one request per frame, except for frames whose chat another episode had, and one more for the busy server
        assert sum(one["requests"] + one["reused"] for one in used) == needed
        assert sum(one["reused"] for one in used) < 10
        assert len(asked) == sum(one["requests"] + one["retries"] for one in used)
        assert sum(one["retries"] for one in used) == 1
        assert {body["model"] for _, _, body in asked} == {"tiny"}
        shown = []
        for _, _, body in asked:
            parts = [part for message in body["messages"] for part in message["content"]]
            shown.append([part["image_url"]["url"] for part in parts if part["type"] == "image_url"])
        images = max(shown, key=len)
        assert len(images) == 32
        picture = Image.open(io.BytesIO(base64.b64decode(images[-1].removeprefix("data:image/jpeg;base64,"))))
        assert picture.size == (384, 384)
    records = [load_json(EpisodeRecord, p.read_bytes(), "x") for p in sorted((out / "episodes").iterdir())]
    assert any(r.transitions for r in records)
    assert any(u.text == "Well begun." for r in records for u in r.utterances)
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert metrics["speaking_ap"]["status"] == "undefined"
    capsys.readouterr()
    assert evaluate("run", "--ckpt", "endpoint:tiny", "--data", short_world.root, "--output", tmp_path / "b") == 2
    assert "--endpoint needs endpoint:MODEL" in one_line(capsys)


@pytest.mark.slow
def test_run_command_endpoint_error_fails_one_episode(short_world, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    broken = []

    def answer(body, number):
        if len(broken) < 1 and number > 20:
            broken.append(number)
            return 200, "no json at all"
        return "SILENT"

    out = tmp_path / "run"
    with server(answer) as (url, _):
        given = (
            "run",
            "--ckpt",
            "endpoint:tiny",
            "--endpoint",
            url,
            "--data",
            short_world.root,
            "--limit",
            2,
            "--output",
            out,
        )
        assert evaluate(*given, "--streams", 1) == 3
        assert "no usable answer" in one_line(capsys)
        broken.clear()
        assert evaluate(*given, "--on-error", "skip") == 0
    records = [load_json(EpisodeRecord, p.read_bytes(), "x") for p in sorted((out / "episodes").iterdir())]
    assert sorted(r.status for r in records) == ["failed", "ok"]


def test_any_stream_predictor_replays_model(world):
    episodes = [replace(e, end_frame=e.start_frame + 5, events=()) for e in world.episodes("test")][:3]

    class Odd:
        """Fails on the second stream."""

        streams = 0

        def reset(self, task, state=None, fps=2, start_frame=0):
            Odd.streams += 1
            self.told = Told(["SILENT"] * 9)
            self.told.reset(task, state, fps, start_frame)
            if Odd.streams == 2:
                raise DataError("went away")

        def step(self, frame, user_text=None):
            assert frame.shape == (48, 48, 3)
            return self.told.step(frame, user_text)

    found = list(make_any_stream_predictor("odd", "1", Odd, world, FrameFormat(48), Knobs()).predict(episodes))
    assert [episode.id for episode, _ in found] == [e.id for e in episodes]
    assert [isinstance(result, DataError) for _, result in found] == [False, True, False]
    with pytest.raises(UserError, match="give the address"):
        evaluate_endpoint("ftp://x")


def evaluate_endpoint(url):
    from prospect_eval.models.chat_client import Endpoint

    return Endpoint(url, "m")


def test_rereading_stream_keeps_pictures(plain):
    """Pictures are neither scaled twice nor swapped: black and white give different inputs."""
    model, processor = load_huggingface_model(str(plain), "cpu")
    stream = RereadingStream(model, processor, threshold=1.01)
    probs = []
    for shade in (0, 255):
        stream.reset(TASK)
        stream.step(np.full((32, 32, 3), shade, dtype=np.uint8))
        inputs, silence = stream._inputs(stream.messages())
        probs.append(stream._probability(inputs, silence))
        pixels = inputs["pixel_values"]
        assert pixels.shape[-2:] == (32, 32)
        assert float(pixels.min()) == float(pixels.max())
    assert probs[0] != probs[1]


def test_load_huggingface_model_unreachable_hub_is_one_line(monkeypatch, tmp_path):
    def unreachable(*args):
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.create_connection", unreachable)
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    begin = time.monotonic()
    with pytest.raises(
        DataError, match=r"cannot be reached \(Network is unreachable\); give a folder, or download the model first"
    ):
        load_huggingface_model("nobody/nothing", "cpu")
    assert time.monotonic() - begin < 5
    with pytest.raises(UserError, match="neither a folder nor a name on the hub"):
        load_huggingface_model("a/b/c", "cpu")

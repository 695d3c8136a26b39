"""Thresholds of served models: calibrate, and sweeps that replay and that read a run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from prospect_core.data.dataset import write_dataset
from prospect_core.timeline import Event
from tests.helpers.chat_server import server, vllm_reply
from tests.helpers.commands import evaluate, one_line

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def own_network(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def twelve_frames(short_world, tmp_path):
    """Two episodes of twelve frames, in which a turn is due on the fourth and on the tenth frame."""
    root = tmp_path / "set"
    shutil.copytree(short_world.root, root)
    first = next(iter(short_world.episodes("test")))
    cut = []
    for number in range(2):
        start = 12 * number
        due = tuple(Event(f"a{k}", (start + k) / 2, "assistant", "Take it.") for k in (3, 9))
        episode = replace(first.window(0, 12), id=f"part{number}", start_frame=start, end_frame=start + 12, events=due)
        cut.append(episode.validate())
    write_dataset(root, "two", "1", 2, {"val": cut})
    return root


def answer(body, _=0):
    """Speak with the probability 0.4 on the fourth and the tenth frame, and 0.1 on the others.

    The most likely answer is silence. The pictures in the chat count its frames.
    """
    parts = [part for message in body["messages"] for part in message["content"]]
    frame = sum(part["type"] == "image_url" for part in parts) - 1
    if "not with SILENT" in parts[-1].get("text", ""):
        return 200, vllm_reply("Take it.")
    silent = 0.6 if frame in (3, 9) else 0.9
    return 200, vllm_reply("SILENT", (("SILENT", silent, {"Take": 0.05}),))


def test_calibrate_endpoint_prints_threshold_and_asks_once(twelve_frames, capsys):
    with server(answer) as (url, asked):
        given = ("calibrate", "--ckpt", "endpoint:m", "--endpoint", url, "--data", twelve_frames, "--streams", 2)
        assert evaluate(*given) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    # every threshold above 0.1 and up to 0.4 finds exactly the due frames; the middle one is chosen
    assert lines[0] == "speaking threshold, round 1: 0.26 (F1 1.000)"
    assert lines[-1] == "endpoint:m: run it with --speaking-threshold 0.26"
    said = [json.dumps(body["messages"]) for _, _, body in asked]
    assert len(said) == len(set(said))
    # after the first round: the second request for words, and the frames after the first utterance
    assert len(said) < 2 * 24 + 8


def test_calibrate_endpoint_without_probabilities_is_refused(twelve_frames, capsys):
    with server(lambda *_: "SILENT") as (url, _):
        assert evaluate("calibrate", "--ckpt", "endpoint:m", "--endpoint", url, "--data", twelve_frames) == 3
    assert "no speaking probability; a threshold has no effect" in capsys.readouterr().err


def test_calibrate_endpoint_refuses_test_data(short_world, capsys):
    given = ("calibrate", "--ckpt", "endpoint:m", "--endpoint", "http://127.0.0.1:9/v1", "--data", short_world.root)
    assert evaluate(*given, "--split", "test") == 2
    assert "choose thresholds on validation data" in one_line(capsys)


@pytest.mark.slow
def test_sweep_endpoint_closed_and_open_loop_agree(twelve_frames, tmp_path, capsys):
    with server(answer) as (url, asked):
        given = (
            "sweep",
            "--ckpt",
            "endpoint:m",
            "--endpoint",
            url,
            "--data",
            twelve_frames,
            "--speaking",
            "0.05,0.3,0.5",
        )
        assert evaluate(*given, "--closed-loop", "--strategies", "none", "--output", tmp_path / "sweep") == 0
    said = [json.dumps(body["messages"]) for _, _, body in asked]
    assert len(said) == len(set(said))
    folder = tmp_path / "sweep" / "endpoint-m" / "none"
    closed = {}
    for threshold in (0.05, 0.3, 0.5):
        scores = json.loads((folder / f"speaking-{threshold:.2f}" / "metrics.json").read_text())["metrics"]
        closed[threshold] = scores["speaking_event_f1@1s"]["value"]
    assert (closed[0.3], closed[0.5]) == (1.0, 0.0)
    assert 0 < closed[0.05] < 1
    assert evaluate("sweep", folder, "--speaking", "0.05,0.3,0.5") == 0
    stored = json.loads((folder / "thresholds.json").read_text())
    assert {point["threshold"]: point["f1"] for point in stored["curves"]["speaking"]} == pytest.approx(closed)

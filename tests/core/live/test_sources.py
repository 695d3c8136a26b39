"""Live sessions: real time without lag, and all turns on disk at any end."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from rich.console import Console

from prospect_core.cli.commands import prospect
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.video import VideoFile
from prospect_core.live.screen import Screen
from prospect_core.live.session import Typed, read_live_session_task
from prospect_core.live.sources import Ending, WatchLog, read_live_source_frames, watch_live_source
from prospect_core.records import Knobs, PredictedUtterance
from prospect_core.stream.step_output import StepOutput
from prospect_core.timeline import DialogState, Step, Task
from prospect_core.util.errors import DataError, UserError
from tests.helpers.commands import call, one_line
from tests.helpers.media import write_grey
from tests.helpers.streams import TASK, Scripted, pictures

pytestmark = pytest.mark.integration

LEVELS = [10 * k % 250 for k in range(60)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Six seconds at 10 pictures per second."""
    times = [Fraction(k, 10) for k in range(60)]
    return write_grey(tmp_path_factory.mktemp("clip") / "clip.mp4", times, LEVELS)


def talker(model, tokenizer, cls=Scripted):
    return cls(model, tokenizer, Knobs(), {5: ("in_progress", "not_started")}, speaks={3, 8})


@pytest.mark.slow
def test_watch_source_file_equals_replay(model, tokenizer, clip):
    """Same frames and same words, in the time of the file. A step has a third of a second."""
    runner, told = talker(model, tokenizer), []
    users = iter([None, "What now?"])
    begin = time.monotonic()
    frames = read_live_source_frames(str(clip), 2, FrameFormat(32), 1.5, 5)
    ending = watch_live_source(
        runner, TASK, frames, 2, 5, lambda: next(users, None), lambda o, dropped: told.append((o, dropped))
    )
    # the last of the 12 frames is due at 5.5 s, played at 1.5 times the speed
    assert 5.5 / 1.5 <= time.monotonic() - begin < 5.5 / 1.5 + 2
    assert ending == Ending("ended", True, 12, 0)
    other = talker(model, tokenizer)
    other.reset(TASK, fps=2)
    replayed = [
        other.step(frame, {1: "What now?"}.get(k))
        for k, frame in enumerate(VideoFile(clip, 2, FrameFormat(32)).frames(0, 12))
    ]
    for (live, dropped), step in zip(told, replayed, strict=True):
        assert dropped == 0
        assert (live.frame, live.utterance, live.transitions) == (step.frame, step.utterance, step.transitions)
        assert live.speaking_prob == step.speaking_prob
    assert [o.frame for o, _ in told if o.text] == [3, 8]


@pytest.mark.slow
def test_watch_source_slow_model_drops_frames(model, tokenizer, clip):
    class Slow(Scripted):
        def step(self, frame, user_text=None):
            time.sleep(0.35)
            return super().step(frame, user_text)

    runner, told = Slow(model, tokenizer, Knobs()), []
    begin = time.monotonic()
    late = []

    def tell(output, dropped):
        told.append((output.frame, dropped))
        # lag: time at which the step ended minus time at which the frame was due
        late.append(time.monotonic() - begin - output.frame / 10)

    ending = watch_live_source(
        runner, TASK, read_live_source_frames(str(clip), 10, FrameFormat(32), 1.0, 5), 10, 5, tell=tell
    )
    numbers = [number for number, _ in told]
    assert numbers == sorted(set(numbers))
    assert ending.frames == len(told)
    assert ending.frames + ending.dropped == numbers[-1] + 1
    assert ending.dropped > 30
    assert all(number - before - 1 == dropped for before, (number, dropped) in zip([-1, *numbers], told, strict=False))
    # a step takes .35 s and the newest frame is at most 0.1 s old, so the lag does not grow
    assert max(late) < 1.5


def blocked(count, then=None):
    yield from enumerate(pictures(count))
    if then:
        raise then
    time.sleep(60)


def test_watch_source_stall_or_error_ends_stream(model, tokenizer):
    begin = time.monotonic()
    ending = watch_live_source(talker(model, tokenizer), TASK, paced(blocked(5)), 2, 0.5)
    assert ending == Ending("stalled: no frame for 0.5 s", False, 5, 0)
    assert time.monotonic() - begin < 5
    ending = watch_live_source(talker(model, tokenizer), TASK, paced(blocked(4, DataError("cam: unplugged"))), 2, 5)
    assert ending == Ending("stream failed: cam: unplugged", False, 4, 0)
    assert watch_live_source(talker(model, tokenizer), TASK, iter(()), 2, 5) == Ending("ended", True, 0, 0)


def paced(frames):
    for item in frames:
        yield item
        time.sleep(0.1)


@contextmanager
def dripping(body, whole):
    """A server that sends all or half of a video and then keeps the connection open."""
    gone = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                for start in range(0, len(body) if whole else len(body) // 2, 4096):
                    self.wfile.write(body[start : start + 4096])
                    time.sleep(0.02)
                if not whole:
                    gone.wait(30)
            except OSError:
                pass

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/live.ts"
    finally:
        gone.set()
        httpd.shutdown()
        httpd.server_close()


@pytest.mark.parametrize("whole", [True, False])
def test_watch_source_network_stream_can_stall(model, tokenizer, tmp_path, whole):
    ts = write_grey(tmp_path / "live.ts", [Fraction(k, 10) for k in range(100)], [k * 2 for k in range(100)])
    told = []
    with dripping(ts.read_bytes(), whole) as address:
        ending = watch_live_source(
            talker(model, tokenizer),
            TASK,
            read_live_source_frames(address, 20, FrameFormat(32), 1, 2),
            20,
            1.0,
            tell=lambda o, _: told.append(o),
        )
    assert told
    assert ending.whole == whole
    assert ending.reason == "ended" if whole else "stalled" in ending.reason or "stream failed" in ending.reason
    with pytest.raises(DataError, match=r"127\.0\.0\.1"):
        next(read_live_source_frames("http://127.0.0.1:9/none.ts", 2, FrameFormat(32), 1, 1))


def test_watch_source_too_large_picture_ends_stream(model, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("prospect_core.data.frame_format.MAX_SIDE", 40)
    ts = write_grey(tmp_path / "live.ts", [Fraction(k, 10) for k in range(100)], [k * 2 for k in range(100)])
    with dripping(ts.read_bytes(), True) as address:
        ending = watch_live_source(
            talker(model, tokenizer), TASK, read_live_source_frames(address, 20, FrameFormat(32), 1, 2), 20, 2.0
        )
    assert ending.reason.endswith("64 x 48 pictures; at most 40 a side")


def test_watch_log_is_flushed_and_never_overwritten(tmp_path):
    path = tmp_path / "log.jsonl"
    log = WatchLog(path)
    silent = StepOutput(4, 0.1, 0.1, None)
    log.step(silent, 0, 2, None)
    assert path.read_text() == ""
    log.step(silent, 3, 2, "héllo \u2028?")
    # the file is readable before it is closed
    assert json.loads(path.read_text()) == {"frame": 4, "seconds": 2.0, "dropped": 3, "user": "héllo \u2028?"}
    with pytest.raises(UserError, match="already exists"):
        WatchLog(path)
    log.close()


def events(path):
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def test_watch_command_file_with_user_input(checkpoint, clip, tmp_path, capsys, monkeypatch):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"speaking_threshold": 0.0, "max_context": 2048}))
    monkeypatch.setattr(sys, "stdin", io.StringIO("what  now?\n\n"))
    out = tmp_path / "log.jsonl"
    given = ("watch", clip, "--ckpt", checkpoint, "--goal", "tidy up", "--step", "put it away", "--speed", 4)
    assert call(prospect, *given, "--output", out) == 0
    printed, notes = capsys.readouterr()
    assert re.search(r"^00:0\d user: what now\?$", printed, re.M)
    assert "ended; " in printed
    assert f"ready: {checkpoint} on {clip}, log {out}; " in notes
    assert re.search(rf"^step states: S1 (not started|in progress|completed); log {re.escape(str(out))}$", notes, re.M)
    lines = events(out)
    assert lines[0]["goal"] == "tidy up"
    assert lines[0]["budget"] == 2048
    assert [line["user"] for line in lines if "user" in line] == ["what now?"]
    assert any("assistant" in line for line in lines)
    assert lines[-1]["ended"] == "ended"
    assert lines[-1]["frames"] + lines[-1]["dropped"] == 12
    assert call(prospect, *given, "--output", out) == 2
    assert "already exists" in one_line(capsys)
    broken = tmp_path / "broken.mp4"
    whole = clip.read_bytes()
    broken.write_bytes(whole[: len(whole) * 2 // 3])
    assert call(prospect, "watch", broken, *given[2:], "--output", tmp_path / "x") == 3
    capsys.readouterr()
    for args, message in (
        (["none.mp4", *given[2:]], "no such file"),
        ([clip, "--ckpt", checkpoint], "give either --task FILE or --goal TEXT"),
        ([clip, "--ckpt", checkpoint, "--goal", "tidy up"], "--goal needs at least one --step TEXT"),
        ([clip, *given[2:], "--budget", 5], "too small for the task"),
        ([clip, *given[2:], "--strategy", "none", "--budget", 5000], "is unlimited"),
    ):
        assert call(prospect, "watch", *args) in (2, 3)
        assert message in one_line(capsys)


def test_watch_log_interrupted_step_is_counted(tmp_path, monkeypatch):
    log = WatchLog(tmp_path / "log.jsonl")

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    output = StepOutput(3, 0.9, 0.1, None, utterance=PredictedUtterance(3, "Take it.", 4))
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            log.step(output, 2, 2.0, None)
    log.close()
    assert [line["assistant"] for line in events(tmp_path / "log.jsonl")] == ["Take it."]
    assert (log.frames, log.dropped) == (1, 2)


@pytest.mark.slow
def test_watch_command_killed_keeps_log(checkpoint, clip, tmp_path):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"speaking_threshold": 0.0, "max_context": 2048}))
    given = [
        sys.executable,
        "-m",
        "prospect_core.cli",
        "watch",
        clip,
        "--ckpt",
        checkpoint,
        "--goal",
        "x",
        "--step",
        "y",
        "--speed",
        "0.3",
    ]
    for sign, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        out = tmp_path / f"{sign.name}.jsonl"
        process = subprocess.Popen([*given, "--output", out], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   # a background test run ignores SIGINT, and child processes
                                   # inherit that
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                                   stderr=subprocess.PIPE, text=True)  # fmt: skip
        until = time.monotonic() + 60
        while time.monotonic() < until and not (out.exists() and "assistant" in out.read_text()):
            time.sleep(0.1)
        process.send_signal(sign)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == code, errors
        assert "Traceback" not in errors
        lines = events(out)
        assert any("assistant" in line for line in lines)
        assert ("ended" in lines[-1]) == (sign is signal.SIGINT)
        if sign is signal.SIGINT:
            assert lines[-1]["ended"] == "interrupted"
            assert lines[-1]["frames"] > 0


def test_screen_shows_session_without_markup():
    console = Console(record=True, width=110, file=io.StringIO(), force_terminal=True, color_system=None)
    screen = Screen(TASK, "clip.mp4 - tidy up", 2, 1000, console)
    state = DialogState.initial(TASK).apply("S1", "start", 1.0)
    said = PredictedUtterance(130, "[red]Take[/red] the cube.", 4)
    output = StepOutput(130, 0.93, 0.1, None, utterance=said, cache_tokens=640, cache_bytes=3_200_000, seconds=0.012)
    screen.step(replace(output, frame=100, utterance=None), 2, state, "where\nis it?")
    screen.step(output, 0, state, None)
    console.print(screen.page())
    shown = console.export_text()
    for part in ("01:05 assistant [red]Take[/red] the cube.", "00:50 user", "▶ S1 put the red cube", "· S2 put the blue",
                 "640 of 1,000 tokens, 3.2 MB", "speaking 0.93", "12 ms per frame", "2 frames dropped"):  # fmt: skip
        assert part in " ".join(shown.split("\n")).replace("  ", " ") or part in shown, part
    quiet = Console(file=io.StringIO(), force_terminal=False)
    lines = Screen(TASK, "x", 2, None, quiet)
    with lines:
        lines.step(output, 1, state, None)
    assert quiet.file.getvalue().splitlines() == [
        "01:05 dropped: 1 frame, because the model is slower than the stream",
        "01:05 assistant: [red]Take[/red] the cube.",
    ]


def test_live_session_task_and_typed_lines(tmp_path):
    file = tmp_path / "task.json"
    file.write_text(json.dumps({"goal": "tea", "steps": [{"id": "S1", "name": "boil"}], "knowledge": "hot"}))
    assert read_live_session_task(file, None, ()) == Task("tea", (Step("S1", "boil"),), "hot")
    assert read_live_session_task(None, "tea", ("boil", "pour")) == Task(
        "tea", (Step("S1", "boil"), Step("S2", "pour"))
    )
    for given in (
        (None, None, ()),
        (file, "tea", ()),
        (file, None, ("boil",)),
        (tmp_path / "no.json", None, ()),
        (None, "tea", ()),
    ):
        with pytest.raises(UserError):
            read_live_session_task(*given)
    file.write_text('{"goal": 3}')
    with pytest.raises(DataError, match=r"task\.json"):
        read_live_session_task(file, None, ())
    typed = Typed(io.StringIO("one\n\n two  three \n"))
    time.sleep(0.2)
    assert typed() == "one two three"


def test_typed_closed_input_is_silent(monkeypatch):
    """The standard input of a background command is absent, or reading it is an error."""
    failures = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    unreadable = io.StringIO("one")
    unreadable.close()
    for given in (None, unreadable):
        typed = Typed(given)
        time.sleep(0.1)
        assert typed() is None
    assert not failures
    assert typed() is None
    with pytest.raises((UserError, DataError), match=r"camera|/dev/video"):
        next(read_live_source_frames("camera:77", 2, FrameFormat(32), 1, 1))


@pytest.mark.parametrize(
    ("given", "heard"),
    [(b"caf\xe9?\n", "caf\ufffd?"), (b"\xff\xfe\n\nwhat\n", "\ufffd\ufffd what"), (b"na\xc3\xafve", "naïve")],
)
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_typed_invalid_bytes_are_replaced(given, heard, errors):
    typed = Typed(io.TextIOWrapper(io.BytesIO(given), "utf-8", errors=errors))
    found, until = [], time.monotonic() + 10
    while " ".join(found) != heard and time.monotonic() < until:
        found += [said] if (said := typed()) else []
        time.sleep(0.01)
    assert " ".join(found) == heard


def test_live_session_task_invalid_bytes_are_replaced():
    assert read_live_session_task(None, "caf\udce9", ("tee \udcff",)).goal == "caf\ufffd"

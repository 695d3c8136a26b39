"""Hostile input: refused in one line, or shown as text."""

from __future__ import annotations

import base64
import io
import json
import pickle
import shutil
import struct
import zlib
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.data.frame_format import MAX_SIDE, FrameFormat
from prospect_core.data.video import MAX_HOURS, FramesFile, VideoFile
from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.sequence.tokenizer import digest_tokenizer
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.timeline import Episode, Event
from prospect_core.train.config.compose import compose_config
from prospect_core.util.console import escape_for_console, make_console, print_line
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import MOST_BYTES, load_json, parse_json, read_json
from prospect_eval.suites.gate_rules import read_gate_rules
from prospect_eval.suites.suite import open_suite
from prospect_eval.suites.yaml_files import read_yaml
from tests.helpers.commands import evaluate, one_line
from tests.helpers.media import write_grey

STEERING = "\x1b[2J\x1b]0;owned\x07 \x9b31m \u202egnp.exe \ud800 [red]x[/red]"
SHOWN = r"\x1b[2J\x1b]0;owned\x07 \x9b31m \u202egnp.exe \ud800 [red]x[/red]"


def test_print_line_escapes_control_characters(capsys):
    assert escape_for_console(STEERING) == SHOWN
    assert escape_for_console("tab\tline\näöü 👩‍🍳") == "tab\tline\näöü 👩‍🍳"
    print_line(STEERING)
    print_line(STEERING, err=True)
    assert [text.strip() for text in capsys.readouterr()] == [SHOWN, SHOWN]


def test_console_tables_escape_control_characters():
    from rich.table import Table
    from rich.text import Text

    out = io.StringIO()
    console = make_console(file=out, force_terminal=True, width=200, color_system="standard")
    table = Table(title=STEERING)
    table.add_column(STEERING)
    table.add_row(STEERING)
    console.print(table)
    console.print(Text(STEERING, "red"))
    told = out.getvalue()
    assert told.count(r"\x1b[2J\x1b]0;owned") == 4
    assert "[red]x[/red]" in told
    assert not {"\x9b", "\x07", "\u202e", "\ud800"} & set(told)
    assert "\x1b[2J" not in told
    # the program's own colors stay
    assert "\x1b[31m" in told


def test_commands_show_hostile_names_as_text(short_world, tmp_path, capsys):
    assert evaluate("run", "--ckpt", "\x1b[31mno", "--data", short_world.root) == 2
    line = one_line(capsys)
    assert r"'\x1b[31mno'" in line
    assert "\x1b" not in line
    episodes = [replace(e, id=f"\x1b[2J{e.id}") for e in short_world.episodes("test")]
    bad = replace(episodes[0], events=(Event("\x1b[31mevent", 1e9, "assistant", "x"),))
    rows = tmp_path / "rows"
    (rows / "videos").mkdir(parents=True)
    write_dataset(rows, "n", "1", 2, {"test": episodes[:1]})
    (rows / "test.jsonl").write_text(json.dumps(_plain(bad)) + "\n")
    assert evaluate("run", "--ckpt", "baseline:oracle", "--data", rows) == 3
    assert "\x1b" not in one_line(capsys)


def _plain(episode):
    from prospect_core.util.json_io import dump_json

    return json.loads(dump_json(episode))


@pytest.mark.parametrize(
    "path", ["../outside.mp4", "/etc/passwd", "link.mp4", "sub/../../outside.mp4", "~/x.mp4", "a\x00b"]
)
def test_dataset_row_path_outside_raises(short_world, tmp_path, path):
    (tmp_path / "outside.mp4").write_bytes(b"x")
    root = tmp_path / "set"
    root.mkdir()
    (root / "link.mp4").symlink_to(tmp_path / "outside.mp4")
    episode = replace(next(iter(short_world.episodes("test"))), video=path)
    data = Dataset(root, short_world.info)
    with pytest.raises(DataError) as error:
        data.frame_source(episode, FrameFormat(32))
    assert "leaves the dataset folder" in str(error.value) or path.startswith(("~", "a"))


@pytest.mark.parametrize("name", ["v" * 5000, "/".join(["v" * 200] * 40), "v" * 256])
def test_dataset_invalid_file_name_is_one_line(short_world, tmp_path, name):
    """The system's own error was shown before."""
    data = Dataset(tmp_path, short_world.info)
    with pytest.raises(DataError, match=r": 'v.* is not a valid path \(.*File name too long"):
        data.inside(name)


def test_dataset_split_or_video_path_outside_raises(tmp_path):
    (tmp_path / "secret.jsonl").write_text("{}\n")
    root = tmp_path / "set"
    root.mkdir()
    info = {"schema": 1, "name": "n", "version": "1", "fps": 2, "videos": {"../secret.jsonl": "0" * 64},
            "splits": {"test": {"file": "../secret.jsonl", "episodes": 1, "sha256": ""}}}  # fmt: skip
    (root / "dataset.json").write_text(json.dumps(info))
    with pytest.raises(DataError, match="leaves the dataset folder"):
        list(Dataset.open(root).episodes("test"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metrics: !!python/object/apply:os.system ['touch owned']", "not YAML"),
        ("a: &a [x, x]\nb: [*a, *a]", "aliases .* are not supported"),
        ("a: &a [*a]", "aliases"),
        ("[" * 1500, "nested too deeply"),
        ("x" * (1 << 21), "at most 1,048,576 are read"),
    ],
)
def test_yaml_only_plain_values_are_read(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "s.yaml"
    file.write_text(text)
    for read in (
        lambda: read_gate_rules(text, "rules"),
        lambda: open_suite(str(file)),
        lambda: read_yaml(text, "here"),
    ):
        with pytest.raises(UserError, match=message) as error:
            read()
        assert "\n" not in str(error.value)
    assert not (tmp_path / "owned").exists()


def test_compose_config_builds_no_objects(tmp_path, monkeypatch):
    """`_target_` in a value is Hydra's way to call any function."""
    monkeypatch.chdir(tmp_path)
    for override in ("+data._target_=os.system", "data._target_=os.system", "+_target_=os.mkdir"):
        with pytest.raises(UserError):
            compose_config([override])
    call_it = "{_target_:os.system,command:'touch owned'}"
    assert compose_config([f"data.path={call_it}"])[0].data.path == call_it
    assert list(tmp_path.iterdir()) == []


def test_json_too_deep_or_large_raises(tmp_path, monkeypatch):
    for text in ("[" * 100_000, '{"a":' * 100_000):
        with pytest.raises(DataError, match=r"here: not JSON that can be read .nested too deeply"):
            parse_json(text, "here")
    # a JSON number of infinite value led to a traceback when the row was written
    for text in ("NaN", '{"a": Infinity}', "-Infinity", "[1e999]", '{"a": -1.0e400}', "9" * 5000, '{"a"', b"\xff"):
        with pytest.raises(DataError, match="here: not JSON"):
            parse_json(text, "here")
    with pytest.raises(DataError, match="here: "):
        load_json(Episode, '{"id": "\\ud800"}', "here")
    file = tmp_path / "large.json"
    with file.open("wb") as out:
        out.truncate(MOST_BYTES + 1)
    with pytest.raises(DataError, match=r"large\.json: has 4,294,967,297 bytes; the limit is"):
        read_json(file)


def frames_file(path, *texts):
    schema = pa.schema([("frame", pa.string())])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch([list(texts)], schema=schema))
    return path


def encoded(size, kind):
    buffer = io.BytesIO()
    Image.new("1", size).save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(
    ("size", "kind", "message"),
    [
        ((MAX_SIDE + 1, 8), "PNG", "16385 x 8 pictures; at most 16384 a side"),
        ((8, 8), "TIFF", "row 0 is not a base64 JPEG"),
    ],
)
def test_frames_file_decompression_bomb_raises(tmp_path, size, kind, message):
    with pytest.raises(DataError, match=message):
        list(FramesFile(frames_file(tmp_path / "f.arrow", encoded(size, kind)), FrameFormat(16)).frames(0, 1))


def test_frames_file_huge_header_raises_unread(tmp_path):
    """The header states 60,000 x 60,000 pixels, without data after it."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    empty = b"IDAT" + zlib.compress(b"")
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, empty, b"IEND")]
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)).decode()
    with pytest.raises(DataError, match="row 0 is not a base64 JPEG"):
        list(FramesFile(frames_file(tmp_path / "f.arrow", picture), FrameFormat(16)).frames(0, 1))


def test_frames_file_wrong_offset_raises(tmp_path):
    """A wrong offset stopped the whole process when the row was read."""
    file = frames_file(tmp_path / "f.arrow", *(encoded((8, 8), "PNG") for _ in range(3)))
    data = file.read_bytes()
    offsets = np.array([0, *np.cumsum([len(encoded((8, 8), "PNG"))] * 3)], "<i4").tobytes()
    at = data.index(offsets)
    file.write_bytes(data[: at + 4] + np.array([2**30, 2**30 + 5], "<i4").tobytes() + data[at + 12 :])
    with pytest.raises(DataError, match=r"f\.arrow: not an Arrow stream file"):
        FramesFile(file, FrameFormat(16))


def test_video_too_large_picture_raises_undecoded(tmp_path):
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=2)
        stream.width, stream.height, stream.pix_fmt = 20_000, 32, "yuvj420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 20_000, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(picture))
        container.mux(stream.encode())
    with pytest.raises(DataError, match=r"v\.mkv: 20000 x 32 pictures; at most 16384 a side"):
        VideoFile(path, 2, FrameFormat(16))


def test_video_distant_timestamp_raises(tmp_path):
    path = write_grey(tmp_path / "v.mkv", [0, Fraction(1, 2), 3600 * (MAX_HOURS + 1)], [0, 9, 99])
    with pytest.raises(DataError, match=r"v\.mkv: its timestamps reach to 101 h; at most 100 h are read"):
        VideoFile(path, 2, FrameFormat(16))


@pytest.mark.parametrize("fmt", ["gray", "yuv444p", "yuv420p10le", "rgb24"])
def test_video_odd_pixel_formats_are_read(tmp_path, fmt):
    path = tmp_path / "v.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1" if fmt != "rgb24" else "png", rate=2)
        stream.width, stream.height, stream.pix_fmt = 32, 32, fmt
        for k in range(4):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 60 * k, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    frames = list(VideoFile(path, 2, FrameFormat(16)).frames(0, 4))
    assert [abs(int(f.mean()) - 60 * k) <= 3 for k, f in enumerate(frames)] == [True] * 4


def test_video_one_picture_and_wrong_suffix_are_read(tmp_path):
    path = write_grey(tmp_path / "v.mp4", [0], [90])
    wrong = path.rename(tmp_path / "v.txt")
    source = VideoFile(wrong, 2, FrameFormat(16))
    assert source.num_frames == 1
    assert abs(int(next(source.frames(0, 1)).mean()) - 90) <= 4


def test_video_backward_timestamps_give_frames_or_place(tmp_path):
    """Two recordings in one stream, the second one restarting at 0, which a transport stream
    allows.
    """
    first = write_grey(tmp_path / "a.ts", [Fraction(k, 2) for k in range(8)], [20] * 8).read_bytes()
    path = tmp_path / "both.ts"
    path.write_bytes(first + first)
    source = VideoFile(path, 2, FrameFormat(16))
    assert 8 <= len(list(source.frames(0, source.num_frames))) == source.num_frames


class Harm:
    def __reduce__(self):
        return (open, ("owned", "w"))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.pt"])
def test_load_checkpoint_pickle_raises_unread(checkpoint, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (checkpoint / "model.safetensors").unlink()
    torch.save({"x": Harm()}, checkpoint / name)
    with pytest.raises(DataError, match="cannot be loaded"):
        load_model_checkpoint(str(checkpoint))
    (checkpoint / name).write_bytes(pickle.dumps(Harm()))
    with pytest.raises(DataError, match="cannot be loaded"):
        load_model_checkpoint(str(checkpoint))
    assert not (tmp_path / "owned").exists()


def test_load_checkpoint_runs_no_code(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (checkpoint / "evil.py").write_text("open('owned', 'w')\nclass Evil: pass\n")
    config = json.loads((checkpoint / "config.json").read_text())
    remote = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]}
    (checkpoint / "config.json").write_text(json.dumps(config | {"auto_map": remote}))
    load_model_checkpoint(str(checkpoint))
    (checkpoint / "config.json").write_text(json.dumps(config | {"auto_map": remote, "model_type": "evil"}))
    with pytest.raises(DataError, match=r"config\.json"):
        load_model_checkpoint(str(checkpoint))
    assert not (tmp_path / "owned").exists()


def damaged_weights(checkpoint, kind):
    from safetensors.torch import load_file, save_file

    file = checkpoint / "model.safetensors"
    tensors = load_file(file)
    name = next(key for key in tensors if tensors[key].is_floating_point() and tensors[key].ndim == 2)
    if kind == "truncated":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        return
    if kind == "nan":
        tensors[name][0, 0] = float("nan")
    elif kind == "inf":
        tensors[name][-1, -1] = float("inf")
    elif kind == "missing":
        del tensors[name]
    elif kind == "extra":
        tensors["other.weight"] = torch.zeros(2)
    elif kind == "shape":
        tensors[name] = tensors[name][:-1].clone()
    save_file(tensors, file, {"format": "pt"})


@pytest.mark.parametrize("kind", ["truncated", "nan", "inf", "missing", "extra", "shape"])
def test_run_command_wrong_weights_are_refused(checkpoint, short_world, tmp_path, capsys, kind):
    damaged_weights(checkpoint, kind)
    out = tmp_path / "run"
    assert evaluate("run", "--ckpt", checkpoint, "--data", short_world.root, "--output", out) == 3
    assert str(checkpoint) in one_line(capsys)
    assert not out.exists()


def test_load_checkpoint_other_tokenizer_is_refused(checkpoint, short_world, capsys):
    config = json.loads((checkpoint / "config.json").read_text())
    mine = digest_tokenizer(load_model_checkpoint(str(checkpoint))[1])
    for digest, code in ((mine, 0), ("0" * 64, 3)):
        (checkpoint / "config.json").write_text(json.dumps(config | {"tokenizer_digest": digest}))
        assert evaluate("calibrate", "--ckpt", checkpoint, "--data", short_world.root, "--limit", 1) == code
    assert "the tokenizer differs from that of the training" in one_line(capsys)


def test_run_command_nan_probabilities_fail_episode(checkpoint, short_world, tmp_path, monkeypatch, capsys):
    """NaN is below every threshold: such a model would be silent without an error."""
    decide = VLMStreamRunner._decide
    episodes = list(short_world.episodes("test"))
    task = episodes[0].task

    def sick(self, hidden_1FD):
        heads = decide(self, hidden_1FD)
        if self.stream.frame > 20 and self.stream.task == task:
            heads = replace(heads, speaking_F=[float("nan")] * len(heads.speaking_F))
        return heads

    monkeypatch.setattr(VLMStreamRunner, "_decide", sick)
    args = ["run", "--ckpt", checkpoint, "--data", short_world.root, "--output", tmp_path / "run"]
    assert evaluate(*args) == 3
    line = one_line(capsys)
    assert ": frame 2" in line
    assert "the model's speaking probability is not one" in line
    assert evaluate(*args, "--on-error", "skip") == 0
    assert f", {sum(e.task == task for e in episodes)} failed" in capsys.readouterr().out
    assert "speaking probability is not one" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("metrics.json", lambda plain: plain["metrics"]["dst_jga"].update(value="high"), "metrics.dst_jga.value: "),
        ("metrics.json", lambda plain: plain.pop("metrics"), "metrics: Field required"),
        ("counts.json", lambda plain: plain["counts"].update(dst_jga=[1]), "counts.dst_jga: "),
        ("run.json", lambda plain: plain["config"].update(knobs=None), "config.knobs: "),
    ],
)
def test_run_folder_edited_file_names_field(short_world, tmp_path, capsys, file, damage, message):
    out = tmp_path / "run"
    assert evaluate("run", "--ckpt", "baseline:oracle", "--data", short_world.root, "--limit", 2, "--output", out) == 0
    plain = json.loads((out / file).read_text())
    damage(plain)
    (out / file).write_text(json.dumps(plain))
    capsys.readouterr()
    assert evaluate("compare", out, out) == 3
    assert f"{out / file}: {message}" in one_line(capsys)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_run_command_missing_device_is_one_line(checkpoint, short_world, device, tmp_path, capsys):
    given = ["run", "--ckpt", checkpoint, "--data", short_world.root, "--output", tmp_path / "run", "--device", device]
    assert evaluate(*given) == 2
    assert f"--device {device}: not usable on this machine" in one_line(capsys)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"text_config": {"hidden_size": 64, "num_attention_heads": 3}}, "config.json cannot be read"),
        ({"text_config": []}, "text_config is list, not an object"),
        ({"text_config": {"model_type": "no_such_model"}}, "config.json cannot be read"),
        ({"text_config": {"model_type": "qwen2"}}, "text_config describes a 'qwen2' model"),
        ({"vision_config": {"patch_size": 0}}, "config.json cannot be read"),
        ({"vision_config": {"image_size": "x"}}, "config.json cannot be read"),
        ({"speaking_threshold": float("nan")}, "speaking_threshold nan: use 0 to 1"),
        ({"update_threshold": "0.5"}, "update_threshold '0.5': use 0 to 1"),
        ({"max_context": "many"}, "max_context 'many': use a whole number from 0"),
    ],
)
def test_load_checkpoint_invalid_config_is_one_line(checkpoint, short_world, tmp_path, capsys, change, why):
    """Each case was a traceback with exit code 1, the code of a failed gate; a list for the text
    model used all memory.
    """
    copy = tmp_path / "c"
    shutil.copytree(checkpoint, copy)
    config = json.loads((copy / "config.json").read_text())
    for key, value in change.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    (copy / "config.json").write_text(json.dumps(config))
    given = ("run", "--ckpt", copy, "--data", short_world.root, "--output", tmp_path / "run")
    assert evaluate(*given) == 3
    line = one_line(capsys)
    assert why in line
    assert len(line) < 600
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["--speaking-threshold", "--update-threshold", "--timeout"])
def test_run_command_invalid_numbers_are_refused(short_world, tmp_path, capsys, option):
    given = ("run", "--ckpt", "workbench-tiny", "--data", short_world.root, "--output", tmp_path / "run", option, "nan")
    assert evaluate(*given) == 2
    assert f"{option} nan: give a finite number" in one_line(capsys)

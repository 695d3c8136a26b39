"""Time of each picture in odd files: joined recordings, several streams, missing parts, odd names."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from prospect_core.data.dataset import Dataset
from prospect_core.data.formats.annotation_table import read_annotation_table
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.validate import validate_dataset
from prospect_core.data.video import VideoFile
from prospect_core.data.video_packets import Joiner, find_missing_video_packets
from prospect_core.util.errors import DataError
from tests.helpers.commands import evaluate, run_cli
from tests.helpers.media import write_grey

SHAPE = FrameFormat(16)


def levels(path: Path, fps: float = 2) -> list[int]:
    source = VideoFile(path, fps, SHAPE)
    return [round(float(frame.mean())) for frame in source.frames(0, source.num_frames)]


def recording(path: Path, first_level: int, start: Fraction = Fraction(0)) -> bytes:
    """Four seconds at 30 pictures per second, ten levels brighter every half second."""
    times = [start + Fraction(k, 30) for k in range(120)]
    return write_grey(path, times, [first_level + 10 * (k // 15) for k in range(120)]).read_bytes()


@pytest.mark.parametrize("starts", [(0, 0), (0, 3600), (3600, 0), (0, 100_000)])
def test_transport_stream_second_recording_follows_first(tmp_path, starts):
    parts = [recording(tmp_path / f"{k}.ts", 20 + 100 * k, Fraction(start)) for k, start in enumerate(starts)]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(parts))
    expected = [20 + 10 * k for k in range(8)] + [120 + 10 * k for k in range(8)]
    seen = levels(path)
    assert len(seen) == 16
    assert np.abs(np.array(seen) - expected).max() <= 3
    (note,) = VideoFile(path, 2, SHAPE).notes
    assert note.startswith("timestamps jump at 4.0")


def test_transport_stream_short_gap_is_kept(tmp_path):
    times = [Fraction(0), Fraction(1, 2), Fraction(5), Fraction(11, 2)]
    path = write_grey(tmp_path / "v.ts", times, [20, 60, 100, 140])
    assert VideoFile(path, 2, SHAPE).num_frames == 12
    assert VideoFile(path, 2, SHAPE).notes == ()


def two_streams(path: Path, sizes: tuple[int, int], default: int | None) -> Path:
    """Two streams of one level each, 60 and 180."""
    with av.open(str(path), "w") as container:
        streams = []
        for number, size in enumerate(sizes):
            stream = container.add_stream("libx264", rate=2, options={"crf": "10"})
            assert isinstance(stream, av.VideoStream)
            stream.width = stream.height = size
            stream.pix_fmt = "yuv420p"
            if default is not None:
                stream.disposition = av.stream.Disposition.default if number == default else av.stream.Disposition(0)
            streams.append(stream)
        for k in range(6):
            for stream, level in zip(streams, (60, 180), strict=True):
                picture = av.VideoFrame.from_ndarray(np.full((stream.height, stream.width, 3), level, np.uint8))
                picture.pts, picture.time_base = k, Fraction(1, 2)
                container.mux(stream.encode(picture))
        for stream in streams:
            container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("sizes", "default", "level"), [((64, 64), 1, 180), ((64, 64), 0, 60), ((64, 32), 1, 180), ((32, 64), None, 180)]
)
def test_video_default_stream_is_read_and_named(tmp_path, sizes, default, level):
    path = two_streams(tmp_path / "v.mkv", sizes, default)
    assert abs(levels(path)[0] - level) <= 3
    (note,) = VideoFile(path, 2, SHAPE).notes
    assert note == f"has 2 video streams; stream {level // 100} ({sizes[level // 100]} x {sizes[level // 100]}) is read"


def test_video_second_stream_last_pictures_are_decoded(tmp_path):
    path = write_grey(
        tmp_path / "v.mp4", [Fraction(k, 2) for k in range(8)], [20 + 25 * k for k in range(8)], sound=True
    )
    assert abs(levels(path)[-1] - 195) <= 3


def test_video_name_with_colon_is_read(tmp_path, monkeypatch):
    name = "2026-01-26T20:57:04Z.mp4"
    recording(tmp_path / "v.mp4", 20)
    (tmp_path / "v.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert VideoFile(Path(name), 2, SHAPE).num_frames == 8


def test_theora_empty_packet_repeats_picture(tmp_path):
    path = tmp_path / "v.ogv"
    try:
        write_grey(path, [Fraction(k, 10) for k in range(20)], [100] * 20, codec="libtheora")
    except (av.error.FFmpegError, ValueError):
        pytest.skip("this FFmpeg has no Theora encoder")
    assert max(abs(level - 100) for level in levels(path)) <= 6


def cut_video(folder: Path) -> Path:
    """A file of 20 s with its index in front, of which only the first 40 % of the bytes exist."""
    rng = np.random.default_rng(0)
    whole = folder / "whole.mp4"
    with av.open(str(whole), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=5, options={"preset": "ultrafast", "g": "5"})
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for k in range(100):
            noise = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            picture = av.VideoFrame.from_ndarray(noise, format="rgb24")
            picture.pts, picture.time_base = k, Fraction(1, 5)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    data = whole.read_bytes()
    (folder / "half.mp4").write_bytes(data[: len(data) * 2 // 5])
    return folder / "half.mp4"


@pytest.fixture
def half(tmp_path):
    return cut_video(tmp_path)


MISSING = r"half\.mp4: holds [78]\.\d of the 20\.0 s that its header states; replace it by the complete file"


def test_truncated_video_is_reported_by_commands(half, tmp_path, capfd):
    table = tmp_path / "a.tsv"
    table.write_text("# video: half.mp4\n# goal: make tea\ntime\tkind\twhat\n0:02\tsay\tGood, now go on.\n")
    (note,) = read_annotation_table(table).reading.notes
    assert re.search(MISSING, note)
    assert run_cli("data", "import", table, "--output", tmp_path / "ds") == 0
    assert re.search(MISSING, capfd.readouterr().out)
    (problem,) = validate_dataset(Dataset.open(tmp_path / "ds"))
    assert re.search(MISSING, problem)
    assert Dataset.open(tmp_path / "ds").missing_parts(Dataset.open(tmp_path / "ds").rows("test").clips()) == [problem]


def test_find_missing_packets_complete_video_is_empty(tmp_path):
    for suffix in ("mp4", "mov", "mkv", "avi", "ts"):
        path = tmp_path / f"v.{suffix}"
        recording(path, 20)
        assert find_missing_video_packets(path) == ""
    assert (
        find_missing_video_packets(
            write_grey(tmp_path / "s.mp4", [Fraction(k) for k in range(9)], [50] * 9, sound=True)
        )
        == ""
    )


def test_joiner_backward_timestamp_raises_with_place(tmp_path):
    path = write_grey(tmp_path / "v.mkv", [Fraction(k, 2) for k in range(8)], [20] * 8)
    with av.open(str(path)) as container:
        packets = list(container.demux(container.streams.video[0]))
    reordered = SimpleNamespace(
        format=SimpleNamespace(flags=0), demux=lambda streams: iter([*packets[4:8], *packets[:4]])
    )
    with pytest.raises(DataError, match=r"v\.mkv: timestamps go back at 3\.5\d s, to 0\.00 s"):
        list(Joiner(path).packets(reordered, packets[0].stream))


@pytest.mark.integration
@pytest.mark.slow
def test_changed_data_is_refused_until_accepted(tmp_path, capsys):
    write_raw(tmp_path / "black.avi", 20)
    write_raw(tmp_path / "white.avi", 230)
    table = tmp_path / "a.tsv"
    table.write_text("# video: black.avi\n# goal: make tea\ntime\tkind\twhat\n0:02\tsay\tPour it now.\n")
    data = tmp_path / "ds"
    assert run_cli("data", "import", table, "--output", data) == 0
    before = Dataset.open(data).digest
    (data / "videos" / "black.avi").write_bytes((tmp_path / "white.avi").read_bytes())
    capsys.readouterr()
    run = ("run", "--ckpt", "baseline:oracle", "--data", data, "--output", tmp_path / "r")
    assert evaluate(*run) == 3
    assert "videos/black.avi: its sha256 differs from the one in dataset.json; restore" in capsys.readouterr().err
    assert run_cli("data", "validate", data) == 3
    assert run_cli("data", "validate", data, "--accept") == 0
    assert Dataset.open(data).digest != before
    rows = data / "test.jsonl"
    rows.write_text(rows.read_text().replace('"time":2.0', '"time":3.0'))
    assert evaluate(*run) == 3
    with pytest.raises(DataError, match=r"test\.jsonl: its sha256 differs from the one in dataset\.json"):
        list(Dataset.open(data).episodes("test"))
    assert run_cli("data", "validate", data, "--accept") == 0
    assert [e.events[0].time for e in Dataset.open(data).episodes("test")] == [3.0]
    rows.write_text(rows.read_text() * 2)
    assert run_cli("data", "validate", data, "--accept") == 3
    assert "episode id 'a' appears 2 times" in capsys.readouterr().out


def write_raw(path: Path, level: int) -> None:
    """Ten seconds of one level; all these files have the same size."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=2)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(20):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(picture.reformat(format="yuv420p")))
        container.mux(stream.encode())

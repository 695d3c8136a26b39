"""Frames by presentation timestamp, on files that these tests generate."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from prospect_core.data.formats.proassist_features import (
    proassist_feature_columns,
    read_proassist_features,
    write_proassist_features,
)
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.video import FramesFile, VideoFile, open_video_frames, write_video_frames_file
from prospect_core.util.errors import DataError, UserError
from tests.helpers.media import write_audio, write_grey


def levels(source, start, end):
    return [round(float(f.mean())) for f in source.frames(start, end)]


def close(seen, expected, within=3):
    assert len(seen) == len(expected)
    assert np.abs(np.array(seen) - np.array(expected)).max() <= within, (seen, expected)


def shown_at(times, grey, moment):
    """Return the level of the last picture at or before a time, or of the first picture, by
    definition.
    """
    due = [g for t, g in zip(times, grey, strict=True) if Fraction(t) <= moment]
    return due[-1] if due else grey[0]


@pytest.mark.parametrize(
    "rate", [Fraction(30), Fraction(30000, 1001), Fraction(25), Fraction(24000, 1001), Fraction(10)]
)
@pytest.mark.parametrize("fps", [2, 4])
def test_video_frames_no_rate_drifts(tmp_path, rate, fps):
    """Counting pictures drifts by 42 s in ten minutes at 29.97 fps; timestamps do not."""
    count = int(rate * 21)
    times, grey = [Fraction(k) / rate for k in range(count)], [k * 230 // count + 10 for k in range(count)]
    source = VideoFile(write_grey(tmp_path / "v.mp4", times, grey), fps, FrameFormat(16))
    assert source.num_frames == -(-count * fps // rate)
    expected = [shown_at(times, grey, Fraction(i, fps)) for i in range(source.num_frames)]
    close(levels(source, 0, source.num_frames), expected)
    close(levels(source, 15, 33), expected[15:33])


def test_video_frames_variable_rate(tmp_path):
    times = [Fraction(t) for t in ("0", "0.1", "0.15", "1.9", "2.0", "2.05", "4.4", "4.45", "6")]
    grey = [20 + 25 * k for k in range(9)]
    source = VideoFile(write_grey(tmp_path / "v.mp4", times, grey), 2, FrameFormat(16))
    expected = [shown_at(times, grey, Fraction(i, 2)) for i in range(12)]
    close(levels(source, 0, 12), expected)


def test_video_frame_0_is_first_picture(tmp_path):
    """The sound starts at 0 s, the picture at 1.5 s."""
    times, grey = [Fraction(3, 2), Fraction(2), Fraction(5, 2)], [50, 120, 200]
    source = VideoFile(write_grey(tmp_path / "v.mkv", times, grey, sound=True), 2, FrameFormat(16))
    close(levels(source, 0, 6), [50, 50, 50, 50, 120, 200])


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("start", [Fraction(0), Fraction(60), Fraction(1001, 30000), Fraction(10**5)])
def test_video_container_start_time_is_subtracted(tmp_path, suffix, start):
    """Recorders, HLS segments and ``-copyts`` write any start time, but a player's clock starts at
    0.
    """
    times, grey = [start + Fraction(k, 2) for k in range(8)], [20 + 25 * k for k in range(8)]
    source = VideoFile(write_grey(tmp_path / f"v.{suffix}", times, grey), 2, FrameFormat(16))
    assert source.num_frames == 8
    close(levels(source, 0, 8), grey)
    close(levels(source, 5, 7), grey[5:7])


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_video_rotation_metadata_is_applied(tmp_path, rotation):
    """The bright corner is where a player shows it: FFmpeg's rotation is counter-clockwise."""
    times = [Fraction(k, 10) for k in range(10)]
    path = write_grey(tmp_path / "v.mp4", times, [20] * 10, (64, 64), rotation, corner=True)
    frame = next(iter(VideoFile(path, 2, FrameFormat(32)).frames(0, 1))).mean(-1)
    plain = np.full((32, 32), 20.0)
    plain[:16, :16] = 255
    assert np.abs(frame - np.rot90(plain, rotation // 90)).mean() < 12


def test_video_wide_picture_is_cropped_to_middle(tmp_path):
    path = write_grey(tmp_path / "v.mp4", [Fraction(0), Fraction(1)], [60, 60], (128, 64))
    frame = next(iter(VideoFile(path, 2, FrameFormat(24)).frames(0, 1)))
    assert frame.shape == (24, 24, 3)
    assert frame.dtype == np.uint8


def test_video_shorter_than_annotation_raises(tmp_path):
    path = write_grey(tmp_path / "v.mp4", [Fraction(k, 10) for k in range(30)], [90] * 30)
    source = VideoFile(path, 2, FrameFormat(16))
    assert source.num_frames == 6
    with pytest.raises(DataError, match=r"v\.mp4: has 6 frames at 2 fps, frame 9 was requested"):
        list(source.frames(0, 10))


def damaged(tmp_path, kind):
    path = tmp_path / f"{kind}.mp4"
    if kind == "missing":
        return path
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is not a video\n" * 50)
    elif kind == "sound":
        write_audio(path)
    elif kind == "truncated":
        write_grey(path, [Fraction(k, 10) for k in range(60)], [90] * 60)
        path.write_bytes(path.read_bytes()[:600])
    return path


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "sound", "truncated"])
def test_video_bad_file_is_one_line(tmp_path, kind):
    path = damaged(tmp_path, kind)
    with pytest.raises(DataError) as error:
        list(VideoFile(path, 2, FrameFormat(16)).frames(0, 1))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_video_damaged_middle_names_place_or_is_readable(tmp_path):
    path = write_grey(tmp_path / "v.mp4", [Fraction(k, 10) for k in range(200)], [k for k in range(200)])
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(bytes(data))
    source = VideoFile(path, 2, FrameFormat(16))
    frames, problem = [], ""
    try:
        frames = list(source.frames(0, 40))
    except DataError as error:
        problem = str(error)
    assert len(frames) == 40 or "v.mp4: cannot be decoded at" in problem


def test_frames_file_round_trips(tmp_path):
    frames = [np.full((24, 24, 3), 10 * k, np.uint8) for k in range(9)]
    path = tmp_path / "f.arrow"
    assert write_video_frames_file(path, iter(frames)) == 9
    source = open_video_frames(path, 2, FrameFormat(24))
    assert isinstance(source, FramesFile)
    assert source.num_frames == 9
    close(levels(source, 3, 7), [30, 40, 50, 60])
    with pytest.raises(DataError, match="has 9 frames, frame 9 was requested"):
        list(source.frames(0, 10))


def test_open_video_frames_other_arrow_file_raises(tmp_path):
    path = tmp_path / "f.arrow"
    path.write_bytes(b"not arrow")
    with pytest.raises(DataError, match=r"f\.arrow: not an Arrow stream"):
        open_video_frames(path, 2, FrameFormat(24))
    write_proassist_features(path, {"cls": np.ones((3, 4))})
    with pytest.raises(DataError, match="has no column 'frame'; it has cls"):
        open_video_frames(path, 2, FrameFormat(24))
    with pytest.raises(DataError, match="no such file"):
        open_video_frames(tmp_path / "none.arrow", 2, FrameFormat(24))


@pytest.mark.parametrize(("tokens", "names"), [(1, ("cls",)), (4, ("2x2",)), (5, ("cls", "2x2")), (10, ("cls", "3x3"))])
def test_proassist_features_round_trip(tmp_path, tokens, names):
    assert proassist_feature_columns(tokens) == names
    rng = np.random.default_rng(0)
    columns = {n: rng.normal(size=(7, 1 if n == "cls" else int(n[0]) ** 2, 6)) for n in ("cls", "2x2", "3x3")}
    write_proassist_features(tmp_path / "v.arrow", columns)
    read = read_proassist_features(tmp_path / "v.arrow", tokens)
    assert read.shape == (7, tokens, 6)
    np.testing.assert_allclose(read, np.concatenate([columns[n] for n in names], axis=1), atol=2e-3)


def test_proassist_feature_columns_invalid_number_raises():
    with pytest.raises(UserError, match="use 1, N"):
        proassist_feature_columns(7)

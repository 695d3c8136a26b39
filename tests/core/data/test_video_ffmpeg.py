"""Frames of odd video files, compared picture by picture with the ffmpeg command if it is
installed.
"""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction

import numpy as np
import pytest

from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.video import VideoFile
from tests.helpers.odd_videos import JOINED_VIDEOS, ODD_VIDEOS, make_odd_video, show_by_ffmpeg

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the ffmpeg command is not installed"),
]
#: pixels of a side, and the largest mean difference between two scalers and decoders
SIZE, CLOSE = 16, 8


@pytest.mark.parametrize("name", [*ODD_VIDEOS, *JOINED_VIDEOS])
def test_video_frames_odd_file_equal_ffmpeg(name, tmp_path):
    try:
        file = make_odd_video(name, tmp_path)
        shown = show_by_ffmpeg(file, SIZE)
    except subprocess.CalledProcessError as error:
        if b"Unknown encoder" in error.stderr or b"Unrecognized option" in error.stderr:
            pytest.skip("this ffmpeg is too old, or has not the encoder")
        raise AssertionError(error.stderr.decode()[-2000:]) from error
    fps = Fraction(1, 5) if name == "slow.mkv" else Fraction(4)
    video = VideoFile(file, float(fps), FrameFormat(SIZE))
    assert (video.num_frames - 1) / fps <= shown.times[-1] + 5 < (video.num_frames + 6 * fps) / fps
    frames = list(video.frames(0, video.num_frames))
    wrong = [
        number
        for number, frame in enumerate(frames)
        if np.abs(frame.astype(float) - shown.at(number / fps)).mean() > CLOSE
    ]
    assert not wrong, f"{len(wrong)} of {len(frames)} frames differ, first {wrong[0]}"

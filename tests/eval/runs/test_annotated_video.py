"""Annotated videos of a run: frame times, marks on frames with utterances, and subtitles."""

from __future__ import annotations

import numpy as np
import pytest

from prospect_eval.runs.annotated_video import (
    MODEL_COLOR,
    PANEL,
    REFERENCE_COLOR,
    SIDE,
    _near_the_current,
    draw_annotated_video_frames,
    make_annotated_video_subtitles,
    write_annotated_video,
)
from tests.helpers.commands import evaluate
from tests.helpers.predictions import episode, predict, say, step

REFERENCE = episode(step(1.0, "S1", "start"), say(2.0, "Boil it."), say(5.0, "Pour it."), frames=12)
RECORD = predict(REFERENCE, [(4, "Boil it!"), (8, "Zwölf 茶?")], [(3, "S1", "start")], speaking_prob=(0.5,) * 12)


def pictures():
    return (np.zeros((SIDE, SIDE, 3), np.uint8) for _ in range(12))


def test_annotated_frames_mark_utterances():
    made = list(draw_annotated_video_frames(RECORD, pictures()))
    assert [image.size for image in made] == [(SIDE + PANEL, SIDE)] * 12
    assert [k for k, image in enumerate(made) if image.getpixel((5, 2)) == REFERENCE_COLOR] == [4, 10]
    assert [k for k, image in enumerate(made) if image.getpixel((5, 10)) == MODEL_COLOR] == [4, 8]


def test_annotated_subtitles_have_all_words_in_time():
    assert make_annotated_video_subtitles(RECORD) == (
        "1\n00:00:02,000 --> 00:00:04,000\nDUE: Boil it.\nSAID: Boil it!\n\n"
        "2\n00:00:04,000 --> 00:00:05,000\nSAID: Zwölf 茶?\n\n"
        "3\n00:00:05,000 --> 00:00:06,000\nDUE: Pour it.\n"
    )


def test_annotated_panel_shows_steps_around_current():
    states = [(f"S{k}", "completed" if k < 20 else "not_started") for k in range(30)]
    assert [name for name, _ in _near_the_current(states)] == [f"S{k}" for k in range(14, 26)]
    assert _near_the_current(states[:5]) == states[:5]


@pytest.mark.parametrize("fps", [2, 29.97])
def test_annotated_video_keeps_frame_times(tmp_path, fps):
    import av

    write_annotated_video(tmp_path / "v.mp4", draw_annotated_video_frames(RECORD, pictures()), fps)
    with av.open(str(tmp_path / "v.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([k / fps for k in range(12)], abs=1e-3)


@pytest.mark.slow
@pytest.mark.integration
def test_export_command_writes_videos(short_world, tmp_path, capsys):
    run = tmp_path / "run"
    assert evaluate("run", "--ckpt", "baseline:oracle", "--data", short_world.root, "--limit", 1, "--output", run) == 0
    assert evaluate("export", run, "--format", "mp4", "--output", tmp_path / "videos") == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("videos: 1 video")
    assert sorted(file.suffix for file in (tmp_path / "videos").iterdir()) == [".mp4", ".srt"]

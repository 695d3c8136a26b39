"""Video frames as ProAssist's Arrow files, and rows that name them."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from prospect_core.data.dataset import Dataset
from prospect_core.data.formats.proassist import episode_from_proassist_row
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.video import open_video_frames
from tests.helpers.commands import run_cli


def test_export_rows_name_arrow_files_with_all_frames(short_world, tmp_path, capsys):
    out = tmp_path / "rows"
    assert run_cli("data", "export", short_world.root, "--output", out, "--frames") == 0
    assert "the rows name frames by paths relative to" in capsys.readouterr().out
    rows = [json.loads(line) for line in (out / "test.jsonl").read_text().splitlines()]
    data = Dataset.open(short_world.root)
    for row, episode in zip(rows, data.episodes("test"), strict=True):
        # the way ProAssist's dataset class reads them: a stream of base64 pictures, one per row
        with pa.memory_map(str(out / row["frames_file"])) as source:
            table = pa.ipc.open_stream(source).read_all()
        assert table.column_names == ["frame"]
        assert table.num_rows >= row["end_frame_idx"]
        stored = open_video_frames(out / row["frames_file"], row["fps"], FrameFormat(384))
        ours = data.frame_source(episode, FrameFormat(384)).frames(episode.start_frame, episode.end_frame)
        difference = np.asarray(next(iter(ours)), float) - next(stored.frames(episode.start_frame, episode.end_frame))
        assert np.abs(difference).mean() < 3
        assert episode_from_proassist_row(row).events == episode.events
    names = {row["frames_file"] for row in rows}
    assert len(names) == len({episode.video for episode in data.episodes("test")})


def test_export_videos_of_one_name_have_separate_files(tmp_path):
    from dataclasses import replace

    from prospect_core.data.formats.proassist_frames import _new_name
    from tests.helpers.run_folders import numbered_episode

    taken: set[str] = set()
    for video in ("a/clip.mp4", "b/clip.mp4", "a/clip one.mp4"):
        taken.add(_new_name(replace(numbered_episode(1), video=video), taken))
    assert taken == {"frames/clip.arrow", "frames/clip-2.arrow", "frames/clip_one.arrow"}

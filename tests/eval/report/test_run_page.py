"""The report: escaped, self-contained, with pictures and verdict; test_pages.py opens it in a
browser.
"""

from __future__ import annotations

import base64
import io
import json
import re
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prospect_core.data.frame_format import FrameFormat
from prospect_core.records import PredictedUtterance
from prospect_eval.models.baselines.trivial import make_trivial_baseline
from prospect_eval.report import thumbnails
from prospect_eval.report.page import embed_page_json, encode_page_numbers, format_page_interval, format_page_number
from prospect_eval.report.pages.run_page import write_run_page
from prospect_eval.report.thumbnails import SIDE, make_thumbnail_sheets, select_thumbnail_frames
from prospect_eval.runs.folder import RunConfig, open_run_folder
from prospect_eval.scoring.score import score_records
from tests.helpers.predictions import predict

pytestmark = pytest.mark.integration

EVIL = "<script>document.title='owned'</script><img src=http://example.com/x.png>"


@pytest.fixture
def page(world, tmp_path) -> Path:
    from prospect_core.records import Knobs

    references = [replace(e, user_type=EVIL[:20]) for e in world.episodes("test")]
    records = [make_trivial_baseline("oracle", references)(e) for e in references]
    worse = replace(records[0], utterances=(*records[0].utterances[:2], PredictedUtterance(60, EVIL)))
    failed = replace(predict(references[1]), status="failed", error=EVIL)
    records = [worse, failed, *records[2:]]
    config = RunConfig("m", "d" * 64, str(world.root), world.digest, "test", None, Knobs(), "0+x")
    open_run_folder(tmp_path / "run", config)
    return write_run_page(tmp_path / "run", config, records, score_records(records))


def test_run_page_escapes_texts(page):
    html = page.read_text()
    assert EVIL not in html
    assert "&lt;script&gt;" in html
    assert "1 episode failed or missing." in html


def test_run_page_is_self_contained(page):
    html = page.read_text()
    ours = html[: html.index('id="plotly"')]
    loads = re.findall(r'(?:src|href)="([^"#][^"]*)"', ours)
    assert all(target.startswith("data:") for target in loads), loads[:3]
    assert "default-src 'none'" in ours
    assert page.stat().st_size < 6_000_000


def test_format_page_number_is_readable():
    assert [format_page_number(v) for v in (None, 0.5, 12.34, 5234.4, 2.5e6)] == [
        "–",
        "0.500",
        "12.3",
        "5,234",
        "2.50 M",
    ]
    assert format_page_interval([0.1, 0.2]) == "[0.100, 0.200]"
    assert format_page_interval(None) == ""


def test_encode_page_numbers_is_little_endian():
    assert base64.b64decode(encode_page_numbers([0.0, 0.5, 1.0, 1.5], "u2")) == struct.pack(
        "<4H", 0, 32768, 65535, 65535
    )
    assert base64.b64decode(encode_page_numbers([0, 70000], "u4")) == struct.pack("<2I", 0, 70000)
    assert encode_page_numbers([], "u2") == ""


def test_embed_page_json_is_not_closed_by_text():
    told = {"said": "</script><!--\u2028&\ud800", "x": [1, None]}
    text = str(embed_page_json(told))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == told


def test_thumbnail_sheets_have_pictures_of_named_frames(world, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    episode = next(iter(world.episodes("test")))
    wanted = {(episode.video, episode.fps): (episode, select_thumbnail_frames(episode, [7]))}
    made = make_thumbnail_sheets(world, wanted)
    sheet = made[f"{episode.video}@{episode.fps:g}"]
    assert 7 in sheet["frames"]
    assert 0 in sheet["frames"]
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet["src"].partition(",")[2]))).convert("RGB"), float)
    for k, frame in enumerate(sheet["frames"]):
        y, x = (n * SIDE for n in divmod(k, sheet["columns"]))
        true = next(iter(world.frame_source(episode, FrameFormat(SIDE)).frames(frame, frame + 1)))
        assert np.abs(image[y : y + SIDE, x : x + SIDE] - true).mean() < 12
    monkeypatch.setattr(thumbnails, "_keep", None)
    assert make_thumbnail_sheets(world, wanted) == made
    (kept,) = (tmp_path / "prospect" / "thumbnails").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert make_thumbnail_sheets(world, wanted) == made


def test_thumbnail_sheets_missing_or_damaged_video_has_none(world, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    episode = replace(next(iter(world.episodes("test"))), video="videos/lost.mp4")
    assert make_thumbnail_sheets(world, {(episode.video, episode.fps): (episode, {0})}) == {}
    root = tmp_path / "damaged"
    (root / "videos").mkdir(parents=True)
    (root / "videos" / "lost.mp4").write_bytes(b"not a video")
    assert make_thumbnail_sheets(replace(world, root=root), {(episode.video, episode.fps): (episode, {0})}) == {}

"""The report: escaped, self-contained, and open in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from prospect_core.records import PredictedUtterance
from prospect_eval.baselines import baseline
from prospect_eval.report.build import interval, number, write_report
from prospect_eval.run import RunConfig, open_folder
from prospect_eval.score import score_records
from tests.test_metrics import predict

EVIL = "<script>document.title='owned'</script><img src=http://example.com/x.png>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


@pytest.fixture
def page(world, tmp_path) -> Path:
    from prospect_core.records import Knobs

    references = [replace(e, user_type=EVIL[:20]) for e in world.episodes("test")]
    records = [baseline("oracle", references)(e) for e in references]
    worse = replace(records[0], utterances=(*records[0].utterances[:2], PredictedUtterance(60, EVIL)))
    failed = replace(predict(references[1]), status="failed", error=EVIL)
    records = [worse, failed, *records[2:]]
    config = RunConfig("m", "d" * 64, str(world.root), world.digest, "test", None, Knobs(), "0+x")
    open_folder(tmp_path / "run", config)
    return write_report(tmp_path / "run", config, records, score_records(records))


def test_what_models_and_data_say_is_escaped(page):
    html = page.read_text()
    assert EVIL not in html
    assert "&lt;script&gt;" in html
    assert "1 episode(s) failed" in html


def test_the_page_needs_nothing_from_outside(page):
    html = page.read_text()
    loads = re.findall(r'(?:src|href)="([^"#][^"]*)"', html)
    assert all(target.startswith("data:") for target in loads), loads[:3]
    assert "@import" not in html
    assert page.stat().st_size < 3_000_000


def test_numbers_are_readable():
    assert [number(v) for v in (None, 0.5, 12.34, 5234.4, 2.5e6)] == ["–", "0.500", "12.3", "5,234", "2.50 M"]
    assert interval([0.1, 0.2]) == "[0.100, 0.200]"
    assert interval(None) == ""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_real_browser_shows_it(page, tmp_path):
    dom = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    assert "<title>m on test" in dom
    assert "All metrics beside the baselines" in dom
    assert dom.count("<svg") == 5
    shot = tmp_path / "shot.png"
    subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile2'}", f"--screenshot={shot}", "--window-size=1240,1600", page.as_uri()],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    from PIL import Image

    colors = Image.open(shot).convert("RGB").getcolors(1 << 24)
    assert colors is not None
    assert len(colors) > 50

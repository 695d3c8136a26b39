"""Pages that commands write, in headless Chromium."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.browser import dom_of, needs_chromium
from tests.helpers.commands import evaluate, run_cli

pytestmark = needs_chromium


def test_preview_page_shows_every_frame(world, tmp_path):
    page = tmp_path / "window.html"
    assert run_cli("data", "preview", world.root, "--index", 2, "--html", page, "sampling=all") == 0
    dom = dom_of(page, tmp_path / "profile")
    assert dom.count("<img") == dom.count('alt="frame') > 3
    assert "S1 " in dom


def test_report_page_of_released_checkpoint_opens(tmp_path, capsys):
    given = ["run", "--ckpt", "workbench-tiny", "--suite", "workbench", "--limit", 2, "--output", tmp_path / "run"]
    assert evaluate(*given) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert "workbench-tiny" in dom_of(Path(last), tmp_path / "profile")

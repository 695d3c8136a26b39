"""Reports, comparisons and sweeps in headless Chromium: errors, requests, filter, zoom, thresholds,
links, axe.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from prospect_core.records import CompressionEvent, Knobs, PredictedMistake, PredictedUtterance, Refusal
from prospect_core.util.json_io import dump_json
from prospect_eval.analysis.compare import compare_runs
from prospect_eval.analysis.episode_diff import diff_episodes
from prospect_eval.api import score_run
from prospect_eval.metrics import all_metrics
from prospect_eval.models.baselines.trivial import make_trivial_baseline
from prospect_eval.report.pages.compare_page import write_compare_page
from prospect_eval.report.pages.index_page import write_index_page
from prospect_eval.report.pages.sweep_page import write_sweep_page
from prospect_eval.runs.catalog import catalog_runs
from prospect_eval.runs.folder import RunConfig, open_run_folder, run_folder_record_path
from tests.helpers.browser import CHROMIUM, FLAGS, needs_chromium
from tests.helpers.predictions import TOOLS

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = needs_chromium
HOSTILE = (
    "<script>document.title='owned'</script>",
    "</script><img src=x onerror=\"document.title='owned'\">",
    "\u202egnp.exe \u2066rtl\u2069 \U0001f469\u200d\U0001f373",
    "{{ 7 * 7 }} ${document.title} \u2028 --> ]]>",
    "long " * 2000,
)


def records(world, worse):
    """Oracle records. The first contains everything that a page can show, with hostile texts; the
    second failed.
    """
    references = list(world.episodes("test"))
    first, second, *rest = [make_trivial_baseline("oracle", references)(e) for e in references]
    frames = first.episode.num_frames
    rng = np.random.default_rng(3)
    said = tuple(PredictedUtterance(40 + 3 * k, text, cut=k == 1) for k, text in enumerate(HOSTILE))
    first = replace(
        first,
        utterances=(*first.utterances[:worse], *said),
        speaking_prob=tuple(rng.random(frames).tolist()),
        update_prob=tuple(rng.random(frames).tolist()),
        cache_tokens=tuple(range(100, 100 + frames)),
        cache_bytes=tuple(range(100, 100 + frames)),
        compressions=(CompressionEvent(30, "drop_all", 130, 60, 1300, 600, HOSTILE[1]),),
        refusals=(Refusal(20, first.episode.task.step_ids[0], "completed"),),
        mistakes=(PredictedMistake(44, first.episode.task.step_ids[0], HOSTILE[1]),),
    )
    return [first, replace(second, status="failed", error=HOSTILE[0], utterances=(), transitions=()), *rest]


@pytest.fixture(scope="module")
def runs(world, tmp_path_factory):
    root = tmp_path_factory.mktemp("pages")
    for name, worse, strategy in (("a", 4, "none"), ("b", 2, "drop_all")):
        knobs = Knobs(strategy, None if strategy == "none" else 200)
        open_run_folder(
            root / name, RunConfig("m", "d" * 64, str(world.root), world.digest, "test", None, knobs, "0+x")
        )
        for record in records(world, worse):
            run_folder_record_path(root / name, record.episode.id).write_text(dump_json(replace(record, knobs=knobs)))
    for name in ("a", "b"):
        score_run(root / name)
    # with a second finished run the report has a Pareto front
    score_run(root / "a")
    return root


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as playing:
        opened = playing.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


def until(page, wanted, seconds=30):
    """Wait for an expression to be true.

    Playwright's own waiting evaluates text inside the page after its first attempt, which the
    page's policy forbids.
    """
    end = time.monotonic() + seconds
    while not page.evaluate(wanted):
        assert time.monotonic() < end, f"never true: {wanted}"
        page.wait_for_timeout(50)


@pytest.fixture
def opened(browser):
    @contextmanager
    def go(path, hash_="", plain=False, **options):
        """Return the page. The test fails if the page reports an error or sends a request."""
        page = browser.new_page(**({"viewport": {"width": 1280, "height": 900}} | options))
        wrong = []
        page.on("console", lambda told: wrong.append(told.text) if told.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda asked: (
                wrong.append(asked.url[:200]) if not asked.url.startswith(("file:", "data:", "blob:")) else None
            ),
        )
        page.on("dialog", lambda box: wrong.append(box.message))
        page.goto(path.as_uri() + hash_)
        if not plain:
            until(page, "document.documentElement.dataset.ready === 'yes'")
        yield page
        # the page at the end of the test, which can be another one
        if page.locator("#plotly, .plot").count():
            until(page, "document.documentElement.dataset.ready === 'yes'")
            page.evaluate("drawAll()")
        page.wait_for_timeout(200)
        assert page.title() != "owned"
        page.close()
        assert wrong == []

    return go


def axe(page):
    """Return the serious and critical violations."""
    page.evaluate(files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    return [
        (v["id"], v["nodes"][0]["html"][:200], v["nodes"][0]["failureSummary"][:300])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 420)])
def test_report_page_opens_without_error_or_request(runs, opened, scheme, width):
    with opened(runs / "a" / "report.html", color_scheme=scheme, viewport={"width": width, "height": 900}) as page:
        page.evaluate("drawAll()")
        assert page.locator(".plot .main-svg").count() > 6
        assert axe(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_report_page_shows_hostile_text_as_text(runs, opened, world):
    episode = next(iter(world.episodes("test")))
    with opened(runs / "a" / "report.html", f"#e={episode.id}&t=20") as page:
        told = page.locator("#stage .transcript").inner_text()
        for text in HOSTILE:
            assert " ".join(text.split()) in " ".join(told.split())
        page.locator(".squeezed summary").click()
        assert page.locator(".squeezed pre").inner_text() == HOSTILE[1]
        assert HOSTILE[0] in page.locator(".notice").first.inner_text()
        assert page.locator("#stage script, #stage img, #table img").count() == 0
        assert page.locator("td", has_text="[cut]").count() == 1


def test_report_page_timeline_shows_predicted_mistakes(runs, opened, world):
    episode = next(iter(world.episodes("test")))
    with opened(runs / "a" / "report.html", f"#e={episode.id}&t=22") as page:
        marks = page.locator("svg.timeline title", has_text="predicted mistake (false alarm)")
        assert marks.count() == 1
        assert HOSTILE[1] in marks.first.text_content()
        assert "22.0 s predicted mistake (false alarm)" in page.locator(".detail").inner_text()


def test_report_page_filters_searches_sorts_episodes(runs, opened, world):
    ids = [e.id for e in world.episodes("test")]
    with opened(runs / "a" / "report.html") as page:
        shown = page.locator("#episodes tbody tr td:first-child a")
        assert sorted(shown.all_inner_texts()) == sorted(ids)
        page.locator("#search").fill("document.title='owned'")
        assert shown.all_inner_texts() == sorted(ids[:2])
        page.locator("#search").fill("")
        page.locator("#only").select_option("failed")
        assert shown.all_inner_texts() == [ids[1]]
        page.locator("#only").select_option("")
        user = next(iter(world.episodes("test"))).user_type
        page.locator("#user").select_option(user)
        assert shown.all_inner_texts() == sorted(e.id for e in world.episodes("test") if e.user_type == user)
        page.locator("#user").select_option("")
        page.get_by_role("button", name="peak tokens").click()
        assert shown.first.inner_text() == ids[0]
        assert page.locator("th[aria-sort=descending]").inner_text() == "peak tokens"
        page.get_by_role("button", name="peak tokens").click()
        # undefined values are last in both sort orders
        assert shown.first.inner_text() == ids[0]


def test_report_page_zoom_pan_keys_and_time_link(runs, opened, world):
    episode = next(iter(world.episodes("test")))
    with opened(runs / "a" / "report.html", f"#e={episode.id}&t=12&w=8") as page:
        view = "[line.from, line.to, line.at]"
        assert page.evaluate(view) == pytest.approx([8, 16, 12])
        assert "12.0 s, frame 24" in page.locator(".detail").inner_text()
        page.get_by_role("button", name="zoom in").click()
        assert page.evaluate(view) == pytest.approx([10, 14, 12])
        page.get_by_role("button", name="later").click()
        assert page.evaluate(view) == pytest.approx([11.2, 15.2, 12])
        page.locator("svg.timeline").focus()
        page.keyboard.press("ArrowRight")
        assert page.evaluate("line.at") == pytest.approx(12.5)
        assert page.evaluate("location.hash") == f"#e={episode.id}&t=12.50&w=4.00"
        page.keyboard.press("Home")
        assert page.evaluate("line.to - line.from") == pytest.approx(episode.num_frames / episode.fps)
        box = page.locator("svg.timeline").bounding_box()
        page.mouse.move(box["x"] + 600, box["y"] + 40)
        page.mouse.down()
        page.mouse.up()
        # the scale of the image equals that of the page
        share = (600 - 104) / (box["width"] - 104 - 12)
        assert page.evaluate("line.at") == pytest.approx(share * episode.num_frames / episode.fps, abs=0.5)
        page.keyboard.press("+")
        before = page.evaluate("line.from")
        page.mouse.down()
        page.mouse.move(box["x"] + 500, box["y"] + 40)
        page.mouse.up()
        assert page.evaluate("line.from") > before
        # a link to another episode, as pasted into an open page
        other = list(world.episodes("test"))[2]
        page.evaluate(f"location.hash = 'e={other.id}&t=3'")
        until(page, f"shown.id === '{other.id}' && line.at === 3")


def test_report_page_threshold_moves_decisions(runs, opened, world):
    episode = next(iter(world.episodes("test")))
    with opened(runs / "a" / "report.html", f"#e={episode.id}") as page:
        values = np.asarray(records(world, 4)[0].speaking_prob)
        for threshold in (0.5, 0.9):
            page.locator("input[data-knob=speaking]").fill(str(threshold))
            until(page, f"document.querySelector('.told').textContent.includes('{threshold:.2f}')")
            told = page.locator(".told").inner_text()
            assert f"speaking ≥ {threshold:.2f}: {(np.rint(values * 65535) / 65535 >= threshold).sum()} frames" in told


def test_report_page_prints(runs, opened):
    with opened(runs / "a" / "report.html") as page:
        assert page.pdf()[:5] == b"%PDF-"
        page.emulate_media(media="print")
        assert page.locator("nav").is_hidden()


def test_compare_page_timelines_move_together(runs, opened, tmp_path):
    (compared,) = compare_runs(runs / "a", [runs / "b"], all_metrics(TOOLS))
    changes = diff_episodes(runs / "a", runs / "b", TOOLS)
    found = replace(compared, episodes=tuple(changes))
    page_file = write_compare_page(tmp_path / "compare.html", [found], TOOLS)
    with opened(page_file) as page:
        page.locator("details.change summary").first.click()
        # drawn after the browser's event for the opened element
        page.locator("svg.timeline").nth(1).wait_for()
        assert page.locator("svg.timeline").count() == 2
        page.get_by_role("button", name="zoom in").first.click()
        page.wait_for_timeout(100)
        ticks = [page.locator("svg.timeline").nth(k).locator("g > text").first.inner_html() for k in (0, 1)]
        assert ticks[0] == ticks[1]
        rows = page.locator("tbody tr").count()
        page.locator("input[type=checkbox]").check()
        assert page.locator("tbody tr").count() > rows
        assert axe(page) == []


def test_sweep_page_greys_dominated_runs_and_links_reports(runs, opened):
    def point(run, size, quality, on_front):
        return {"run": run, "model": "m", "strategy": run, "budget": None, "bytes": size, "quality": quality, "ci95": None,
                "share": None, "on_front": on_front}  # fmt: skip

    entry = {"value": 0.5, "ci95": [0.4, 0.6]}
    result = {
        "split": "test",
        "runs": [{"folder": name, "metrics": {"dst_jga": entry}} for name in ("a", "b")],
        "pareto_front": {"quality": "dst_jga", "memory": "cache_peak_bytes", "points": [point("a", 900, 0.9, True), point("b", 950, 0.5, False)]},
        "curves": {"m/none": {"speaking": [{"threshold": t, "metrics": {"dst_jga": entry}} for t in (0.2, 0.6)]}},
    }  # fmt: skip
    with opened(write_sweep_page(runs, result)) as page:
        assert page.locator("tr.grey a").all_inner_texts() == ["b"]
        page.evaluate("drawAll()")
        assert page.locator(".plot .main-svg").count() >= 2
        assert axe(page) == []
        page.locator("a", has_text="a").first.click()
        playwright.expect(page).to_have_title(re.compile("^m on test"))


def test_index_page_filters_and_links_reports(runs, opened):
    page_file = write_index_page(runs / "index.html", catalog_runs(runs))
    with opened(page_file, plain=True) as page:
        rows = page.locator("#runs tr:visible")
        every = rows.count()
        assert every >= 2
        page.locator("#filter").fill("no run is called so")
        assert rows.count() == 0
        page.locator("#filter").fill("a")
        assert 1 <= rows.count() <= every
        assert axe(page) == []
        page.locator("#runs a").first.click()
        playwright.expect(page).to_have_title(re.compile("^m on test"))

"""Measure the build time, opening time and size of a report over 100 episodes of 10 minutes.

    make bench-report
    python -m benchmarks.performance.report --output reports/report/report.json

* ``build_s``: seconds to write ``report.html`` of a scored run whose thumbnails exist.
* ``first_build_s``: the same for the first report over a dataset, which decodes all videos for
  thumbnails.
* ``open_s``: seconds from a headless Chromium's request for the file until table, timeline and
  charts respond; median of several openings.
* ``ready_s``: the part of ``open_s`` that the page reports itself, from its navigation start.
* ``size_mb``: size of the page in 10^6 bytes.

The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from prospect_core.data.dataset import write_dataset
from prospect_core.parallel.process_pool import open_process_pool
from prospect_core.records import EpisodeRecord, Knobs
from prospect_core.timeline import Episode
from prospect_core.workbench.generate import FPS, generate_workbench_video
from prospect_core.workbench.rendering.pictures import render_picture_video
from prospect_eval.api import score_run
from prospect_eval.models.baselines.trivial import make_trivial_baseline
from prospect_eval.report.pages.run_page import write_run_page
from prospect_eval.runs.environment import collect_run_environment
from prospect_eval.runs.folder import RunConfig, open_run_folder, read_run_folder_records, run_folder_record_path

EPISODES, OPENINGS = 100, 5
#: the shape of the first video of this split, in minutes
SPLIT, MINUTES = "test_long", 10


def video(job: tuple[Path, int]) -> list[Episode]:
    """Make one video of ten minutes and return its three episodes.

    Args:
        job: (folder of the dataset, seed of the video); one argument because a process pool maps
            over it.
    """
    root, seed = job
    episodes, plan = generate_workbench_video(seed, SPLIT, 0)
    render_picture_video(plan, root / episodes[0].video)
    return episodes


def predicted(rng: random.Random, record: EpisodeRecord) -> EpisodeRecord:
    """Move every third turn of an oracle record to a random frame and add noisy curves."""
    episode = record.episode
    frames = episode.num_frames
    noise = np.random.default_rng(rng.randrange(2**32))
    said = sorted({u.frame if rng.random() < 2 / 3 else rng.randrange(frames): u for u in record.utterances}.items())
    return replace(
        record,
        utterances=tuple(replace(u, frame=frame) for frame, u in said),
        speaking_prob=tuple(noise.random(frames).tolist()),
        update_prob=tuple(noise.random(frames).tolist()),
        cache_tokens=tuple(range(60, 60 + frames)),
        cache_bytes=tuple(range(60, 60 + frames)),
    )


def make_run(folder: Path) -> Path:
    """Write a run over a new dataset below ``folder``; return the run folder."""
    root, run = folder / "data", folder / "run"
    (root / "videos").mkdir(parents=True)
    with open_process_pool() as workers:
        made = [e for some in workers.map(video, [(root, seed) for seed in range(-(-EPISODES // 3))]) for e in some]
    episodes = made[:EPISODES]
    data = write_dataset(root, "bench-report", "1", FPS, {"test": episodes})
    open_run_folder(run, RunConfig("oracle with noise", "", str(root), data.digest, "test", None, Knobs(), ""))
    rng = random.Random(0)
    oracle = make_trivial_baseline("oracle", episodes)
    from prospect_core.util.json_io import dump_json

    for episode in episodes:
        run_folder_record_path(run, episode.id).write_text(dump_json(predicted(rng, oracle(episode))))
    return run


def openings(page: Path) -> tuple[list[float], list[float]]:
    """Open the page ``OPENINGS`` times, each time in a new browser.

    Returns:
        (seconds until the page responds, seconds from navigation start to the same moment), one
        value per opening.
    """
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    whole, own = [], []
    for _ in range(OPENINGS):
        with sync_playwright() as playing:
            browser = playing.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            begin = time.perf_counter()
            tab.goto(page.as_uri(), wait_until="commit")
            # the page's content security policy forbids `wait_for_function`, so wait
            # for elements
            tab.locator("html[data-ready=yes]").wait_for(state="attached")
            # the page responds once the table reflects typed text
            tab.locator("#search").fill("nothing is called so")
            tab.locator("#shown", has_text=f"0 of {EPISODES}").wait_for()
            whole.append(time.perf_counter() - begin)
            own.append(tab.evaluate("performance.getEntriesByName('ready')[0].startTime") / 1000)
            browser.close()
    return whole, own


def main() -> None:
    """Build and open the report; print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = name
        run = make_run(Path(name))
        metrics, page = score_run(run)
        config, records = read_run_folder_records(run)
        thumbnails = Path(name) / "prospect" / "thumbnails"
        seconds = {}
        for key in ("first_build_s", "build_s"):
            if key == "first_build_s":
                shutil.rmtree(thumbnails)
            begin = time.perf_counter()
            write_run_page(run, config, records, metrics)
            seconds[key] = round(time.perf_counter() - begin, 2)
        whole, own = openings(page)
        result = {
            "open_s": round(median(whole), 2), **seconds, "size_mb": round(page.stat().st_size / 1e6, 2),
            "ready_s": round(median(own), 2), "episodes": len(records),
            "minutes": round(sum(r.episode.num_frames / r.episode.fps for r in records) / 60 / len(records), 1),
        }  # fmt: skip
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        body = {
            **result,
            "openings": whole,
            "command": "python -m benchmarks.performance.report",
            "environment": collect_run_environment(),
        }
        options.output.write_text(json.dumps(body, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""The workbench as a dataset on disk: splits by video, three user types a video, deterministic by seed.

prospect data workbench --output data/workbench --seed 0
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from prospect_core import __version__
from prospect_core.cachedir import cache_dir
from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.errors import UserError
from prospect_core.timeline import Episode, frame_ceil
from prospect_core.workbench.dialogue import USER_TYPES, write_events
from prospect_core.workbench.physics import plan
from prospect_core.workbench.tasks import sample_task

#: a change of what is generated from the same seed must change this
WORLD_VERSION = "1"
SPLITS: dict[str, int] = {"train": 240, "val": 20, "test": 60}
FPS = 2


def generate(
    root: Path,
    seed: int = 0,
    splits: Mapping[str, int] | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Dataset:
    """Write videos and annotation under ``root``, which must not exist yet; appears whole or not at all."""
    counts = dict(SPLITS if splits is None else splits)
    if root.exists():
        raise UserError(f"{root} exists already; choose another folder or delete it first")
    root.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}."))
    try:
        (scratch / "videos").mkdir()
        jobs = [(scratch, seed, split, k) for split, count in counts.items() for k in range(count)]
        rows: dict[str, list[Episode]] = {split: [] for split in counts}
        context = get_context("spawn")
        with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context) as pool:
            for done, (split, episodes) in enumerate(pool.map(_make_video, jobs), 1):
                rows[split] += episodes
                progress(done, len(jobs))
        meta = {"seed": str(seed), "world": WORLD_VERSION}
        write_dataset(scratch, "workbench", f"{WORLD_VERSION}.{seed}", FPS, rows, f"prospect {__version__}", meta)
        scratch.chmod(0o755)
        scratch.rename(root)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return Dataset.open(root)


def cached(split: str, seed: int = 0, progress: Callable[[int, int], None] = lambda done, total: None) -> Dataset:
    """The built-in set of one split from the cache folder, generated on first use."""
    root = cache_dir() / f"workbench-{WORLD_VERSION}-{seed}-{split}"
    return Dataset.open(root) if root.exists() else generate(root, seed, {split: SPLITS[split]}, progress=progress)


def make_episodes(seed: int, split: str, number: int) -> tuple[list[Episode], object]:
    """The episodes of one video (one a user type) and its plan; nothing is written."""
    rng = random.Random(f"workbench/{WORLD_VERSION}/{seed}/{split}/{number}")
    video_plan = plan(rng, sample_task(rng))
    name = f"{split}-{seed}-{number:04d}"
    episodes = [
        Episode(
            id=f"{name}.{user_type}",
            video=f"videos/{name}.mp4",
            fps=FPS,
            start_frame=0,
            end_frame=frame_ceil(video_plan.duration, FPS),
            task=video_plan.task.as_task(),
            events=write_events(rng, video_plan, user_type),
            user_type=user_type,
            dataset="workbench",
        ).validate()
        for user_type in USER_TYPES
    ]
    return episodes, video_plan


def _make_video(job: tuple[Path, int, str, int]) -> tuple[str, list[Episode]]:
    from prospect_core.workbench.render import write_video

    root, seed, split, number = job
    episodes, video_plan = make_episodes(seed, split, number)
    write_video(video_plan, root / episodes[0].video)  # type: ignore[arg-type]
    return split, episodes

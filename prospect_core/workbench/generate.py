"""Generate the workbench as a dataset on disk: splits by video, three user types per video.

    prospect data workbench --output data/workbench --seed 0

The contents are deterministic by seed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from prospect_core import __version__
from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.parallel.process_pool import open_process_pool
from prospect_core.timeline import Episode, frame_ceil
from prospect_core.util.atomic import atomic_folder
from prospect_core.util.cache_dir import cache_dir
from prospect_core.util.errors import UserError, require_choice
from prospect_core.workbench.dialogue.writer import USER_TYPES, write_workbench_dialogue
from prospect_core.workbench.world.actor import act_out
from prospect_core.workbench.world.levels import LEVELS, SPLITS
from prospect_core.workbench.world.scene import Plan
from prospect_core.workbench.world.tasks import sample_world_task

#: increase this when the same seed generates other contents
WORLD_VERSION = "2"
FPS = 2
#: largest number of steps of a task with ``alike``, in which each step has its own thing
MOST_ALIKE = 16
_NAME = re.compile(
    r"videos/(?P<split>[a-z_]+)-(?P<seed>-?\d+)-(?P<number>\d+)(?P<alike>-alike)?(-(?P<level>[a-z]+))?\.mp4"
)


def generate_workbench(
    root: Path,
    seed: int = 0,
    splits: Mapping[str, int] | None = None,
    level: str | None = None,
    workers: int | None = None,
    video_fps: int | None = None,
    alike: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Dataset:
    """Write videos and annotation into a new folder, which appears only when it is complete.

    Args:
        root: Folder to create.
        seed: Random seed.
        splits: Number of videos of each split; train, val and test as in `levels.SPLITS` if None.
        level: Difficulty of all splits; each split's own if None.
        workers: Number of processes; one per core if None.
        video_fps: Pictures per second of the videos, a multiple of `FPS`; `pictures.VIDEO_FPS` if
            None. With `FPS` itself, generation takes a quarter of the time.
        alike: Whether tasks share few things and verbs (`tasks.sample_world_task`), which is
            harder.
        progress: Called with (videos done, videos in total).

    Raises:
        UserError: If an option is not valid or ``root`` exists.
    """
    if video_fps is not None and (video_fps < FPS or video_fps % FPS):
        raise UserError(f"video_fps={video_fps}: give a multiple of {FPS}, because {FPS} frames per second are read")
    counts = dict({name: SPLITS[name].videos for name in ("train", "val", "test")} if splits is None else splits)
    for split in counts:
        require_choice("split", split, SPLITS)
        if alike and SPLITS[split].steps[1] > MOST_ALIKE:
            raise UserError(
                f"--alike: {split} has tasks with more steps than there are similar objects; set that split to 0"
            )
    if level is not None:
        require_choice("level", level, LEVELS)
    with atomic_folder(root) as scratch:
        (scratch / "videos").mkdir()
        jobs = [
            (scratch, seed, split, k, level, alike, video_fps) for split, count in counts.items() for k in range(count)
        ]
        # longest first, so that no process has a long video left at the end
        jobs.sort(key=lambda job: -workbench_minutes(job[2], job[3]))
        made: dict[tuple[str, int], list[Episode]] = {}
        with open_process_pool(workers) as makers:
            for job, episodes in zip(jobs, makers.map(_make_video, jobs), strict=True):
                made[job[2], job[3]] = episodes
                progress(len(made), len(jobs))
        rows = {split: [e for k in range(count) for e in made[split, k]] for split, count in counts.items()}
        meta = {"seed": str(seed), "world": WORLD_VERSION} | ({"level": level} if level else {})
        meta |= {"video_fps": str(video_fps)} if video_fps else {}
        meta |= {"alike": "true"} if alike else {}
        write_dataset(scratch, "workbench", f"{WORLD_VERSION}.{seed}", FPS, rows, f"prospect {__version__}", meta)
    return Dataset.open(root)


def generate_cached_workbench(
    split: str, seed: int = 0, progress: Callable[[int, int], None] = lambda done, total: None
) -> Dataset:
    """Open the built-in dataset of one split from the cache folder; generate it on first use.

    Args:
        split: Name of the split.
        seed: Random seed.
        progress: Called with (videos done, videos in total).
    """
    videos = SPLITS[split].videos
    root = cache_dir() / f"workbench-{WORLD_VERSION}-{seed}-{split}-{videos}"
    if not root.exists():
        try:
            return generate_workbench(root, seed, {split: videos}, progress=progress)
        except (OSError, UserError):
            if not root.exists():  # if another process made it in the meantime, that dataset is the same
                raise
    return Dataset.open(root)


def workbench_minutes(split: str, number: int) -> float:
    """Return the target length of a video in minutes; 0 if the task determines it."""
    minutes = SPLITS[split].minutes
    return minutes[number % len(minutes)] if minutes else 0


def workbench_step_count(rng: random.Random, span: tuple[int, int]) -> int:
    """Draw a number of steps inside ``span``; short tasks are more frequent."""
    low, high = span
    return round(rng.triangular(low, high, low + (high - low) / 5))


def generate_workbench_video(
    seed: int, split: str, number: int, level: str | None = None, alike: bool = False
) -> tuple[list[Episode], Plan]:
    """Generate the episodes of one video (one per user type) and its plan, without writing files.

    Args:
        seed: Random seed.
        split: Name of the split.
        number: Number of the video.
        level: Difficulty; the split's own if None.
        alike: Whether tasks share few things and verbs.
    """
    spec = SPLITS[split]
    difficulty = LEVELS[level or spec.level]
    rng = random.Random(f"workbench/{WORLD_VERSION}/{seed}/{split}/{number}")
    steps, clutter = workbench_step_count(rng, spec.steps), rng.randint(*difficulty.clutter)
    assignment = sample_world_task(rng, steps, clutter, spec.unseen_tasks, alike)
    plan = act_out(rng, assignment, difficulty, workbench_minutes(split, number))
    name = f"{split}-{seed}-{number:04d}" + ("-alike" if alike else "") + (f"-{level}" if level else "")
    episodes = [
        Episode(
            id=f"{name}.{user_type}",
            video=f"videos/{name}.mp4",
            fps=FPS,
            start_frame=0,
            end_frame=frame_ceil(plan.duration, FPS),
            task=assignment.as_task(),
            events=write_workbench_dialogue(rng, plan, user_type, number, spec.unseen_phrases),
            user_type=user_type,
            dataset="workbench",
        ).validate()
        for user_type in USER_TYPES
    ]
    return episodes, plan


def regenerate_workbench_plan(episode: Episode) -> Plan:
    """Regenerate the plan of a workbench episode's video from its name.

    Raises:
        UserError: If the episode is not from this version's workbench.
    """
    match = _NAME.fullmatch(episode.video)
    level = match["level"] if match else None
    if episode.dataset == "workbench" and match and match["split"] in SPLITS and level in (None, *LEVELS):
        episodes, plan = generate_workbench_video(
            int(match["seed"]), match["split"], int(match["number"]), level, bool(match["alike"])
        )
        if episode in episodes:
            return plan
    raise UserError(f"{episode.id}: not a workbench episode of this version, so the content of its video is unknown")


def _make_video(job: tuple[Path, int, str, int, str | None, bool, int | None]) -> list[Episode]:
    from prospect_core.workbench.rendering.pictures import VIDEO_FPS, render_picture_video

    root, seed, split, number, level, alike, video_fps = job
    episodes, plan = generate_workbench_video(seed, split, number, level, alike)
    render_picture_video(plan, root / episodes[0].video, video_fps or VIDEO_FPS)
    return episodes

"""Commands `prospect data workbench`, `practice` and `captions`, which generate datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prospect_core.util.console import format_count, print_line, progress_bar
from prospect_core.util.errors import UserError

COUNT = click.IntRange(min=0)


@click.command("workbench")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The dataset folder to write.")
@click.option("--seed", default=0, show_default=True, help="Another seed gives a fresh set of the same kind.")
@click.option("--train", type=COUNT, default=240, show_default=True, help="Number of training videos.")
@click.option("--val", type=COUNT, default=20, show_default=True, help="Number of validation videos.")
@click.option("--test", type=COUNT, default=60, show_default=True, help="Number of test videos.")
@click.option("--test-hard", type=COUNT, default=0, show_default=True, help="Number of test videos at the hard level.")
@click.option(
    "--test-ood", type=COUNT, default=0, show_default=True, help="... of unseen combinations and longer tasks."
)
@click.option("--test-long", type=COUNT, default=0, show_default=True, help="... of 10 to 60 minutes.")
@click.option("--level", help="Difficulty of all splits: easy, normal or hard (default: each split's own).")
@click.option("--video-fps", type=int, help="Pictures a second of the videos; 2 are read, 8 are made by default.")
@click.option("--alike", is_flag=True, help="Things and verbs of a task are few and alike: harder to tell apart.")
def workbench_command(
    output: Path, seed: int, level: str | None, video_fps: int | None, alike: bool, **counts: int
) -> None:
    """Generate the workbench: real H.264 videos with dialogue and exact step states, three user types a video."""
    from prospect_core.workbench.generate import generate_workbench

    splits = {name: count for name, count in counts.items() if count}
    if not splits:
        raise UserError("give at least one of --train, --val, --test ... a number above 0")
    with progress_bar("videos") as advance:
        dataset = generate_workbench(output, seed, splits, level, video_fps=video_fps, alike=alike, progress=advance)
    print_line(f"{output}: {describe_generator_splits(dataset)}")


@click.command("practice")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The dataset folder to write.")
@click.option("--seed", default=0, show_default=True)
@click.option("--count", default=2000, show_default=True, type=click.IntRange(min=1), help="Number of episodes.")
@click.option("--steps", nargs=2, type=click.IntRange(2, 16), default=(4, 12), show_default=True, help="Steps a task.")
@click.option("--telling", is_flag=True, help="The user only tells, on every frame, which step is in hand.")
def practice_command(output: Path, seed: int, count: int, steps: tuple[int, int], telling: bool) -> None:
    """Generate reading practice: dense dialogue over a blank video (train it without speaking and updates)."""
    from prospect_core.workbench.pretraining.text_practice import make_text_practice

    _ascending(steps)
    make_text_practice(output, seed, count, steps, telling)
    print_line(f"{output}: train {format_count(count, 'episode')}")


@click.command("captions")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The dataset folder to write.")
@click.option("--seed", default=0, show_default=True)
@click.option("--count", default=2000, show_default=True, type=click.IntRange(min=1), help="Number of episodes.")
@click.option("--steps", nargs=2, type=click.IntRange(2, 16), default=(4, 12), show_default=True, help="Steps a task.")
@click.option("--level", default="normal", show_default=True, help="Difficulty: easy, normal or hard.")
@click.option(
    "--tells",
    type=click.Choice(["steps", "hand", "held", "map"]),
    default="steps",
    help="What captions tell: what is done and to which step; what is done; the same in bare words; what is where.",
)
def captions_command(output: Path, seed: int, count: int, steps: tuple[int, int], **kind: Any) -> None:
    """Generate seeing practice: single pictures with captions (train it without speaking and updates)."""
    from prospect_core.workbench.pretraining.image_captions import make_image_captions

    _ascending(steps)
    with progress_bar("videos") as advance:
        make_image_captions(output, seed, count, steps, kind["level"], kind["tells"], advance)
    print_line(f"{output}: train {format_count(count, 'episode')}")


def _ascending(steps: tuple[int, int]) -> None:
    if steps[0] > steps[1]:
        raise UserError(f"--steps {steps[0]} {steps[1]}: give the smaller number first")


def describe_generator_splits(dataset: Any) -> str:
    """Format the splits of a dataset with their numbers of episodes on one line."""
    *before, (name, last) = dataset.info.splits.items()
    return ", ".join([*(f"{n} {i.episodes}" for n, i in before), f"{name} {format_count(last.episodes, 'episode')}"])

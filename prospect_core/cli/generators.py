"""Commands `prospect data workbench`, `practice` and `captions`, which generate datasets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from prospect_core.util.console import format_count, print_line, progress_bar
from prospect_core.util.errors import UserError

COUNT = click.IntRange(min=0)


@click.command("workbench")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Dataset folder to create.")
@click.option(
    "--seed", default=0, show_default=True, help="Random seed; another seed gives new videos of the same kind."
)
@click.option("--train", type=COUNT, default=240, show_default=True, help="Number of training videos.")
@click.option("--val", type=COUNT, default=20, show_default=True, help="Number of validation videos.")
@click.option("--test", type=COUNT, default=60, show_default=True, help="Number of test videos.")
@click.option(
    "--test-hard",
    type=COUNT,
    default=0,
    show_default=True,
    help="Number of test videos at the hard level (split test_hard).",
)
@click.option(
    "--test-ood",
    type=COUNT,
    default=0,
    show_default=True,
    help="Number of test videos with unseen combinations and longer tasks (split test_ood).",
)
@click.option(
    "--test-long",
    type=COUNT,
    default=0,
    show_default=True,
    help="Number of test videos of 10 to 60 minutes (split test_long).",
)
@click.option("--level", help="Difficulty of all splits: easy, normal or hard [default: each split's own].")
@click.option(
    "--video-fps", type=int, help="Frames per second of the video files, a multiple of 2 [default: 8]; 2 are read."
)
@click.option(
    "--alike", is_flag=True, help="Use few, similar objects and verbs per task, which are hard to distinguish."
)
def workbench_command(
    output: Path, seed: int, level: str | None, video_fps: int | None, alike: bool, **counts: int
) -> None:
    """Generate workbench videos with dialogue and exact step states.

    The videos are H.264 files; each has one episode for each of three user types.
    """
    from prospect_core.workbench.generate import generate_workbench

    splits = {name: count for name, count in counts.items() if count}
    if not splits:
        raise UserError("all splits are empty; give --train, --val or a --test option a number above 0")
    with progress_bar("videos") as advance:
        dataset = generate_workbench(output, seed, splits, level, video_fps=video_fps, alike=alike, progress=advance)
    print_line(f"{output}: {describe_generator_splits(dataset)}")


def add_pretraining_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --output, --seed, --count and --steps, which all commands for pretraining data have."""
    for option in reversed(
        (
            click.option("--output", required=True, type=click.Path(path_type=Path), help="Dataset folder to create."),
            click.option("--seed", default=0, show_default=True, help="Random seed."),
            click.option(
                "--count", default=2000, show_default=True, type=click.IntRange(min=1), help="Number of episodes."
            ),
            click.option(
                "--steps",
                nargs=2,
                type=click.IntRange(2, 16),
                default=(4, 12),
                show_default=True,
                help="Fewest and most steps per task.",
            ),
        )
    ):
        command = option(command)
    return command


@click.command("practice")
@add_pretraining_options
@click.option("--telling", is_flag=True, help="Generate only user turns that name the current step, on every frame.")
def practice_command(output: Path, seed: int, count: int, steps: tuple[int, int], telling: bool) -> None:
    """Generate dense dialogue over a blank video, to pretrain reading.

    Train on it without the speaking and update losses.
    """
    from prospect_core.workbench.pretraining.text_practice import make_text_practice

    _ascending(steps)
    make_text_practice(output, seed, count, steps, telling)
    print_line(f"{output}: train {format_count(count, 'episode')}")


@click.command("captions")
@add_pretraining_options
@click.option("--level", default="normal", show_default=True, help="Difficulty: easy, normal or hard.")
@click.option(
    "--tells",
    type=click.Choice(["steps", "hand", "held", "map"]),
    default="steps",
    show_default=True,
    help="Content of the captions: action and step (steps), action (hand), action in few words (held), objects and places"
    " (map).",
)
def captions_command(output: Path, seed: int, count: int, steps: tuple[int, int], **kind: Any) -> None:
    """Generate captioned pictures, to pretrain vision.

    Train on them without the speaking and update losses.
    """
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

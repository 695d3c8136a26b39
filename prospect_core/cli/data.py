"""Command group `prospect data`: make, import, check, describe and encode datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prospect_core.cli.benchmark_annotations import validate_benchmark_annotations
from prospect_core.cli.dataset_statistics import data_stats_command
from prospect_core.cli.generators import (
    captions_command,
    describe_generator_splits,
    practice_command,
    workbench_command,
)
from prospect_core.cli.precompute import features_command, frames_command
from prospect_core.cli.procedures import procedures_command
from prospect_core.util.console import (
    Number,
    format_count,
    json_option,
    make_console,
    print_json_option,
    print_line,
    progress_bar,
    progress_bars,
)
from prospect_core.util.errors import DataError, UserError, require_choice


@click.group("data")
def data_command_group() -> None:
    """Create, import, check and describe datasets."""


@data_command_group.command("validate")
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--accept", is_flag=True, help="Store the digests of changed rows and videos if nothing else is wrong.")
@click.option("--benchmark", metavar="NAME", help="Published benchmark whose annotations are in ROOT.")
@click.option("--no-videos", is_flag=True, help="Check rows and timelines only; the videos can be absent.")
@json_option
def data_validate_command(root: Path, accept: bool, benchmark: str | None, no_videos: bool, json_: str | None) -> None:
    """Check rows, timelines, digests and videos of a dataset. Exit code 3 means that a problem was found.

    With --benchmark check published annotations: contradicting items, answers outside the video, answers in the question,
    duplicates.
    """
    if benchmark is not None:
        validate_benchmark_annotations(benchmark, root, accept, json_)
        return
    from prospect_core.data.dataset import CHANGED, Dataset, accept_dataset_changes
    from prospect_core.data.validate import validate_dataset
    from prospect_core.util.processes import count_cores

    if accept and no_videos:
        raise UserError("--accept stores the digests of videos too; leave --no-videos out")
    dataset = Dataset.open(root)
    with progress_bars() as advance:
        problems = validate_dataset(dataset, count_cores(), advance, videos=not no_videos)
    if accept and all(problem.endswith(f": {CHANGED}") for problem in problems):
        dataset, problems = accept_dataset_changes(dataset), []
    shown = print_json_option(json_, lambda: {"problems": problems})
    for problem in problems if shown else ():
        print_line(problem)
    if problems:
        raise DataError(f"{root}: {format_count(len(problems), 'problem')}")
    if shown:
        print_line(f"{root}: valid ({describe_generator_splits(dataset)})")


@data_command_group.command("preview")
@click.argument("root", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1)
@click.option("--split", default="train", show_default=True, help="Split to show.")
@click.option("--index", default=0, show_default=True, help="Number of the training window in its epoch, from 0.")
@click.option("--epoch", default=0, show_default=True, type=click.IntRange(min=0), help="Epoch of the window, from 0.")
@click.option(
    "--progress", default=0.0, show_default=True, type=Number(0, 1), help="Share of the training that is done."
)
@click.option(
    "--ckpt",
    default="workbench-tiny",
    show_default=True,
    help="Checkpoint whose tokenizer and number of tokens per frame are used.",
)
@click.option("--all", "everything", is_flag=True, help="Also list frames with neither label nor text.")
@click.option("--html", type=click.Path(path_type=Path), help="Write an HTML page to this file instead of printing.")
@click.option("--episode", help="Show this episode (id, or number in the split) as a filmstrip instead of a window.")
@click.option("--every", default=1.5, show_default=True, type=Number(min=0.1), help="Seconds between two stills.")
@click.option("--hide-events", is_flag=True, help="Show only the pictures of the filmstrip, to annotate it unbiased.")
def data_preview_command(
    root: Path, overrides: tuple[str, ...], split: str, episode: str | None, html: Path | None, **given: Any
) -> None:
    """Show a training window as the model sees it, or an episode with its events as a filmstrip.

    A window lists tokens, frames and labels. OVERRIDES are KEY=VALUE as for `prospect train`.
    """
    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.console import quiet_transformers

    if html is not None and (html.is_dir() or not html.parent.is_dir()):
        raise UserError(f"--html {html}: give a file name in an existing folder")
    if episode is None and given["hide_events"]:
        raise UserError("--hide-events works with a filmstrip only; add --episode ID")
    if episode is not None and overrides:
        raise UserError(
            f"{overrides[0]}: training options change windows, not a filmstrip; remove either them or --episode"
        )
    if episode is not None:
        _film(root, split, episode, given["every"], given["hide_events"], html)
        return
    from prospect_core.preview.training_window import (
        preview_training_window,
        print_training_window,
        training_window_html,
    )
    from prospect_core.preview.window_dataset import open_preview_window_dataset

    quiet_transformers()
    dataset = open_preview_window_dataset(root, split, given["ckpt"], overrides)
    dataset.set_epoch(given["epoch"], given["progress"])
    shown = preview_training_window(dataset, given["index"])
    if html is None:
        print_training_window(shown, make_console(highlight=False), given["everything"])
    else:
        write_atomic(html, training_window_html(shown))
        print_line(str(html.resolve()))


def _film(root: Path, split: str, name: str, every: float, hidden: bool, html: Path | None) -> None:
    from prospect_core.data.dataset import Dataset
    from prospect_core.preview.filmstrip import filmstrip_html, find_filmstrip_episode, make_filmstrip, print_filmstrip
    from prospect_core.util.atomic import write_atomic

    if hidden and html is None:
        raise UserError("--hide-events shows pictures, which a terminal cannot display; add --html FILE")
    dataset = Dataset.open(root)
    film = make_filmstrip(
        dataset, find_filmstrip_episode(dataset, split, name), every, hidden, pictures=html is not None
    )
    if html is None:
        print_filmstrip(film, make_console(highlight=False))
    else:
        write_atomic(html, filmstrip_html(film))
        print_line(str(html.resolve()))


@data_command_group.command("new")
@click.argument("video", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Table to write [default: the video's name with .tsv].")
def data_new_command(video: Path, output: Path | None) -> None:
    """Create an empty annotation table for VIDEO, to fill in by hand.

    A row of the table is a step change or a turn with its time.
    """
    from prospect_core.data.formats.annotation_table import make_annotation_table_template
    from prospect_core.util.atomic import write_atomic

    file = output or video.with_suffix(".tsv")
    text = make_annotation_table_template(video)
    if file.exists():
        raise UserError(f"{file}: already exists; choose another file with --output FILE")
    write_atomic(file, text)
    print_line(f"{file}: fill in the events, then run: prospect data check {file}")


def _annotation_options(command: Any) -> Any:
    """Add the options for facts that annotations do not contain themselves."""
    options = (
        click.option("--video", type=click.Path(path_type=Path), help="Video of a single annotation that names none."),
        click.option(
            "--level",
            type=click.Choice(["step", "substep", "action"]),
            default="step",
            show_default=True,
            help="Level of a three-level table that becomes the steps.",
        ),
        click.option("--user", "users", multiple=True, metavar="NAME", help="User's name in subtitles. Repeatable."),
        click.option(
            "--assistant",
            "assistants",
            multiple=True,
            metavar="NAME",
            help="Assistant's name in subtitles. Repeatable.",
        ),
        click.option(
            "--on-error",
            type=click.Choice(["fail", "skip"]),
            default="fail",
            show_default=True,
            help="For a row or cue that cannot be read: refuse the file (fail), or skip and report it.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@data_command_group.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@_annotation_options
@click.option("--every", default=1.5, show_default=True, type=Number(min=0.1), help="Seconds between two stills.")
@click.option("--html", type=click.Path(path_type=Path), help="Write an HTML page with pictures to this file.")
def data_check_command(file: Path, every: float, html: Path | None, on_error: str, **said: Any) -> None:
    """Check an annotation file and show its timeline. Each mistake is reported with its line number."""
    from prospect_core.data.formats.annotation_table import Given, make_annotation_table_dataset, read_annotation_table
    from prospect_core.preview.filmstrip import filmstrip_html, make_filmstrip, print_filmstrip
    from prospect_core.util.atomic import write_atomic

    read = read_annotation_table(file, Given(**said, skip=on_error == "skip"))
    film = make_filmstrip(*make_annotation_table_dataset(read.episode, read.video), every, pictures=html is not None)
    if html is None:
        print_filmstrip(film, make_console(highlight=False))
    else:
        write_atomic(html, filmstrip_html(film))
        print_line(str(html.resolve()))
    for line in (read.reading.summary(), *read.reading.notes):
        print_line(f"{file}: {line}", err=True)


@data_command_group.command("export")
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder to create for the rows.")
@click.option(
    "--format", "format_", default="proassist", show_default=True, help="proassist (prepared rows) or dst (DST clips)."
)
@click.option("--frames", "with_frames", is_flag=True, help="Also write the frames, as Arrow files that the rows name.")
def data_export_command(root: Path, output: Path, format_: str, with_frames: bool) -> None:
    """Write every split as ProAssist prepared rows or as DST clips.

    `prospect data import` reads prepared rows back without changes.
    """
    import json

    from prospect_core.data.dataset import Dataset
    from prospect_core.data.formats.proassist import episode_to_proassist_dst, episode_to_proassist_row
    from prospect_core.data.formats.proassist_frames import add_proassist_frames_to_row, write_proassist_frames
    from prospect_core.util.atomic import atomic_folder

    require_choice("format", format_, ("proassist", "dst"))
    dataset = Dataset.open(root)
    with atomic_folder(output) as scratch, progress_bar("frames") as advance:
        names = write_proassist_frames(dataset, scratch, advance) if with_frames else {}
        for split in dataset.splits:
            if format_ == "dst":
                clips = [
                    add_proassist_frames_to_row(episode_to_proassist_dst(episode), episode, names)
                    for episode in dataset.episodes(split)
                ]
                (scratch / f"{split}.json").write_text(json.dumps(clips, ensure_ascii=False) + "\n", "utf-8")
            else:
                written = (
                    add_proassist_frames_to_row(episode_to_proassist_row(e), e, names) for e in dataset.episodes(split)
                )
                rows = [json.dumps(row, ensure_ascii=False) for row in written]
                (scratch / f"{split}.jsonl").write_text("".join(row + "\n" for row in rows), "utf-8")
    print_line(f"{output}: {describe_generator_splits(dataset)}")
    print_line(
        f"the rows name {'frames' if with_frames else 'videos'} by paths relative to {output if with_frames else root}"
    )


@data_command_group.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Dataset folder to create.")
@click.option(
    "--split", default="test", show_default=True, help="Split of a single file; in a folder each file is a split."
)
@click.option("--name", default=None, help="Name of the dataset [default: the name in the rows].")
@click.option("--goal", default="", help="Goal of the task, for subtitles.")
@_annotation_options
def data_import_command(source: Path, output: Path, split: str, name: str | None, on_error: str, **said: Any) -> None:
    """Import a file or a folder of annotations, ProAssist prepared rows or DST clips as a dataset.

    Annotations are .tsv, .csv, .vtt and .srt files with their videos; a.srt belongs to a.mp4. Prepared rows are .jsonl
    files and DST clips .json files: each file becomes a split; put its frames into OUTPUT at the paths that it names.
    """
    from prospect_core.data.formats.annotation_files import find_annotation_files, import_annotation_files
    from prospect_core.data.formats.annotation_table import Given

    if (output / "dataset.json").exists():
        raise UserError(f"{output}: already holds a dataset; choose another folder")
    found = find_annotation_files(source)
    if not found.annotations:
        _import_rows(source, output, split, name)
        return
    made = import_annotation_files(found, output, split, name or output.name, Given(**said, skip=on_error == "skip"))
    for line in made.lines:
        print_line(line)
    print_line(f"{output}: {format_count(made.dataset.info.splits[split].episodes, 'episode')} in split {split!r}")


def _import_rows(source: Path, output: Path, split: str, name: str | None) -> None:
    """Import files in ProAssist's formats; each file becomes a split."""
    from prospect_core.data.dataset import write_dataset
    from prospect_core.data.formats.annotation_files import (
        describe_skipped_annotation_files,
        require_unique_annotation_file_ids,
    )
    from prospect_core.data.formats.proassist import read_proassist_episodes

    files, others = {split: source}, []
    if source.is_dir():
        files = {}
        for path in sorted(source.iterdir()):
            if path.name.startswith(".") or path.suffix.lower() not in (".jsonl", ".json") or not path.is_file():
                others.append(path)
            elif path.stem in files:
                raise UserError(
                    f"{source}: {files[path.stem].name} and {path.name} would become the same split; import them separately"
                )
            else:
                files[path.stem] = path
        if not files:
            raise DataError(f"{source}: holds no annotation (.tsv, .csv, .vtt, .srt) and no rows (.jsonl, .json)")
    splits = {split: read_proassist_episodes(path) for split, path in files.items()}
    require_unique_annotation_file_ids(
        (episode.id, f"{files[split]}: row {number}")
        for split, rows in splits.items()
        for number, episode in enumerate(rows, 1)
    )
    episodes = [episode for rows in splits.values() for episode in rows]
    rates = {episode.fps for episode in episodes}
    if len(rates) > 1:
        raise UserError(
            f"{source}: rows have different fps ({', '.join(f'{r:g}' for r in sorted(rates))}); import them separately"
        )
    title = name or episodes[0].dataset or source.stem
    dataset = write_dataset(output, title, "1", rates.pop(), splits, f"imported from {source.name}")
    missing = [video for video, digest in dataset.info.videos.items() if digest is None]
    for line in describe_skipped_annotation_files(others):
        print_line(line)
    for split, rows in splits.items():
        print_line(f"{output}: {format_count(len(rows), 'episode')} in split {split!r}")
    _say_repairs(episodes)
    if missing:
        print_line(
            f"{format_count(len(missing), 'video')} missing; put each at its path in the rows: {output / missing[0]} ..."
        )


@data_command_group.command("proassist")
@click.argument("tree", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Dataset folder to create.")
@click.option("--subset", "subsets", multiple=True, help="Subset, such as assembly101 [default: all]. Repeatable.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    help="Kind of rows to read instead of the best dialogues: summary, narration, generated or dst. Repeatable.",
)
def data_proassist_command(tree: Path, output: Path, subsets: tuple[str, ...], kinds: tuple[str, ...]) -> None:
    """Make a dataset of ProAssist's published folder TREE.

    TREE is the folder processed_data. The frames are not copied.
    """
    from prospect_core.data.formats.proassist_features import find_proassist_features
    from prospect_core.data.formats.proassist_tree import LEFT_OUT, import_proassist_tree
    from prospect_core.data.formats.proassist_tree_files import DST

    with progress_bars() as advance:
        dataset, left = import_proassist_tree(tree, output, subsets, kinds, advance)
    print_line(f"{output}: {describe_generator_splits(dataset)}; videos in {tree}")
    if DST in kinds:
        _say_repairs([episode for split in dataset.splits for episode in dataset.episodes(split)])
    for subset in sorted(path for path in tree.iterdir() if path.is_dir()):
        for stored in find_proassist_features(subset):
            videos = format_count(len(stored.videos), "video")
            print_line(
                f"stored features: {stored.model}, layer {stored.layer}, {videos} of {subset.name} (`find_proassist_features`"
                " reads them)"
            )
    if left:
        print_line(
            f"{format_count(len(left), 'episode')} left out, the first: {left[0].id} ({left[0].why}); full list in"
            f" {output / LEFT_OUT}"
        )


for command in (
    data_stats_command,
    procedures_command,
    features_command,
    frames_command,
    workbench_command,
    practice_command,
    captions_command,
):
    data_command_group.add_command(command)


def _say_repairs(episodes: list[Any]) -> None:
    """Print what the import repaired or kept as annotation, with the first episode of each kind."""
    from prospect_core.data.formats.proassist_dst_changes import ANNOTATED, REPAIRED

    lines = {
        REPAIRED: ("had a wrong initial state", "had a wrong initial state"),
        ANNOTATED: ("names state changes kept as annotation only", "name state changes kept as annotation only"),
    }
    for key, (one, several) in lines.items():
        found = [episode for episode in episodes if key in episode.meta]
        if found:
            what = one if len(found) == 1 else several
            print_line(f"{format_count(len(found), 'clip')} {what}, the first: {found[0].id} ({found[0].meta[key]})")

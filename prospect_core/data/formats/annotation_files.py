"""Find the annotation files of a folder and import them with their videos as a dataset."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.data.episode_ids import find_repeated_episode_id
from prospect_core.data.formats.annotation_table import (
    SUFFIXES,
    Annotation,
    Given,
    is_annotation_table_video,
    read_annotation_table,
)
from prospect_core.util.atomic import atomic_folder
from prospect_core.util.console import format_count
from prospect_core.util.errors import DataError, UserError


@dataclass(frozen=True)
class Found:
    """Files of a folder.

    Attributes:
        annotations: Annotation files, sorted.
        others: Files that are neither annotations nor videos.
        videos: Video files.
    """

    annotations: tuple[Path, ...]
    others: tuple[Path, ...]
    videos: tuple[Path, ...]


@dataclass(frozen=True)
class Imported:
    """A dataset made from annotations.

    Attributes:
        dataset: The new dataset.
        lines: Report of what was read from each file, for the user.
    """

    dataset: Dataset
    lines: tuple[str, ...]


def find_annotation_files(source: Path) -> Found:
    """Find annotation files by suffix, in any case.

    Args:
        source: A file, or a folder to search (not its subfolders). Hidden files are skipped,
            because some systems write one for each other file.
    """
    if not source.is_dir():
        return Found((source,) if source.suffix.lower() in SUFFIXES else (), (), ())
    entries = sorted(source.iterdir())
    wanted = tuple(entry for entry in entries if _is_annotation(entry))
    videos = tuple(entry for entry in entries if entry not in wanted and is_annotation_table_video(entry))
    return Found(wanted, tuple(entry for entry in entries if entry not in (*wanted, *videos)), videos)


def _is_annotation(entry: Path) -> bool:
    return entry.is_file() and entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".")


def require_unique_annotation_file_ids(named: Iterable[tuple[str, object]]) -> None:
    """Refuse two episodes with the same id.

    Args:
        named: (id, place) of each episode.

    Raises:
        UserError: Names both places.
    """
    if repeat := find_repeated_episode_id(named):
        name, first, second = repeat
        raise UserError(f"{first} and {second}: both are episode {name!r}; rename one, or import them separately")


def import_annotation_files(found: Found, output: Path, split: str, name: str, given: Given) -> Imported:
    """Import annotations as a dataset and copy their videos into it.

    Args:
        found: Files to import.
        output: Folder of the new dataset.
        split: Name of its only split.
        name: Name of the dataset.
        given: Facts that the annotations do not contain.

    Raises:
        UserError: If two annotations give the same episode id, ``given.video`` would serve several
            files, the files have different rates, or two videos have the same name.
        DataError: If a file cannot be read.
    """
    files = found.annotations
    require_unique_annotation_file_ids((file.stem, file) for file in files)
    if given.video is not None and len(files) > 1:
        raise UserError(
            f"--video {given.video}: is for a single annotation, but there are {len(files)}; give each video the name of its"
            f" annotation ({files[0].stem}.mp4 for {files[0].name}), or tables a line `# video: clip.mp4`"
        )
    read = _read_all(files, given)
    rates = sorted({each.episode.fps for each in read})
    if len(rates) > 1:
        raise UserError(
            f"{files[0].parent}: annotations at {', '.join(f'{r:g}' for r in rates)} fps; import them separately"
        )
    with atomic_folder(output) as scratch:
        (scratch / "videos").mkdir()
        _copy_videos(read, scratch)
        write_dataset(scratch, name, "1", rates[0], {split: [each.episode for each in read]}, "written by hand")
    return Imported(Dataset.open(output), tuple(_report(found, read)))


def _read_all(files: Sequence[Path], given: Given) -> list[Annotation]:
    """Read every annotation; collect the errors of all files in one."""
    read, wrong = [], []
    for file in files:
        try:
            read.append(read_annotation_table(file, given))
        except DataError as error:
            wrong.append(error)
    if wrong:
        raise DataError("\n".join(map(str, wrong))) from wrong[0]
    return read


def _copy_videos(read: Sequence[Annotation], folder: Path) -> None:
    taken: dict[str, Path] = {}
    for each in read:
        video = each.video.resolve()
        if taken.setdefault(each.episode.video, video) != video:
            raise UserError(f"{each.video}: another video has the same name; rename one of them")
        if not (folder / each.episode.video).exists():
            shutil.copyfile(each.video, folder / each.episode.video)


def _report(found: Found, read: Sequence[Annotation]) -> list[str]:
    """Describe what was read from each file of a folder."""
    lines = []
    for file, each in zip(found.annotations, read, strict=True):
        lines.append(f"{file}: {each.reading.summary()}")
        lines += [f"{file}: {note}" for note in each.reading.notes]
    lines += describe_skipped_annotation_files(found.others)
    used = {each.video.resolve() for each in read}
    unused = [video.name for video in found.videos if video.resolve() not in used]
    if unused:
        lines.append(f"{format_count(len(unused), 'video')} without an annotation: {', '.join(unused)}")
    return lines


def describe_skipped_annotation_files(files: Sequence[Path]) -> list[str]:
    """Name the files that were not read on one line; return no line if there are none."""
    if not files:
        return []
    return [f"{format_count(len(files), 'other file')} left out: {', '.join(file.name for file in files)}"]

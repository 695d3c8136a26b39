"""Read ProAssist's published tree in place: rows become a dataset, the 152 GB of frames are not copied.

    prospect data proassist processed_data --output data/proassist
    prospect train data=processed_data

`prospect_core.data.formats.proassist_tree_files` chooses the files to read. Frames are in
TREE/SUBSET/frames/VIDEO.arrow at two frames per second
(`prospect_core.data.formats.proassist_names`). Dialogues that continue after the last stored frame
(known for 80 clips of Assembly101) are skipped and listed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.data.formats.proassist import read_proassist_episodes
from prospect_core.data.formats.proassist_names import FPS, SUBSETS, frames_file_from_proassist_names
from prospect_core.data.formats.proassist_rows import continue_proassist_row, episode_from_proassist_row
from prospect_core.data.formats.proassist_tree_files import (
    DIALOGUES,
    SPLITS,
    RowsFile,
    choose_proassist_tree_files,
    find_proassist_tree_files,
    require_proassist_tree_file_kinds,
)
from prospect_core.data.formats.source_row import move_episode_with_source_row, source_row_fields
from prospect_core.timeline import Episode, TimelineError
from prospect_core.util.atomic import atomic_folder
from prospect_core.util.cache_dir import cache_dir
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import parse_json

#: file that lists the skipped dialogues with reasons
LEFT_OUT = "left_out.jsonl"
#: increase this when the conversion of the tree changes
TREE_VERSION = 1


@dataclass(frozen=True)
class Left:
    """A skipped dialogue and the reason."""

    split: str
    id: str
    video: str
    why: str


def import_proassist_tree(
    tree: Path,
    output: Path,
    subsets: Sequence[str] = (),
    kinds: Sequence[str] = (),
    progress: Callable[[str, int, int | None], None] = lambda what, done, total: None,
) -> tuple[Dataset, list[Left]]:
    """Write a dataset whose videos are those of the tree.

    Args:
        tree: The folder ``processed_data``.
        output: The dataset folder to write.
        subsets: Folders to read; ProAssist's six datasets if empty.
        kinds: Kinds of rows to read, such as ``summary``; the best dialogues of each split if
            empty.
        progress: Called with (what, rows done, None).

    Returns:
        (dataset, skipped dialogues).

    Raises:
        UserError: If the tree lacks a subset or kind.
        DataError: If a row cannot be read or no dialogue is left.
    """
    files = _files(tree, subsets)
    require_proassist_tree_file_kinds(tree, [file for found in files.values() for file in found], kinds)
    left: list[Left] = []
    lengths: dict[str, int | None] = {}

    def sound(split: str) -> Iterator[Episode]:
        for subset, found in files.items():
            for file in choose_proassist_tree_files(found, split, kinds):
                for done, episode in enumerate(_episodes(file), 1):
                    one = _placed(tree, subset, file.kind if kinds else "", episode)
                    if one.video not in lengths:
                        lengths[one.video] = count_proassist_tree_frames(tree / one.video)
                    if why := _too_short(one, lengths[one.video]):
                        left.append(Left(split, one.id, one.video, why))
                    else:
                        yield one
                    progress(f"{subset} {split}", done, None)

    with atomic_folder(output) as scratch:
        splits = {split: list(sound(split)) for split in SPLITS}
        splits = {split: rows for split, rows in splits.items() if rows}
        if not splits:
            why = f"; the first of {len(left)} left out: {left[0].video}: {left[0].why}" if left else ""
            raise DataError(
                f"{tree}: no dialogue to import; files read from each SUBSET/prepared: {{{','.join(DIALOGUES)}}}_{{{','.join(SPLITS)}}}"
                f"_L*_I*.jsonl{why}"
            )
        (scratch / LEFT_OUT).write_text("".join(json.dumps(one.__dict__) + "\n" for one in left), encoding="utf-8")
        write_dataset(
            scratch, "proassist", "1", FPS, splits, "read from ProAssist's tree", videos_root=str(tree.resolve())
        )
    return Dataset.open(output), left


def is_proassist_tree(folder: Path) -> bool:
    """Check whether a folder has the layout of ProAssist's tree."""
    return any((folder / name).is_dir() and find_proassist_tree_files(folder / name) for name in SUBSETS)


def open_proassist_tree(tree: Path) -> Dataset | None:
    """Open the dataset of a tree from the cache folder; return None for a folder with another layout.

    The dataset is made on first use, and again after a file of the tree has changed.
    """
    if not is_proassist_tree(tree):
        return None
    root = cache_dir() / f"proassist-{TREE_VERSION}-{_state(tree)}"
    if not root.exists():
        try:
            return import_proassist_tree(tree, root)[0]
        except (OSError, UserError):
            if not root.exists():  # if another process made it in the meantime, that dataset is the same
                raise
    return Dataset.open(root)


def _state(tree: Path) -> str:
    """Digest the names, sizes and times of the tree's rows and frames."""
    files = [file.path for name in SUBSETS for file in find_proassist_tree_files(tree / name)]
    files += [path for name in SUBSETS for path in (tree / name / "frames").glob("*.arrow")]
    digest = hashlib.sha256(str(tree.resolve()).encode())
    for path in sorted(files):
        status = path.stat()
        digest.update(f"{path.relative_to(tree)}/{status.st_size}/{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _files(tree: Path, subsets: Sequence[str]) -> dict[str, list[RowsFile]]:
    """Return the row files of each wanted subset."""
    folders = sorted(path.name for path in tree.iterdir() if path.is_dir()) if tree.is_dir() else []
    found = {name: rows for name in folders if (rows := find_proassist_tree_files(tree / name))}
    empty = [name for name in folders if name not in found and (tree / name / "prepared").is_dir()]
    known = [*found, *empty]
    if unknown := [name for name in subsets if name not in known]:
        raise UserError(f"--subset {unknown[0]}: {tree} has {', '.join(known) or 'none of ' + ', '.join(SUBSETS)}")
    wanted = {name: found.get(name, []) for name in known if name in (subsets or SUBSETS)}
    if not wanted:
        raise DataError(f"{tree}: holds no SUBSET/prepared folder of {', '.join(SUBSETS)}; unzip prepared.zip there")
    return wanted


def _too_short(episode: Episode, have: int | None) -> str:
    """Return why an episode is skipped; empty if its video has all of its frames."""
    if have is None:
        return "no such file"
    return f"ends at frame {episode.end_frame}, {have} are stored" if have < episode.end_frame else ""


def count_proassist_tree_frames(path: Path) -> int | None:
    """Count the frames of a file without reading them; return None if there is no such file.

    Raises:
        DataError: If the file is not an Arrow stream.
    """
    import pyarrow as pa

    if not path.is_file():
        return None
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
            rows: int = sum(batch.num_rows for batch in stream)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise DataError(f"{path}: not an Arrow stream file ({str(error).splitlines()[0]})") from error
    return rows


def _episodes(file: RowsFile) -> Iterator[Episode]:
    """Yield the episodes of a file; a later clip of a dialogue continues the one before it."""
    if file.path.suffix != ".jsonl":
        yield from read_proassist_episodes(file.path)
        return
    before: Episode | None = None
    for episode in _rows(file.path):
        before = continue_proassist_row(before, episode)
        yield before


def _rows(file: Path) -> Iterator[Episode]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                episode = episode_from_proassist_row(parse_json(line, "JSON")).validate()
            except (
                TimelineError,
                UserError,
                KeyError,
                TypeError,
                AttributeError,
                ValueError,
                IndexError,
                ArithmeticError,
            ) as error:
                raise DataError(f"{file}: row {number}: not a prepared row ({error})") from error
            yield episode


def _placed(tree: Path, subset: str, kind: str, episode: Episode) -> Episode:
    """Return the episode with an id that is unique among subsets and kinds, and the video's path in the tree."""
    recording = source_row_fields(episode).get("video_uid") or Path(episode.video).stem
    names = [episode.video, frames_file_from_proassist_names(subset, recording)]
    name = next((name for name in names if (tree / subset / name).is_file()), names[-1])
    # narration has its own matching windows, found by this name
    dataset = episode.dataset if subset in episode.dataset.lower() else subset
    prefix = ".".join(part for part in (subset, kind) if part)
    return move_episode_with_source_row(episode, id=f"{prefix}.{episode.id}", video=f"{subset}/{name}", dataset=dataset)

"""Find the problems of a dataset: rows, timelines, files, digests, videos, and videos in several splits.

    prospect data validate data/workbench

Several processes hash files, read rows and open videos. Their findings are merged in the order of
the files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prospect_core.data.dataset import CHANGED, Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.jsonl_index import find_jsonl_index_part_edges
from prospect_core.data.video import VideoFile, open_video_frames
from prospect_core.data.video_packets import find_missing_video_packets
from prospect_core.parallel.process_pool import map_in_process_pool
from prospect_core.timeline import Episode
from prospect_core.util.errors import DataError
from prospect_core.util.file_digest import digest_file
from prospect_core.util.json_io import load_json

#: progress callback: (what, done, total)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class CheckedRow:
    """A checked row.

    Attributes:
        number: Number of its line in its part of the file.
        problems: Problems of the row.
        id: Episode id; empty if the row could not be read.
        video: Video that it names.
        fps: Its frames per second.
        end_frame: Its frame after the last.
    """

    number: int
    problems: tuple[str, ...]
    id: str = ""
    video: str = ""
    fps: float = 0.0
    end_frame: int = 0


def validate_dataset(
    dataset: Dataset,
    workers: int = 1,
    progress: Progress = lambda what, done, total: None,
    videos: bool = True,
) -> list[str]:
    """Return the problems of a dataset, one line each.

    Args:
        dataset: The dataset.
        workers: Number of processes; see `open_jsonl_index` for the requirement on scripts.
        progress: Called with (what, done, total).
        videos: Whether to check the videos too; without them, only rows and timelines are checked.
    """

    def work(what: str, function: Callable[[Any], Any], jobs: Sequence[Any]) -> list[Any]:
        return list(map_in_process_pool(function, jobs, workers, lambda done, total: progress(what, done, total)))

    files = [(dataset.video(video), digest) for video, digest in dataset.info.videos.items() if videos]
    out = [line for line in work("files", _file_problem, files) if line]
    found: dict[str, list[CheckedRow]] = {}
    for split in dataset.splits:
        file = dataset.split_file(split)
        if not file.is_file():
            continue
        parts, before = (
            work(f"rows of {split}", _rows_of, [(file, *part) for part in find_jsonl_index_part_edges(file)]),
            0,
        )
        found[split] = []
        for lines, rows in parts:
            found[split] += [replace(row, number=before + row.number) for row in rows]
            before += lines
    named = {(row.video, row.fps): None for rows in found.values() for row in rows if row.id and videos}
    jobs = [(_place(dataset, video), fps) for video, fps in named]
    looks = work("videos", _look, jobs)
    lengths = {key: length for key, (length, _) in zip(named, looks, strict=True)}
    out += [missing for _, missing in looks if missing]

    owner: dict[str, str] = {}
    ids: Counter[str] = Counter()
    told: set[tuple[str, float]] = set()
    for split, info in dataset.info.splits.items():
        file = dataset.split_file(split)
        if split not in found:
            out.append(f"{file}: no such file")
            continue
        if digest_file(file) != info.sha256:
            out.append(f"{file}: {CHANGED}")
        for row in found[split]:
            where = f"{file}: row {row.number}"
            out += [f"{where}: {problem}" for problem in row.problems]
            if not row.id:
                continue
            ids[row.id] += 1
            if owner.setdefault(row.video, split) != split:
                out.append(f"{where}: video {row.video} is also in split {owner[row.video]}")
            if row.video not in dataset.info.videos:
                out.append(f"{where}: video {row.video} is not listed in dataset.json")
            key = (row.video, row.fps)
            if key not in lengths:
                continue
            length = lengths[key]
            if isinstance(length, str):
                if key not in told:
                    out.append(length)
                    told.add(key)
            elif length < row.end_frame:
                out.append(f"{where}: {row.id} ends at frame {row.end_frame}, its video {row.video} has {length}")
    out += [f"{dataset.root}: episode id {i!r} appears {n} times" for i, n in ids.items() if n > 1]
    return list(dict.fromkeys(out))


def _file_problem(job: tuple[Path, str | None]) -> str | None:
    path, digest = job
    if not path.is_file():
        return f"{path}: no such file; copy the video there or correct the rows that name it"
    if digest is not None and digest_file(path) != digest:
        return f"{path}: {CHANGED}"
    return None


def _rows_of(job: tuple[Path, int, int]) -> tuple[int, list[CheckedRow]]:
    """Return the number of lines that start in a part of a file, and its checked rows."""
    file, begin, end = job
    rows, number = [], 0
    with file.open("rb") as lines:
        lines.seek(begin)
        while lines.tell() < end and (line := lines.readline()):
            number += 1
            if not line.strip():
                continue
            try:
                e = load_json(Episode, line, "")
            except DataError as error:
                rows.append(CheckedRow(number, (str(error).removeprefix(": "),)))
            else:
                rows.append(CheckedRow(number, tuple(e.problems()), e.id, e.video, e.fps, e.end_frame))
    return number, rows


def _place(dataset: Dataset, video: str) -> Path | str:
    try:
        return dataset.video(video)
    except DataError as error:
        return str(error)


def _look(job: tuple[Path | str, float]) -> tuple[int | str, str]:
    """Return the number of frames of a video, or why it has none, and a description of missing parts."""
    path, fps = job
    if isinstance(path, str):
        return path, ""
    try:
        source = open_video_frames(path, fps, FrameFormat(8))
        missing = find_missing_video_packets(path) if isinstance(source, VideoFile) else ""
    except DataError as error:
        return str(error), ""
    return source.num_frames, f"{path}: {missing}" if missing else ""

"""Index of a JSONL file of episodes: random access to rows without reading the file.

The first opening reads and checks all rows. The index (position in the file, id, video, rate and
frames of each row) is stored in the user's cache folder under a name that depends on the file's
state, and is memory-mapped. A hundred thousand dialogues then open quickly and use little memory.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from prospect_core.data.episode_ids import find_repeated_episode_id
from prospect_core.parallel.process_pool import map_in_process_pool
from prospect_core.timeline import Episode, TimelineError
from prospect_core.util.atomic import atomic_file
from prospect_core.util.cache_dir import cache_dir
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import load_json

if TYPE_CHECKING:
    import pyarrow as pa

#: increase this when the index or the checks of rows change
INDEX_VERSION = 2
#: number of episodes that each process keeps in memory, because training returns to them
KEPT = 4096
#: size in bytes below which reading the file is as fast as reading an index
WORTH_KEEPING = 4 << 20
#: bytes of a large file that one process checks per job
PART = 16 << 20
_COLUMNS = ("begin", "size", "row", "checksum", "id", "video", "fps", "start_frame", "end_frame")


@dataclass(frozen=True)
class EpisodeHeader:
    """The indexed fields of an episode: frames ``start_frame .. end_frame - 1`` of a video at ``fps``."""

    id: str
    video: str
    fps: float
    start_frame: int
    end_frame: int


#: types that decoding and encoding of a video accept
EpisodeOrHeader = EpisodeHeader | Episode


class LazyEpisodes(Sequence[Episode]):
    """Sequence of some or all episodes of a file; each is read on demand.

    A pickled copy opens the file again in the other process.

    Args:
        file: The JSONL file.
        table: Its index.
        chosen: Row numbers of the episodes; all if None.
    """

    def __init__(self, file: Path, table: pa.Table, chosen: np.ndarray | None = None) -> None:
        self.file, self._table = file, table
        self._chosen = np.arange(table.num_rows) if chosen is None else chosen
        self._begin(None)

    def _begin(self, handle: int | None) -> None:
        self._handle = handle
        self._read = lru_cache(KEPT)(self._row)

    def __getstate__(self) -> dict[str, Any]:
        # send only the needed part of the table
        return {"file": self.file, "_table": self._table.take(self._chosen), "_chosen": np.arange(len(self))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._begin(None)

    def __del__(self) -> None:
        if self._handle is not None:
            with suppress(OSError):
                os.close(self._handle)

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, index: int) -> Episode: ...

    @overload
    def __getitem__(self, index: slice) -> LazyEpisodes: ...

    def __getitem__(self, index: int | slice) -> Episode | LazyEpisodes:
        if isinstance(index, slice):
            return LazyEpisodes(self.file, self._table, self._chosen[index])
        return self._read(int(self._chosen[index]))

    def some(self, indices: Sequence[int]) -> LazyEpisodes:
        """Return the episodes at ``indices``, in that order."""
        return LazyEpisodes(self.file, self._table, self._chosen[np.asarray(indices, dtype=np.int64)])

    def __iter__(self) -> Iterator[Episode]:
        # sequential reading meets no episode twice, so it bypasses the cache
        return (self._row(int(k)) for k in self._chosen)

    def clip(self, index: int) -> EpisodeHeader:
        """Return the header of an episode without reading the episode."""
        k = int(self._chosen[index])
        return EpisodeHeader(*(self._table.column(name)[k].as_py() for name in _COLUMNS[4:]))

    def clips(self) -> list[EpisodeHeader]:
        """Return the headers of all episodes."""
        some = self._table.select(_COLUMNS[4:]).take(self._chosen)
        return [EpisodeHeader(*row) for row in zip(*(column.to_pylist() for column in some.columns), strict=True)]

    def require_single_ids(self) -> None:
        """Check that ids are unique.

        Raises:
            DataError: Names two rows with the same id.
        """
        ids, rows = (self._table.column(name).to_pylist() for name in ("id", "row"))
        if repeat := find_repeated_episode_id(zip(ids, rows, strict=True)):
            name, first, second = repeat
            raise DataError(f"{self.file}: rows {first} and {second} are both episode {name!r}; give each a unique id")

    def _row(self, k: int) -> Episode:
        begin, size, number, checksum = (self._table.column(name)[k].as_py() for name in _COLUMNS[:4])
        if self._handle is None:
            self._handle = os.open(self.file, os.O_RDONLY)
        where = f"{self.file}: row {number}"
        line = os.pread(self._handle, size, begin)
        # detects edits that keep the file's size and modification time
        if zlib.crc32(line) != checksum:
            raise DataError(f"{where}: has changed since the file was checked; run `prospect data validate`")
        return load_json(Episode, line, where)


class Joined(Sequence[Episode]):
    """Concatenation of several sequences of episodes.

    Args:
        parts: The sequences.
    """

    def __init__(self, parts: Sequence[Sequence[Episode]]) -> None:
        self.parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @overload
    def __getitem__(self, index: int) -> Episode: ...

    @overload
    def __getitem__(self, index: slice) -> list[Episode]: ...

    def __getitem__(self, index: int | slice) -> Episode | list[Episode]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        part = int(np.searchsorted(self._ends, index, side="right"))
        return self.parts[part][index - int(self._ends[part]) + len(self.parts[part])]

    def __iter__(self) -> Iterator[Episode]:
        return chain.from_iterable(self.parts)

    def clips(self) -> list[EpisodeOrHeader]:
        """Return the headers of all episodes without reading them."""
        return [clip for part in self.parts for clip in clips_from_jsonl_index(part)]


def clips_from_jsonl_index(episodes: Sequence[Episode]) -> Sequence[EpisodeOrHeader]:
    """Return headers of indexed episodes, which needs no reading; return other sequences as they are."""
    return episodes.clips() if isinstance(episodes, LazyEpisodes | Joined) else episodes


def select_from_jsonl_index(episodes: Sequence[Episode], indices: Sequence[int]) -> Sequence[Episode]:
    """Return the episodes at ``indices``; indexed ones are not read."""
    return episodes.some(indices) if isinstance(episodes, LazyEpisodes) else [episodes[index] for index in indices]


def open_jsonl_index(file: Path, workers: int = 1) -> LazyEpisodes:
    """Open the rows of a file; the first opening checks and indexes them.

    Args:
        file: The JSONL file.
        workers: Number of processes that check the parts of a large file. New processes import the
            program's main module, so a script that uses several must do so under ``if __name__ ==
            "__main__"``.

    Raises:
        DataError: At the first invalid row.
    """
    import pyarrow as pa

    place = _place(file)
    with suppress(OSError, pa.ArrowException):
        with pa.memory_map(str(place)) as source:
            table = pa.ipc.open_file(source).read_all()
        if tuple(table.column_names) == _COLUMNS:
            return LazyEpisodes(file, table)
    table = _indexed(file, workers)
    _store(file, place, table)
    return LazyEpisodes(file, table)


def read_jsonl_index_rows(
    file: Path, check: bool = True, begin: int = 0, end: int | None = None
) -> Iterator[tuple[int, bytes, int, Episode]]:
    """Yield (first byte, line, row number, episode) of each row.

    Args:
        file: The JSONL file.
        check: Whether to validate each episode.
        begin: First byte of the part to read; row numbers count from its first line.
        end: End of the part: only rows that start before this byte are read. None reads to the end
            of the file.

    Raises:
        DataError: At the first invalid row.
    """
    try:
        lines = file.open("rb")
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from error
    with lines:
        lines.seek(begin)
        for number, line in enumerate(lines, 1):
            if end is not None and begin >= end:
                return
            if line.strip():
                episode = load_json(Episode, line, f"{file}: row {number}")
                try:
                    sound = episode.validate() if check else episode
                except TimelineError as error:
                    raise DataError(f"{file}: row {number}: {error}") from error
                yield begin, line, number, sound
            begin += len(line)


def store_jsonl_index(file: Path, episodes: Iterable[Episode], lines: Sequence[bytes]) -> None:
    """Store the index of a file that has just been written.

    Args:
        file: The file.
        episodes: Its episodes, which must be valid.
        lines: The line of each episode.
    """
    begins = accumulate((len(line) for line in lines), initial=0)
    rows = zip(begins, lines, count(1), episodes, strict=False)
    _store(file, _place(file), _table(_entry(*row) for row in rows))


def _place(file: Path) -> Path:
    try:
        found = file.stat()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from error
    # identifies the file independently of its path
    key = f"{INDEX_VERSION}/{found.st_dev}/{found.st_ino}/{found.st_size}/{found.st_mtime_ns}"
    return cache_dir() / "index" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.arrow"


def find_jsonl_index_part_edges(file: Path) -> list[tuple[int, int]]:
    """Divide a file into parts of whole lines with about `PART` bytes; return their (first byte, end)."""
    size, cuts = file.stat().st_size, [0]
    with file.open("rb") as lines:
        while cuts[-1] + PART < size:
            lines.seek(cuts[-1] + PART)
            lines.readline()
            cuts.append(lines.tell())
    return list(pairwise(cuts if cuts[-1] == size else [*cuts, size]))


def _indexed(file: Path, workers: int) -> pa.Table:
    with suppress(DataError):
        out, before = [], 0
        for lines, rows in map_in_process_pool(
            _part, [(file, *part) for part in find_jsonl_index_part_edges(file)], workers
        ):
            out += [(begin, size, before + number, *rest) for begin, size, number, *rest in rows]
            before += lines
        return _table(out)
    # a row is invalid: a sequential pass reports its number
    return _table(_entry(*row) for row in read_jsonl_index_rows(file))


def _part(job: tuple[Path, int, int]) -> tuple[int, list[tuple[Any, ...]]]:
    """Return the number of lines in a part of a file, and the index entries of its rows."""
    file, begin, end = job
    with file.open("rb") as lines:
        lines.seek(begin)
        count = 0
        while lines.tell() < end and lines.readline():
            count += 1
    return count, [_entry(*row) for row in read_jsonl_index_rows(file, begin=begin, end=end)]


def _entry(begin: int, line: bytes, number: int, episode: Episode) -> tuple[Any, ...]:
    e = episode
    return begin, len(line), number, zlib.crc32(line), e.id, e.video, float(e.fps), e.start_frame, e.end_frame


def _table(rows: Iterable[tuple[Any, ...]]) -> pa.Table:
    import pyarrow as pa

    number, text = pa.int64(), pa.string()
    kinds = (number, number, number, number, text, text, pa.float64(), number, number)
    columns = list(zip(*rows, strict=True)) or [()] * len(_COLUMNS)
    return pa.table([pa.array(c, kind) for c, kind in zip(columns, kinds, strict=True)], names=_COLUMNS)


def _store(file: Path, place: Path, table: pa.Table) -> None:
    import pyarrow as pa

    if file.stat().st_size < WORTH_KEEPING:
        return
    # without write access the next opening reads the rows again
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(place) as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)

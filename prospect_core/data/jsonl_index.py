"""A split's episodes without reading them: where each row lies, and what must be known of all at once.

    python -c "from prospect_core.data.dataset import Dataset; rows = Dataset.open('data/workbench').rows('train'); \
print(len(rows), rows.clip(0), rows[0].task.goal)"

Rows are read and checked once, when a file is first met; what is kept of each (place in the file, id, video, rate, frames) lies
in the user's cache folder, memory-mapped, under a name that changes with the file. A hundred thousand dialogues are open at once
then, in the memory of a few.
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

#: a change of what is kept, or of what makes a row sound, must change this
INDEX_VERSION = 2
#: episodes that stay read, in each process: a training comes back to them
KEPT = 4096
#: smaller files are read as quickly as what would be kept of them
WORTH_KEEPING = 4 << 20
#: bytes of a large file that one process checks at a time
PART = 16 << 20
_COLUMNS = ("begin", "size", "row", "checksum", "id", "video", "fps", "start_frame", "end_frame")


@dataclass(frozen=True)
class EpisodeHeader:
    """What is known of an episode without reading it: frames ``start_frame .. end_frame - 1`` of a video at ``fps``."""

    id: str
    video: str
    fps: float
    start_frame: int
    end_frame: int


#: what decoding and encoding of a video must know
EpisodeOrHeader = EpisodeHeader | Episode


class LazyEpisodes(Sequence[Episode]):
    """Episodes of one file, or some of them; each is read when it is asked for. A process that it is sent to reads for itself."""

    def __init__(self, file: Path, table: pa.Table, chosen: np.ndarray | None = None) -> None:
        self.file, self._table = file, table
        self._chosen = np.arange(table.num_rows) if chosen is None else chosen
        self._begin(None)

    def _begin(self, handle: int | None) -> None:
        self._handle = handle
        self._read = lru_cache(KEPT)(self._row)

    def __getstate__(self) -> dict[str, Any]:
        # no more of the table than is needed
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
        """Those at ``indices``, in that order."""
        return LazyEpisodes(self.file, self._table, self._chosen[np.asarray(indices, dtype=np.int64)])

    def __iter__(self) -> Iterator[Episode]:
        # one after the other nothing is met twice
        return (self._row(int(k)) for k in self._chosen)

    def clip(self, index: int) -> EpisodeHeader:
        """What is known of an episode without reading it."""
        k = int(self._chosen[index])
        return EpisodeHeader(*(self._table.column(name)[k].as_py() for name in _COLUMNS[4:]))

    def clips(self) -> list[EpisodeHeader]:
        """The same of all."""
        some = self._table.select(_COLUMNS[4:]).take(self._chosen)
        return [EpisodeHeader(*row) for row in zip(*(column.to_pylist() for column in some.columns), strict=True)]

    def require_single_ids(self) -> None:
        """Refuse two rows of one id by a `DataError` that names both."""
        ids, rows = (self._table.column(name).to_pylist() for name in ("id", "row"))
        if repeat := find_repeated_episode_id(zip(ids, rows, strict=True)):
            name, first, second = repeat
            raise DataError(
                f"{self.file}: rows {first} and {second} are both episode {name!r}; give each an id of its own"
            )

    def _row(self, k: int) -> Episode:
        begin, size, number, checksum = (self._table.column(name)[k].as_py() for name in _COLUMNS[:4])
        if self._handle is None:
            self._handle = os.open(self.file, os.O_RDONLY)
        where = f"{self.file}: row {number}"
        line = os.pread(self._handle, size, begin)
        # also where the edited file has the size and modification time that it had
        if zlib.crc32(line) != checksum:
            raise DataError(f"{where}: has changed since the file was checked; run `prospect data validate`")
        return load_json(Episode, line, where)


class Joined(Sequence[Episode]):
    """Several sequences of episodes, one after the other."""

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
        """What is known of all without reading them."""
        return [clip for part in self.parts for clip in clips_from_jsonl_index(part)]


def clips_from_jsonl_index(episodes: Sequence[Episode]) -> Sequence[EpisodeOrHeader]:
    """Id, video, rate and frames of all episodes, without reading those that lie in files."""
    return episodes.clips() if isinstance(episodes, LazyEpisodes | Joined) else episodes


def select_from_jsonl_index(episodes: Sequence[Episode], indices: Sequence[int]) -> Sequence[Episode]:
    """Those at ``indices``, without reading those that lie in files."""
    return episodes.some(indices) if isinstance(episodes, LazyEpisodes) else [episodes[index] for index in indices]


def open_jsonl_index(file: Path, workers: int = 1) -> LazyEpisodes:
    """The rows of a file, indexed when it is first met; the first bad one is a `DataError`.

    ``workers`` processes check the parts of a large one. Freshly started, they begin with the program's main module: a script
    that asks for some must do so under ``if __name__ == "__main__"``.
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
    """(first byte, line, row number, episode) of each row, validated unless ``check`` is off; the first bad one is a
    `DataError`. Of the rows that begin at bytes ``begin .. end - 1`` only, numbers count from the first of them."""
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
    """Store the index of a file that has just been written, of valid rows and the lines that they are in."""
    begins = accumulate((len(line) for line in lines), initial=0)
    rows = zip(begins, lines, count(1), episodes, strict=False)
    _store(file, _place(file), _table(_entry(*row) for row in rows))


def _place(file: Path) -> Path:
    try:
        found = file.stat()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from error
    # the file itself, wherever it is moved
    key = f"{INDEX_VERSION}/{found.st_dev}/{found.st_ino}/{found.st_size}/{found.st_mtime_ns}"
    return cache_dir() / "index" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.arrow"


def find_jsonl_index_part_edges(file: Path) -> list[tuple[int, int]]:
    """First byte and end of the parts of a file: whole lines, some `PART` bytes."""
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
    # a row is bad: this counts it right
    return _table(_entry(*row) for row in read_jsonl_index_rows(file))


def _part(job: tuple[Path, int, int]) -> tuple[int, list[tuple[Any, ...]]]:
    """How many lines a part of a file has, and what is kept of those that are rows."""
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
    # where nothing can be kept, rows are read again next time
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(place) as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)

"""Frames or vision features of many videos in sharded Arrow files, in a folder or on any fsspec store (s3://, gs://, hf://).

    prospect data features data/workbench --ckpt workbench-tiny --output s3://bucket/features
    prospect-eval run --ckpt workbench-tiny --data data/workbench --features s3://bucket/features

STORE/NAME/SHARD.arrow   an Arrow IPC file, one record batch a video, one row a frame
STORE/NAME/SHARD.json    which videos those are; written after the shard, so that what it names is whole

NAME tells what made them: the digest of the vision tower and the dtype of features, or framing and size of pictures.
Many writers add shards side by side,
nothing is ever written twice, and readers see what was there when they opened it. Files of a folder are memory-mapped; of a
store, only the videos asked for are fetched (``filecache::s3://...`` keeps whole shards on this machine).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from prospect_core.util.atomic import atomic_file
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import dump_json, load_json

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = 1
#: how features are kept
FeatureDtype = Literal["float32", "float16", "bfloat16"]
#: bytes of a number
FEATURE_DTYPES: dict[FeatureDtype, int] = {"float32": 4, "float16": 2, "bfloat16": 2}
#: shards that a reader keeps open, and videos of a remote store that it keeps
MOST_OPEN, MOST_KEPT = 6, 16


@dataclass(frozen=True)
class StoredVideo:
    """A video in a shard: its key, how many frames of it there are, the shape of each, and the size of its file in bytes."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}
    key: str
    frames: int
    shape: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class Shard:
    """The contents of a shard's JSON file; videos in the order of its batches."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}
    schema: int
    videos: tuple[StoredVideo, ...]


class ShardStore:
    """The shards under one name; another process that reads through a copy of this opens files of its own."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        self.videos: dict[str, tuple[str, int, StoredVideo]] = {}
        self._begin()
        self.refresh()

    def _begin(self) -> None:
        self._fs, root = _filesystem(self.url)
        self._root = f"{root.rstrip('/')}/{self.name}"
        self._local = self._fs.protocol == "file" or "file" in self._fs.protocol
        self._files: OrderedDict[str, Any] = OrderedDict()
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "name": self.name, "videos": self.videos}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._begin()

    def refresh(self) -> None:
        """Read which videos there are now."""
        with _told(self.url):
            self._fs.invalidate_cache()
            names = sorted(self._fs.glob(f"{self._root}/*.json"))
            known = {shard for shard, _, _ in self.videos.values()}
            new = [name for name in names if name.removesuffix(".json") not in known]
            texts = self._fs.cat(new) if new else {}
        for name in new:
            shard = load_json(Shard, texts[name], name)
            if shard.schema != SCHEMA:
                raise DataError(f"{name}: schema {shard.schema}, this version reads {SCHEMA}")
            for number, video in enumerate(shard.videos):
                self.videos.setdefault(video.key, (name.removesuffix(".json"), number, video))

    def need(self, what: str) -> ShardStore:
        """Itself; one that holds nothing is a `DataError`, for it was meant to."""
        if not self.videos:
            raise DataError(
                f"{self.url}: holds no {what} ({self.name}); make them with `prospect data features` or `frames` first"
            )
        return self

    def __contains__(self, key: str) -> bool:
        return key in self.videos

    def frames_of(self, key: str) -> int:
        """How many frames of a video there are."""
        return self.videos[key][2].frames

    def read(self, key: str) -> np.ndarray:
        """A video's frames (F, ...): of a folder, as they lie mapped, read-only."""
        if key in self._kept:
            return self._kept[key]
        shard, number, video = self.videos[key]
        try:
            with _told(self.url):
                column = self._file(shard).get_batch(number).column(0)
                found: np.ndarray = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, *video.shape)
                if len(found) != video.frames:
                    raise ValueError(f"{len(found)} frames of {key}, not {video.frames}")
        except (ValueError, IndexError) as error:
            raise DataError(
                f"{shard}.arrow: is damaged ({error}); delete it and its .json, then make it again"
            ) from error
        if not self._local:
            self._kept[key] = found
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return found

    def write(self, videos: Sequence[tuple[str, np.ndarray, int]]) -> None:
        """Add a shard of (key, frames (F, ...) of any NumPy type, size of the video's file); it appears whole or not at all."""
        import secrets

        if not videos:
            return
        name = f"{self._root}/{secrets.token_hex(8)}"
        told = Shard(SCHEMA, tuple(StoredVideo(key, len(a), a.shape[1:], size) for key, a, size in videos))
        with _told(self.url):
            if self._local:
                Path(self._root).mkdir(parents=True, exist_ok=True)
            self._put(f"{name}.arrow", _arrow(a for _, a, _ in videos))
            self._put(f"{name}.json", dump_json(told).encode())
        for number, video in enumerate(told.videos):
            self.videos.setdefault(video.key, (name, number, video))

    def _put(self, name: str, content: bytes | pa.Buffer) -> None:
        if not self._local:
            # a store shows what was written once it is all there
            with self._fs.open(name, "wb") as file:
                file.write(content)
            return
        with atomic_file(Path(name)) as local:
            local.write(content)

    def _file(self, shard: str) -> Any:
        import pyarrow as pa

        found = self._files.get(shard)
        if found is None:
            name = f"{shard}.arrow"
            source = pa.memory_map(name) if self._local else pa.PythonFile(self._fs.open(name, "rb"), mode="r")
            found = self._files[shard] = pa.ipc.open_file(source)
            if len(self._files) > MOST_OPEN:
                self._files.popitem(last=False)
        self._files.move_to_end(shard)
        return found


def _arrow(arrays: Iterable[np.ndarray]) -> pa.Buffer:
    import pyarrow as pa

    sink, writer = pa.BufferOutputStream(), None
    for array in arrays:
        width = int(np.prod(array.shape[1:]))
        column = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(array).reshape(-1)), width)
        batch = pa.record_batch([column], names=["frame"])
        if writer is None:
            # pictures shrink, features do not
            options = pa.ipc.IpcWriteOptions(compression="zstd" if array.dtype == np.uint8 else None)
            writer = pa.ipc.new_file(sink, batch.schema, options=options)
        writer.write_batch(batch)
    if writer is not None:
        writer.close()
    return sink.getvalue()


def _filesystem(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        fs, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        extra = ": pip install 'prospect-suite[s3]'" if "s3fs" in str(error) else ""
        raise UserError(f"{url}: {error}{extra}") from error
    except ValueError as error:
        raise UserError(f"{url}: {error}; give a folder or an address of fsspec's, as s3://bucket/features") from error
    return fs, str(root)


@contextmanager
def _told(url: str) -> Iterator[None]:
    """What a store's own client raises, as a `DataError` that names the store."""
    import pyarrow as pa

    try:
        yield
    except Exception as error:
        # clients of stores raise OSErrors, or errors of their own kinds
        own = type(error).__module__.startswith(("botocore", "aiohttp", "gcsfs", "google", "huggingface_hub"))
        if not (own or isinstance(error, OSError | pa.ArrowException)):
            raise
        raise DataError(f"{url}: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from error

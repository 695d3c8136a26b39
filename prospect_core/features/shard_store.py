"""Store of frames or vision features: sharded Arrow files in a folder or any fsspec store (s3://, gs://).

    prospect data features data/workbench --ckpt workbench-tiny --output s3://bucket/features
    prospect-eval run --ckpt workbench-tiny --data data/workbench --features s3://bucket/features

Files:

    STORE/NAME/SHARD.arrow   an Arrow IPC file, one record batch per video, one row per frame
    STORE/NAME/SHARD.json    the videos of the shard; written after the shard, so listed shards are complete

NAME identifies what made the contents: digest of the vision tower and dtype of features, or framing
and size of pictures. Several writers may add shards at the same time; a shard is never overwritten.
Readers see the shards that exist when they open the store. Files in a folder are memory-mapped.
From a remote store only the requested videos are fetched; ``filecache::s3://...`` keeps whole
shards locally.
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
#: number types of stored features
FeatureDtype = Literal["float32", "float16", "bfloat16"]
#: bytes per number
FEATURE_DTYPES: dict[FeatureDtype, int] = {"float32": 4, "float16": 2, "bfloat16": 2}
#: largest numbers of open shards and of cached videos of a remote store, per reader
MOST_OPEN, MOST_KEPT = 6, 16


@dataclass(frozen=True)
class StoredVideo:
    """A video in a shard: its key, number of frames, shape of a frame, and size of the video file in bytes."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}
    key: str
    frames: int
    shape: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class Shard:
    """The contents of a shard's JSON file, with videos in the order of the shard's batches."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}
    schema: int
    videos: tuple[StoredVideo, ...]


class ShardStore:
    """The shards under one name of a store; a pickled copy opens its own files.

    Args:
        url: Folder or fsspec address.
        name: Name under which the shards are stored.

    Raises:
        UserError: If the address is not valid or its client is not installed.
        DataError: If the store cannot be read.
    """

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
        """Read the list of videos again.

        Raises:
            DataError: If the store cannot be read.
        """
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
        """Return the store itself if it holds videos.

        Raises:
            DataError: If it is empty; ``what`` names the expected contents.
        """
        if not self.videos:
            raise DataError(
                f"{self.url}: holds no {what} ({self.name}); compute them with `prospect data features` or `frames` first"
            )
        return self

    def __contains__(self, key: str) -> bool:
        return key in self.videos

    def frames_of(self, key: str) -> int:
        """Return the number of frames of a video."""
        return self.videos[key][2].frames

    def read(self, key: str) -> np.ndarray:
        """Read a video's frames (F, ...); from a folder they are memory-mapped and read-only.

        Raises:
            DataError: If the shard cannot be read or is damaged.
        """
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
                f"{shard}.arrow: is damaged ({error}); delete it and its .json, then run the command that made it again"
            ) from error
        if not self._local:
            self._kept[key] = found
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return found

    def write(self, videos: Sequence[tuple[str, np.ndarray, int]]) -> None:
        """Add a shard, which appears only when it is complete.

        Args:
            videos: (key, frames (F, ...) of any NumPy type, size of the video file in bytes) of
                each video.
        """
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
            # a remote store shows a file only after it is complete
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
            # compression helps pictures but not features
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
        raise UserError(f"{url}: {error}; give a folder or an fsspec address such as s3://bucket/features") from error
    return fs, str(root)


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Convert the errors of a store's client to a `DataError` that names the store."""
    import pyarrow as pa

    try:
        yield
    except Exception as error:
        # clients raise OSError or error types of their own packages
        own = type(error).__module__.startswith(("botocore", "aiohttp", "gcsfs", "google", "huggingface_hub"))
        if not (own or isinstance(error, OSError | pa.ArrowException)):
            raise
        raise DataError(f"{url}: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from error

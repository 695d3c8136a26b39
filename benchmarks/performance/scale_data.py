"""Measure data loading at size: opening 100,000 episodes and reading gigabytes of stored features."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from prospect_core.data.dataset import Dataset, DatasetInfo, SplitInfo, write_dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.features.feature_cache import FeatureCache
from prospect_core.features.picture_cache import make_picture_cache_key
from prospect_core.features.shard_store import ShardStore
from prospect_core.timeline import Episode
from prospect_core.util.json_io import dump_json
from prospect_core.workbench.generate import generate_workbench_video

#: frames per video, tokens per frame and width of the features that `stream_much` reads
FRAMES, TOKENS, WIDTH = 1200, 10, 960


def open_many(folder: Path, rows: int) -> dict[str, Any]:
    """Measure the time and memory of opening a split with ``rows`` episodes and reading 100 of them.

    Each measurement runs in a separate process: the first opening, which builds the index, and a
    later one. Memory is in MB beyond that of the bare program.
    """
    episodes = _different(rows)
    folder.mkdir(parents=True)
    digest, size = hashlib.sha256(), 0
    with (folder / "test.jsonl").open("wb") as file:
        for episode in episodes:
            line = dump_json(episode).encode() + b"\n"
            file.write(line)
            digest.update(line)
            size += len(line)
    info = DatasetInfo(1, "many", "1", 2.0, {"test": SplitInfo("test.jsonl", rows, digest.hexdigest())}, {})
    (folder / "dataset.json").write_text(dump_json(info))
    first, later = (_timed("open_once", str(folder)) for _ in range(2))
    return {
        "index_open_s": later["seconds"],
        "index_mb": later["mb"],
        "index_first_s": first["seconds"],
        "index_rows": rows,
        "index_file_mb": round(size / 1e6),
    }


def open_once(folder: str) -> dict[str, float]:
    """Open a dataset, read the properties of all its episodes, and read 100 episodes in full."""
    before = psutil.Process().memory_info().rss
    begin = time.perf_counter()
    rows = Dataset.open(folder).rows("test")
    seconds = time.perf_counter() - begin
    for k in range(0, len(rows), max(1, len(rows) // 100)):
        rows[k]
    return {"seconds": round(seconds, 3), "mb": round((psutil.Process().memory_info().rss - before) / 1e6, 1)}


def stream_much(folder: Path, gigabytes: float) -> dict[str, Any]:
    """Measure the peak memory of the process while ``gigabytes`` of features are read, video after video.

    One shard on disk is linked under many names. The process maps and reads the same number of
    bytes as from separate shards.
    """
    per_video = FRAMES * TOKENS * WIDTH * 4
    videos = max(2, int(gigabytes * 1e9 / per_video))
    (episode,) = _different(1)
    (folder / "set").mkdir(parents=True)
    names = [f"videos/{k}.mp4" for k in range(videos)]
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    long = [
        replace(episode, id=name, video=name, start_frame=0, end_frame=FRAMES, events=(), initial=None)
        for name in names
    ]
    data = write_dataset(folder / "set", "much", "1", 2.0, {"test": long})
    file = data.root / "dataset.json"
    file.write_text(dump_json(replace(data.info, videos={**digests})))
    array = np.random.default_rng(0).random((FRAMES, TOKENS, WIDTH), dtype=np.float32)
    store = ShardStore(str(folder / "store"), "x")
    place = folder / "store" / "x"
    store.write([("first", array, 1)])
    (shard,) = place.glob("*.arrow")
    for name in names:
        twin = place / secrets.token_hex(8)
        os.link(shard, f"{twin}.arrow")
        told = {
            "key": make_picture_cache_key(digests[name], 2.0),
            "frames": FRAMES,
            "shape": [TOKENS, WIDTH],
            "bytes": 1,
        }
        Path(f"{twin}.json").write_text(json.dumps({"schema": 1, "videos": [told]}))
    found = _timed("stream_once", str(folder))
    return {
        "stream_rss_mb": found["mb"],
        "stream_gb": round(videos * per_video / 1e9, 1),
        "stream_gb_per_s": round(videos * per_video / 1e9 / found["seconds"], 2),
    }


class NoTower:
    """Stand-in for a model in runs where all features are stored."""

    device = torch.device("cpu")

    def encode_frames(self, pixels_N3HW: torch.Tensor) -> torch.Tensor:
        """Fail, because no frame should need encoding."""
        raise AssertionError("a feature is not stored")


def stream_once(folder: str) -> dict[str, float]:
    """Read every feature of a dataset through the cache that training and evaluation use."""
    data = Dataset.open(Path(folder) / "set")
    cache = FeatureCache(data, Path(folder) / "cache", "x", FrameFormat(8), ShardStore(f"{folder}/store", "x"))
    process, most, total = psutil.Process(), 0, 0.0
    begin = time.perf_counter()
    for features in cache.feed(NoTower(), data.rows("test")):
        assert isinstance(features, np.ndarray), features
        total += float(features[:, 0, 0].sum())
        most = max(most, process.memory_info().rss)
    return {"seconds": time.perf_counter() - begin, "mb": round(most / 1e6), "sum": total}


def _different(count: int) -> Iterator[Episode]:
    """Yield episodes of ordinary length with distinct ids; three episodes share a video."""
    made = generate_workbench_video(0, "test", 0)[0][0]
    return (replace(made, id=f"e{k:06d}", video=f"videos/{k // 3}.mp4") for k in range(count))


def _timed(function: str, *given: str) -> dict[str, float]:
    code = f"import json, sys; from benchmarks.performance.scale_data import {function}; print(json.dumps({function}(*sys.argv[1:])))"
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found

"""Shared fixtures: no network, test tiers, a small workbench on disk, a random model of minimal
size.
"""

from __future__ import annotations

import gc
import os
import random
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

from prospect_core.data.dataset import Dataset
from tests.helpers.fixture_cache import WHOLE, FixtureCache, files_in
from tests.helpers.paths import SHARED_DATA
from tests.helpers.tiers import block_torch, holds_unit_tests, tier_of

# the default examples are the same in every run; `HYPOTHESIS_PROFILE=nightly` draws new and more ones
hypothesis.settings.register_profile("default", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.register_profile("nightly", deadline=None, max_examples=500)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

REAL_CONNECT = socket.socket.connect
WORLD_MODULES = ("prospect_core.workbench.generate",)
WORLD_SEED = 7
WORLD_VIDEOS = {"train": 2, "val": 1, "test": 2}
#: pictures per second: only the pictures that are read, so that decoding is fast
WORLD_FPS = 2
SHORT_FRAMES = 60


def pytest_configure(config: pytest.Config) -> None:
    if config.option.markexpr == "unit":
        block_torch()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``-m unit``, do not import modules of other tiers."""
    is_module = collection_path.suffix == ".py" and collection_path.name.startswith("test_")
    if config.option.markexpr == "unit" and is_module and not holds_unit_tests(collection_path):
        return True
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(tier_of(item))


def pytest_collection_finish() -> None:
    """Exclude imported modules from garbage collection, which each training runs twice."""
    gc.collect()
    gc.freeze()


def _loopback_only(self: socket.socket, address: Any) -> None:
    is_internet = self.family in (socket.AF_INET, socket.AF_INET6)
    if is_internet and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"tests must not reach the network: {address}")
    REAL_CONNECT(self, address)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", _loopback_only)


@pytest.fixture(autouse=True)
def seeded() -> None:
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip("the reference material with real rows is not next to this checkout")
    return SHARED_DATA


@pytest.fixture(scope="session")
def fixture_cache(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> FixtureCache:
    """Folders that all workers and later runs share, or only this run without pytest's cache."""
    cache = getattr(pytestconfig, "cache", None)
    return FixtureCache(cache.mkdir("fixtures") if cache else tmp_path_factory.mktemp("fixtures"))


@pytest.fixture(scope="session")
def world(fixture_cache: FixtureCache) -> Iterator[Dataset]:
    """A workbench of five videos: two for train, one for val, two for test. Read-only."""
    from prospect_core.workbench.generate import generate_workbench

    def make(folder: Path) -> None:
        generate_workbench(folder, WORLD_SEED, WORLD_VIDEOS, video_fps=WORLD_FPS)

    parameters = {"seed": WORLD_SEED, "videos": WORLD_VIDEOS, "video_fps": WORLD_FPS}
    folder = fixture_cache.folder("world", WORLD_MODULES, parameters, make)
    yield from _unchanged(folder)


@pytest.fixture(scope="session")
def short_world(world: Dataset, fixture_cache: FixtureCache) -> Iterator[Dataset]:
    """The same videos with the first half minute of each episode. Read-only."""
    from prospect_core.data.dataset import write_dataset

    def make(folder: Path) -> None:
        shutil.copytree(world.root, folder)
        splits = {}
        for split in world.splits:
            episodes = world.episodes(split)
            splits[split] = [e.window(e.start_frame, e.start_frame + SHORT_FRAMES) for e in episodes]
        write_dataset(folder, "short", "1", 2, splits)

    parameters = {"world": world.root.name, "frames": SHORT_FRAMES}
    yield from _unchanged(fixture_cache.folder("short_world", WORLD_MODULES, parameters, make))


def _unchanged(folder: Path) -> Iterator[Dataset]:
    """Return the shared dataset; an error at the end of the session if a test changed a file."""
    before = files_in(folder)
    yield Dataset.open(folder)
    after = files_in(folder)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    changed = [name for name in changed if name != WHOLE]
    assert not changed, f"tests changed the shared folder {folder}: {', '.join(changed)}"


@pytest.fixture(scope="session")
def tokenizer(world: Dataset) -> Any:
    from prospect_core.sequence.tokenizer import train_tokenizer

    texts = []
    for episode in world.episodes("train"):
        texts += [step.name for step in episode.task.steps]
        texts += [event.text for event in episode.events]
    return train_tokenizer([text for text in (*texts, "S1->start; S2->complete; S3->reopen") if text], 400)


@pytest.fixture
def model(tokenizer: Any) -> Any:
    import torch

    from prospect_core.model.modeling import DSTSmolVLM
    from tests.helpers.small_models import small_config

    torch.manual_seed(0)
    return DSTSmolVLM(small_config(tokenizer)).eval()


@pytest.fixture(scope="session")
def cache_folder(fixture_cache: FixtureCache) -> Path:
    """A cache folder that replays of the small checkpoint share, so that features are encoded once."""
    return fixture_cache.folder("features", ("prospect_eval.models.checkpoint",), {}, Path.mkdir)


@pytest.fixture
def checkpoint(model: Any, tokenizer: Any, tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint folder of the small model. The test may change it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_folder))
    folder = tmp_path / "ckpt"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

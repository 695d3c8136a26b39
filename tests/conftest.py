"""Shared fixtures: no network, a small world on disk, a random model of the smallest size."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"

REAL_CONNECT = socket.socket.connect
SHARED = Path(__file__).parents[2] / "shared" / "data"


def _loopback_only(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in (
        "127.0.0.1",
        "::1",
        "localhost",
    ):
        raise OSError(f"tests must not reach the network: {address}")
    return REAL_CONNECT(self, address)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", _loopback_only)


@pytest.fixture(autouse=True)
def seeded():
    random.seed(0)
    np.random.seed(0)
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the reference material with real rows is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A workbench of a few videos: two to train on, one for val, two for test."""
    from prospect_core.workbench.generate import generate

    return generate(tmp_path_factory.mktemp("world") / "set", 7, {"train": 2, "val": 1, "test": 2})


@pytest.fixture(scope="session")
def short_world(world, tmp_path_factory):
    """The same videos, of each test episode the first half minute."""
    from prospect_core.data.dataset import write_dataset

    root = tmp_path_factory.mktemp("short") / "set"
    shutil.copytree(world.root, root)
    splits = {
        split: [e.window(e.start_frame, e.start_frame + 60) for e in world.episodes(split)] for split in world.splits
    }
    return write_dataset(root, "short", "1", 2, splits)


@pytest.fixture(scope="session")
def tokenizer(world):
    from prospect_core.model.processing import train_tokenizer

    texts = [t for e in world.episodes("train") for t in (*(s.name for s in e.task.steps), *(x.text for x in e.events))]
    return train_tokenizer([*texts, "S1->start; S2->complete; S3->reopen"], 400)


def small_config(tokenizer, **changes):
    from prospect_core.model.configuration import DSTSmolVLMConfig

    options = {
        "vision_config": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
                          "image_size": 32, "patch_size": 8},
        "text_config": {"model_type": "llama", "vocab_size": len(tokenizer), "hidden_size": 48, "intermediate_size": 64,
                        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                        "max_position_embeddings": 8192, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1},
        "state_head_size": 16, "tokens_per_frame": 4, "max_reply_tokens": 8, "max_user_tokens": 16, "trained_steps": 1,
    }  # fmt: skip
    return DSTSmolVLMConfig(**{**options, **changes})


@pytest.fixture
def model(tokenizer):
    import torch

    from prospect_core.model.modeling import DSTSmolVLM

    torch.manual_seed(0)
    return DSTSmolVLM(small_config(tokenizer)).eval()


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def checkpoint(model, tokenizer, tmp_path, cache_folder, monkeypatch) -> Path:
    # what is replayed leaves features of its videos in the cache
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_folder))
    folder = tmp_path / "ckpt"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def edit_json(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

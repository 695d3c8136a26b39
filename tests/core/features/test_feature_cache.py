"""Pictures in memory and features on disk: stored values, invalidation, and use in training."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from prospect_core.data.dataset import Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.video import VideoFile
from prospect_core.features import decode_pool, feature_cache, picture_cache
from prospect_core.features.feature_cache import (
    FeatureCache,
    encode_feature_cache_pictures,
    feature_cache_batch_size,
    feature_cache_vision_digest,
)
from prospect_core.features.picture_cache import PictureCache, find_picture_cache_key, open_picture_cache
from prospect_core.features.precompute import Encoder, precompute_features
from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.train.config.compose import compose_config
from prospect_core.train.data.sources import open_training_source_media
from prospect_core.train.setup.model_factory import freeze_model_factory_parts
from prospect_core.util import file_digest
from prospect_core.util.errors import DataError
from prospect_core.util.file_digest import digest_file, digest_file_content
from prospect_core.util.prefetch import prefetch
from prospect_core.util.timer import StageTimer
from tests.helpers.commands import run_cli
from tests.helpers.small_models import small_config
from tests.helpers.training import SMALL

pytestmark = pytest.mark.integration


def test_feature_cache_other_time_axis_is_ignored(model, tmp_path, monkeypatch):
    """The definition of frame 0 has changed for videos whose container does not start at 0."""
    before = feature_cache_vision_digest(model), open_picture_cache(str(tmp_path), FrameFormat(16)).name
    monkeypatch.setattr(feature_cache, "FRAMES_VERSION", 99)
    monkeypatch.setattr(picture_cache, "FRAMES_VERSION", 99)
    after = feature_cache_vision_digest(model), open_picture_cache(str(tmp_path), FrameFormat(16)).name
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_vision_digest_of_loaded_model_equals_saved(model, checkpoint):
    assert feature_cache_vision_digest(load_model_checkpoint(str(checkpoint))[0]) == feature_cache_vision_digest(model)


def test_feature_cache_video_without_digest_is_hashed_once(world, tmp_path, monkeypatch):
    """The whole video was hashed for every window."""
    root = tmp_path / "set"
    shutil.copytree(world.root, root)
    info = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps({**info, "videos": dict.fromkeys(info["videos"])}))
    hashed = []
    monkeypatch.setattr(file_digest, "digest_file", lambda path: (hashed.append(path), digest_file(path))[1])
    data = Dataset.open(root)
    episode = next(data.episodes("test"))
    cache = FeatureCache(data, tmp_path / "features", "digest", FrameFormat(32))
    paths = {cache.path(episode) for _ in range(3)}
    assert len(paths) == 1
    assert [path.suffix for path in hashed if path.suffix != ".jsonl"] == [Path(episode.video).suffix]
    with (root / episode.video).open("ab") as file:
        file.write(b"x")
    assert cache.path(episode) not in paths


def test_picture_cache_equals_video_within_limit(world):
    episodes = {e.video: e for split in world.splits for e in world.episodes(split)}
    cache = PictureCache(world, FrameFormat(16), limit_bytes=1)
    for episode in episodes.values():
        expected = np.stack(list(world.frame_source(episode, FrameFormat(16)).frames(0, episode.end_frame)))
        assert np.array_equal(cache(episode, 3, 9), expected[3:9])
        assert np.array_equal(cache(episode, 0, episode.end_frame), expected)
    assert len(cache._videos) == 1
    roomy = PictureCache(world, FrameFormat(16))
    for episode in episodes.values():
        roomy(episode, 0, 4)
    assert len(roomy._videos) == len(episodes)


def test_feature_cache_equals_model_and_encodes_once(world, model, tmp_path, monkeypatch):
    episodes = list(world.episodes("train"))
    cache = FeatureCache(world, tmp_path, feature_cache_vision_digest(model), FrameFormat(32))
    assert cache.prepare(model, episodes) == 2
    monkeypatch.setattr(DSTSmolVLM, "encode_frames", None)
    again = FeatureCache(world, tmp_path, feature_cache_vision_digest(model), FrameFormat(32))
    assert again.prepare(model, episodes) == 0
    monkeypatch.undo()
    episode = episodes[0]
    expected = encode_feature_cache_pictures(
        model, world.frame_source(episode, FrameFormat(32)).frames(0, episode.end_frame)
    ).numpy()
    assert again(episode, 5, 12).dtype == np.float32
    np.testing.assert_array_equal(again(episode, 5, 12), expected[5:12])
    assert isinstance(np.load(again.path(episode), mmap_mode="r"), np.memmap)


@pytest.mark.parametrize("part", ["vision_model", "connector"])
def test_vision_digest_changes_with_vision_weights(model, part):
    before = feature_cache_vision_digest(model)
    with torch.no_grad():
        next(getattr(model.model, part).parameters()).flatten()[0] += 1e-3
    assert feature_cache_vision_digest(model) != before


def test_vision_digest_depends_on_pooling_not_text(model, tokenizer):
    before = feature_cache_vision_digest(model)
    with torch.no_grad():
        model.speaking_head.weight += 1
        next(model.model.text_model.parameters()).add_(1)
    assert feature_cache_vision_digest(model) == before
    torch.manual_seed(0)
    assert feature_cache_vision_digest(DSTSmolVLM(small_config(tokenizer, tokens_per_frame=1))) != before


def test_vision_digest_depends_on_tower_shape(tokenizer):
    digests = set()
    for heads in (2, 4):
        torch.manual_seed(0)
        config = small_config(tokenizer)
        config.vision_config.num_attention_heads = heads
        digests.add(feature_cache_vision_digest(DSTSmolVLM(config)))
    assert len(digests) == 2


def test_feature_cache_damaged_file_is_encoded_again(world, model, tmp_path):
    episodes = list(world.episodes("train"))
    cache = FeatureCache(world, tmp_path, "x", FrameFormat(32))
    cache.prepare(model, episodes)
    file = cache.path(episodes[0])
    file.write_bytes(file.read_bytes()[:40])
    assert FeatureCache(world, tmp_path, "x", FrameFormat(32)).prepare(model, episodes) == 1
    longer = replace(episodes[0], end_frame=episodes[0].end_frame + 500)
    with pytest.raises(DataError, match=r"has \d+ frames at 2 fps, episode"):
        cache.prepare(model, [longer])


def test_feature_cache_feed_is_in_order(world, model, tmp_path, monkeypatch):
    """Two episodes of one video, one without a video, and one that is longer than its video."""
    first, second = {e.video: e for e in world.episodes("train")}.values()
    part = replace(first, start_frame=7, end_frame=30)
    lost, longer = replace(first, video="videos/none.mp4"), replace(second, end_frame=second.end_frame + 500)
    decoded = []
    decode = VideoFile.frames
    monkeypatch.setattr(VideoFile, "frames", lambda v, *span: (decoded.append(v.path), decode(v, *span))[1])
    for folder in (tmp_path / "a", tmp_path / "file"):
        (tmp_path / "file").write_text("no folder can be here")
        decoded.clear()
        watch = StageTimer()
        cache = FeatureCache(world, folder, "x", FrameFormat(32))
        found = list(cache.feed(model, [first, part, lost, second, first], watch))
        assert decoded == [world.video(first.video), world.video(second.video)]
        assert {"decode", "vision"} == set(watch.take())
        assert [len(f) for f in (found[0], found[1], found[3])] == [first.num_frames, 23, second.num_frames]
        np.testing.assert_array_equal(found[0][7:30], found[1])
        np.testing.assert_array_equal(found[0], found[4])
        assert isinstance(found[2], DataError)
        whole = encode_feature_cache_pictures(
            model, world.frame_source(second, FrameFormat(32)).frames(0, second.end_frame)
        )
        np.testing.assert_array_equal(found[3], whole.numpy())
    assert len(list((tmp_path / "a").rglob("*.npy"))) == 2
    again = list(FeatureCache(world, tmp_path / "a", "x", FrameFormat(32)).feed(model, [second, longer]))
    np.testing.assert_array_equal(again[0], found[3])
    assert "frames at 2 fps" in str(again[1])


def test_prefetch_is_bounded_and_thread_ends():
    asked = []

    def numbers(count, error=None):
        for n in range(count):
            asked.append(n)
            yield n
        if error:
            raise error

    assert list(prefetch(numbers(50), 2)) == list(range(50))
    assert list(prefetch(iter(()), 2)) == []
    asked.clear()
    some = prefetch(numbers(50), 3)
    assert [next(some), next(some)] == [0, 1]
    time.sleep(0.3)
    # two taken, three in the queue, one in progress
    assert len(asked) <= 6
    some.close()
    broken = prefetch(numbers(2, DataError("breaks off")), 9)
    assert [next(broken), next(broken)] == [0, 1]
    with pytest.raises(DataError, match="breaks off"):
        next(broken)
    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]


def test_feature_cache_path_depends_on_video_size(world, model, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(world.root, root)
    data = Dataset.open(root)
    episode = next(data.episodes("train"))
    cache = FeatureCache(data, tmp_path, "x", FrameFormat(32))
    before = cache.path(episode)
    (root / episode.video).write_bytes((root / episode.video).read_bytes() + b"more")
    assert cache.path(episode) != before
    (root / episode.video).unlink()
    with pytest.raises(DataError, match="no such file"):
        cache.path(episode)


def test_picture_cache_depends_on_rate(world):
    """Two frame rates of one video are two sets of pictures."""
    episode = next(world.episodes("train"))
    slow = replace(episode, fps=1.0, end_frame=episode.end_frame // 2)
    cache = PictureCache(world, FrameFormat(16))
    fast = cache(episode, 0, 20)
    expected = np.stack(list(world.frame_source(slow, FrameFormat(16)).frames(0, 10)))
    assert np.array_equal(cache(slow, 0, 10), expected)
    assert np.array_equal(expected, fast[::2])


def test_feature_cache_replaced_video_has_other_features(world, model, tmp_path):
    """Also if the dataset still states the old digest, in a cache and in a store."""
    root = tmp_path / "set"
    shutil.copytree(world.root, root)
    data = Dataset.open(root)
    episode = next(data.episodes("train"))
    file, url = data.video(episode.video), str(tmp_path / "store")
    encoder = Encoder(root, url, None, FrameFormat(16), "cpu", str(tmp_path))
    assert precompute_features(encoder, data, ["train"], None)[2] == []
    before = FeatureCache(data, tmp_path, "x", FrameFormat(32)).path(episode)
    assert find_picture_cache_key(data, open_picture_cache(url, FrameFormat(16)), episode) is not None
    content = file.read_bytes()
    file.write_bytes(content[:-9] + b"something")
    assert file.stat().st_size == len(content)
    assert FeatureCache(data, tmp_path, "x", FrameFormat(32)).path(episode) != before
    assert find_picture_cache_key(data, open_picture_cache(url, FrameFormat(16)), episode) is None


def test_feature_cache_failing_process_joins_others(world, model, tmp_path):
    """The other processes would wait for it until their group's timeout."""
    root = tmp_path / "set"
    shutil.copytree(world.root, root)
    data = Dataset.open(root)
    episode = next(data.episodes("train"))
    data.video(episode.video).write_bytes(b"no video")
    waits = []
    cache = FeatureCache(data, tmp_path, "x", FrameFormat(32))
    with pytest.raises(DataError, match="not a readable video"):
        cache.prepare(model, [episode], processes=feature_cache.Processes(0, 1, lambda: waits.append(1)))
    assert len(waits) == 2


def test_digest_file_is_computed_once_for_processes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "v.mp4"
    file.write_bytes(b"one")
    reads = []
    monkeypatch.setattr(file_digest, "digest_file", lambda path: reads.append(path) or digest_file(path))
    for _ in range(2):
        assert digest_file_content(file) == hashlib.sha256(b"one").hexdigest()
        # the cache as another process finds it
        file_digest._digest_of_state.cache_clear()
    assert len(reads) == 1
    (kept,) = (tmp_path / "cache" / "prospect" / "digests").iterdir()
    kept.write_text("damaged")
    file_digest._digest_of_state.cache_clear()
    assert digest_file_content(file) == hashlib.sha256(b"one").hexdigest()
    file.write_bytes(b"two")
    assert digest_file_content(file) == hashlib.sha256(b"two").hexdigest()


def test_feature_cache_crash_leaves_no_file(world, model, tmp_path, monkeypatch):
    cache = FeatureCache(world, tmp_path, "x", FrameFormat(32))
    monkeypatch.setattr(np, "save", lambda file, array, allow_pickle: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        cache.prepare(model, list(world.episodes("train")))
    assert list(cache.folder.iterdir()) == []


def test_feature_cache_files_are_closed(world, model, tmp_path, monkeypatch):
    """Each file stayed mapped: with a thousand videos a process ran out of file handles."""
    monkeypatch.setattr("prospect_core.features.feature_cache.MOST_OPEN", 2)
    cache = FeatureCache(world, tmp_path, feature_cache_vision_digest(model), FrameFormat(32))
    episodes = list({e.video: e for split in world.splits for e in world.episodes(split)}.values())
    cache.prepare(model, episodes)
    before = psutil.Process().num_fds()
    again = FeatureCache(world, tmp_path, feature_cache_vision_digest(model), FrameFormat(32))
    seen = [again(e, 0, 5) for e in (*episodes, *reversed(episodes))]
    assert len(episodes) > 3
    assert psutil.Process().num_fds() <= before + 2
    assert all(np.array_equal(a, b) for a, b in zip(seen, reversed(seen), strict=True))


def test_training_features_are_encoded_on_training_device(world, model, tmp_path, monkeypatch):
    """On a GPU machine one CPU core encoded three thousand videos, and the training had not started
    at its time limit.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config, _ = compose_config(["model.vision_tower=frozen"])
    found = []
    monkeypatch.setattr(FeatureCache, "prepare", lambda self, model, *_: found.append(model.device.type) or 0)
    ours = copy.deepcopy(model)
    freeze_model_factory_parts(ours, config.model)
    open_training_source_media(
        config, world, ours, list(world.episodes("train")), lambda line: None, torch.device("meta")
    )
    assert found == ["meta"]


def test_feature_cache_batch_size_by_device():
    """The batch has as many pixels as 64 pictures of 512 x 512; a CPU does not benefit."""
    assert [feature_cache_batch_size(torch.device("cuda"), size) for size in (512, 96, 10**5)] == [64, 1820, 1]
    assert feature_cache_batch_size(torch.device("cpu"), 96) == 64


def test_feature_cache_uses_batch_size(world, model, tmp_path, monkeypatch):
    monkeypatch.setattr(decode_pool, "FEW", 0)
    monkeypatch.setattr(decode_pool, "count_cores", lambda: 2)
    monkeypatch.setattr(feature_cache, "feature_cache_batch_size", lambda device, size: 7)
    sizes = []
    encode = DSTSmolVLM.encode_frames
    monkeypatch.setattr(
        DSTSmolVLM, "encode_frames", lambda self, pixels: sizes.append(len(pixels)) or encode(self, pixels)
    )
    episodes = list(world.episodes("train"))
    cache = FeatureCache(world, tmp_path, feature_cache_vision_digest(model), FrameFormat(32))
    assert cache.prepare(model, episodes) == 2
    assert (max(sizes), len(sizes) > 2) == (7, True)
    expected = encode_feature_cache_pictures(
        model, world.frame_source(episodes[0], FrameFormat(32)).frames(0, episodes[0].end_frame)
    ).numpy()
    np.testing.assert_allclose(cache(episodes[0], 0, episodes[0].end_frame), expected, atol=1e-5)


@pytest.mark.slow
def test_train_frozen_tower_features_equal_pictures(world, tmp_path, monkeypatch, capsys):
    """With a trained tower stored features would be stale: they are not read, and asking for them
    warns.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    losses = {}
    for from_store in ("true", "false"):
        out = tmp_path / from_store
        options = [
            f"data={world.root}",
            f"output={out}",
            "train.max_steps=3",
            "sampling.frames.key_frames=null",
            *SMALL,
        ]
        assert run_cli("train", *options, "model.vision_tower=frozen", f"data.features={from_store}") == 0
        losses[from_store] = [json.loads(line)["state"] for line in (out / "train_log.jsonl").read_text().splitlines()]
    assert "features of 2 videos" in capsys.readouterr().err
    assert losses["true"] == pytest.approx(losses["false"], abs=2e-5)
    files = list((tmp_path / "cache").rglob("*.npy"))
    assert len(files) == 2
    shutil.rmtree(tmp_path / "cache")
    assert run_cli("train", f"data={world.root}", f"output={tmp_path / 'trained'}", "train.max_steps=1", *SMALL,
                   "data.features=true") == 0  # fmt: skip
    assert "warning: data.features has no effect: the vision tower is trained" in capsys.readouterr().err
    assert not list((tmp_path / "cache").rglob("*.npy"))

"""Sharded stores in a folder or an object store, read by training and evaluation in place of
decoding.
"""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from prospect_core.cli.commands import prospect
from prospect_core.data.dataset import Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.video import VideoFile
from prospect_core.features import precompute
from prospect_core.features.feature_cache import FeatureCache, feature_cache_vision_digest, open_feature_cache
from prospect_core.features.picture_cache import PictureCache, open_picture_cache
from prospect_core.features.shard_store import ShardStore
from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.util.errors import DataError, UserError
from tests.helpers.commands import call, evaluate, one_line
from tests.helpers.files import digest

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def object_store():
    """An object store on this machine with the S3 protocol."""
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def url(request, tmp_path, monkeypatch):
    if request.param == "folder":
        return str(tmp_path / "store")
    import fsspec

    endpoint = request.getfixturevalue("object_store")
    for name, value in (("ENDPOINT_URL", endpoint), ("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"), ("DEFAULT_REGION", "us-east-1")):  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)
    fsspec.filesystem("s3", skip_instance_cache=True).mkdirs("bucket", exist_ok=True)
    fsspec.filesystem("s3").clear_instance_cache()
    return f"s3://bucket/{tmp_path.name}"


def arrays(rng, count=5):
    return [(f"v{k}", rng.random((k + 1, 4, 3), dtype=np.float32), 100 + k) for k in range(count)]


def test_shard_store_round_trips(url):
    videos = arrays(np.random.default_rng(0))
    store = ShardStore(url, "x")
    store.write(videos[:2])
    store.write(videos[2:])
    store.write([])
    for reader in (store, ShardStore(url, "x"), pickle.loads(pickle.dumps(store))):
        assert sorted(reader.videos) == ["v0", "v1", "v2", "v3", "v4"]
        for key, array, size in reversed(videos):
            np.testing.assert_array_equal(reader.read(key), array)
            assert reader.frames_of(key) == len(array)
            assert reader.videos[key][2].bytes == size
    assert "v0" not in ShardStore(url, "y")


def test_shard_store_pictures_are_exact(url):
    pictures = np.random.default_rng(0).integers(0, 255, (7, 16, 16, 3), dtype=np.uint8)
    ShardStore(url, "frames-16").write([("v", pictures, 1)])
    np.testing.assert_array_equal(ShardStore(url, "frames-16").read("v"), pictures)


def test_shard_store_folder_features_are_mapped(tmp_path):
    store = ShardStore(str(tmp_path), "x")
    store.write([("v", np.ones((50, 4, 3), dtype=np.float32), 1)])
    found = ShardStore(str(tmp_path), "x").read("v")
    assert not found.flags.owndata
    assert not found.flags.writeable


def test_shard_store_two_writers_do_not_conflict(url):
    """If both have written a video, one is read; a reader that was opened before sees it after a
    refresh.
    """
    first, second = ShardStore(url, "x"), ShardStore(url, "x")
    a, b = np.zeros((2, 3), np.float32), np.zeros((3, 3), np.float32)
    first.write([("v", a, 1), ("w", b, 1)])
    second.write([("v", a, 1)])
    assert sorted(second.videos) == ["v"]
    second.refresh()
    assert sorted(second.videos) == ["v", "w"]
    np.testing.assert_array_equal(second.read("w"), b)


def test_shard_store_shard_without_list_is_ignored(tmp_path):
    """A writer that is killed between the two files has written nothing."""
    store = ShardStore(str(tmp_path), "x")
    store.write(arrays(np.random.default_rng(0)))
    next((tmp_path / "x").glob("*.json")).unlink()
    assert not ShardStore(str(tmp_path), "x").videos


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"x" * len(b)])
def test_shard_store_damaged_shard_raises(tmp_path, damage):
    ShardStore(str(tmp_path), "x").write(arrays(np.random.default_rng(0)))
    shard = next((tmp_path / "x").glob("*.arrow"))
    shard.write_bytes(damage(shard.read_bytes()))
    with pytest.raises(DataError, match=str(tmp_path)):
        ShardStore(str(tmp_path), "x").read("v1")


def test_shard_store_invalid_address_raises(monkeypatch):
    with pytest.raises(UserError, match=r"Protocol not known: nope; give a folder or an fsspec address such as"):
        ShardStore("nope://x", "y")

    def without(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", without)
    with pytest.raises(UserError, match=r"pip install 'prospect-suite\[s3\]'"):
        ShardStore("s3://bucket/x", "y")


def test_shard_store_missing_bucket_raises(url):
    if not url.startswith("s3"):
        pytest.skip("a folder is made")
    with pytest.raises(DataError, match="s3://nobody/x"):
        ShardStore("s3://nobody/x", "y").write(arrays(np.random.default_rng(0)))


@pytest.mark.slow
def test_feature_store_training_and_evaluation_are_equal(checkpoint, short_world, url, tmp_path, monkeypatch, capsys):
    """Nothing is decoded or encoded, the videos can be missing, and every digit is equal."""
    given = ["run", "--ckpt", checkpoint, "--data", short_world.root, "--limit", 2, "--output"]
    assert evaluate(*given, tmp_path / "plain") == 0
    made = ["data", "features", short_world.root, "--ckpt", checkpoint, "--output", url, "--split", "test"]
    assert call(prospect, *made) == 0
    assert f"{url}: 2 videos written, 0 present before" in capsys.readouterr().out
    assert call(prospect, *made) == 0
    assert f"{url}: 0 videos written, 2 present before" in capsys.readouterr().out
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(DSTSmolVLM, "encode_frames", None)
    assert evaluate(*given, tmp_path / "stored", "--features", url) == 0
    assert digest(tmp_path / "stored") == digest(tmp_path / "plain")
    root = tmp_path / "set"
    shutil.copytree(short_world.root, root, ignore=shutil.ignore_patterns("*.mp4"))
    model, _ = load_model_checkpoint(str(checkpoint))
    cache = FeatureCache(
        Dataset.open(root),
        tmp_path / "none",
        feature_cache_vision_digest(model),
        FrameFormat(32),
        open_feature_cache(url, model),
    )
    episode = next(short_world.episodes("test"))
    assert cache(episode, 3, 9).shape == (6, 4, 48)
    assert cache.prepare(model, [episode]) == 0


def test_feature_store_of_other_model_is_refused(checkpoint, short_world, tmp_path, capsys):
    given = ["run", "--ckpt", checkpoint, "--data", short_world.root, "--output", tmp_path / "run"]
    assert evaluate(*given, "--features", tmp_path) == 3
    assert f"{tmp_path}: holds no features of this checkpoint" in one_line(capsys)
    assert evaluate("run", "--ckpt", "baseline:oracle", *given[3:], "--features", tmp_path) == 2
    assert "so --features would have no effect" in one_line(capsys)


def test_feature_store_replaced_video_is_detected(checkpoint, short_world, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(short_world.root, root)
    data, episode = Dataset.open(root), next(short_world.episodes("test"))
    model, _ = load_model_checkpoint(str(checkpoint))
    encoder = precompute.Encoder(root, str(tmp_path / "store"), str(checkpoint), None, "cpu", str(tmp_path))
    assert precompute.precompute_features(encoder, data, ["test"], None) == (2, 0, [])
    store = open_feature_cache(str(tmp_path / "store"), model)
    cache = FeatureCache(data, tmp_path / "a", feature_cache_vision_digest(model), FrameFormat(32), store)
    assert cache.prepare(model, [episode]) == 0
    other = next(e for e in short_world.episodes("test") if e.video != episode.video)
    before, theirs = cache(episode, 0, 5), cache(other, 0, 5)
    # the store has its current contents under the other video's name
    shutil.copy(root / other.video, root / episode.video)
    assert cache.prepare(model, [episode]) == 0
    assert np.array_equal(cache(episode, 0, 5), theirs)
    assert not np.array_equal(before, theirs)
    with (root / episode.video).open("ab") as file:
        file.write(b"x")
    assert cache.prepare(model, [episode]) == 1


@pytest.mark.slow
def test_frames_command_store_equals_video(short_world, tmp_path, monkeypatch, capsys):
    url = str(tmp_path / "store")
    assert (
        call(
            prospect,
            "data",
            "frames",
            short_world.root,
            "--size",
            16,
            "--framing",
            "crop",
            "--output",
            url,
            "--workers",
            2,
        )
        == 0
    )
    assert "videos written, 0 present before" in capsys.readouterr().out
    expected = [PictureCache(short_world, FrameFormat(16))(e, 2, 9) for e in short_world.rows("train")]
    monkeypatch.setattr(VideoFile, "frames", None)
    cache = PictureCache(short_world, FrameFormat(16), store=open_picture_cache(url, FrameFormat(16)))
    cache.prepare(short_world.rows("train").clips())
    for episode, pictures in zip(short_world.rows("train"), expected, strict=True):
        np.testing.assert_array_equal(cache(episode, 2, 9), pictures)


def test_picture_store_decoding_imports_no_torch(short_world, tmp_path):
    """Workers that only decode start without torch."""
    arguments = ["data", "frames", str(short_world.root), "--size", "16", "--output", str(tmp_path / "store")]
    code = (
        "import contextlib, sys; from prospect_core.cli.commands import prospect\n"
        f"with contextlib.suppress(SystemExit): prospect({arguments})\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "5 videos written" in done.stdout


def test_frames_command_damaged_video_is_skipped(short_world, tmp_path, capsys):
    root = tmp_path / "set"
    shutil.copytree(short_world.root, root)
    broken = next(short_world.episodes("test")).video
    (root / broken).write_bytes(b"x")
    assert call(prospect, "data", "frames", root, "--size", 16, "--output", tmp_path / "store") == 3
    captured = capsys.readouterr()
    assert "4 videos written" in captured.out
    assert broken in captured.err
    assert "1 video failed; repair the files above" in captured.err


def test_features_command_unknown_split_is_refused(short_world, tmp_path, capsys):
    given = ["data", "frames", short_world.root, "--size", 16, "--output", tmp_path / "s", "--split", "tset"]
    assert call(prospect, *given) == 2
    assert "--split tset" in one_line(capsys)


def test_precompute_features_shards_are_bounded(monkeypatch, short_world):
    monkeypatch.setattr(precompute, "SHARD_BYTES", 250)
    clips = short_world.rows("test").clips()  # 60 frames each
    assert [len(pack) for pack in precompute.group_precompute_shards(clips, 1, 1)] == [4, 2]
    assert [len(pack) for pack in precompute.group_precompute_shards(clips, 1, 3)] == [2, 2, 2]
    assert [len(pack) for pack in precompute.group_precompute_shards(clips, 9, 1)] == [1] * 6
    assert precompute.group_precompute_shards([], 9, 1) == []


def test_shard_store_lists_are_small_json(tmp_path):
    ShardStore(str(tmp_path), "x").write([("v", np.ones((5, 4), np.float32), 7)])
    told = json.loads(next((tmp_path / "x").glob("*.json")).read_text())
    assert told == {"schema": 1, "videos": [{"key": "v", "frames": 5, "shape": [4], "bytes": 7}]}

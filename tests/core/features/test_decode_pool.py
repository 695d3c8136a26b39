"""Prefetch of whole videos for a training by worker processes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from prospect_core.data.frame_format import FrameFormat
from prospect_core.features import decode_pool
from prospect_core.features.decode_pool import decode_videos_in_pool
from prospect_core.features.feature_cache import (
    FeatureCache,
    encode_feature_cache_pictures,
    feature_cache_vision_digest,
)
from prospect_core.features.picture_cache import PictureCache
from prospect_core.util.errors import DataError

pytestmark = pytest.mark.integration


def videos(world):
    return list({e.video: e for split in world.splits for e in world.episodes(split)}.values())


@pytest.mark.parametrize("few", [0, 99])
def test_decode_pool_pictures_are_in_order(world, monkeypatch, few):
    monkeypatch.setattr(decode_pool, "FEW", few)
    monkeypatch.setattr(decode_pool, "count_cores", lambda: 2)
    episodes = videos(world)
    lost = replace(episodes[0], video="videos/lost.mp4")
    found = list(decode_videos_in_pool(world, [*episodes, lost, *episodes], FrameFormat(16)))
    assert len(found) == 2 * len(episodes) + 1
    assert isinstance(found[len(episodes)], DataError)
    assert "lost.mp4: no such file" in str(found[len(episodes)])
    for episode, first, second in zip(episodes, found, found[len(episodes) + 1 :], strict=False):
        source = world.frame_source(episode, FrameFormat(16))
        assert np.array_equal(first, np.stack(list(source.frames(0, source.num_frames))))
        assert np.array_equal(first, second)


def test_choose_decode_pool_size_limits_memory(world, monkeypatch):
    monkeypatch.setattr(decode_pool, "FEW", 0)
    monkeypatch.setattr(decode_pool, "count_cores", lambda: 8)
    episodes = videos(world)
    longest = max(e.end_frame for e in episodes) * 3 * 16**2
    for room, processes in ((longest, 0), (2 * longest, 1), (7 * longest, 3), (1000 * longest, 8)):
        monkeypatch.setattr(decode_pool, "WAITING", room)
        assert decode_pool.choose_decode_pool_size(episodes, FrameFormat(16)) == processes


@pytest.mark.parametrize("few", [0, 99])
def test_decode_pool_features_equal_one_process(world, model, tmp_path, monkeypatch, few):
    monkeypatch.setattr(decode_pool, "FEW", few)
    monkeypatch.setattr(decode_pool, "count_cores", lambda: 2)
    episodes = videos(world)
    cache = FeatureCache(world, tmp_path, feature_cache_vision_digest(model), FrameFormat(32))
    assert cache.prepare(model, episodes) == len(episodes)
    for episode in episodes:
        expected = encode_feature_cache_pictures(
            model, world.frame_source(episode, FrameFormat(32)).frames(0, episode.end_frame)
        ).numpy()
        np.testing.assert_array_equal(cache(episode, 0, episode.end_frame), expected)


def test_picture_cache_prepared_decodes_nothing(world, monkeypatch):
    episodes = videos(world)
    cache = PictureCache(world, FrameFormat(16))
    cache.prepare(episodes)
    tight = PictureCache(world, FrameFormat(16), limit_bytes=episodes[0].end_frame * 3 * 16**2)
    tight.prepare(episodes)
    assert len(tight._videos) == 1
    expected = {e.id: PictureCache(world, FrameFormat(16))(e, 2, 5) for e in episodes}
    monkeypatch.setattr(type(world), "frame_source", None)
    for episode in episodes:
        assert np.array_equal(cache(episode, 2, 5), expected[episode.id])


def test_picture_cache_missing_video_raises(world):
    lost = replace(videos(world)[0], video="videos/lost.mp4")
    with pytest.raises(DataError, match="no such file"):
        PictureCache(world, FrameFormat(16)).prepare([lost])

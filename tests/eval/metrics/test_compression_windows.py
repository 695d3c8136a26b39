"""Frames before and after compressions, by hand."""

from __future__ import annotations

import numpy as np

from prospect_core.records import CompressionEvent
from prospect_eval.metrics import Scored
from prospect_eval.metrics.context import mark_context_compression_frames
from tests.helpers.predictions import TOOLS, episode, predict, score, step

NOT_STARTED, STARTED, DONE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def compressed(frames, at, **more):
    """A record of ``frames`` frames, compressed after the frames ``at``."""
    events = tuple(CompressionEvent(frame, "drop_all", 100, 40, 1000, 400) for frame in at)
    return predict(episode(step(0.5, "S1", "start"), frames=frames), compressions=events, **more)


def windows(frames, at):
    """Return the frames before and after the compressions."""
    scored = Scored(compressed(frames, at), TOOLS)
    return [np.flatnonzero(mark_context_compression_frames(scored, side)).tolist() for side in ("before", "after")]


def test_compression_windows_close_do_not_overlap():
    before, after = windows(60, [9, 29, 34])
    # the frames 10 .. 29 between two compressions are halved; the middle frame of 30 .. 34 is after
    assert after == [*range(10, 20), *range(30, 33), *range(35, 60)]
    assert before == [*range(10), *range(20, 30), 33, 34]


def test_compression_windows_distant_reach_a_minute():
    # 2 frames per second: a minute is 120 frames, and 400 are between the compressions
    before, after = windows(700, [199, 599])
    assert before == [*range(80, 200), *range(480, 600)]
    assert after == [*range(200, 320), *range(600, 700)]


def test_compression_windows_every_frame_is_on_one_side():
    before, after = windows(6, range(6))
    assert before == [0]
    assert after == [1, 2, 3, 4, 5]


def test_jga_around_compression_separates_before_and_after():
    # compressions every 30 s (60 frames); the head is wrong for 20 s (40 frames) after each
    at = range(59, 480, 60)
    probs = []
    for frame in range(480):
        wrong = frame >= 60 and frame % 60 < 40
        state = DONE if wrong else STARTED if frame >= 1 else NOT_STARTED
        probs.append((state, NOT_STARTED))
    table = score(compressed(480, at, state_probs=tuple(probs)))
    # after: the first 15 s of 30 s, all wrong; no frame follows the last compression
    assert table["dst_head_jga_after_compression"]["value"] == 0.0
    # before: the last 15 s, of which 5 s are wrong, and the 30 s before the first compression, all
    # correct
    assert table["dst_head_jga_before_compression"]["value"] == (60 + 7 * 20) / (60 + 7 * 30)

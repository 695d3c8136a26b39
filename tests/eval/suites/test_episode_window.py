"""The part of a video that an episode of a published benchmark covers."""

from __future__ import annotations

import pytest

from prospect_core.records import ReplayProtocol
from prospect_eval.suites.episode_window import (
    AFTER_END,
    AFTER_LONGEST,
    BEFORE_START,
    LONGEST_S,
    NO_VIDEO,
    EpisodeWindow,
    find_episode_window,
    find_time_fault,
    name_of_video,
)
from tests.helpers.replayed_benchmarks import KnownLengths

OFFICIAL, WHOLE = ReplayProtocol(horizon="official"), ReplayProtocol()


@pytest.mark.parametrize(
    ("protocol", "lengths", "frames"),
    [
        (OFFICIAL, {}, (6, 21)),
        (OFFICIAL, {"v": 100}, (6, 21)),
        (OFFICIAL, {"v": 15}, (6, 15)),
        (OFFICIAL, {"v": 4}, (3, 4)),
        (WHOLE, {"v": 100}, (0, 100)),
        (WHOLE, {}, (0, 21)),
    ],
)
def test_window_of_3_to_10_seconds_at_two_frames_a_second(protocol, lengths, frames):
    window = find_episode_window("v", (3.0, 10.0), protocol, KnownLengths(2, lengths))
    assert (window.start, window.end) == frames


def test_window_of_unknown_length_ends_after_a_day():
    assert find_episode_window("v", (0.0, 1e300), WHOLE, KnownLengths(2)).end == 2 * LONGEST_S + 1
    assert find_episode_window("v", (0.0, 1e300), WHOLE, KnownLengths(2, {"v": 7})).end == 7


def test_window_times_are_exact():
    window = EpisodeWindow(fps=3, start=2, end=10)
    assert (window.start_s, window.last_s, window.end_s) == (2 / 3, 3.0, 10 / 3)
    assert (window.clamp(3.1), window.clamp(20)) == (3.1, 10 / 3)


@pytest.mark.parametrize(
    ("times", "lengths", "fault"),
    [
        ((0.0, 11.0), {"v": 10}, None),
        ((11.01,), {"v": 10}, AFTER_END),
        ((500.0,), {}, None),
        ((-0.5,), {}, BEFORE_START),
        ((float(LONGEST_S),), {}, None),
        ((LONGEST_S + 1.0,), {}, AFTER_LONGEST),
    ],
)
def test_time_up_to_one_second_after_the_end_is_held(times, lengths, fault):
    assert find_time_fault("v", times, KnownLengths(1, lengths)) == fault


@pytest.mark.parametrize("video", ["", ".", "./", "/"])
def test_video_without_a_name_is_a_fault(video):
    assert find_time_fault(video, (1.0,), KnownLengths()) == NO_VIDEO


def test_name_of_video_has_no_suffix():
    assert name_of_video("./videos/a.b.mp4") == "videos/a.b"

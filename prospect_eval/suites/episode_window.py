"""The part of a video that an episode of a published benchmark covers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from prospect_core.records import ReplayProtocol
from prospect_core.timeline import exact_fraction, frame_ceil, frame_floor
from prospect_eval.suites.benchmark import VideoLengths

#: a time up to this many seconds after the end of its video is taken for the end, as a cut of the video takes it
END_SLACK_S = 1
#: no video of a benchmark is longer, in seconds; a later time is a fault of its annotation
LONGEST_S = 24 * 3600
NO_VIDEO = "the item names no video"
BEFORE_START = "a time lies before the start of the video"
AFTER_END = "a time lies after the end of the video"
AFTER_LONGEST = "a time lies more than a day after the start of the video"


@dataclass(frozen=True)
class EpisodeWindow:
    """Frames ``start .. end - 1`` of a video at ``fps``."""

    fps: float
    start: int
    end: int

    @property
    def start_s(self) -> float:
        """The time of the first frame in seconds."""
        return float(self.start / exact_fraction(self.fps))

    @property
    def end_s(self) -> float:
        """The end in seconds."""
        return float(self.end / exact_fraction(self.fps))

    @property
    def last_s(self) -> float:
        """The time of the last frame in seconds."""
        return float((self.end - 1) / exact_fraction(self.fps))

    def first_frame_time(self, time_s: float) -> float:
        """The time of the first frame at or after a time; that of the last frame where there is none."""
        frame = max(self.start, min(frame_ceil(time_s, self.fps), self.end - 1))
        return float(frame / exact_fraction(self.fps))

    def clamp(self, time_s: float) -> float:
        """The time, or the end of the window where the time is later."""
        return min(time_s, self.end_s)


def find_time_fault(video: str, times: tuple[float, ...], videos: VideoLengths) -> str | None:
    """Why a video cannot hold these times, in seconds; None where it can, or where its length is not known."""
    if not PurePosixPath(video).name:
        return NO_VIDEO
    if any(time < 0 for time in times):
        return BEFORE_START
    if any(time > LONGEST_S for time in times):
        return AFTER_LONGEST
    frames = videos.frames(video)
    if frames is None:
        return None
    end = frames / exact_fraction(videos.fps) + END_SLACK_S
    return AFTER_END if any(exact_fraction(time) > end for time in times) else None


def find_episode_window(
    video: str, official: tuple[float, float], protocol: ReplayProtocol, videos: VideoLengths
) -> EpisodeWindow:
    """The frames of an episode.

    Args:
        video: The video's path.
        official: First and last second of the official window; the frame of the last second belongs to it.
        protocol: Its horizon chooses the official window or the whole video.
        videos: Lengths of videos. A video of unknown length ends with the official window, and at the
            latest after `LONGEST_S` seconds.
    """
    frames = videos.frames(video)
    end = frame_floor(min(official[1], LONGEST_S), videos.fps) + 1
    if protocol.horizon == "video":
        return EpisodeWindow(videos.fps, 0, end if frames is None else frames)
    end = end if frames is None else min(end, frames)
    start = min(frame_floor(official[0], videos.fps), end - 1)
    return EpisodeWindow(videos.fps, start, end)


def name_of_video(video: str) -> str:
    """The path of a video without its suffix and without a leading ``./``, as part of an episode's id."""
    return str(PurePosixPath(video).with_suffix(""))

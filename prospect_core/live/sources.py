"""Live frame sources: a file in real time, a camera or a network stream, without lag behind the source.

    prospect watch clip.mp4 --ckpt workbench-tiny --goal "tidy up" --step "put the red cube in the box"

A thread decodes and keeps only the newest frame. If the model takes longer than a frame lasts, the
frames in between are dropped, counted and reported. Frames of a file equal those of a replay (by
timestamp). Frame i of a camera or network stream is the last picture that has arrived i / fps
seconds after the first one, whatever its timestamp.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prospect_core.data.frame_format import FrameFormat, apply_frame_format
from prospect_core.data.video import VideoFile, video_pixel_aspect
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.stream.step_output import StepOutput
from prospect_core.timeline import Task
from prospect_core.util.atomic import bypasses_atomic_write
from prospect_core.util.errors import DataError, UserError

logger = logging.getLogger(__name__)

#: (number of a frame since the start of the stream, its picture (size, size, 3) uint8)
Arrival = tuple[int, np.ndarray]
#: PyAV's format and name of a camera, by operating system
CAMERAS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}"), "win32": ("dshow", "video={}")}


@dataclass(frozen=True)
class Ending:
    """How a stream ended.

    Attributes:
        reason: Reason, for the user.
        whole: Whether the source came to its own end.
        frames: Frames that the model processed.
        dropped: Frames that were dropped.
    """

    reason: str
    whole: bool
    frames: int
    dropped: int


def read_live_source_frames(
    source: str, fps: float, shape: FrameFormat, speed: float, stall_s: float
) -> Iterator[Arrival]:
    """Yield the frames of a source at the times at which they are due.

    Args:
        source: ``camera``, ``camera:NUMBER``, an address (``rtsp://...``) or a file.
        fps: Frames per second.
        shape: Size and framing of the frames.
        speed: Playback speed of a file relative to real time.
        stall_s: Seconds after which a silent camera or network stream is an error.

    Raises:
        UserError: If cameras of this operating system are not supported.
        DataError: If the source cannot be read.
    """
    if source == "camera" or source.startswith("camera:"):
        if sys.platform not in CAMERAS:
            raise UserError(f"{source}: cameras are not supported on {sys.platform}; give an address or a file")
        format_, name = CAMERAS[sys.platform]
        return _as_they_come(name.format(source.partition(":")[2] or "0"), fps, shape, stall_s, format_)
    if "://" in source:
        return _as_they_come(source, fps, shape, stall_s)
    return _paced(VideoFile(Path(source), fps, shape), fps, speed)


def _paced(video: VideoFile, fps: float, speed: float) -> Iterator[Arrival]:
    begin = time.monotonic()
    for number, frame in enumerate(video.frames(0, video.num_frames)):
        time.sleep(max(0.0, begin + number / (fps * speed) - time.monotonic()))
        yield number, frame


def _as_they_come(
    address: str, fps: float, shape: FrameFormat, stall_s: float, format_: str | None = None
) -> Iterator[Arrival]:
    import av

    options = {"rtsp_transport": "tcp"} if address.startswith("rtsp") else {}
    try:
        with av.open(address, format=format_, options=options, timeout=stall_s) as container:
            if not container.streams.video:
                raise DataError(f"{address}: has no video stream")
            wanted, shown, begin = 0, None, 0.0
            reformatter = av.video.reformatter.VideoReformatter()
            stream = container.streams.video[0]
            aspect = video_pixel_aspect(stream)
            for picture in container.decode(stream):
                begin = begin or time.monotonic()
                while shown is not None and wanted / fps < time.monotonic() - begin:
                    yield wanted, apply_frame_format(shown, shape, reformatter, aspect)
                    wanted += 1
                shown = picture
            if shown is not None:
                yield wanted, apply_frame_format(shown, shape, reformatter, aspect)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise DataError(f"{address}: {getattr(error, 'strerror', None) or error}") from error


class Newest:
    """A slot for one item that a thread fills; a newer item replaces an older one.

    Args:
        items: Source of the items.
    """

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items
        self._item: Any = None
        self._error: BaseException | None = None
        self._over = False
        self._changed = threading.Condition()
        threading.Thread(target=self._fetch, name="newest", daemon=True).start()

    def _fetch(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                with self._changed:
                    if self._over:
                        return
                    self._item = item
                    self._changed.notify()
        except BaseException as failure:
            # hand every error to the waiting caller
            error = failure
        with self._changed:
            self._error, self._over = error, True
            self._changed.notify()

    def get(self, timeout_s: float) -> Any:
        """Return the newest item once; None after the last one.

        Args:
            timeout_s: Seconds to wait.

        Raises:
            TimeoutError: If no item arrives in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._item is not None or self._over, timeout_s):
                raise TimeoutError
            item, self._item = self._item, None
            if item is None and self._error is not None:
                raise self._error
            return item

    def close(self) -> None:
        """Stop the thread at its next item."""
        with self._changed:
            self._over = True


def watch_live_source(
    runner: VLMStreamRunner,
    task: Task,
    frames: Iterator[Arrival],
    fps: float,
    stall_s: float,
    heard: Callable[[], str | None] = lambda: None,
    tell: Callable[[StepOutput, int], None] = lambda output, dropped: None,
) -> Ending:
    """Step through a stream until it ends, breaks off or gives no picture for ``stall_s`` seconds.

    Args:
        runner: Runner of the stream.
        task: Task of the stream.
        frames: Frames of the source.
        fps: Frames per second.
        stall_s: Longest wait for a frame, in seconds.
        heard: Returns what the user has said since the last call.
        tell: Called after each step with its output and the number of frames dropped before it.
    """
    runner.reset(task, fps=fps)
    newest = Newest(frames)
    seen = lost = 0
    try:
        while True:
            try:
                arrival = newest.get(stall_s)
            except TimeoutError:
                return Ending(f"stalled: no frame for {stall_s:g} s", False, seen, lost)
            except DataError as error:
                logger.debug("the stream failed", exc_info=error)
                return Ending(f"stream failed: {error}", False, seen, lost)
            if arrival is None:
                return Ending("ended", True, seen, lost)
            number, frame = arrival
            dropped = runner.skip_to(number)
            output = runner.step(frame, heard())
            seen, lost = seen + 1, lost + dropped
            tell(output, dropped)
    finally:
        newest.close()


class WatchLog:
    """Log of a live session: one JSON line per event, on disk immediately.

    Args:
        path: The file; an existing file is never overwritten.

    Attributes:
        frames: Steps so far; never fewer than the lines about steps.
        dropped: Frames that were dropped before them.

    Raises:
        UserError: If the file exists.
    """

    def __init__(self, path: Path) -> None:
        self.frames = self.dropped = 0
        try:
            # devices and pipes are opened for writing; a file must be new
            self._in_place = bypasses_atomic_write(path)
            self._file = path.open("w" if self._in_place else "x", encoding="utf-8")
        except FileExistsError as error:
            raise UserError(f"--output {path}: already exists; choose another file") from error

    def write(self, **what: Any) -> None:
        """Write one line."""
        self._file.write(json.dumps(what, ensure_ascii=False) + "\n")
        self._file.flush()
        # pipes and devices cannot be synchronized; errors of a disk must be raised
        if not self._in_place:
            os.fsync(self._file.fileno())

    def step(self, output: StepOutput, dropped: int, fps: float, said: str | None) -> None:
        """Write the result of a step; a step without events adds no line.

        Args:
            output: Output of the step.
            dropped: Frames dropped before it.
            fps: Frames per second.
            said: User turn before the step, if any.
        """
        # count first: after an interruption in between, no line may exceed the count of
        # frames
        self.frames, self.dropped = self.frames + 1, self.dropped + dropped
        what: dict[str, Any] = {}
        if dropped:
            what["dropped"] = dropped
        if said:
            what["user"] = said
        if output.transitions:
            what["transitions"] = [f"{t.step}->{t.change}" for t in output.transitions]
        if output.refusals:
            what["refused"] = [asdict(r) for r in output.refusals]
        if output.utterance:
            what["assistant"] = output.text
        if output.mistake:
            what["mistake"] = {"step": output.mistake.step, "probability": round(output.mistake_prob or 0.0, 3)}
        if output.compression:
            what["compression"] = asdict(output.compression)
        if what:
            self.write(frame=output.frame, seconds=round(output.frame / fps, 3), **what)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

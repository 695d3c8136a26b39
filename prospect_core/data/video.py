"""Frames of a video file by presentation timestamp: decoded once, in order, scaled as they are decoded.

    python -c "from prospect_core.data.video import open_video_frames; from prospect_core.data.frame_format import FrameFormat; print(open_video_frames('clip.mp4', 2, FrameFormat(64)).num_frames)"

Frame ``i`` at ``fps`` is the last picture shown at or before ``i / fps`` seconds; frame 0 is the first picture even
when it is shown later. `prospect_core.data.frame_format` makes a picture into a frame.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from prospect_core.data.frame_format import (
    FrameFormat,
    apply_frame_format,
    apply_frame_format_to_image,
    require_frame_format_input_size,
)
from prospect_core.data.video_packets import (
    Joiner,
    choose_video_packet_stream,
    explain_video_packet_error,
    find_missing_video_packets,
    note_other_video_packet_streams,
    open_video_packets,
    require_video_packet_picture_size,
    video_packet_start_seconds,
)
from prospect_core.timeline import exact_fraction
from prospect_core.util.errors import DataError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream
    from pyarrow import ChunkedArray

#: a video that claims to last longer is refused: one wrong timestamp would make it millions of frames
MAX_HOURS = 100
#: which pictures of a video are its frames; a change of that must change this, so that frames and features that were stored
#: before are made again. 2: timestamps count from the start time of the container. 3: pixels are made square. 4: the stream
#: that players show is read, recordings are joined, edit lists end a video
FRAMES_VERSION = 4
#: what stored frames may be
PICTURE_FORMATS = ("JPEG", "PNG")


class FrameSource(Protocol):
    """Anything that gives sampled frames: a video file or a file of stored frames."""

    num_frames: int

    def frames(self, start: int, end: int) -> Iterator[np.ndarray]:
        """Frames ``start .. end - 1`` in order, each uint8 RGB as its `FrameFormat` says."""
        ...


class VideoFile:
    """A video file sampled at ``fps``; its length is read from the packets, without decoding."""

    #: of the decoder, 0: as many as it likes
    threads = 0

    def __init__(self, path: Path, fps: float, shape: FrameFormat) -> None:
        self.path, self.fps, self.shape = Path(path), exact_fraction(fps), shape
        #: the width of a pixel by its height
        self.pixel_aspect = Fraction(1)
        #: which of several streams is read, and where recordings are joined
        self.notes: tuple[str, ...] = ()
        self.num_frames = max(1, ceil(self._end() * self.fps))

    def _open(self) -> tuple[InputContainer, VideoStream, Fraction]:
        """The container, its video stream, and the seconds that one tick of the stream's time base lasts."""
        container = open_video_packets(self.path)
        stream = choose_video_packet_stream(container)
        try:
            # there is none where the codec is unknown
            if stream.codec_context is not None:
                require_video_packet_picture_size(self.path, stream)
                self.pixel_aspect = video_pixel_aspect(stream)
            if stream.time_base is None:
                raise DataError(f"{self.path}: its video stream has no time base")
        except DataError:
            container.close()
            raise
        stream.thread_type = "AUTO"
        if self.threads and stream.codec_context is not None:
            stream.codec_context.thread_count = self.threads
        return container, stream, stream.time_base

    def _end(self) -> Fraction:
        """Seconds at which the last picture stops being shown."""
        import av

        container, stream, base = self._open()
        joiner = Joiner(self.path)
        with container:
            # in ticks of the time base
            first = video_packet_start_seconds(container, stream, base) / base
            usual = (1 / Fraction(stream.average_rate) if stream.average_rate else Fraction(1, 30)) / base
            pictures = 0
            last: int | Fraction = 0
            try:
                for packet in joiner.packets(container, stream):
                    # what an edit list cuts off is decoded and not shown
                    if packet.pts is not None and not packet.is_discard:
                        last = max(last, packet.pts - first + (packet.duration or usual))
                        pictures += 1
            except (av.error.FFmpegError, OSError, ValueError) as error:
                raise DataError(
                    f"{self.path}: breaks off at {float(last * base):.2f} s ({explain_video_packet_error(error)})"
                ) from error
            joins = [f"timestamps jump at {float(place - first * base):.2f} s; the recordings are joined there"
                     for place in joiner.joins]  # fmt: skip
            self.notes = tuple(filter(None, [note_other_video_packet_streams(container, stream), *joins]))
        if not pictures:
            raise DataError(f"{self.path}: holds no picture with a timestamp")
        if last * base > MAX_HOURS * 3600:
            hours = float(last * base / 3600)
            raise DataError(f"{self.path}: its timestamps reach to {hours:,.0f} h; at most {MAX_HOURS} h are read")
        return last * base

    def frames(self, start: int, end: int) -> Iterator[np.ndarray]:
        """Frames ``start .. end - 1``; asking beyond the video's end is a `DataError`."""
        import av

        # one for all pictures: a picture's own sets itself up anew for each
        reformatter = av.video.reformatter.VideoReformatter()
        for number, picture in enumerate(self.pictures(start, end), start):
            try:
                frame = apply_frame_format(picture, self.shape, reformatter, self.pixel_aspect)
            except (av.error.FFmpegError, ValueError) as error:
                raise DataError(f"{self.path}: frame {number}: {explain_video_packet_error(error)}") from error
            yield frame

    def pictures(self, start: int, end: int) -> Iterator[VideoFrame]:
        """The decoded pictures that are frames ``start .. end - 1``, as the file holds them."""
        import av

        if end > self.num_frames:
            raise DataError(
                f"{self.path}: has {self.num_frames} frames at {float(self.fps):g} fps, frame {end - 1} is asked for;"
                " shorten the annotation or bring the whole video"
            )
        container, stream, base = self._open()
        wanted, shown = start, None
        # frame f is due before pts p where f / fps < p * base: in whole numbers, f * below < p * above
        above, below = (base * self.fps).as_integer_ratio()
        with container:
            offset = video_packet_start_seconds(container, stream, base) * self.fps * below
            try:
                for picture in self._decoded(container, stream):
                    if picture.pts is None:
                        continue
                    due = picture.pts * above - offset
                    # everything due before this picture shows the one before it
                    while wanted < end and shown is not None and wanted * below < due:
                        yield shown
                        wanted += 1
                    if wanted >= end:
                        return
                    shown = picture
            except (av.error.FFmpegError, OSError, ValueError) as error:
                raise DataError(
                    f"{self.path}: cannot be decoded at {float(wanted / self.fps):.2f} s ({explain_video_packet_error(error)})"
                ) from error
            if shown is None:
                raise DataError(f"{self.path}: no picture could be decoded")
            for _ in range(wanted, end):
                yield shown

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """The pictures of a stream in the order in which they are shown."""
        for packet in Joiner(self.path).packets(container, stream):
            # Theora repeats a picture by a packet without bytes; the decoder would take it for the end
            if not packet.size and packet.pts is not None:
                continue
            yield from packet.decode()


def video_pixel_aspect(stream: VideoStream) -> Fraction:
    """The width of a stream's pixels by their height; 1 where it is not told."""
    return stream.sample_aspect_ratio or Fraction(1)


class FramesFile:
    """A file of stored frames in the origin's format: an Arrow IPC stream, column ``frame``, base64 JPEG a row."""

    def __init__(self, path: Path, shape: FrameFormat) -> None:
        self.path, self.shape = Path(path), shape
        self._column = read_video_arrow_file(self.path, "frame")["frame"]
        self.num_frames = len(self._column)

    def frames(self, start: int, end: int) -> Iterator[np.ndarray]:
        """Frames ``start .. end - 1`` by row."""
        from PIL import Image

        if end > self.num_frames:
            raise DataError(f"{self.path}: has {self.num_frames} frames, frame {end - 1} is asked for")
        for row in range(start, end):
            try:
                data = io.BytesIO(base64.b64decode(self._column[row].as_py()))
                stored = Image.open(data, formats=PICTURE_FORMATS)
                require_frame_format_input_size(*stored.size)
                image = stored.convert("RGB")
            except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError) as error:
                raise DataError(f"{self.path}: row {row} is not a base64 JPEG ({error})") from error
            yield apply_frame_format_to_image(image, self.shape)


def open_video_frames(path: str | Path, fps: float, shape: FrameFormat) -> FrameSource:
    """A video file, or an ``.arrow`` file of stored frames (whose own rate is taken to be ``fps``)."""
    path = Path(path)
    return FramesFile(path, shape) if path.suffix == ".arrow" else VideoFile(path, fps, shape)


def inspect_video(path: Path, source: FrameSource) -> tuple[str, ...]:
    """What is worth a look in a video: several streams, joined recordings, a part that is missing."""
    if not isinstance(source, VideoFile):
        return ()
    missing = find_missing_video_packets(path)
    return (*source.notes, missing) if missing else source.notes


def read_video_arrow_file(path: Path, *columns: str) -> dict[str, ChunkedArray]:
    """Columns of an Arrow IPC stream file, memory-mapped; a missing, broken or other file is a `DataError`."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_stream(source).read_all()
            # offsets that lead out of the file would end the process, not raise, once a row is read
            table.validate(full=True)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; put the frames there or correct the row that names it") from error
    except (OSError, pa.ArrowException, ValueError, TypeError) as error:
        raise DataError(f"{path}: not an Arrow stream file ({str(error).splitlines()[0]})") from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise DataError(f"{path}: has no column {missing[0]!r}; it has {', '.join(table.column_names)}")
    return {name: table.column(name) for name in table.column_names}


def write_video_frames_file(path: Path, frames: Iterator[np.ndarray], quality: int = 95) -> int:
    """Write (H, W, 3) uint8 frames in the origin's format; returns how many."""
    import pyarrow as pa
    from PIL import Image

    schema = pa.schema([("frame", pa.string())])
    count = 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for frame in frames:
            buffer = io.BytesIO()
            Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
            writer.write_batch(pa.record_batch([[base64.b64encode(buffer.getvalue()).decode()]], schema=schema))
            count += 1
    return count

"""Read the frames of a video file by presentation timestamp: decode once, in order, and scale.

Frame ``i`` at ``fps`` is the last picture shown at or before ``i / fps`` seconds. Frame 0 is the
first picture even if it is shown later. `prospect_core.data.frame_format` converts pictures to
frames.
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

#: longest video in hours: one wrong timestamp would otherwise give millions of frames
MAX_HOURS = 100
#: increase this when other pictures become the frames of a video: stored frames and features are
#: then made again. 2: timestamps count from the start time of the container. 3: pixels are made
#: square. 4: the stream that players show is read, recordings are joined, edit lists end a video
FRAMES_VERSION = 4
#: image formats of stored frames
PICTURE_FORMATS = ("JPEG", "PNG")


class FrameSource(Protocol):
    """A source of sampled frames: a video file or a file of stored frames."""

    num_frames: int

    def frames(self, start: int, end: int) -> Iterator[np.ndarray]:
        """Yield frames ``start .. end - 1`` in order, each uint8 RGB in the source's `FrameFormat`."""
        ...


class VideoFile:
    """A video file sampled at ``fps``; its length comes from the packets, without decoding.

    Args:
        path: The file.
        fps: Frames per second.
        shape: Size and framing of the frames.

    Raises:
        DataError: If the file is missing, not a video, or has unusable timestamps.
    """

    #: threads of the decoder; 0 leaves the number to the decoder
    threads = 0

    def __init__(self, path: Path, fps: float, shape: FrameFormat) -> None:
        self.path, self.fps, self.shape = Path(path), exact_fraction(fps), shape
        #: width of a pixel divided by its height
        self.pixel_aspect = Fraction(1)
        #: notes on the stream that is read, and on joined recordings
        self.notes: tuple[str, ...] = ()
        self.num_frames = max(1, ceil(self._end() * self.fps))

    def _open(self) -> tuple[InputContainer, VideoStream, Fraction]:
        """Return the container, its video stream, and the stream's time base in seconds."""
        container = open_video_packets(self.path)
        stream = choose_video_packet_stream(container)
        try:
            # None if the codec is unknown
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
        """Return the seconds at which the last picture ends."""
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
                    # pictures outside the edit list are decoded but not shown
                    if packet.pts is not None and not packet.is_discard:
                        last = max(last, packet.pts - first + (packet.duration or usual))
                        pictures += 1
            except (av.error.FFmpegError, OSError, ValueError) as error:
                raise DataError(
                    f"{self.path}: damaged or cut off at {float(last * base):.2f} s ({explain_video_packet_error(error)})"
                ) from error
            joins = [f"timestamps jump at {float(place - first * base):.2f} s; the recordings are treated as joined there"
                     for place in joiner.joins]  # fmt: skip
            self.notes = tuple(filter(None, [note_other_video_packet_streams(container, stream), *joins]))
        if not pictures:
            raise DataError(f"{self.path}: holds no picture with a timestamp")
        if last * base > MAX_HOURS * 3600:
            hours = float(last * base / 3600)
            raise DataError(f"{self.path}: its timestamps reach to {hours:,.0f} h; at most {MAX_HOURS} h are read")
        return last * base

    def frames(self, start: int, end: int) -> Iterator[np.ndarray]:
        """Yield frames ``start .. end - 1``.

        Raises:
            DataError: If ``end`` is beyond the video's end, or a picture cannot be decoded.
        """
        import av

        # shared, because each picture's own reformatter would set itself up again
        reformatter = av.video.reformatter.VideoReformatter()
        for number, picture in enumerate(self.pictures(start, end), start):
            try:
                frame = apply_frame_format(picture, self.shape, reformatter, self.pixel_aspect)
            except (av.error.FFmpegError, ValueError) as error:
                raise DataError(f"{self.path}: frame {number}: {explain_video_packet_error(error)}") from error
            yield frame

    def pictures(self, start: int, end: int) -> Iterator[VideoFrame]:
        """Yield the decoded pictures for frames ``start .. end - 1``, unscaled.

        Raises:
            DataError: If ``end`` is beyond the video's end, or a picture cannot be decoded.
        """
        import av

        if end > self.num_frames:
            raise DataError(
                f"{self.path}: has {self.num_frames} frames at {float(self.fps):g} fps, frame {end - 1} was requested;"
                " shorten the annotation or replace the video by the complete one"
            )
        container, stream, base = self._open()
        wanted, shown = start, None
        # frame f is due before pts p if f / fps < p * base; in whole numbers f * below <
        # p * above
        above, below = (base * self.fps).as_integer_ratio()
        with container:
            offset = video_packet_start_seconds(container, stream, base) * self.fps * below
            try:
                for picture in self._decoded(container, stream):
                    if picture.pts is None:
                        continue
                    due = picture.pts * above - offset
                    # frames due before this picture show the previous one
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
        """Yield the pictures of a stream in the order in which they are shown."""
        for packet in Joiner(self.path).packets(container, stream):
            # Theora repeats a picture with an empty packet, which the decoder would
            # take for the end
            if not packet.size and packet.pts is not None:
                continue
            yield from packet.decode()


def video_pixel_aspect(stream: VideoStream) -> Fraction:
    """Return the width of a stream's pixels divided by their height; 1 if the stream does not state it."""
    return stream.sample_aspect_ratio or Fraction(1)


class FramesFile:
    """A file of stored frames in ProAssist's format: an Arrow IPC stream, column ``frame``, base64 JPEG rows.

    Args:
        path: The file.
        shape: Size and framing of the frames.

    Raises:
        DataError: If the file cannot be read.
    """

    def __init__(self, path: Path, shape: FrameFormat) -> None:
        self.path, self.shape = Path(path), shape
        self._column = read_video_arrow_file(self.path, "frame")["frame"]
        self.num_frames = len(self._column)

    def frames(self, start: int, end: int) -> Iterator[np.ndarray]:
        """Yield frames ``start .. end - 1`` by row.

        Raises:
            DataError: If ``end`` is beyond the last row, or a row is not a picture.
        """
        from PIL import Image

        if end > self.num_frames:
            raise DataError(f"{self.path}: has {self.num_frames} frames, frame {end - 1} was requested")
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
    """Open a video file, or an ``.arrow`` file of stored frames.

    Args:
        path: The file.
        fps: Frames per second; for stored frames the rate at which they were stored.
        shape: Size and framing of the frames.

    Raises:
        DataError: If the file cannot be read.
    """
    path = Path(path)
    return FramesFile(path, shape) if path.suffix == ".arrow" else VideoFile(path, fps, shape)


def inspect_video(path: Path, source: FrameSource) -> tuple[str, ...]:
    """Return notes for the user on a video: several streams, joined recordings, a missing part."""
    if not isinstance(source, VideoFile):
        return ()
    missing = find_missing_video_packets(path)
    return (*source.notes, missing) if missing else source.notes


def read_video_arrow_file(path: Path, *columns: str) -> dict[str, ChunkedArray]:
    """Memory-map an Arrow IPC stream file.

    Args:
        path: The file.
        *columns: Names of the columns that it must have.

    Returns:
        All columns by name.

    Raises:
        DataError: If the file is missing, broken or lacks a column.
    """
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_stream(source).read_all()
            # without this check, offsets outside the file would crash the process
            # when a row is read
            table.validate(full=True)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; copy the frames there or correct the row that names it") from error
    except (OSError, pa.ArrowException, ValueError, TypeError) as error:
        raise DataError(f"{path}: not an Arrow stream file ({str(error).splitlines()[0]})") from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise DataError(f"{path}: has no column {missing[0]!r}; it has {', '.join(table.column_names)}")
    return {name: table.column(name) for name in table.column_names}


def write_video_frames_file(path: Path, frames: Iterator[np.ndarray], quality: int = 95) -> int:
    """Write frames in ProAssist's format.

    Args:
        path: Output file.
        frames: Frames (H, W, 3) uint8.
        quality: JPEG quality, 1 to 95.

    Returns:
        The number of frames.
    """
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

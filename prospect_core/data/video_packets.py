"""Packets of a video file on a player's clock: choice of stream, start time, joined recordings.

Transport and program streams may hold several recordings, each with its own timestamps. They are
joined as ffmpeg does: where a timestamp goes back, or jumps by more than `JUMP_S`, the recording
continues at the end of the one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prospect_core.data.frame_format import require_frame_format_input_size
from prospect_core.util.errors import DataError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

#: seconds between timestamps of a transport or program stream above which a new recording starts
JUMP_S = 10
#: smallest step back that counts, in transport and program streams and in all others, in seconds
BACK_S, BACK_ELSEWHERE_S = Fraction(1, 10), Fraction(1, 2)
#: libavformat's AVFMT_TS_DISCONT: timestamps of the format may restart
_TS_DISCONT = 0x0200
#: shortest missing part that is reported, in seconds: durations in headers are rounded
MISSING_S = 1.0
#: containers whose header states the length of the file
_STATING = ("mov", "matroska", "avi", "flv", "asf", "mxf")


def open_video_packets(path: Path) -> InputContainer:
    """Open a file as a container with a video stream.

    Raises:
        DataError: If there is no such file, or it is not a video.
    """
    import av

    if not path.is_file():
        raise DataError(f"{path}: no such file; copy the video there or correct the row that names it")
    try:
        # without the prefix, a name such as 2026-01-26T20:57:04Z.mp4 would be an address
        # with the protocol 2026-01-26T20
        container = av.open(f"file:{path}")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable video ({explain_video_packet_error(error)})") from error
    if not container.streams.video:
        container.close()
        raise DataError(f"{path}: has no video stream")
    return container


def explain_video_packet_error(error: Exception) -> str:
    """Return FFmpeg's reason of an error."""
    return str(getattr(error, "strerror", None) or error)


def choose_video_packet_stream(container: InputContainer) -> VideoStream:
    """Return the video stream that players show: not a cover picture, marked as default, the largest."""
    from av.stream import Disposition

    def rank(stream: VideoStream) -> tuple[bool, bool, int, int]:
        pixels = stream.width * stream.height if stream.codec_context is not None else 0
        cover = bool(stream.disposition & Disposition.attached_pic)
        return not cover, bool(stream.disposition & Disposition.default), pixels, -stream.index

    return max(container.streams.video, key=rank)


def note_other_video_packet_streams(container: InputContainer, stream: VideoStream) -> str:
    """Return a note if a file has several video streams; empty otherwise."""
    from av.stream import Disposition

    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if len(streams) < 2 or stream.codec_context is None:
        return ""
    return f"has {len(streams)} video streams; stream {stream.index} ({stream.width} x {stream.height}) is read"


def video_packet_start_seconds(container: InputContainer, stream: VideoStream, base: Fraction) -> Fraction:
    """Return the timestamp at which a player's clock shows zero, in seconds.

    It is that of the container's first packet of any stream. Recorders, HLS segments and cut files
    start at any timestamp. People annotate in players, and ffmpeg extracts frames by the same
    clock. The container states the time in microseconds; if it equals the video stream's start
    after rounding, the stream's exact value is used.

    Args:
        container: The container.
        stream: Its video stream.
        base: Time base of the stream, in seconds per tick.
    """
    import av

    # None if the container states none, which its type does not declare
    stated: int | None = getattr(container, "start_time", None)
    if stated is None:
        return Fraction(0)
    start = Fraction(stated, av.time_base)
    if stream.start_time is not None and abs(stream.start_time * base - start) <= Fraction(1, av.time_base):
        return stream.start_time * base
    return start


@dataclass
class Joiner:
    """Moves the timestamps of later recordings in a file to the end of the recording before.

    Attributes:
        path: The file, for error messages.
        joins: Times of the joins, in seconds of the file's own clock.
    """

    path: Path
    joins: list[Fraction] = field(default_factory=list)
    _shift: Fraction = Fraction(0)
    _next: dict[int, Fraction] = field(default_factory=dict)
    _last: dict[int, Fraction] = field(default_factory=dict)
    _newest: Fraction | None = None
    #: end of the last picture or sound so far, in seconds
    _end: Fraction = Fraction(0)

    def packets(self, container: InputContainer, stream: VideoStream) -> Iterator[Packet[Any]]:
        """Yield the packets of one stream in decoding order, with the flushing packet last.

        Raises:
            DataError: If timestamps go back in a container with a single clock.
        """
        several = bool(container.format.flags & _TS_DISCONT)
        streams = [*container.streams.video, *container.streams.audio] if several else [stream]
        for packet in container.demux(streams):
            if several:
                self._join(packet)
            else:
                self._require_forward(packet)
            # the flushing packet has no index of its own stream
            if packet.stream.index == stream.index:
                yield packet

    def _join(self, packet: Packet[Any]) -> None:
        base = packet.time_base
        if packet.dts is not None:
            time = packet.dts * base + self._shift
            expected = self._next.get(packet.stream_index, self._newest)
            last = self._last.get(packet.stream_index)
            goes_back = last is not None and time + BACK_S < last
            if expected is not None and (abs(time - expected) > JUMP_S or goes_back):
                self._shift += expected - time
                time = expected
                self.joins.append(self._end)
            self._last[packet.stream_index] = self._newest = time
            self._next[packet.stream_index] = time + _duration(packet)
            packet.dts += round(self._shift / base)
        if packet.pts is not None:
            packet.pts += round(self._shift / base)
        self._note_end(packet)

    def _note_end(self, packet: Packet[Any]) -> None:
        if packet.pts is not None:
            self._end = max(self._end, packet.pts * packet.time_base + _duration(packet))

    def _require_forward(self, packet: Packet[Any]) -> None:
        if packet.dts is None:
            self._note_end(packet)
            return
        time, last = packet.dts * packet.time_base, self._last.get(packet.stream_index)
        if last is not None and time + BACK_ELSEWHERE_S < last:
            raise DataError(
                f"{self.path}: timestamps go back at {float(self._end):.2f} s, to {float(time):.2f} s; split the recordings into"
                " separate files, or join them with ffmpeg"
            )
        self._last[packet.stream_index] = time
        self._note_end(packet)


def _duration(packet: Packet[Any]) -> Fraction:
    """Return the seconds that a packet lasts."""
    if packet.duration:
        return packet.duration * packet.time_base
    rate = getattr(packet.stream, "average_rate", None)
    return 1 / Fraction(rate) if rate else Fraction(0)


def find_missing_video_packets(path: Path) -> str:
    """Describe the missing end of a file, as ``holds 7.0 of the 20.0 s that its header states``.

    A copy or upload may stop early; a file with its index at the front then still plays what it
    has. The result is empty for a whole file.

    Raises:
        DataError: If the file cannot be read.
    """
    status = path.stat() if path.is_file() else None
    state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns) if status else ()
    return _missing_of_state(path, state)


@lru_cache(maxsize=100_000)
def _missing_of_state(path: Path, state: tuple[int, ...]) -> str:
    import av

    with open_video_packets(path) as container:
        kind = container.format.name.split(",")[0]
        if kind not in _STATING:
            return ""
        streams = [*container.streams.video, *container.streams.audio]
        start = video_packet_start_seconds(
            container, container.streams.video[0], container.streams.video[0].time_base or Fraction(1)
        )
        end = Fraction(0)
        try:
            for packet in container.demux(streams):
                if packet.pts is not None:
                    end = max(end, packet.pts * packet.time_base + _duration(packet) - start)
        except (av.error.FFmpegError, OSError, ValueError):
            # the reader of the frames reports this error with its time
            return ""
        if kind == "mov":
            lengths = (s.duration * s.time_base for s in streams if s.duration and s.time_base)
            stated = max(lengths, default=Fraction(0))
        else:
            stated = Fraction(container.duration or 0, av.time_base)
    if stated - end <= max(MISSING_S, float(stated) / 100):
        return ""
    return (
        f"holds {float(end):.1f} of the {float(stated):.1f} s that its header states; replace it by the complete file"
    )


def require_video_packet_picture_size(path: Path, stream: VideoStream) -> None:
    """Check that a stream's pictures are small enough to decode.

    Raises:
        DataError: If they are too large.
    """
    try:
        require_frame_format_input_size(stream.width, stream.height)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error

"""Unusual video files made by the ffmpeg command, and the pictures that ffmpeg shows of them."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

#: pictures whose level identifies their number and whose quarters identify their rotation
_LEVELS = "lum='30+mod(N*37,150)+40*gt(X,W/2)+20*gt(Y,H/2)':cb=128:cr=128"
_H264 = "-c:v libx264 -preset ultrafast -crf 12 -pix_fmt yuv420p"


def run_ffmpeg(arguments: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    """Run ffmpeg in a folder; arguments are separated by blanks."""
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-y", *arguments.split()]
    return subprocess.run(command, cwd=folder, capture_output=True, check=True)


def source(seconds: float = 4, rate: str = "10", size: str = "64x48") -> str:
    """Return an ffmpeg input: pictures with known levels."""
    return f"-f lavfi -i color=c=black:s={size}:r={rate}:d={seconds},geq={_LEVELS}"


SOUND = "-f lavfi -i sine=d=4"
MADE = f"{source()} {_H264} -bf 2 -g 20"
#: by file name, the ffmpeg commands that make it; the last one writes the file
ODD_VIDEOS: dict[str, tuple[str, ...]] = {
    "plain.mp4": (MADE,),
    "plain.mov": (MADE,),
    "plain.mkv": (MADE,),
    "plain.flv": (MADE,),
    "plain.ts": (MADE,),
    "plain.mpg": (f"{source(rate='25')} -c:v mpeg2video -q:v 2",),
    "plain.avi": (f"{source()} -c:v mpeg4 -q:v 2 -bf 2",),
    "raw.avi": (f"{source()} -c:v rawvideo -pix_fmt yuv420p",),
    "motion.avi": (f"{source()} -c:v mjpeg -q:v 2 -pix_fmt yuvj420p",),
    "lossless.mkv": (f"{source()} -c:v ffv1",),
    "professional.mov": (f"{source()} -c:v prores_ks",),
    "media.wmv": (f"{source()} -c:v wmv2 -q:v 2",),
    "plain.webm": (f"{source()} -c:v libvpx-vp9 -deadline realtime -crf 10 -b:v 0",),
    "old.webm": (f"{source()} -c:v libvpx -b:v 2M -deadline realtime",),
    "animated.gif": (f"{source()}",),
    "theora.ogv": (f"{source()} -c:v libtheora -q:v 9",),
    "still.ogv": ("-f lavfi -i color=c=gray:s=64x48:r=10:d=4 -c:v libtheora",),
    "ten_bits.mp4": (f"{source()} -c:v libx265 -preset ultrafast -crf 12 -pix_fmt yuv420p10le",),
    "full_colour.mkv": (f"{source()} -c:v libx264 -preset ultrafast -crf 12 -pix_fmt yuv444p",),
    "full_range.mp4": (f"{source()} -vf scale=out_range=full {_H264} -color_range pc",),
    "interlaced.ts": (f"{source(rate='25')} -c:v mpeg2video -q:v 2 -flags +ildct+ilme",),
    "odd_size.mkv": (f"{source(size='63x47')} -c:v ffv1",),
    "ntsc.mp4": (f"{source(rate='30000/1001')} {_H264}",),
    "fast.mp4": (f"{source(2, rate='240')} {_H264}",),
    "slow.mkv": (f"{source(40, rate='1/5')} {_H264}",),
    "changing_rate.mkv": (f"{source()} -vf setpts=(N*N/40+N/20)/TB -fps_mode passthrough {_H264}",),
    "later_hour.ts": (f"{MADE} -output_ts_offset 3600",),
    "later.mkv": (f"{MADE} -output_ts_offset 7.3",),
    "fragmented.mp4": (f"{MADE} -movflags frag_keyframe+empty_moov",),
    "sound_first.mp4": (f"{SOUND} -itsoffset 1.5 {MADE} -map 0:a -map 1:v -c:a aac",),
    "sound_later.mkv": (f"{source()} -itsoffset 1.5 {SOUND} -map 0:v -map 1:a {_H264} -c:a aac",),
    "with_sound.ts": (f"{source()} {SOUND} {_H264} -bf 2 -c:a aac",),
    "cut_begin.mp4": (f"{MADE} whole.mp4", "-ss 1.3 -i whole.mp4 -c copy"),
    "cut_both.mp4": (f"{MADE} whole.mp4", "-ss 1.3 -t 1.5 -i whole.mp4 -c copy"),
    "cut_end.mov": (f"{MADE} whole.mp4", "-t 2.25 -i whole.mp4 -c copy"),
    "kept_times.mkv": (f"{MADE} whole.mp4", "-ss 2 -copyts -i whole.mp4 -c copy"),
    "turned_90.mp4": (f"{MADE} whole.mp4", "-display_rotation 90 -i whole.mp4 -c copy"),
    "turned_180.mov": (f"{MADE} whole.mp4", "-display_rotation 180 -i whole.mp4 -c copy"),
    "turned_270.mp4": (f"{MADE} whole.mp4", "-display_rotation 270 -i whole.mp4 -c copy"),
    "wide_pixels.mp4": (f"{MADE} -vf setsar=2/1",),
    "narrow_pixels.mkv": (f"{MADE} -vf setsar=8/9",),
    "two_streams.mkv": (
        f"{source(size='32x32')} {source()} -map 0:v -map 1:v {_H264} -disposition:v:0 0 -disposition:v:1 default",
    ),
    "larger_second.mp4": (f"{source(size='32x32')} {source()} -map 0:v -map 1:v {_H264}",),
    "2026-01-26T20:57:04Z.mp4": (MADE,),
}
#: several recordings in one file; these commands make the parts
JOINED_VIDEOS: dict[str, tuple[str, ...]] = {
    "both.ts": (MADE, f"{source(3, rate='20')} {_H264} -bf 2"),
    "three_hours.ts": (MADE, f"{MADE} -output_ts_offset 3600", f"{MADE} -output_ts_offset 7200"),
    "back_an_hour.ts": (f"{MADE} -output_ts_offset 3600", MADE),
    "both_sound.ts": (f"{source()} {SOUND} {_H264} -c:a aac", f"{source()} {SOUND} {_H264} -c:a aac"),
    "both.mpg": (f"{source(rate='25')} -c:v mpeg2video -q:v 2", f"{source(rate='25')} -c:v mpeg2video -q:v 2"),
}


def make_odd_video(name: str, folder: Path) -> Path:
    """Make a file of `ODD_VIDEOS` or `JOINED_VIDEOS` in a folder."""
    file = folder / name
    if name in JOINED_VIDEOS:
        for number, command in enumerate(JOINED_VIDEOS[name]):
            run_ffmpeg(f"{command} part{number}{file.suffix}", folder)
        file.write_bytes(b"".join(part.read_bytes() for part in sorted(folder.glob(f"part*{file.suffix}"))))
        return file
    *before, last = ODD_VIDEOS[name]
    for command in before:
        run_ffmpeg(command, folder)
    run_ffmpeg(f"{last} file:{name}", folder)
    return file


@dataclass(frozen=True)
class Shown:
    """Pictures that ffmpeg shows of a file: times in seconds and pictures (N, 48, 64) uint8 grey."""

    times: list[Fraction]
    pictures: np.ndarray

    def at(self, moment: Fraction) -> np.ndarray:
        """Return the last picture at or before a time, or the first picture."""
        due = [k for k, time in enumerate(self.times) if time <= moment]
        picture: np.ndarray = self.pictures[due[-1] if due else 0]
        return picture


def show_by_ffmpeg(file: Path, size: int) -> Shown:
    """Decode a file with the ffmpeg command: square pixels, short side ``size``, centre crop."""
    scale = f"scale=w=trunc(iw*sar+0.5):h=ih,setsar=1,scale=w={size}:h={size}:force_original_aspect_ratio=increase:flags=area"
    done = run_ffmpeg(
        f"-i file:{file.name} -vf showinfo,{scale},crop={size}:{size},format=rgb24 -an -fps_mode passthrough -f rawvideo -"
        # map all streams, so that the clock is that of the whole file, as in players
        " -map 0 -c copy -f null -",
        file.parent,
    )
    told = done.stderr.decode("utf-8", "replace")
    base = re.search(r"config in time_base: (\d+)/(\d+)", told)
    assert base is not None, told
    tick = Fraction(int(base[1]), int(base[2]))
    times = [int(pts) * tick for pts in re.findall(r"\] n: *\d+ pts: *(-?\d+) ", told)]
    pictures = np.frombuffer(done.stdout, np.uint8).reshape(-1, size, size, 3)
    assert len(times) == len(pictures)
    return Shown(times, pictures)

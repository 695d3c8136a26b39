"""Annotated videos of a run: frames with predicted words, reference words and tracked states.

    prospect-eval export runs/first --format mp4 --output videos

Each frame is shown for its own time, with a panel next to it. A bar over the picture marks a frame
with an utterance: green for the model, blue for the reference, both colors for both. The same words
are in a subtitle file (``.srt``) next to the video, because a player can show any script.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prospect_core.data.dataset import Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.records import EpisodeRecord
from prospect_core.stream.proassist_outputs import DST, make_proassist_outputs
from prospect_core.timeline import exact_fraction
from prospect_core.util.atomic import atomic_folder, write_atomic
from prospect_eval.runs.folder import run_folder_record_path

if TYPE_CHECKING:
    from PIL.Image import Image

#: side of the picture, width of the panel, height of a line, in pixels
SIDE, PANEL, LINE = 384, 416, 18
#: maximum number of steps in the panel
STEPS = 12
#: characters in a line of the panel
COLUMNS = 52
#: seconds that words are shown
SHOWN_S = 4.0
#: colors of the bars of model and reference, and of the panel's lines
MODEL_COLOR, REFERENCE_COLOR, TEXT_COLOR, QUIET_COLOR = (60, 190, 90), (80, 140, 240), (235, 235, 235), (150, 150, 150)
STATE_MARKS = {"not_started": "-", "in_progress": ">", "completed": "x"}


@dataclass(frozen=True)
class Words:
    """Words of one kind on a frame.

    Attributes:
        kind: ``USER``, ``DUE`` (the reference) or ``SAID`` (the model).
        place: Index of the frame in the stream.
        text: The words.
    """

    kind: str
    place: int
    text: str


def annotate_run_videos(
    records: Sequence[EpisodeRecord],
    data: Dataset,
    output: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Path]:
    """Write an annotated video and its subtitles for every record.

    Args:
        records: Prediction records.
        data: Their dataset, with its videos.
        output: A folder that does not exist yet. It appears complete or not at all.
        progress: Called with (videos done, videos).

    Returns:
        The videos, in order.

    Raises:
        UserError: The folder exists.
        DataError: A video is missing or damaged.
    """
    made = []
    with atomic_folder(output) as scratch:
        for done, record in enumerate(records, 1):
            episode = record.episode
            name = run_folder_record_path(Path(), episode.id).stem
            frames = data.frame_source(episode, FrameFormat(SIDE, "letterbox"))
            pictures = frames.frames(episode.start_frame, episode.end_frame)
            write_annotated_video(scratch / f"{name}.mp4", draw_annotated_video_frames(record, pictures), episode.fps)
            write_atomic(scratch / f"{name}.srt", make_annotated_video_subtitles(record))
            made.append(output / f"{name}.mp4")
            progress(done, len(records))
    return made


def draw_annotated_video_frames(record: EpisodeRecord, pictures: Iterable[np.ndarray]) -> Iterator[Image]:
    """Draw the frames of a record's episode with their panels.

    Args:
        record: The record.
        pictures: (SIDE, SIDE, 3) uint8 pictures of all frames.

    Yields:
        (SIDE, SIDE + PANEL) pictures.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(13)
    contents = make_proassist_outputs(record, 0)
    words = list_annotated_video_words(contents)
    names = {step.id: step.name for step in record.episode.task.steps}
    outputs = zip(pictures, contents["predictions"], contents[DST], strict=True)
    for place, (picture, frame, more) in enumerate(outputs):
        image = Image.new("RGB", (SIDE + PANEL, SIDE), (24, 24, 28))
        image.paste(Image.fromarray(picture), (0, 0))
        draw = ImageDraw.Draw(image)
        if frame["ref"]:
            draw.rectangle((0, 0, SIDE, 8), fill=REFERENCE_COLOR)
        if frame["gen"]:
            draw.rectangle((0, 0 if not frame["ref"] else 5, SIDE, 12), fill=MODEL_COLOR)
        shown = _shown(words, place, record.episode.fps)
        for row, (text, color) in enumerate(_panel(frame, more, names, shown)[: SIDE // LINE]):
            draw.text((SIDE + 10, 6 + row * LINE), text, fill=color, font=font)
        yield image


def list_annotated_video_words(contents: dict[str, Any]) -> list[Words]:
    """Return all words of a stream in the order of their frames.

    Args:
        contents: The record in ProAssist's form.
    """
    found = []
    for place, frame in enumerate(contents["predictions"]):
        found += [Words("USER", place, text) for _, text in frame["text_inputs"]]
        found += [Words(kind, place, frame[key]) for kind, key in (("DUE", "ref"), ("SAID", "gen")) if frame[key]]
    return found


def _shown(words: Sequence[Words], place: int, fps: float) -> list[Words]:
    return [one for one in words if one.place <= place < one.place + max(1, SHOWN_S * fps)]


def _panel(
    frame: dict[str, Any], more: dict[str, Any], names: dict[str, str], words: Sequence[Words]
) -> list[tuple[str, tuple[int, int, int]]]:
    """Return the lines of the panel: time and probabilities, states, words."""
    odds = [f"{what} {more[key]:.2f}" for what, key in (("speak", "speaking_prob"), ("update", "dst_prob"))
            if more[key] is not None]  # fmt: skip
    time = f"{frame['timestamp_in_stream']:.1f} s  frame {frame['frame_idx_in_stream']}"
    lines: list[tuple[str, tuple[int, int, int]]] = [("   ".join([time, *odds]), QUIET_COLOR)]
    for step, state in _near_the_current(list(more["dst_state"].items())):
        active = TEXT_COLOR if state == "in_progress" else QUIET_COLOR
        lines.append((_cut(f"[{STATE_MARKS[state]}] {step} {names.get(step, '')}"), active))
    if more["dst_update"]:
        lines.append((_cut(f"UPDATE {more['dst_update']}"), MODEL_COLOR))
    colors = {"USER": TEXT_COLOR, "DUE": REFERENCE_COLOR, "SAID": MODEL_COLOR}
    for one in words:
        lines += [(line, colors[one.kind]) for line in textwrap.wrap(f"{one.kind}: {one.text}", COLUMNS)]
    return lines


def _near_the_current(states: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return at most `STEPS` steps around the first one that is not completed."""
    current = next((k for k, (_, state) in enumerate(states) if state != "completed"), len(states))
    begin = max(0, min(current - STEPS // 2, len(states) - STEPS))
    return states[begin : begin + STEPS]


def _cut(text: str) -> str:
    return text if len(text) <= COLUMNS else text[: COLUMNS - 3] + "..."


def make_annotated_video_subtitles(record: EpisodeRecord) -> str:
    """Return the words of a record as SubRip subtitles. Words on one frame share a cue."""
    fps = exact_fraction(record.episode.fps)
    by_place: dict[int, list[str]] = {}
    for one in list_annotated_video_words(make_proassist_outputs(record, 0)):
        by_place.setdefault(one.place, []).append(f"{one.kind}: {' '.join(one.text.split())}")
    places = sorted(by_place)
    ends = [*places[1:], record.episode.num_frames]
    cues = []
    for number, (place, following) in enumerate(zip(places, ends, strict=True), 1):
        begin = Fraction(place) / fps
        end = min(Fraction(following) / fps, begin + Fraction(SHOWN_S))
        cues.append(f"{number}\n{_clock(begin)} --> {_clock(end)}\n" + "\n".join(by_place[place]) + "\n")
    return "\n".join(cues)


def _clock(seconds: Fraction) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02},{rest % 1000:03}"


def write_annotated_video(path: Path, pictures: Iterable[Image], fps: float) -> None:
    """Write pictures as an H.264 video.

    Args:
        path: The file.
        pictures: Pictures of one size.
        fps: Frames per second.
    """
    import av

    with av.open(str(path), "w") as container:
        rate = exact_fraction(fps).limit_denominator(1001)
        stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = SIDE + PANEL, SIDE, "yuv420p"
        for image in pictures:
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())

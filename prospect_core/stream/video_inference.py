"""Run a stream model over one whole video, with the interface of ProAssist's runner.

    runner.run_inference_on_video(row, output_dir="results")

``row`` is a ProAssist row: from its dataset class, with ``images``, or from a file, with a readable
``frames_file``. An `Episode` is accepted too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict

import numpy as np

from prospect_core.data.formats.proassist import episode_from_proassist_dst, episode_from_proassist_row
from prospect_core.data.frame_format import FrameFormat, apply_frame_format_to_image
from prospect_core.data.video import open_video_frames
from prospect_core.records import Knobs
from prospect_core.stream.proassist_outputs import make_proassist_outputs
from prospect_core.stream.replay import replay_episode
from prospect_core.stream.step_output import StreamModel
from prospect_core.timeline import Episode, TimelineError
from prospect_core.util.atomic import write_atomic
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import dump_json

#: name of the model in a result file
NAME = "VLMStreamRunner"


@dataclass(frozen=True)
class FrameOutput:
    """Result of one frame, with the published names.

    Attributes:
        gen: Predicted utterance; empty for silence.
        ref: Reference utterance; empty for silence.
        text_inputs: (role, text) read with the frame.
        frame_idx_in_stream: Number of the frame in the stream, from 0.
        frame_idx_in_original_video: Number of the frame in its video.
        timestamp_in_stream: End of the frame in seconds since the start of the stream: (number + 1)
            / fps.
    """

    gen: str
    ref: str
    text_inputs: list[list[str]]
    frame_idx_in_stream: int
    frame_idx_in_original_video: int
    timestamp_in_stream: float

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of a result file."""
        return asdict(self)


class VideoPredictions(TypedDict):
    """Result of the published runner: metadata of the stream and an output per frame."""

    metadata: dict[str, Any]
    predictions: list[FrameOutput]


class Runner(StreamModel, Protocol):
    """A stream model with its knobs."""

    knobs: Knobs


def run_video_inference(
    runner: Runner,
    shape: FrameFormat,
    video: Mapping[str, Any] | Episode,
    output_dir: str | Path = "",
    root: str | Path = ".",
) -> VideoPredictions:
    """Replay a video and write a result file that ProAssist's evaluator reads.

    Args:
        runner: A stream model; it starts a new stream. The result file contains its knobs.
        shape: Size and framing of the model's frames.
        video: A prepared row, a DST clip, or an episode. ``images`` of a row, (N, 3, H, W) or (N,
            H, W, 3) uint8 or PIL pictures, one per frame, replace its frames; ``sample_idx`` names
            the result file.
        output_dir: Folder of ``SAMPLE_IDX.json``; no file is written if it is empty.
        root: Folder against which the row's paths of frames resolve.

    Returns:
        Metadata and an output per frame.

    Raises:
        UserError: If the row has stored features instead of pictures, or pictures of another form.
        DataError: If the row is not a ProAssist row, or its frames cannot be read.
    """
    episode = _episode(video)
    row: Mapping[str, Any] = video if isinstance(video, Mapping) else {}
    frames = _frames(row, episode, shape, Path(root))
    record, _ = replay_episode(runner, episode, frames, runner.knobs, NAME)
    sample_idx = row.get("sample_idx", 0)
    contents = make_proassist_outputs(record, sample_idx)
    if str(output_dir):
        folder = Path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / f"{sample_idx}.json", dump_json(contents, indent=1) + "\n")
    outputs = [FrameOutput(**frame) for frame in contents["predictions"]]
    return {"metadata": contents["metadata"], "predictions": outputs}


def _episode(video: Mapping[str, Any] | Episode) -> Episode:
    if isinstance(video, Episode):
        return video
    # the dataset class adds the pictures and the sample's number to the row
    row = {key: value for key, value in video.items() if key not in ("images", "encoded_images", "sample_idx")}
    try:
        return (episode_from_proassist_dst(row) if "dst" in row else episode_from_proassist_row(row)).validate()
    except (TimelineError, KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        what = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"not a ProAssist prepared row nor a DST clip ({what})") from error


def _frames(row: Mapping[str, Any], episode: Episode, shape: FrameFormat, root: Path) -> Iterable[np.ndarray]:
    """Return the episode's frames, from the row's pictures or from its frames file."""
    images = row.get("images")
    if images is None:
        if row.get("encoded_images") is not None:
            raise UserError(
                "the row has encoded_images, which are features of another model's vision tower; give images"
            )
        return open_video_frames(root / episode.video, episode.fps, shape).frames(
            episode.start_frame, episode.end_frame
        )
    if len(images) != episode.num_frames:
        raise DataError(f"{episode.id}: {len(images)} images for {episode.num_frames} frames")
    return _pictures(images, shape)


def _pictures(images: Iterable[Any], shape: FrameFormat) -> Iterator[np.ndarray]:
    from PIL import Image

    for place, image in enumerate(images):
        if isinstance(image, Image.Image):
            yield apply_frame_format_to_image(image.convert("RGB"), shape)
            continue
        array = np.asarray(image)
        if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] != 3:
            array = array.transpose(1, 2, 0)
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
            raise UserError(
                f"image {place} has shape {array.shape} of {array.dtype}; (3, H, W) or (H, W, 3) of uint8 is needed"
            )
        yield apply_frame_format_to_image(Image.fromarray(np.ascontiguousarray(array)), shape)

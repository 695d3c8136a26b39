"""ProAssist's call of a runner: input is a row, output are the results by frame and a result file."""

from __future__ import annotations

import numpy as np
import pytest

from prospect_core.data.formats.proassist import episode_from_proassist_row, episode_to_proassist_row
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.video import write_video_frames_file
from prospect_core.records import Knobs, PredictedUtterance
from prospect_core.stream.step_output import StepOutput
from prospect_core.stream.video_inference import FrameOutput, run_video_inference
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import read_json
from tests.helpers.proassist_rows import PREPARED

SHAPE = FrameFormat(8)
FRAMES = PREPARED["end_frame_idx"] - PREPARED["start_frame_idx"]
PICTURES = np.arange(FRAMES, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 8, 8), np.uint8)


class Echo:
    """Repeats the user's words and stores its frames."""

    def __init__(self):
        self.knobs, self.seen = Knobs(), []

    def reset(self, task, state=None, fps=2, start_frame=0):
        self.frame = start_frame

    def step(self, frame, user_text=None):
        self.seen.append(int(frame[0, 0, 0]))
        said = PredictedUtterance(self.frame, f"You said {user_text}") if user_text else None
        self.frame += 1
        return StepOutput(self.frame - 1, None, None, None, utterance=said, cache_tokens=None, cache_bytes=None)


@pytest.mark.parametrize("form", ["(N, 3, H, W)", "(N, H, W, 3)", "PIL"])
def test_run_video_inference_images_gives_outputs_and_file(tmp_path, form):
    from PIL import Image

    images = PICTURES
    if form != "(N, 3, H, W)":
        images = PICTURES.transpose(0, 2, 3, 1)
    if form == "PIL":
        images = [Image.fromarray(picture) for picture in images]
    model = Echo()
    got = run_video_inference(model, SHAPE, {**PREPARED, "images": images, "sample_idx": 7}, tmp_path / "results")
    assert model.seen == list(range(FRAMES))
    assert [o.frame_idx_in_stream for o in got["predictions"]] == list(range(FRAMES))
    # the user speaks after frame 8, so the text is read with the sixth frame of the stream
    assert got["predictions"][5] == FrameOutput("You said Hello", "Boil.", [["user", "Hello"]], 5, 9, 3.0)
    stored = read_json(tmp_path / "results/7.json")
    assert stored["predictions"] == [output.to_dict() for output in got["predictions"]]
    assert stored["metadata"] == got["metadata"]
    assert (got["metadata"]["dataset"], got["metadata"]["sample_idx"]) == ("wtag", 7)


def test_run_video_inference_row_opens_frames_file(tmp_path):
    (tmp_path / "frames").mkdir()
    stored = np.repeat(PICTURES[:1].transpose(0, 2, 3, 1), PREPARED["end_frame_idx"], 0)
    write_video_frames_file(tmp_path / "frames/v1.arrow", iter(stored))
    model = Echo()
    got = run_video_inference(model, SHAPE, PREPARED, root=tmp_path)
    assert len(model.seen) == len(got["predictions"]) == FRAMES
    episode = episode_from_proassist_row(PREPARED)
    again = run_video_inference(model, SHAPE, episode, root=tmp_path)
    assert again["predictions"] == got["predictions"]
    assert episode_to_proassist_row(episode) == PREPARED


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": PICTURES[:3]}, DataError, "3 images for 26 frames"),
        ({"images": PICTURES.astype(float)}, UserError, "float64; (3, H, W) or (H, W, 3) of uint8"),
        ({"encoded_images": PICTURES}, UserError, "features of another model's vision tower; give images"),
        ({"conversation": 3}, UserError, "not a ProAssist prepared row"),
        ({}, DataError, "no such file"),
    ],
)
def test_run_video_inference_invalid_row_is_one_line(change, error, message):
    with pytest.raises(error) as caught:
        run_video_inference(Echo(), SHAPE, {**PREPARED, **change})
    assert message in str(caught.value)


@pytest.mark.slow
@pytest.mark.integration
def test_runner_has_published_call(tmp_path):
    from prospect_core.model.checkpoint import load_model_checkpoint
    from prospect_core.stream.runner import VLMStreamRunner

    model, tokenizer = load_model_checkpoint("workbench-tiny", "cpu")
    runner = VLMStreamRunner(model, tokenizer, Knobs())
    got = runner.run_inference_on_video({**PREPARED, "images": PICTURES, "sample_idx": 0}, tmp_path)
    assert len(got["predictions"]) == FRAMES
    assert (tmp_path / "0.json").is_file()

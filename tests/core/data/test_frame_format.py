"""From pictures to frames: the published processor's result, cases by hand, and non-square pixels."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from prospect_core.data.frame_format import FRAMINGS, FrameFormat, apply_frame_format_to_image
from prospect_core.data.video import VideoFile
from tests.helpers.media import write_pictures

SIZES = [(1280, 720), (641, 361), (360, 640), (500, 500), (37, 900), (100, 64), (3, 700)]


def noise(width, height):
    """Coarse and fine noise, shape (height, width, 3)."""
    rng = np.random.default_rng(width)
    coarse = Image.fromarray(rng.integers(0, 255, (9, 9, 3), dtype=np.uint8)).resize((width, height))
    return (np.asarray(coarse) // 2 + rng.integers(0, 127, (height, width, 3))).astype(np.uint8)


def as_published(picture, size):
    """Return the result of transformers' own video processor before normalization."""
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    processor = SmolVLMImageProcessorPil(
        size={"longest_edge": size}, max_image_size={"longest_edge": size}, do_image_splitting=False
    )
    made = processor(Image.fromarray(picture), do_rescale=False, do_normalize=False, return_tensors="np")
    return made["pixel_values"][0, 0].transpose(1, 2, 0)


@pytest.mark.integration
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_frame_format_squash_equals_published_processor(width, height):
    picture = noise(width, height)
    for size in (64, 384):
        frame = apply_frame_format_to_image(Image.fromarray(picture), FrameFormat(size, "squash"))
        assert frame.dtype == np.uint8
        assert np.array_equal(frame, as_published(picture, size))


@pytest.mark.integration
def test_video_frames_squash_equal_published_processor(tmp_path):
    import av

    path = write_pictures(tmp_path / "v.mp4", [noise(320, 180)] * 3)
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    frame = next(VideoFile(path, 1, FrameFormat(64, "squash")).frames(0, 1))
    assert np.array_equal(frame, as_published(picture, 64))


def test_frame_format_wide_picture_by_hand():
    """90 x 60 pixels: one third red, one green, one blue."""
    picture = np.zeros((60, 90, 3), np.uint8)
    for third in range(3):
        picture[:, 30 * third : 30 * third + 30, third] = 255

    def frame(framing):
        return apply_frame_format_to_image(Image.fromarray(picture), FrameFormat(30, framing)).astype(int)

    assert {framing: frame(framing).shape for framing in (*FRAMINGS, "whole")} == {
        "squash": (30, 30, 3), "letterbox": (30, 30, 3), "crop": (30, 30, 3), "whole": (20, 30, 3),
    }  # fmt: skip
    centre = [frame(framing)[15, [2, 15, 27]].tolist() for framing in ("squash", "letterbox")]
    assert centre == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]] * 2
    # bars above and below, of equal height
    rows = frame("letterbox").sum((1, 2))
    assert (rows[:5] == 0).all()
    assert (rows[5:25] > 0).all()
    assert (rows[25:] == 0).all()
    assert np.array_equal(frame("letterbox")[5:25], frame("whole"))
    # 45 x 30 without one sixth at each side
    assert (frame("crop").sum((0, 1)) / 255 / 30).round().tolist() == [8, 15, 7]
    assert frame("squash").sum((0, 1)) == pytest.approx(frame("squash").sum() / 3, rel=0.02)


@pytest.mark.parametrize("framing", [*FRAMINGS, "whole"])
@pytest.mark.parametrize("turned", [False, True])
def test_frame_format_non_square_pixels_are_corrected(tmp_path, framing, turned):
    """A round disc is stored at half its width, with pixels of 2:1."""
    y, x = np.mgrid[:120, :120]
    disc = np.where(((x - 59.5) * 2) ** 2 + (y - 59.5) ** 2 < 40**2, 255, 0).astype(np.uint8)
    path = write_pictures(
        tmp_path / "v.mp4", [np.repeat(disc[..., None], 3, 2)] * 2, pixel_aspect=Fraction(2), rotation=90 * turned
    )
    frame = next(VideoFile(path, 1, FrameFormat(60, framing)).frames(0, 1)).mean(-1) > 128
    height, width = frame.any(1).sum(), frame.any(0).sum()
    if framing == "squash":
        # the whole picture fills the square, independent of its aspect ratio
        stored = (40, 20) if not turned else (20, 40)
        assert (height, width) == (pytest.approx(stored[0], abs=2), pytest.approx(stored[1], abs=2))
    else:
        assert height == pytest.approx(width, abs=2)
        assert height == pytest.approx(40 if framing == "crop" else 20, abs=2)


def test_frame_format_text_form():
    assert str(FrameFormat(512, "squash")) == "512 x 512 (squash)"

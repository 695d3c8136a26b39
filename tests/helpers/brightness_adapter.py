"""A model without torch: it speaks when a picture is clearly brighter or darker than the one before."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from prospect_core.data.dataset import Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.records import EpisodeTiming, Knobs
from prospect_core.timeline import Episode
from prospect_core.util.errors import DataError
from prospect_eval.models.base import Prediction, Predictor, PredictorOptions
from prospect_eval.models.baselines.trivial import make_trivial_baseline_record

NAME = "brightness:change"
PICTURE_SIZE = 32
#: smallest change that counts, of 255 grey levels
CHANGE = 0.5


def open_adapter(ckpt: str, name: str, data: Dataset, asked: PredictorOptions) -> Predictor:
    """Open ``--ckpt brightness:NAME``, which works after a call of `install`."""

    def predict_one(episode: Episode) -> Prediction:
        begin = time.perf_counter()
        try:
            source = data.frame_source(episode, FrameFormat(PICTURE_SIZE))
            levels = [float(frame.mean()) for frame in source.frames(episode.start_frame, episode.end_frame)]
        except DataError as error:
            return episode, error
        changes = np.flatnonzero(np.abs(np.diff(levels)) > CHANGE) + 1
        speech = [(episode.start_frame + int(change), f"change {change}") for change in changes]
        record = make_trivial_baseline_record(ckpt, episode, speech, [])
        return episode, (record, EpisodeTiming(episode.id, time.perf_counter() - begin, {}))

    def predict(episodes: Sequence[Episode]) -> Iterator[Prediction]:
        yield from map(predict_one, episodes)

    return Predictor(ckpt, ckpt, Knobs(), predict)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the adapter's entry point for this process and its child processes."""
    info = folder / "brightness-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brightness\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(f"[prospect.adapters]\nbrightness = {__name__}:open_adapter\n")
    monkeypatch.syspath_prepend(folder)

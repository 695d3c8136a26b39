"""Predictor for any `StreamModel`, an object with ``reset`` and ``step``, replayed frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from prospect_core.data.dataset import Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.records import Knobs
from prospect_core.stream.replay import replay_episode
from prospect_core.stream.step_output import StreamModel
from prospect_core.timeline import Episode
from prospect_core.util.errors import DataError
from prospect_core.util.signals import stop_requested
from prospect_eval.models.base import Prediction, Predictor


def make_any_stream_predictor(
    name: str,
    digest: str,
    make: Callable[[], StreamModel],
    data: Dataset,
    shape: FrameFormat,
    knobs: Knobs,
    at_once: int = 1,
) -> Predictor:
    """Make a predictor from a stream model.

    A `DataError` fails only its episode.

    Args:
        name: Name of the model.
        digest: Digest that identifies the model.
        make: Makes a model for one stream.
        data: The dataset.
        shape: Format of the frames.
        knobs: Settings of the replay.
        at_once: Number of streams that run at the same time, each in its own thread. More than one
            is useful for models that wait for a server. Under the clock ``live`` one stream runs,
            so that others do not slow it.
    """
    if knobs.rules.clock == "live":
        at_once = 1

    def one(episode: Episode) -> Prediction | None:
        if stop_requested():
            return None
        try:
            source = data.frame_source(episode, shape)
            return episode, replay_episode(make(), episode, source.frames, knobs, name)
        except DataError as error:
            return episode, error

    def predict(episodes: Sequence[Episode]) -> Iterator[Prediction]:
        if at_once == 1:
            yield from filter(None, map(one, episodes))
            return
        pool = ThreadPoolExecutor(at_once)
        try:
            ended = as_completed([pool.submit(one, episode) for episode in episodes])
            yield from filter(None, (done.result() for done in ended))
        finally:
            pool.shutdown(cancel_futures=True)

    return Predictor(name, digest, knobs, predict)

"""Any `StreamModel` as a predictor: what has ``reset`` and ``step`` is replayed picture by picture, as if live.

python -c "from prospect_eval.models.any_stream import make_any_stream_predictor; help(make_any_stream_predictor)"
"""

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
    """``make`` gives a model for one stream; ``at_once`` streams run in threads of their own (for models that wait for
    others, such as servers). Pictures are of that ``shape``. A `DataError` fails its episode alone."""

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

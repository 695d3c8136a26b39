"""Anything that can be evaluated, behind one call: episodes in, records and their timings out.

python -c "from prospect_eval.adapters import open_predictor; help(open_predictor)"
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prospect_core.data.dataset import Dataset
from prospect_core.errors import DataError, UserError, choose
from prospect_core.records import EpisodeRecord, EpisodeTiming, Knobs
from prospect_core.stream import STREAMS
from prospect_core.timeline import Episode
from prospect_eval.baselines import BASELINES, baseline
from prospect_eval.keyholes import KEYHOLES, keyhole

if TYPE_CHECKING:
    from prospect_core.stream.latency import EpisodeLatency
    from prospect_core.stream.teacher import ForcedTurn

#: an episode and what became of it
Prediction = tuple[Episode, tuple[EpisodeRecord, EpisodeTiming] | DataError]
#: in the order in which they end
Predict = Callable[[Sequence[Episode]], Iterator[Prediction]]


@dataclass(frozen=True)
class Predictor:
    """A model ready to predict; ``digest`` tells what exactly it is, ``knobs`` with what it replays, and
    ``thresholds_from`` where its thresholds come from."""

    name: str
    digest: str
    knobs: Knobs
    predict: Predict
    thresholds_from: str = ""
    #: what only models of ours can do
    forced: Callable[[Episode], list[ForcedTurn]] | None = None
    latency: Callable[[Episode], EpisodeLatency] | None = None


def open_predictor(
    ckpt: str,
    data: Dataset,
    episodes: Sequence[Episode],
    strategy: str,
    budget: int | None,
    speaking_threshold: float | None = None,
    update_threshold: float | None = None,
    device: str = "cpu",
    streams: int = STREAMS,
) -> Predictor:
    """A checkpoint by path or name, or ``baseline:NAME``. Thresholds default to the checkpoint's own; ``streams`` are
    replayed at once."""
    if ckpt.startswith("baseline:"):
        if strategy != "none" or budget is not None or (speaking_threshold, update_threshold) != (None, None):
            raise UserError(f"--ckpt {ckpt}: a baseline has no context, strategy, budget or threshold; leave those out")
        name = choose("baseline", ckpt.removeprefix("baseline:"), (*BASELINES, *KEYHOLES))
        make = keyhole(name) if name in KEYHOLES else baseline(name, episodes)

        def predict(episodes: Sequence[Episode]) -> Iterator[Prediction]:
            for episode in episodes:
                begin = time.perf_counter()
                record = make(episode)
                yield episode, (record, EpisodeTiming(episode.id, time.perf_counter() - begin, {}))

        return Predictor(ckpt, ckpt, Knobs(), predict)
    return _open_checkpoint(ckpt, data, strategy, budget, speaking_threshold, update_threshold, device, streams)


def _open_checkpoint(
    ckpt: str,
    data: Dataset,
    strategy: str,
    budget: int | None,
    speaking_threshold: float | None,
    update_threshold: float | None,
    device: str,
    streams: int,
) -> Predictor:
    from prospect_core.stream.strategies import strategy as check_strategy

    check_strategy(strategy, budget)
    from prospect_core.model.checkpoint import checkpoint_digest, find_checkpoint
    from prospect_eval.adapters.checkpoint import CheckpointModel

    def knobs(config: Any) -> Knobs:
        speaking = config.speaking_threshold if speaking_threshold is None else speaking_threshold
        return Knobs(
            strategy, budget, speaking, config.update_threshold if update_threshold is None else update_threshold
        )

    model = CheckpointModel(ckpt, data, knobs, device, streams)
    given = (speaking_threshold, update_threshold) != (None, None)
    source = "the command line" if given else model.model.config.thresholds_data or "never chosen"
    digest = checkpoint_digest(find_checkpoint(ckpt))
    return Predictor(ckpt, digest, model.knobs, model.predict, source, model.forced, model.latency)

"""Anything that can be evaluated, behind one call: episodes in, records and their timings out.

    prospect-eval run --ckpt baseline:oracle --suite workbench
    prospect-eval run --ckpt hf:HuggingFaceTB/SmolVLM2-256M-Video-Instruct --data my-videos
    prospect-eval run --ckpt endpoint:my-model --endpoint http://127.0.0.1:8000/v1 --data my-videos

A checkpoint of ours (`checkpoint`), a plain Hugging Face image-text model (`hugging_face`), a model behind an
OpenAI-compatible endpoint (`chat_endpoint`), or a baseline. A model of your own: anything with ``reset`` and ``step``
(`prospect_core.stream.runner.StreamModel`) goes through `streams.predictor`; a function ``(ckpt, name, data, asked) -> Predictor``
in the entry point group ``prospect.adapters`` then answers to ``--ckpt ITS_NAME:name`` (`prospect new adapter NAME`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from prospect_core.checkpoints import checkpoint_digest, dtype_on, find_checkpoint
from prospect_core.data.dataset import Dataset
from prospect_core.data.index import Rows
from prospect_core.errors import DataError, UserError, choose
from prospect_core.interrupt import stopping
from prospect_core.jsonio import read_json
from prospect_core.plugins import installed, loaded
from prospect_core.records import AskedDtype, EpisodeRecord, EpisodeTiming, Knobs
from prospect_core.stream import STREAMS
from prospect_core.timeline import Episode
from prospect_eval.baselines import BASELINES, baseline
from prospect_eval.keyholes import KEYHOLES, keyhole

if TYPE_CHECKING:
    from prospect_core.records import EpisodeLatency, ForcedTurn

GROUP = "prospect.adapters"
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
    #: the least budget of tokens that all these episodes admit under the knobs' strategy
    least_budget: Callable[[Sequence[Episode]], int] | None = None


@dataclass(frozen=True)
class Asked:
    """How a model is to be replayed; thresholds that are None are the model's own. ``streams`` are replayed at once."""

    strategy: str = "none"
    budget: int | None = None
    speaking_threshold: float | None = None
    update_threshold: float | None = None
    device: str = "cpu"
    streams: int = STREAMS
    cache_dtype: Literal["model", "int8", "fp8"] = "model"
    #: of a model behind one: its address, the seconds that it has for a reply, and where its key stands
    endpoint: str | None = None
    timeout_s: float = 120
    key_variable: str = "OPENAI_API_KEY"
    #: where a checkpoint's features lie (`prospect data features`)
    features: str | None = None
    #: pictures that a chat model is shown at once, the newest; None: its adapter's own number
    frames_shown: int | None = None
    #: what a model computes in; ``auto``: the fastest that its device is made for
    dtype: AskedDtype = "float32"
    #: parameters of the requests to an endpoint; None leaves one out
    request_options: Mapping[str, Any] = field(default_factory=dict)
    #: others replay; this process only has to tell who the model is
    apart: bool = False

    def knobs(self, speaking_threshold: float, update_threshold: float) -> Knobs:
        """Those of a checkpoint with these thresholds of its own."""
        return Knobs(
            self.strategy,
            self.budget,
            speaking_threshold if self.speaking_threshold is None else self.speaking_threshold,
            update_threshold if self.update_threshold is None else self.update_threshold,
            self.cache_dtype,
            dtype_on(self.device, self.dtype),
        )

    def thresholds_from(self, thresholds_data: str) -> str:
        """Where the thresholds come from, those of a checkpoint from ``thresholds_data``."""
        given = (self.speaking_threshold, self.update_threshold) != (None, None)
        return "the command line" if given else thresholds_data or "never chosen"

    def frames_digest(self) -> str:
        """What tells models that are shown other numbers of pictures apart."""
        return "" if self.frames_shown is None else f" {self.frames_shown} frames shown"

    def refuse(self, ckpt: str, what: str, thresholds: bool = False, device: bool = False) -> None:
        """Refuse knobs that a model without a context of ours would ignore; ``thresholds`` where it has one to speak,
        ``device`` where it is run on one of this machine's."""
        given = [
            ("--strategy", self.strategy != "none"),
            ("--budget", self.budget is not None),
            ("--cache-dtype", self.cache_dtype != "model"),
            ("--features", self.features is not None),
            *([] if device else [("--device", self.device != "cpu"), ("--dtype", self.dtype != "float32")]),
            *([] if thresholds else [("--speaking-threshold", self.speaking_threshold is not None)]),
            ("--update-threshold", self.update_threshold is not None),
        ]
        if found := [option for option, used in given if used]:
            raise UserError(f"--ckpt {ckpt}: {what} and would ignore {', '.join(found)}; leave that out")


def open_predictor(ckpt: str, data: Dataset, episodes: Sequence[Episode], asked: Asked) -> Predictor:
    """A checkpoint by path or name, ``baseline:NAME``, ``hf:NAME`` or ``endpoint:MODEL``; what does not fit it is a
    `UserError`."""
    kind, _, name = ckpt.partition(":")
    if (asked.endpoint is not None) != (kind == "endpoint"):
        raise UserError(f"--ckpt {ckpt}: endpoint:MODEL and --endpoint URL go together")
    if asked.request_options and kind != "endpoint":
        raise UserError(f"--ckpt {ckpt}: --request-option is for endpoint:MODEL; leave it out")
    if asked.frames_shown is not None and kind not in ("hf", "endpoint"):
        raise UserError(f"--ckpt {ckpt}: --frames-shown is for hf:NAME and endpoint:MODEL; leave it out")
    if kind == "baseline":
        return _open_baseline(ckpt, name, data, episodes, asked)
    if kind == "hf":
        from prospect_eval.adapters.hugging_face import open_hugging_face

        return open_hugging_face(ckpt, name, data, asked)
    if kind == "endpoint":
        from prospect_eval.adapters.chat_endpoint import open_chat_endpoint

        return open_chat_endpoint(ckpt, name, data, asked)
    theirs = {point.name: point for point in installed(GROUP)}
    if kind in theirs:
        predictor: Predictor = loaded(theirs[kind])(ckpt, name, data, asked)
        return predictor
    return _tell_checkpoint(ckpt, data, asked) if asked.apart else _open_checkpoint(ckpt, data, asked)


def _open_checkpoint(ckpt: str, data: Dataset, asked: Asked) -> Predictor:
    from prospect_core.stream.strategies import strategy as check_strategy
    from prospect_eval.adapters.checkpoint import open_checkpoint

    check_strategy(asked.strategy, asked.budget)
    return open_checkpoint(ckpt, data, asked)


def _tell_checkpoint(ckpt: str, data: Dataset, asked: Asked) -> Predictor:
    """Who it is by its files alone, which takes a tenth of the time: torch is not imported. What is wrong with the
    checkpoint, those tell who open it."""
    folder = find_checkpoint(ckpt)
    try:
        stored = read_json(folder / "config.json")
        knobs = asked.knobs(stored["speaking_threshold"], stored["update_threshold"])
        source = asked.thresholds_from(stored["thresholds_data"])
    except (DataError, OSError, KeyError, TypeError):
        return _open_checkpoint(ckpt, data, asked)

    def predict(episodes: Sequence[Episode]) -> Iterator[Prediction]:
        yield from _open_checkpoint(ckpt, data, asked).predict(episodes)

    return Predictor(ckpt, checkpoint_digest(folder), knobs, predict, source)


def _make_baseline(name: str, data: Dataset, episodes: Sequence[Episode]) -> Callable[[Episode], EpisodeRecord]:
    """A baseline; those that learn do so from the data's train split, or from the other videos of the episodes."""
    if not BASELINES[name].learns:
        return baseline(name, episodes)
    from prospect_eval.priors import Priors
    from prospect_eval.tools import make_tools
    from prospect_eval.training_data import SPLIT, training_in

    trained_on = SPLIT in data.splits and isinstance(episodes, Rows) and episodes.file == data.split_file(SPLIT)
    learnt_from = training_in(data, SPLIT if trained_on else "").load()
    return baseline(name, episodes, Priors(learnt_from, list(episodes), make_tools().similarity))


def _open_baseline(ckpt: str, name: str, data: Dataset, episodes: Sequence[Episode], asked: Asked) -> Predictor:
    asked.refuse(ckpt, "a baseline has no context, no thresholds and no device")
    choose("baseline", name, (*BASELINES, *KEYHOLES))
    make = keyhole(name) if name in KEYHOLES else _make_baseline(name, data, episodes)

    def predict(episodes: Sequence[Episode]) -> Iterator[Prediction]:
        for episode in episodes:
            if stopping():
                return
            begin = time.perf_counter()
            record = make(episode)
            yield episode, (record, EpisodeTiming(episode.id, time.perf_counter() - begin, {}))

    return Predictor(ckpt, ckpt, Knobs(), predict)

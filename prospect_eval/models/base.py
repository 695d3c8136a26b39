"""What every model that can be evaluated offers: episodes in, records and their timings out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from prospect_core.checkpoints.folders import choose_checkpoint_folder_dtype
from prospect_core.records import AskedDtype, EpisodeRecord, EpisodeTiming, Knobs, ReplayProtocol
from prospect_core.stream import STREAMS
from prospect_core.timeline import Episode
from prospect_core.util.errors import DataError, UserError

if TYPE_CHECKING:
    from prospect_core.records import EpisodeLatency, TeacherForcedTurn

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
    forced: Callable[[Episode], list[TeacherForcedTurn]] | None = None
    latency: Callable[[Episode], EpisodeLatency] | None = None
    #: the least budget of tokens that all these episodes admit under the knobs' strategy
    least_budget: Callable[[Sequence[Episode]], int] | None = None


@dataclass(frozen=True)
class PredictorOptions:
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
    #: the rules of the replay; None: autonomous
    protocol: ReplayProtocol | None = None
    #: others replay; this process only has to tell who the model is
    distributed: bool = False

    def knobs(self, speaking_threshold: float, update_threshold: float) -> Knobs:
        """Those of a checkpoint with these thresholds of its own."""
        return Knobs(
            self.strategy,
            self.budget,
            speaking_threshold if self.speaking_threshold is None else self.speaking_threshold,
            update_threshold if self.update_threshold is None else self.update_threshold,
            self.cache_dtype,
            choose_checkpoint_folder_dtype(self.device, self.dtype),
            self.protocol,
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

"""Interface of every model that can be evaluated: episodes in, records with timings out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prospect_core.checkpoints.folders import choose_checkpoint_folder_dtype
from prospect_core.records import AskedDtype, EpisodeRecord, EpisodeTiming, Knobs, ReplayProtocol
from prospect_core.stream import STREAMS
from prospect_core.timeline import Episode
from prospect_core.util.errors import DataError, UserError

if TYPE_CHECKING:
    from prospect_core.records import EpisodeLatency, TeacherForcedTurn

#: an episode and its record with timing, or the error that it failed with
Prediction = tuple[Episode, tuple[EpisodeRecord, EpisodeTiming] | DataError]


#: file formats of pictures for an endpoint
PictureType = Literal["jpeg", "png"]
#: replays episodes and yields each one when it ends
Predict = Callable[[Sequence[Episode]], Iterator[Prediction]]


@dataclass(frozen=True)
class Predictor:
    """A model that is ready to predict.

    Attributes:
        name: Name of the model in records and messages.
        digest: Digest that identifies the weights or the code of the model.
        knobs: Settings of the replay.
        predict: Replays episodes.
        thresholds_from: Source of the thresholds, as `PredictorOptions.thresholds_from` returns it.
        forced: Teacher-forced pass over an episode; None for models without this pass.
        latency: Latency measurement over an episode; None for models without it.
        least_budget: Smallest token budget that all given episodes allow under the strategy of the
            knobs; None for models without a budget.
        use_folder: Gives the predictor the run folder, for files that a continued run uses again;
            None if it writes none.
    """

    name: str
    digest: str
    knobs: Knobs
    predict: Predict
    thresholds_from: str = ""
    forced: Callable[[Episode], list[TeacherForcedTurn]] | None = None
    latency: Callable[[Episode], EpisodeLatency] | None = None
    least_budget: Callable[[Sequence[Episode]], int] | None = None
    use_folder: Callable[[Path], None] | None = None


@dataclass(frozen=True)
class PredictorOptions:
    """Settings of a replay.

    Attributes:
        strategy: Context strategy.
        budget: Token budget of the strategy; None for no limit.
        speaking_threshold: Threshold of the speaking probability, 0..1; None for the model's own.
        update_threshold: Threshold of the probability of a transition, 0..1; None for the model's
            own.
        device: Device of torch.
        streams: Number of streams that are replayed at the same time.
        cache_dtype: Storage of the key-value cache.
        endpoint: Address of a model endpoint.
        timeout_s: Maximum wait for a reply of the endpoint, in seconds.
        key_variable: Environment variable with the key of the endpoint.
        features: Folder of precomputed features (`prospect data features`); None to encode the
            pictures.
        frames_shown: Maximum number of pictures in the context of a chat model; None for the default
            of its adapter.
        frames_dropped: Number of oldest pictures that are removed together when there are more; None
            for the default of its adapter.
        picture_size: Longest side of the pictures that an endpoint gets, in pixels; None for the
            default.
        picture_type: File format of these pictures.
        chat_encoding: Name of the encoding of a stream as a chat for an endpoint; None to choose by
            the model's name.
        response_folder: Folder of the replies of an endpoint, which runs can share; None for the
            run folder.
        dtype: Data type of the computation; ``auto`` for the fastest one that the device supports.
        request_options: Parameters of the requests to the endpoint; None removes a parameter.
        protocol: Rules of the replay; None for the autonomous protocol.
        distributed: Whether worker processes replay. This process then only identifies the model.
    """

    strategy: str = "none"
    budget: int | None = None
    speaking_threshold: float | None = None
    update_threshold: float | None = None
    device: str = "cpu"
    streams: int = STREAMS
    cache_dtype: Literal["model", "int8", "fp8"] = "model"
    endpoint: str | None = None
    timeout_s: float = 120
    key_variable: str = "OPENAI_API_KEY"
    features: str | None = None
    frames_shown: int | None = None
    frames_dropped: int | None = None
    picture_size: int | None = None
    picture_type: PictureType = "jpeg"
    chat_encoding: str | None = None
    response_folder: Path | None = None
    dtype: AskedDtype = "float32"
    request_options: Mapping[str, Any] = field(default_factory=dict)
    protocol: ReplayProtocol | None = None
    distributed: bool = False

    def knobs(
        self, speaking_threshold: float, update_threshold: float, mistake_threshold: float | None = None
    ) -> Knobs:
        """Return the knobs of a checkpoint with these thresholds of its own; None without a mistake head."""
        return Knobs(
            self.strategy,
            self.budget,
            speaking_threshold if self.speaking_threshold is None else self.speaking_threshold,
            update_threshold if self.update_threshold is None else self.update_threshold,
            self.cache_dtype,
            choose_checkpoint_folder_dtype(self.device, self.dtype),
            self.protocol,
            mistake_threshold,
        )

    def thresholds_from(self, thresholds_data: str) -> str:
        """Return the source of the thresholds.

        Args:
            thresholds_data: Data on which a checkpoint's own thresholds were chosen; empty if
                unknown.
        """
        given = (self.speaking_threshold, self.update_threshold) != (None, None)
        return "the command line" if given else thresholds_data or "never chosen"

    def frames_digest(self) -> str:
        """Return the part of a digest that separates models with different ``frames_shown`` or ``frames_dropped``."""
        shown = "" if self.frames_shown is None else f" {self.frames_shown} frames shown"
        return shown if self.frames_dropped is None else f"{shown} {self.frames_dropped} frames dropped"

    def refuse(self, ckpt: str, what: str, thresholds: bool = False, device: bool = False) -> None:
        """Refuse options that a model would ignore.

        Args:
            ckpt: The model, as given with ``--ckpt``.
            what: Start of the message, such as "a baseline has no context and no device".
            thresholds: Whether the model has a speaking threshold.
            device: Whether the model runs on a device of this machine.

        Raises:
            UserError: An option is set that the model would ignore.
        """
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
            raise UserError(f"--ckpt {ckpt}: {what}, so {', '.join(found)} would have no effect; remove it")

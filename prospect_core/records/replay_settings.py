"""Settings of a replay: protocol, clock, context strategy, thresholds and number types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from prospect_core.timeline.task import STRICT

#: number type for computation
Dtype = Literal["float32", "bfloat16"]
#: the same, or the device's best type
AskedDtype = Literal["float32", "bfloat16", "auto"]


@dataclass(frozen=True)
class LatencyModel:
    """Time that a model takes for one step of a stream, for the clock ``simulated``.

    A step takes ``frame_ms`` + ``prompt_token_ms`` x read tokens + ``output_token_ms`` x tokens of
    the reply.

    Attributes:
        frame_ms: Milliseconds of each step, 0 or more.
        prompt_token_ms: Milliseconds of each token that the step reads before its decision, 0 or
            more. A model that keeps a cache reads the new tokens, any other its whole context.
        output_token_ms: Milliseconds of each token of a reply, 0 or more.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    frame_ms: float = 0.0
    prompt_token_ms: float = 0.0
    output_token_ms: float = 0.0

    def describe(self) -> str:
        """Return the latency model as it is given on the command line."""
        return f"frame={self.frame_ms:g},prompt_token={self.prompt_token_ms:g},output_token={self.output_token_ms:g}"


@dataclass(frozen=True)
class ClockSettings:
    """Settings of a clock for which the video does not wait. Runs with different ones can be compared.

    Attributes:
        busy: Frames that arrive while the model is busy: ``drop`` shows the newest one when the
            model becomes free, ``queue`` shows all in order.
        words_per_minute: Rate at which utterances are spoken; above 0.
        latency: Latency model of the clock ``simulated``; None if ``recorded`` gives the latencies.
        recorded: Run folder of a run with the clock ``live`` whose measured latencies the clock
            ``simulated`` repeats; empty for a latency model.
        recorded_digest: SHA-256 of these latencies.
        speed: Seconds of video per second of the clock ``live``; above 0.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    busy: Literal["drop", "queue"] = "drop"
    words_per_minute: float = 150.0
    latency: LatencyModel | None = None
    recorded: str = ""
    recorded_digest: str = ""
    speed: float = 1.0

    def describe(self) -> str:
        """Describe the settings in words."""
        parts = [f"busy frames {'dropped' if self.busy == 'drop' else 'queued'}"]
        if self.latency is not None:
            parts.append(f"latency in ms {self.latency.describe()}")
        if self.recorded:
            parts.append(f"latencies of {self.recorded}")
        if self.speed != 1:
            parts.append(f"video at {self.speed:g} times its speed")
        return ", ".join([*parts, f"{self.words_per_minute:g} words a minute"])


@dataclass(frozen=True)
class ReplayProtocol:
    """Rules of a replay. Numbers of different protocols are never compared.

    Attributes:
        initiative: ``autonomous``: the model decides at every frame. ``polled``: it is asked at
            given times. ``chunked``: it is asked once in each candidate interval. A run records
            utterances only under ``autonomous``; otherwise the answers are the predictions.
        history: ``own``, or ``gold``: its context holds the reference instead of its predictions
            (teacher forcing).
        horizon: ``video``: to the end of the video. ``official``: to the end of the official
            window, after which false alarms do not count.
        question_time: ``annotated``: questions come at their times. ``start``: they come at the
            start.
        polling: ``one_pass``: polls interrupt one stream over the video. ``recut``: each poll is a
            new stream over its clip.
        reveals: Contents of the prompt in addition to the question, such as ``gold_text``.
        clock: ``replay``: the video waits for the model. ``simulated``: it does not, and a step
            takes a stated or recorded time. ``live``: it does not, and a step takes its wall time.
        timing: Settings of the clocks ``simulated`` and ``live``; None for ``replay``.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    initiative: Literal["autonomous", "polled", "chunked"] = "autonomous"
    history: Literal["own", "gold"] = "own"
    horizon: Literal["video", "official"] = "video"
    question_time: Literal["annotated", "start"] = "annotated"
    polling: Literal["one_pass", "recut"] = "one_pass"
    reveals: tuple[str, ...] = ()
    clock: Literal["replay", "simulated", "live"] = "replay"
    timing: ClockSettings | None = None

    @property
    def records_utterances(self) -> bool:
        """Whether the model decides when to speak, so that its utterances are predictions."""
        return self.initiative == "autonomous"

    def describe(self) -> str:
        """Describe the differences from autonomous replay in words; ``autonomous`` if there are none."""
        parts: list[str] = [self.initiative]
        if self.history == "gold":
            parts.append("gold history (teacher-forced)")
        if self.horizon == "official":
            parts.append("official window only")
        if self.question_time == "start":
            parts.append("questions at the start")
        if self.polling == "recut":
            parts.append("clip cut for each poll")
        if self.reveals:
            parts.append(f"prompt reveals {', '.join(self.reveals)}")
        if self.clock != "replay":
            parts.append(f"{self.clock} clock")
        return ", ".join(parts)


@dataclass(frozen=True)
class Knobs:
    """Settings of a replay, which every reported number names.

    Attributes:
        strategy: Name of the context strategy.
        budget: Token budget; None is unlimited.
        speaking_threshold: Probability from which the model speaks.
        update_threshold: Probability from which the model updates the state.
        cache_dtype: How keys and values are stored; ``model`` is the number type for computation.
        dtype: Number type for computation.
        protocol: Rules of the replay; the defaults of `ReplayProtocol` if None.
        mistake_threshold: Probability from which the model reports a mistake; None for a model
            without a mistake head, and for the model's own threshold. JSON omits None.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    strategy: str = "none"
    budget: int | None = None
    speaking_threshold: float = 0.5
    update_threshold: float = 0.5
    cache_dtype: Literal["model", "int8", "fp8"] = "model"
    dtype: Dtype = "float32"
    protocol: ReplayProtocol | None = None
    mistake_threshold: float | None = None

    @property
    def rules(self) -> ReplayProtocol:
        """The protocol, or the default one."""
        return self.protocol or ReplayProtocol()

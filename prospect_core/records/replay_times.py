"""Times of a replay and its teacher-forced turns, which are stored separately from the predictions."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import ClassVar

from prospect_core.timeline.task import STRICT


@dataclass(frozen=True)
class StepTime:
    """Times of one step, in nanoseconds of video since the start of the stream.

    Attributes:
        frame: Video frame that the model saw.
        begin_ns: Time at which the frame had arrived and the model was free.
        end_ns: Time at which the step ended.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    frame: int
    begin_ns: int
    end_ns: int


@dataclass(frozen=True)
class ServerUsage:
    """Requests of an episode to a server, with the tokens that the server counted.

    Attributes:
        requests: Requests that the server answered now.
        reused: Requests whose reply was stored by an earlier attempt of the run, or by another
            episode with an equal chat. Their tokens count here too.
        retries: Further requests because the server was busy or the connection was lost.
        prompt_tokens: Tokens of the requests.
        cached_tokens: Those of them that the server took from its prefix cache.
        completion_tokens: Tokens of the replies.
        cost: Price, in the server's unit; 0 if the server names none.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    requests: int = 0
    reused: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: ServerUsage) -> ServerUsage:
        """Return the sums of both."""
        return ServerUsage(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class EpisodeTiming:
    """Times of a replay, which vary from run to run.

    Attributes:
        episode: Episode id.
        seconds: Total seconds.
        stages: Seconds by stage.
        compression_seconds: Seconds of each compression.
        physical_peak_tokens: Most tokens in the cache, including speculative ones; None if unknown.
        steps: Times of each step under the clock ``live``; empty under the others.
        server: Requests to a server; None without one.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    episode: str
    seconds: float
    stages: dict[str, float]
    compression_seconds: tuple[float, ...] = ()
    physical_peak_tokens: int | None = None
    steps: tuple[StepTime, ...] = ()
    server: ServerUsage | None = None


@dataclass(frozen=True)
class EpisodeLatency:
    """Latency and memory of an episode that was stepped frame by frame.

    Attributes:
        episode: Episode id.
        steps: Seconds of every step (vision, decisions, reply, compression).
        first_tokens: Seconds from a frame to the first token of its reply.
        decoding: Seconds of decoding the video.
        video_seconds: Length of the episode.
        weights_bytes: Bytes of the weights.
        cache_bytes: Largest KV cache.
        process_peak_bytes: Peak memory of the process.
        device_peak_bytes: Peak memory of the GPU; None on a CPU.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    episode: str
    steps: tuple[float, ...]
    first_tokens: tuple[float, ...]
    decoding: float
    video_seconds: float
    weights_bytes: int
    cache_bytes: int
    process_peak_bytes: int
    device_peak_bytes: int | None


@dataclass(frozen=True)
class TeacherForcedTurn:
    """One reference turn in the teacher-forced pass (`prospect_core.stream.teacher_forcing`).

    Attributes:
        frame: Decision frame of the turn.
        decisions: Number of decisions of the turn.
        frame_diff: Frames between the first decision to speak and the turn; None if unknown.
        on_time: Whether the model first speaks on the turn's frame.
        tokens: Tokens of the turn.
        right: Leading tokens that greedy decoding predicts.
        nats: Mean cross-entropy of the tokens.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    frame: int
    decisions: int
    frame_diff: int | None
    on_time: bool
    tokens: int
    right: int
    nats: float

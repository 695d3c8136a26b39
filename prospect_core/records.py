"""Prediction records: the contract between runner, baselines, metrics, report and adapters of other models.

One `EpisodeRecord` per episode holds per-frame arrays, predicted utterances and transitions,
refusals, compressions and the reference episode. It is pure data. Everything that varies from run
to run (seconds) is in a separate `EpisodeTiming`.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple, dataclass
from typing import ClassVar, Literal

from prospect_core.timeline import Change, DialogState, Episode, TimelineError

SCHEMA = 1
#: number type for computation
Dtype = Literal["float32", "bfloat16"]
#: the same, or the device's best type
AskedDtype = Literal["float32", "bfloat16", "auto"]
#: kinds of lengths of a stream
LengthKind = Literal["frames", "tokens", "compressions"]
_STRICT = {"extra": "forbid", "allow_inf_nan": False}


def utterance_has_words(text: str) -> bool:
    """Check whether a text holds a letter, a digit or a symbol, not only punctuation and blanks."""
    return any(unicodedata.category(character)[0] in "LNS" for character in text)


@dataclass(frozen=True)
class PredictedTransition:
    """An accepted step change.

    Attributes:
        frame: Video frame on which it takes effect: under the clock ``replay`` the frame on which
            it was decided, under the others the last frame that has arrived when its step ends.
        step: Id of the step.
        change: The change.
        decided: Video frame on which it was decided; None for ``frame``.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    frame: int
    step: str
    change: Change
    decided: int | None = None

    @property
    def decision_frame(self) -> int:
        """Video frame on which it was decided."""
        return self.frame if self.decided is None else self.decided


@dataclass(frozen=True)
class PredictedUtterance:
    """A predicted utterance at a video frame.

    Attributes:
        frame: Video frame on which it is ready to be spoken: under the clock ``replay`` the frame
            on which it was decided, under the others the last frame that has arrived when it has
            been generated.
        text: Its text.
        tokens: Number of its tokens.
        cut: Whether the reply limit ended it before its end token.
        decided: Video frame on which it was decided; None for ``frame``.
        spoken: (start, end) of its speech in seconds of the video; None under the clock ``replay``.
        words_heard: Number of words that were spoken before a user turn interrupted it; None if it
            was spoken to its end.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    frame: int
    text: str
    tokens: int = 0
    cut: bool = False
    decided: int | None = None
    spoken: tuple[float, float] | None = None
    words_heard: int | None = None

    @property
    def decision_frame(self) -> int:
        """Video frame on which it was decided."""
        return self.frame if self.decided is None else self.decided


@dataclass(frozen=True)
class Refusal:
    """A predicted state that the state machine does not allow."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    frame: int
    step: str
    wanted: str


@dataclass(frozen=True)
class CompressionEvent:
    """A compression by a context strategy when the cache reached its budget.

    Attributes:
        frame: Video frame after which it happened.
        strategy: Name of the strategy.
        tokens_before: Tokens of the context before.
        tokens_after: Tokens of the context after.
        bytes_before: Bytes of the cache before.
        bytes_after: Bytes of the cache after.
        text: The new prompt if it was rebuilt; empty otherwise.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    frame: int
    strategy: str
    tokens_before: int
    tokens_after: int
    bytes_before: int
    bytes_after: int
    text: str = ""


@dataclass(frozen=True)
class UnseenLength:
    """First length of a stream beyond the longest in training.

    Attributes:
        kind: Frames since the start of the stream or its last compression, tokens of the context,
            or compressions.
        frame: Video frame on which the stream reached it.
        trained: The longest in training.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    kind: LengthKind
    frame: int
    trained: int


@dataclass(frozen=True)
class PolledAnswer:
    """The answer to a poll.

    Attributes:
        poll: Id of the poll.
        frame: Video frame after which it was asked.
        text: Text of the answer.
        tokens: Number of its tokens.
        cut: Whether the limit ended it before its end token.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    poll: str
    frame: int
    text: str
    tokens: int = 0
    cut: bool = False


@dataclass(frozen=True)
class PredictedMistake:
    """A mistake of the filmed person that the model reports.

    Attributes:
        frame: Video frame on which it was decided.
        step: Id of the step in which it happens; empty if the model names none.
        tag: Kind of the mistake; empty if the model names none.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    frame: int
    step: str = ""
    tag: str = ""


@dataclass(frozen=True)
class PredictedNextStep:
    """From this video frame on, until the next such entry, the model expects this step to start next."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    frame: int
    step: str


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

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
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

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
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

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
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

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
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


@dataclass(frozen=True)
class EpisodeRecord:
    """All predictions of one replay, with the reference episode. Arrays have one entry per frame.

    ``state_probs`` has shape (frames, steps, 3) over (not_started, in_progress, completed). The
    arrays of a model without probabilities are empty; metrics that need them are then undefined,
    never zero. ``mistake_prob`` is the probability that the person is making a mistake. ``unseen`` lists where the stream exceeded the lengths of its model's training.

    Under the clocks ``simulated`` and ``live`` an entry of ``state_probs`` is the latest one that
    was available on its frame; speaking and update probabilities are 0 on frames on which no step
    ended. ``dropped`` lists the frames (first, last) that the model did not see, ``undelivered`` the
    utterances that were not ready before the end of the video, with the frame after the last one.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    __arrays__: ClassVar[tuple[str, ...]] = (
        "speaking_prob",
        "update_prob",
        "state_probs",
        "mistake_prob",
        "cache_tokens",
        "cache_bytes",
    )
    schema: int
    model: str
    knobs: Knobs
    episode: Episode
    speaking_prob: tuple[float, ...] = ()
    update_prob: tuple[float, ...] = ()
    state_probs: tuple[tuple[tuple[float, float, float], ...], ...] = ()
    cache_tokens: tuple[int, ...] = ()
    cache_bytes: tuple[int, ...] = ()
    utterances: tuple[PredictedUtterance, ...] = ()
    transitions: tuple[PredictedTransition, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    compressions: tuple[CompressionEvent, ...] = ()
    status: Literal["ok", "failed"] = "ok"
    error: str = ""
    unseen: tuple[UnseenLength, ...] = ()
    answers: tuple[PolledAnswer, ...] = ()
    mistake_prob: tuple[float, ...] = ()
    mistakes: tuple[PredictedMistake, ...] = ()
    next_steps: tuple[PredictedNextStep, ...] = ()
    dropped: tuple[tuple[int, int], ...] = ()
    undelivered: tuple[PredictedUtterance, ...] = ()

    def tracked_states(self) -> list[tuple[int, DialogState]]:
        """Return [(frame, tracked state from this frame)], starting with the initial state.

        The first entry has the frame before the first one.
        """
        state = self.episode.initial_state
        out = [(self.episode.start_frame - 1, state)]
        for item in self.transitions:
            state = state.apply(item.step, item.change, item.frame / self.episode.fps)
            out.append((item.frame, state))
        return out

    def problems(self) -> list[str]:
        """Return the contradictions in this record or with its episode, one line each."""
        episode, out = self.episode, []
        if self.schema != SCHEMA:
            return [f"{episode.id}: record schema {self.schema} is not {SCHEMA}"]
        for name in self.__arrays__:
            length = len(getattr(self, name))
            if length not in (0, episode.num_frames):
                out.append(f"{episode.id}: {name} has {length} entries for {episode.num_frames} frames")
        for name in ("speaking_prob", "update_prob", "mistake_prob"):
            wrong = next((p for p in getattr(self, name) if not 0 <= p <= 1), None)
            if wrong is not None:
                out.append(f"{episode.id}: {name} holds {wrong:g}; probabilities are 0 to 1")
        if any(not 0 <= p <= 1 for row in self.state_probs for step in row for p in step):
            out.append(f"{episode.id}: state_probs holds a value outside 0 to 1")
        for row in self.state_probs:
            if len(row) != len(episode.task.steps):
                out.append(f"{episode.id}: state_probs has {len(row)} steps, the task {len(episode.task.steps)}")
                break
        for kind in ("utterances", "transitions", "refusals", "compressions", "mistakes", "next_steps"):
            frames = [item.frame for item in getattr(self, kind)]
            if frames != sorted(frames):
                out.append(f"{episode.id}: {kind} are not in order of their frames")
            if frames and not (episode.start_frame <= frames[0] and frames[-1] < episode.end_frame):
                out.append(f"{episode.id}: {kind} lie outside frames {episode.start_frame}..{episode.end_frame - 1}")
        if len({u.frame for u in self.utterances}) != len(self.utterances):
            out.append(f"{episode.id}: two utterances on one frame")
        named = {item.step for item in self.mistakes if item.step} | {item.step for item in self.next_steps}
        if unknown := sorted(named - set(episode.task.step_ids)):
            out.append(f"{episode.id}: a predicted mistake or next step names step {unknown[0]!r}, not of this task")
        out += self._answer_problems()
        out += self._clock_problems()
        try:
            self.tracked_states()
        except TimelineError as error:
            out.append(f"{episode.id}: predicted {error}")
        return out

    def _clock_problems(self) -> list[str]:
        """Return the contradictions in dropped frames and in frames of decision."""
        episode, out = self.episode, []
        ends = [frame for span in self.dropped for frame in span]
        ordered = ends == sorted(ends) and all(
            a[1] < b[0] for a, b in zip(self.dropped, self.dropped[1:], strict=False)
        )
        if ends and not (ordered and episode.start_frame <= ends[0] and ends[-1] < episode.end_frame):
            out.append(f"{episode.id}: the dropped frames overlap or lie outside the episode")
        unseen = {frame for first, last in self.dropped for frame in range(first, last + 1)} if ordered else set()
        items: list[PredictedUtterance | PredictedTransition] = [*self.utterances, *self.transitions]
        for item in items:
            if not episode.start_frame <= item.decision_frame <= item.frame:
                out.append(f"{episode.id}: decided on frame {item.decision_frame} and effective on frame {item.frame}")
            elif item.decision_frame in unseen:
                out.append(f"{episode.id}: decided on frame {item.decision_frame}, which was dropped")
        return out

    def _answer_problems(self) -> list[str]:
        asked, episode, out = {poll.id: poll for poll in self.episode.polls}, self.episode, []
        given = [answer.poll for answer in self.answers]
        out += [
            f"{episode.id}: poll {name!r} is answered twice" for name in sorted(set(given)) if given.count(name) > 1
        ]
        for answer in self.answers:
            if answer.poll not in asked:
                out.append(f"{episode.id}: answers poll {answer.poll!r}, which the episode does not have")
            elif answer.frame != episode.poll_frame(asked[answer.poll]):
                out.append(f"{episode.id}: poll {answer.poll!r} is answered on frame {answer.frame}, not on its own")
        return out


@dataclass(frozen=True)
class StepTime:
    """Times of one step, in nanoseconds of video since the start of the stream.

    Attributes:
        frame: Video frame that the model saw.
        begin_ns: Time at which the frame had arrived and the model was free.
        end_ns: Time at which the step ended.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
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

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
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

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
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

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
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

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    frame: int
    decisions: int
    frame_diff: int | None
    on_time: bool
    tokens: int
    right: int
    nats: float


def digest_records(records: Iterable[EpisodeRecord]) -> str:
    """Compute the SHA-256 over decisions, transitions, texts and compressions, in order of episode id.

    Probabilities and times are excluded: their last digits differ between machines.
    """
    return digest_serialized_records({record.episode.id: serialize_record_for_digest(record) for record in records})


def serialize_record_for_digest(record: EpisodeRecord) -> bytes:
    """Return the part of one record in `digest_records`."""
    body: dict[str, object] = {
        "episode": record.episode.id,
        "status": record.status,
        "utterances": [[u.frame, u.text, u.cut] for u in record.utterances],
        "transitions": [[t.frame, t.step, t.change] for t in record.transitions],
        "refusals": [[r.frame, r.step, r.wanted] for r in record.refusals],
        "compressions": [asdict(c) for c in record.compressions],
    }
    if record.answers:
        body["answers"] = [[answer.poll, answer.text, answer.cut] for answer in record.answers]
    if record.mistakes:
        body["mistakes"] = [[mistake.frame, mistake.step, mistake.tag] for mistake in record.mistakes]
    if record.next_steps:
        body["next_steps"] = [[item.frame, item.step] for item in record.next_steps]
    if record.dropped:
        body["dropped"] = [list(span) for span in record.dropped]
    items: list[PredictedUtterance | PredictedTransition] = [*record.utterances, *record.transitions]
    if any(item.decided is not None for item in items):
        body["decided"] = [item.decision_frame for item in items]
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def digest_serialized_records(parts: Mapping[str, bytes]) -> str:
    """Compute `digest_records` from the parts by episode id."""
    return hashlib.sha256(b"".join(parts[episode] for episode in sorted(parts))).hexdigest()

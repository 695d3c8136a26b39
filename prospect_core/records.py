"""The prediction record: what runner, baselines, metrics, report and other models' adapters agree on. Pure.

One `EpisodeRecord` an episode, whole: per-frame arrays, predicted utterances and transitions, refusals, compressions
and the reference episode itself. Everything that varies from run to run (seconds) lies in an `EpisodeTiming` beside it.

    python -c "from prospect_core.records import *; help(EpisodeRecord)"
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from prospect_core.timeline import Change, DialogState, Episode, TimelineError

SCHEMA = 1
#: what a model computes in
Dtype = Literal["float32", "bfloat16"]
#: the same, or what the device is made for
AskedDtype = Literal["float32", "bfloat16", "auto"]
#: lengths of a stream
LengthKind = Literal["frames", "tokens", "compressions"]
_STRICT = {"extra": "forbid", "allow_inf_nan": False}


def utterance_has_words(text: str) -> bool:
    """Whether a text says anything: it holds a letter, a digit or a symbol, not punctuation and blanks alone."""
    return any(unicodedata.category(character)[0] in "LNS" for character in text)


@dataclass(frozen=True)
class PredictedTransition:
    """An accepted step change, at the video frame on which it was decided."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    frame: int
    step: str
    change: Change


@dataclass(frozen=True)
class PredictedUtterance:
    """What the model said at a video frame; ``cut`` when the reply limit ended it before its end token."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    frame: int
    text: str
    tokens: int = 0
    cut: bool = False


@dataclass(frozen=True)
class Refusal:
    """A state that the model wanted and the state machine does not allow."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    frame: int
    step: str
    wanted: str


@dataclass(frozen=True)
class CompressionEvent:
    """What a context strategy did when the cache reached its budget; ``text`` is the new prompt where it was rebuilt."""

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
    """A length that a stream reached at a video frame and that is beyond the longest in training: frames since the stream
    began or was last compressed, tokens of the context, or compressions."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    kind: LengthKind
    frame: int
    trained: int


@dataclass(frozen=True)
class PolledAnswer:
    """The answer to a poll, given after a video frame; ``cut`` when the limit ended it before its end token."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    poll: str
    frame: int
    text: str
    tokens: int = 0
    cut: bool = False


@dataclass(frozen=True)
class ReplayProtocol:
    """The rules under which episodes are replayed. Numbers of different protocols are never compared.

    Attributes:
        initiative: ``autonomous``: the model decides at every frame; ``polled``: it is asked at given times; ``chunked``: it
            is asked once in each candidate interval.
        history: ``own``, or ``gold``: its context holds the reference in place of what it said (teacher forcing).
        horizon: To the end of the ``video``, or to the end of the ``official`` window, after which false alarms are not seen.
        question_time: Questions come when they are ``annotated``, or at the ``start``.
        polling: ``one_pass``: polls interrupt one stream over the video; ``recut``: each poll is a new stream over its clip.
        reveals: What the prompt reveals beyond the question, such as ``gold_text``.
        clock: ``replay``: the video waits for the model; ``simulated``, ``live``: it does not.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    initiative: Literal["autonomous", "polled", "chunked"] = "autonomous"
    history: Literal["own", "gold"] = "own"
    horizon: Literal["video", "official"] = "video"
    question_time: Literal["annotated", "start"] = "annotated"
    polling: Literal["one_pass", "recut"] = "one_pass"
    reveals: tuple[str, ...] = ()
    clock: Literal["replay", "simulated", "live"] = "replay"

    def describe(self) -> str:
        """The switches that differ from autonomous replay, in words; ``autonomous`` where none does."""
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
    """The settings of a replay; every reported number names them.

    Attributes:
        strategy: The context strategy.
        budget: Its budget in tokens; None for no limit.
        speaking_threshold: From which speaking probability on the model speaks.
        update_threshold: From which update probability on it updates the state.
        cache_dtype: How keys and values are stored; ``model``: as the model computes them.
        dtype: What the model computes in.
        protocol: The rules of the replay; None for those of `ReplayProtocol`'s defaults.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    strategy: str = "none"
    budget: int | None = None
    speaking_threshold: float = 0.5
    update_threshold: float = 0.5
    cache_dtype: Literal["model", "int8", "fp8"] = "model"
    dtype: Dtype = "float32"
    protocol: ReplayProtocol | None = None

    @property
    def rules(self) -> ReplayProtocol:
        """The protocol, the default one where none is given."""
        return self.protocol or ReplayProtocol()


@dataclass(frozen=True)
class EpisodeRecord:
    """Everything that one replay predicted, beside the reference. Arrays have one entry a frame of the episode.

    ``state_probs`` has shape (frames, steps, 3) over (not_started, in_progress, completed). A model without
    probabilities gives empty arrays; metrics that need them are then undefined, never zero. ``unseen`` tells where the stream
    left the lengths of its model's training.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    __arrays__: ClassVar[tuple[str, ...]] = (
        "speaking_prob",
        "update_prob",
        "state_probs",
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

    def tracked_states(self) -> list[tuple[int, DialogState]]:
        """[(frame, tracked state from this frame on)], beginning with the initial state before the first frame."""
        state = self.episode.initial_state
        out = [(self.episode.start_frame - 1, state)]
        for item in self.transitions:
            state = state.apply(item.step, item.change, item.frame / self.episode.fps)
            out.append((item.frame, state))
        return out

    def problems(self) -> list[str]:
        """Everything in this record that contradicts itself or its episode, one line each."""
        episode, out = self.episode, []
        if self.schema != SCHEMA:
            return [f"{episode.id}: record schema {self.schema} is not {SCHEMA}"]
        for name in ("speaking_prob", "update_prob", "state_probs", "cache_tokens", "cache_bytes"):
            length = len(getattr(self, name))
            if length not in (0, episode.num_frames):
                out.append(f"{episode.id}: {name} has {length} entries for {episode.num_frames} frames")
        for name in ("speaking_prob", "update_prob"):
            wrong = next((p for p in getattr(self, name) if not 0 <= p <= 1), None)
            if wrong is not None:
                out.append(f"{episode.id}: {name} holds {wrong:g}; probabilities are 0 to 1")
        if any(not 0 <= p <= 1 for row in self.state_probs for step in row for p in step):
            out.append(f"{episode.id}: state_probs holds what is no probability of 0 to 1")
        for row in self.state_probs:
            if len(row) != len(episode.task.steps):
                out.append(f"{episode.id}: state_probs has {len(row)} steps, the task {len(episode.task.steps)}")
                break
        for kind in ("utterances", "transitions", "refusals", "compressions"):
            frames = [item.frame for item in getattr(self, kind)]
            if frames != sorted(frames):
                out.append(f"{episode.id}: {kind} are not in order of their frames")
            if frames and not (episode.start_frame <= frames[0] and frames[-1] < episode.end_frame):
                out.append(f"{episode.id}: {kind} lie outside frames {episode.start_frame}..{episode.end_frame - 1}")
        if len({u.frame for u in self.utterances}) != len(self.utterances):
            out.append(f"{episode.id}: two utterances on one frame")
        out += self._answer_problems()
        try:
            self.tracked_states()
        except TimelineError as error:
            out.append(f"{episode.id}: predicted {error}")
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
class EpisodeTiming:
    """What varies from run to run: seconds by stage, and of each compression; and the most tokens that the cache held at
    once, those that were read ahead and taken back among them (None: not known)."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    episode: str
    seconds: float
    stages: dict[str, float]
    compression_seconds: tuple[float, ...] = ()
    physical_peak_tokens: int | None = None


@dataclass(frozen=True)
class EpisodeLatency:
    """Seconds of every step (vision, decisions, reply, compression), from a frame to the first token of its reply, and
    of decoding; bytes at their highest. ``device_peak_bytes`` is None on a CPU."""

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
    """One reference turn under teacher forcing; ``frame`` is its decision frame, ``on_time`` whether it is decided there."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    frame: int
    decisions: int
    frame_diff: int | None
    on_time: bool
    tokens: int
    right: int
    nats: float


def digest_records(records: Iterable[EpisodeRecord]) -> str:
    """sha256 over decisions, transitions, texts and compressions of all records, in order of episode id.

    Probabilities and times are left out: they differ in the last digits between machines.
    """
    return digest_serialized_records({record.episode.id: serialize_record_for_digest(record) for record in records})


def serialize_record_for_digest(record: EpisodeRecord) -> bytes:
    """What one record adds to `digest_records`."""
    body = {
        "episode": record.episode.id,
        "status": record.status,
        "utterances": [[u.frame, u.text, u.cut] for u in record.utterances],
        "transitions": [[t.frame, t.step, t.change] for t in record.transitions],
        "refusals": [[r.frame, r.step, r.wanted] for r in record.refusals],
        "compressions": [asdict(c) for c in record.compressions],
    }
    if record.answers:
        body["answers"] = [[answer.poll, answer.text, answer.cut] for answer in record.answers]
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def digest_serialized_records(parts: Mapping[str, bytes]) -> str:
    """`digest_records` of the parts by episode id."""
    return hashlib.sha256(b"".join(parts[episode] for episode in sorted(parts))).hexdigest()

"""`VLMStreamRunner`: one stream, one step a frame. Live and replay share every line that decides.

At each step: the user's text and the frame are read; an update is decided and the accepted transitions written into
the context; speaking is decided and the reply decoded; the context is compressed when it has outgrown its budget.

`advance` does the same for several frames that are known already: they are read in one forward pass as if nothing happened
on them, then rolled back behind the first on which something does. `step` is `advance` of one frame.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prospect_core.model.generation import DRAFT, generate_greedily
from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.records import (
    CompressionEvent,
    Knobs,
    PredictedTransition,
    PredictedUtterance,
    Refusal,
    utterance_has_words,
)
from prospect_core.sequence.layout import Context, TokenLayout
from prospect_core.stream.compression import ContextCompressor
from prospect_core.stream.context_lengths import StreamLengths
from prospect_core.stream.context_reader import ContextReader
from prospect_core.stream.forward import SingleStream, StreamForward
from prospect_core.stream.polling import Answer, StreamRules, format_poll_question
from prospect_core.stream.state_tracker import StateTracker
from prospect_core.stream.step_output import StepOutput, StreamModel
from prospect_core.stream.strategies.registry import (
    find_registered_strategy,
    require_rotatable_strategy,
)
from prospect_core.stream.stream_state import HeadOutputs, StreamState
from prospect_core.stream.token_budget import TokenBudget
from prospect_core.stream.token_metadata import Kind
from prospect_core.stream.video_inference import VideoPredictions, run_video_inference
from prospect_core.timeline import DialogState, Episode, Task
from prospect_core.util.errors import UserError
from prospect_core.util.timer import StageTimer

__all__ = ["StepOutput", "StreamModel", "VLMStreamRunner"]

#: a frame, (size, size, 3) uint8 or its embeddings (I, D), and what the user said since the one before
Seen = tuple[np.ndarray | Tensor, str | None]


class VLMStreamRunner:
    """A `DSTSmolVLM` on one stream, under a context strategy and a budget in tokens.

    ``reader`` reads for it, alone by default or together with other streams; ``draft`` is how many tokens of a reply are
    read ahead at most (0: one at a time, with the same words).
    """

    def __init__(
        self, model: DSTSmolVLM, tokenizer: Any, knobs: Knobs, reader: StreamForward | None = None, draft: int = DRAFT
    ) -> None:
        config = model.config
        self.model, self.knobs, self.draft = model, knobs, draft
        self.strategy = find_registered_strategy(knobs.strategy, knobs.budget)
        require_rotatable_strategy(self.strategy, config.text_config)
        self.builder = TokenLayout.of(config, tokenizer)
        self.contexts = ContextReader(model, self.builder, reader or SingleStream(model), knobs.cache_dtype)
        self._compressor = ContextCompressor(
            self.strategy, knobs.budget, self.contexts, self._write, lambda: self._read([])
        )
        self.budget = TokenBudget(config, self.builder, knobs.budget, self.strategy.writes)
        #: seconds by stage since the stream began: language model, generation, compression
        self.watch = StageTimer()
        self._stream: StreamState | None = None
        #: when the first token of a reply was decided in the step under way, by `time.perf_counter`
        self._first_token_at: float | None = None

    @property
    def stream(self) -> StreamState:
        """The state of the stream; a `UserError` before `reset`."""
        if self._stream is None:
            raise UserError("call reset(task) before the first step")
        return self._stream

    @torch.no_grad()
    def reset(self, task: Task, state: DialogState | None = None, fps: float = 2, start_frame: int = 0) -> None:
        """Begin a stream.

        Args:
            task: The task that the stream is about.
            state: What is known to be done already; None for nothing.
            fps: Decision frames per second.
            start_frame: The video's frame number of the first step.

        Raises:
            UserError: The budget is too small for this task; the message names the least possible one.
        """
        self.watch = StageTimer(self.watch.synchronise)
        self.budget.require_room(task)
        tracker = StateTracker(state if state is not None else DialogState.initial(task), fps)
        lengths = StreamLengths(self.model.config)
        context, prompt, markers = self.contexts.open(task, Context(tracker.state), lengths, start_frame, self.watch)
        self._stream = StreamState(
            task=task,
            fps=fps,
            frame=start_frame,
            tracker=tracker,
            lengths=lengths,
            reserve=self.budget.reserve(task),
            context=context,
            prompt=prompt,
            markers=markers,
            since=start_frame,
            rest_until=start_frame,
        )

    def follow(self, rules: StreamRules) -> None:
        """Set the rules of a protocol for the stream that `reset` began."""
        self.stream.rules = rules

    @torch.no_grad()
    def ask(
        self, question: str, choices: Sequence[str] = (), max_tokens: int | None = None, keep: bool = False
    ) -> Answer:
        """Answer a question now.

        The question is read and the answer decoded behind the context, and both are taken back: the stream goes on, bit for
        bit, as if nothing had been asked.

        Args:
            question: The question.
            choices: Texts of the choices A, B, ...; none for a free answer.
            max_tokens: Longest answer in tokens; None for the model's longest reply.
            keep: Whether question and answer become part of the stream.
        """
        stream = self.stream
        context, frame = stream.context, stream.frame - 1
        mark = context.mark()
        text = format_poll_question(question, choices)
        context.append_unread(self.builder.question(text), Kind.USER, frame)
        limit = self.model.config.max_reply_tokens if max_tokens is None else max_tokens
        tokens, cut = self._write(self.builder.special.asst, limit)
        stream.note_peak()
        answer = self.builder.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        if keep:
            context.meta.add(Kind.REPLY, frame, len(tokens) + 2)
            stream.said += [("User", text), ("Assistant", answer)]
        else:
            context.restore(mark)
        return Answer(answer, len(tokens), cut)

    def least_budget(self, task: Task) -> int:
        """The least budget that keeps the longest prompt in at most half of it and leaves room for one step."""
        return self.budget.least(task)

    def run_inference_on_video(
        self, video: Mapping[str, Any] | Episode, output_dir: str | Path = "", root: str | Path = "."
    ) -> VideoPredictions:
        """Replay a video from its first frame to its last, as ProAssist's runner does: `video_inference.infer_video`."""
        return run_video_inference(self, self.model.config.frame_format, video, output_dir, root)

    def step(self, frame: np.ndarray | Tensor, user_text: str | None = None) -> StepOutput:
        """One frame: (size, size, 3) uint8, or its embeddings (I, D) from `DSTSmolVLM.encode_frames`."""
        return self.advance([(frame, user_text)])[0]

    @torch.no_grad()
    def advance(self, span: Sequence[Seen]) -> list[StepOutput]:
        """As many frames of the span as nothing happens on, and the one after them: one output each, at least one.

        What the user says comes before its frame. The seconds of the span are shared out evenly; beside other streams the
        waiting for those is in them.
        """
        stream = self.stream
        begin = time.perf_counter()
        self._first_token_at = None
        if "past" in self.model.config.ablated_inputs:
            span = self._without_past(span)
        ends, hidden_1FD = self._read_span(span)
        stream.note_peak()
        heads = self._decide(hidden_1FD)
        last = self._first_event(ends, heads)
        if last + 1 < len(ends):
            stream.context.truncate(ends[last])
        stream.said += [("User", text) for _, text in span[: last + 1] if text]
        number = stream.frame + last
        stream.frame = number + 1
        if last:
            stream.tracker.nothing_due()
        transitions, refusals = self._update(number, heads.update_F[last], heads.states_FK3[last])
        utterance = self._turn(number, heads.speaking_F[last])
        compression, compression_seconds = self._compress(number)
        stream.note_peak()
        self._note_lengths(number - last, ends[: last + 1], compression is not None)
        seconds = (time.perf_counter() - begin) / (last + 1)
        silent = [self._silent_output(number - last + k, k, heads, ends[k], seconds) for k in range(last)]
        event = StepOutput(
            number,
            heads.speaking_F[last],
            heads.update_F[last],
            heads.states_FK3[last],
            transitions=transitions,
            refusals=refusals,
            utterance=utterance,
            cache_tokens=self.length,
            cache_bytes=self.length * stream.context.token_bytes,
            seconds=seconds,
            compression=compression,
            compression_seconds=compression_seconds,
            first_token_seconds=None if self._first_token_at is None else self._first_token_at - begin,
        )
        return [*silent, event]

    def _without_past(self, span: Sequence[Seen]) -> Sequence[Seen]:
        """For a model without the past: one frame, over the prompt alone. A question is read with the frame that it was
        asked on, as in training."""
        if not span[0][1]:
            self.stream.context.unread = 0
            self.stream.context.truncate(len(self.stream.prompt.ids))
        return span[:1]

    def _first_event(self, ends: Sequence[int], heads: HeadOutputs) -> int:
        """Position of the first frame that is more than a silent one, or of the last frame."""
        for k, end in enumerate(ends):
            if self._happens(k, end, heads.speaking_F[k], heads.update_F[k]):
                return k
        return len(ends) - 1

    def _note_lengths(self, first: int, ends: Sequence[int], compressed: bool) -> None:
        stream = self.stream
        for frame, end in enumerate(ends, first):
            stream.lengths.note(frame, frame + 1 - stream.since, end, stream.compressions)
        if compressed:
            stream.compressions += 1
            stream.since = first + len(ends)

    def _silent_output(self, frame: int, k: int, heads: HeadOutputs, tokens: int, seconds: float) -> StepOutput:
        return StepOutput(
            frame,
            heads.speaking_F[k],
            heads.update_F[k],
            heads.states_FK3[k],
            cache_tokens=tokens,
            cache_bytes=tokens * self.stream.context.token_bytes,
            seconds=seconds,
        )

    def skip_to(self, frame: int) -> int:
        """Go on with a later frame, as a live source does that was faster than the model.

        Returns:
            How many frames were skipped.
        """
        skipped = frame - self.stream.frame
        self.stream.frame = frame
        return skipped

    @property
    def state(self) -> DialogState:
        """What is tracked so far."""
        return self.stream.tracker.state

    @property
    def lengths(self) -> StreamLengths:
        """Where the stream got longer than anything in training."""
        return self.stream.lengths

    @property
    def peak_tokens(self) -> int:
        """The most tokens ever held, speculation included."""
        return self.stream.peak_tokens

    @property
    def length(self) -> int:
        """Tokens of the context: those in the cache, and those that are read with the next ones."""
        return len(self.stream.context)

    def _read_span(self, span: Sequence[Seen]) -> tuple[list[int], Tensor]:
        """Cache lengths after each frame that was read, and the hidden states (1, F, D) at their last tokens.

        Frames beyond the first that triggers a compression are left unread.
        """
        ids: list[int] = []
        ends: list[int] = []
        base = self.length
        meta = self.stream.context.meta
        for number, (_, user_text) in enumerate(span, self.stream.frame):
            if user_text:
                said = self.builder.user(user_text)
                ids += said
                meta.add(Kind.USER, number, len(said))
            ids += self.builder.frame()
            meta.add(Kind.FRAME, number, self.builder.tokens_per_frame)
            ends.append(base + len(ids))
            if self._full(ends[-1]):
                break
        with self.watch("vision"):
            frames_NID = self.contexts.embed([frame for frame, _ in span[: len(ends)]])
        with self.watch("language model"):
            hidden_1TD = self._read(ids, frames_NID)
        return ends, hidden_1TD[:, [end - base - 1 for end in ends]]

    def _decide(self, hidden_1FD: Tensor) -> HeadOutputs:
        speaking_1F, update_1F, state_1FK3 = self.model.decide(hidden_1FD, self.stream.markers)
        return HeadOutputs(
            speaking_1F[0].sigmoid().tolist(),
            update_1F[0].sigmoid().tolist(),
            state_1FK3[0].softmax(-1).cpu().numpy(),
        )

    def _happens(self, k: int, length: int, speaking: float, update: float) -> bool:
        """Whether the k-th frame from here is more than a silent one."""
        frame = self.stream.frame + k
        return (
            self._wants_to_speak(speaking)
            or self.stream.rules.gold_reply(frame) is not None
            or self._updates(frame, update)
            or self._full(length)
        )

    def _updates(self, frame: int, update: float) -> bool:
        stream = self.stream
        return update >= self.knobs.update_threshold and frame >= stream.rest_until and bool(stream.task.steps)

    def _full(self, length: int) -> bool:
        return self.budget.is_exceeded(length, self.stream.reserve)

    def _update(
        self, frame: int, probability: float, state_probs: np.ndarray
    ) -> tuple[tuple[PredictedTransition, ...], tuple[Refusal, ...]]:
        """Write what the tracker takes over from the state head into the context; what is illegal is refused."""
        stream = self.stream
        if not self._updates(frame, probability):
            stream.tracker.nothing_due()
            return (), ()
        changes, illegal = stream.tracker.follow(frame, state_probs)
        if changes:
            stream.context.append_unread(self.builder.update(changes), Kind.UPDATE, frame)
        elif illegal and not stream.tracker.held:
            # it would be refused again at once; where nothing was wanted, the change may come with the next frame
            stream.rest_until = frame + 1 + self.model.config.update_rest_frames
        accepted = tuple(PredictedTransition(frame, step, change) for step, change in changes)
        return accepted, tuple(Refusal(frame, step, new) for step, new in illegal)

    def _wants_to_speak(self, probability: float) -> bool:
        return self.stream.rules.speaks and probability >= self.knobs.speaking_threshold

    def _turn(self, frame: int, probability: float) -> PredictedUtterance | None:
        """What is said on a frame. Under teacher forcing the context holds the reference's turn in its place."""
        stream = self.stream
        mark, turns = stream.context.mark(), len(stream.said)
        utterance = self._speak(frame) if self._wants_to_speak(probability) else None
        if stream.rules.gold_replies is None:
            return utterance
        stream.context.restore(mark)
        del stream.said[turns:]
        if gold := stream.rules.gold_reply(frame):
            stream.context.append_unread(self.builder.reply(gold), Kind.REPLY, frame)
            stream.said.append(("Assistant", gold))
        return utterance

    def _speak(self, frame: int) -> PredictedUtterance | None:
        tokens, cut = self._write(self.builder.special.asst, self.model.config.max_reply_tokens)
        self.stream.context.meta.add(Kind.REPLY, frame, len(tokens) + 2)
        text = self.builder.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        if not utterance_has_words(text):
            return None
        self.stream.said.append(("Assistant", text))
        return PredictedUtterance(frame, text, len(tokens), cut)

    def _write(self, mark: int, limit: int) -> tuple[list[int], bool]:
        """What the model says after a mark, into the context up to its end token; whether the limit cut it."""
        special = self.builder.special
        with self.watch("generation"):
            (said,) = self._following([mark])
            tokens, cut = generate_greedily(
                said,
                self._following,
                lambda count: self.stream.context.truncate(self.length - count),
                special.eos, limit, self.builder.unsayable, self._heard, self.stream.context.ids, self.draft,
            )  # fmt: skip
        self.stream.context.append_unread([special.eos])
        return tokens, cut

    def _following(self, tokens: list[int]) -> list[int]:
        """Read tokens; the likeliest one after each that may be said."""
        following: list[int] = self._ask(tokens, banned=self.builder.unsayable)[-len(tokens) :]
        return following

    def _heard(self, token: int) -> None:
        if self._first_token_at is None:
            self._first_token_at = time.perf_counter()

    def _compress(self, frame: int) -> tuple[CompressionEvent | None, float]:
        if not self._full(self.length):
            return None, 0.0
        begin = time.perf_counter() - self.watch.waited
        with self.watch("compression"):
            event = self._compressor.compress(self.stream, frame, self.watch)
        return event, time.perf_counter() - self.watch.waited - begin

    def _read(self, ids: list[int], frames_NID: Tensor | None = None) -> Tensor:
        """Read tokens; their hidden states (1, T, D)."""
        hidden_1TD: Tensor = self._ask(ids, frames_NID)
        return hidden_1TD[:, hidden_1TD.shape[1] - len(ids) :]

    def _ask(self, ids: list[int], frames_NID: Tensor | None = None, banned: tuple[int, ...] | None = None) -> Any:
        """Read what was not read yet and these tokens; the answer for all of them."""
        context = self.stream.context
        self.stream.lengths.require_positions(self.stream.frame, context.cache.length + context.unread + len(ids))
        return self.contexts.forward(context, ids, self.watch, frames_NID, banned)

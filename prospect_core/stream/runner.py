"""`VLMStreamRunner`: one stream, one step per frame, with the same code for live use and replay.

Each step reads the user's text and the frame, decides on an update and writes accepted transitions
into the context, decides on speaking and decodes the reply, and compresses the context if it
exceeds its budget.

`advance` does the same for several known frames: one forward pass reads them as if nothing happened
on them, and is rolled back after the first frame with an event. `step` is `advance` with one frame.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
    PredictedMistake,
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
from prospect_core.stream.mistake_reports import MistakeReporter
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

#: (frame (size, size, 3) uint8 or its embeddings (I, D), user's text since the frame before)
Seen = tuple[np.ndarray | Tensor, str | None]


class VLMStreamRunner:
    """Runs a `DSTSmolVLM` on one stream with a context strategy and a token budget.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        knobs: Settings of the stream.
        reader: Forward pass: single by default, or batched with other streams.
        draft: Maximum draft tokens of a reply; 0 decodes one token at a time, with the same result.

    Raises:
        UserError: If strategy and budget do not fit each other or the model.
    """

    def __init__(
        self, model: DSTSmolVLM, tokenizer: Any, knobs: Knobs, reader: StreamForward | None = None, draft: int = DRAFT
    ) -> None:
        config = model.config
        self.model, self.knobs, self.draft = model, knobs, draft
        own = knobs.mistake_threshold
        self._mistake_threshold: float = config.mistake_threshold if own is None else own
        self.strategy = find_registered_strategy(knobs.strategy, knobs.budget)
        require_rotatable_strategy(self.strategy, config.text_config)
        self.builder = TokenLayout.of(config, tokenizer)
        self.contexts = ContextReader(model, self.builder, reader or SingleStream(model), knobs.cache_dtype)
        self._compressor = ContextCompressor(
            self.strategy, knobs.budget, self.contexts, self._write, lambda: self._read([])
        )
        self.budget = TokenBudget(config, self.builder, knobs.budget, self.strategy.writes)
        #: seconds by stage since the start of the stream: language model, generation,
        #: compression
        self.watch = StageTimer()
        self._stream: StreamState | None = None
        #: time of the first token of a reply in the current step, by `time.perf_counter`
        self._first_token_at: float | None = None

    @property
    def stream(self) -> StreamState:
        """State of the stream.

        Raises:
            UserError: Before `reset`.
        """
        if self._stream is None:
            raise UserError("call reset(task) before the first step")
        return self._stream

    @torch.no_grad()
    def reset(self, task: Task, state: DialogState | None = None, fps: float = 2, start_frame: int = 0) -> None:
        """Start a stream.

        Args:
            task: Task of the stream.
            state: Initial state; nothing started if None.
            fps: Decision frames per second.
            start_frame: Video frame of the first step.

        Raises:
            UserError: If the budget is too small for this task; the message names the smallest
                sufficient one.
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
            mistakes=MistakeReporter(tracker.state, fps, self._mistake_threshold),
            lengths=lengths,
            reserve=self.budget.reserve(task),
            context=context,
            prompt=prompt,
            markers=markers,
            since=start_frame,
            rest_until=start_frame,
        )

    def follow(self, rules: StreamRules) -> None:
        """Set the rules of a protocol for the current stream, after `reset`."""
        self.stream.rules = rules

    @torch.no_grad()
    def ask(
        self, question: str, choices: Sequence[str] = (), max_tokens: int | None = None, keep: bool = False
    ) -> Answer:
        """Answer a question after the current frame.

        Question and answer are read after the context and then removed: the stream continues as if
        it had not been asked, bit for bit.

        Args:
            question: The question.
            choices: Texts of the choices A, B, ...; empty for a free answer.
            max_tokens: Maximum tokens of the answer; the model's limit of replies if None.
            keep: Whether question and answer become part of the stream. The context may then exceed
                its budget until the next frame.
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
        """Return the smallest budget with room for one step in which the longest prompt takes at most half."""
        return self.budget.least(task)

    def run_inference_on_video(
        self, video: Mapping[str, Any] | Episode, output_dir: str | Path = "", root: str | Path = "."
    ) -> VideoPredictions:
        """Replay a whole video with the interface of ProAssist's runner (`run_video_inference`).

        Args:
            video: A ProAssist row, a DST clip, or an episode.
            output_dir: Folder of the result file; no file is written if it is empty.
            root: Folder against which the row's paths of frames resolve.
        """
        return run_video_inference(self, self.model.config.frame_format, video, output_dir, root)

    def step(self, frame: np.ndarray | Tensor, user_text: str | None = None) -> StepOutput:
        """Process one frame.

        Args:
            frame: (size, size, 3) uint8, or its embeddings (I, D) from `DSTSmolVLM.encode_frames`.
            user_text: User's text since the frame before.
        """
        return self.advance([(frame, user_text)])[0]

    @torch.no_grad()
    def advance(self, span: Sequence[Seen]) -> list[StepOutput]:
        """Process the frames of a span up to the first one with an event.

        The seconds of the span are divided evenly among its frames. They include the time of other
        streams in a batch.

        Args:
            span: (frame, user's text before it) in order.

        Returns:
            One output per processed frame, at least one.
        """
        stream = self.stream
        begin = time.perf_counter()
        self._first_token_at = None
        if "past" in self.model.config.ablated_inputs:
            span = self._without_past(span)
        read = self.length - stream.context.unread
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
        tokens = [end - start for start, end in zip((read, *ends), ends, strict=False)]
        silent = [
            replace(self._silent_output(number - last + k, k, heads, ends[k], seconds), read_tokens=tokens[k])
            for k in range(last)
        ]
        stream.mistakes.note_transitions(transitions)
        mistake_prob, mistake = self._mistake(number, last, heads)
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
            mistake_prob=mistake_prob,
            mistake=mistake,
            read_tokens=tokens[last],
        )
        return [*silent, event]

    def _without_past(self, span: Sequence[Seen]) -> Sequence[Seen]:
        """Prepare one frame for a model without the past: it reads the prompt and that frame only.

        A question is read with the frame on which it was asked, as in training.
        """
        if not span[0][1]:
            self.stream.context.unread = 0
            self.stream.context.truncate(len(self.stream.prompt.ids))
        return span[:1]

    def _first_event(self, ends: Sequence[int], heads: HeadOutputs) -> int:
        """Return the position of the first frame that is not silent, or of the last frame."""
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

    def _mistake(self, frame: int, k: int, heads: HeadOutputs) -> tuple[float | None, PredictedMistake | None]:
        """Return the mistake probability of the k-th frame of a span and its report, if any."""
        if heads.mistake_F is None:
            return None, None
        probability = heads.mistake_F[k]
        return probability, self.stream.mistakes.report(frame, probability)

    def _silent_output(self, frame: int, k: int, heads: HeadOutputs, tokens: int, seconds: float) -> StepOutput:
        mistake_prob, mistake = self._mistake(frame, k, heads)
        return StepOutput(
            frame,
            heads.speaking_F[k],
            heads.update_F[k],
            heads.states_FK3[k],
            cache_tokens=tokens,
            cache_bytes=tokens * self.stream.context.token_bytes,
            seconds=seconds,
            mistake_prob=mistake_prob,
            mistake=mistake,
        )

    def skip_to(self, frame: int) -> int:
        """Continue with a later frame, for a live source that is faster than the model.

        Returns:
            The number of skipped frames.
        """
        skipped = frame - self.stream.frame
        self.stream.frame = frame
        return skipped

    @property
    def state(self) -> DialogState:
        """Tracked state."""
        return self.stream.tracker.state

    @property
    def lengths(self) -> StreamLengths:
        """Where the stream exceeded the lengths of training."""
        return self.stream.lengths

    @property
    def peak_tokens(self) -> int:
        """Most tokens in the context so far, including speculative ones."""
        return self.stream.peak_tokens

    @property
    def length(self) -> int:
        """Number of tokens in the context: cached ones and unread ones."""
        return len(self.stream.context)

    def _read_span(self, span: Sequence[Seen]) -> tuple[list[int], Tensor]:
        """Return context lengths after each frame, and hidden states (1, F, D) at the frames' last tokens.

        Frames after the first that triggers a compression stay unread.
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
        mistake_1F = self.model.decide_mistakes(hidden_1FD)
        return HeadOutputs(
            speaking_1F[0].sigmoid().tolist(),
            update_1F[0].sigmoid().tolist(),
            state_1FK3[0].softmax(-1).cpu().numpy(),
            None if mistake_1F is None else mistake_1F[0].sigmoid().tolist(),
        )

    def _happens(self, k: int, length: int, speaking: float, update: float) -> bool:
        """Check whether the k-th frame from the current one has an event."""
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
        """Write the tracker's committed changes into the context; refuse illegal states."""
        stream = self.stream
        if not self._updates(frame, probability):
            stream.tracker.nothing_due()
            return (), ()
        changes, illegal = stream.tracker.follow(frame, state_probs)
        if changes:
            stream.context.append_unread(self.builder.update(changes), Kind.UPDATE, frame)
        elif illegal and not stream.tracker.held:
            # the same prediction would be refused again; without a predicted change,
            # one may come with the next frame
            stream.rest_until = frame + 1 + self.model.config.update_rest_frames
        accepted = tuple(PredictedTransition(frame, step, change) for step, change in changes)
        return accepted, tuple(Refusal(frame, step, new) for step, new in illegal)

    def _wants_to_speak(self, probability: float) -> bool:
        return self.stream.rules.speaks and probability >= self.knobs.speaking_threshold

    def _turn(self, frame: int, probability: float) -> PredictedUtterance | None:
        """Return the utterance on a frame; under teacher forcing, the context gets the reference turn instead."""
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
        """Decode after a mark up to the end token; return the tokens and whether the limit ended them."""
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
        """Read tokens; return the likeliest allowed token after each."""
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
        """Read tokens; return their hidden states (1, T, D)."""
        hidden_1TD: Tensor = self._ask(ids, frames_NID)
        return hidden_1TD[:, hidden_1TD.shape[1] - len(ids) :]

    def _ask(self, ids: list[int], frames_NID: Tensor | None = None, banned: tuple[int, ...] | None = None) -> Any:
        """Read unread tokens and the given ones; return the answer for all of them."""
        context = self.stream.context
        self.stream.lengths.require_positions(self.stream.frame, context.cache.length + context.unread + len(ids))
        return self.contexts.forward(context, ids, self.watch, frames_NID, banned)

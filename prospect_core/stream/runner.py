"""`VLMStreamRunner`: one stream, one step a frame. Live and replay share every line that decides.

    runner = VLMStreamRunner(model, tokenizer, Knobs("dst_refresh", 512, 0.5, 0.5))
    runner.reset(task, fps=2)
    output = runner.step(frame, user_text="What now?")      # text said since the frame before

At each step: the user's text and the frame are read; an update is decided and the accepted transitions written into
the context; speaking is decided and the reply decoded; the context is compressed when it has outgrown its budget.

`advance` is the same for several frames that are known already: read in one forward as if nothing happened on them, then
rolled back behind the first on which something does. `step` is `advance` of one frame, so live and replay share every line.
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

from prospect_core.model.generation import DRAFT, greedy_decode
from prospect_core.model.image_processing import to_pixels
from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.records import CompressionEvent, Knobs, PredictedTransition, PredictedUtterance, Refusal, has_words
from prospect_core.sequence.layout import RECENT_QUOTA, Context, Prompt, TokenLayout, shortened
from prospect_core.stream.context_lengths import StreamLengths
from prospect_core.stream.forward import ForwardRequest, SingleStream, StreamForward
from prospect_core.stream.kv_cache import StreamCache
from prospect_core.stream.state_tracker import StateTracker
from prospect_core.stream.step_output import StepOutput, StreamModel
from prospect_core.stream.strategies.registry import Rebuilds, Selects, require_turnable, strategy
from prospect_core.stream.strategies.text import StreamMemory
from prospect_core.stream.token_metadata import Kind, TokenMeta
from prospect_core.stream.video_inference import VideoPredictions, infer_video
from prospect_core.timeline import STEP_STATES, DialogState, Episode, Task
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
        self.reader: StreamForward = reader or SingleStream(model)
        self.strategy = strategy(knobs.strategy, knobs.budget)
        require_turnable(self.strategy, config.text_config)
        self.builder = TokenLayout.of(config, tokenizer)
        self.task: Task | None = None
        #: seconds by stage since the stream began: language model, generation, compression
        self.watch = StageTimer()

    @torch.no_grad()
    def reset(self, task: Task, state: DialogState | None = None, fps: float = 2, start_frame: int = 0) -> None:
        """Begin a stream: ``state`` is what is known to be done already, ``start_frame`` the video's frame number
        of the first step. A budget that could not be kept for this task is refused with the least possible one."""
        self.task, self.fps, self.frame = task, fps, start_frame
        self.watch = StageTimer(self.watch.synchronise)
        self.tracker = StateTracker(state if state is not None else DialogState.initial(task), fps)
        self.said: list[tuple[str, str]] = []
        self.rest_until = start_frame
        #: the most tokens that were ever held at once, speculation included
        self.peak_tokens = 0
        self.lengths, self.compressions, self._since = StreamLengths(self.model.config), 0, start_frame
        self.reserve = self._reserve(task)
        least = self.least_budget(task)
        if self.knobs.budget is not None and self.knobs.budget < least:
            raise UserError(
                f"--budget {self.knobs.budget}: too small for the task {task.goal!r}, at least {least} tokens are needed"
            )
        self._read_prompt(Context(self.state))

    def least_budget(self, task: Task) -> int:
        """The least budget that keeps the longest prompt in at most half of it and leaves room for one step."""
        state = DialogState(
            task.step_ids, (STEP_STATES[2],) * len(task.steps), tuple((s, 99999.0) for s in task.step_ids)
        )
        longest = len(self.builder.prompt(task, Context(state)).ids) + RECENT_QUOTA
        if self.strategy.writes:
            longest += self.model.config.max_summary_tokens + len(self.builder.text("Summary: \n"))
        return max(longest + self._reserve(task), 2 * longest)

    def run_inference_on_video(
        self, video: Mapping[str, Any] | Episode, output_dir: str | Path = "", root: str | Path = "."
    ) -> VideoPredictions:
        """Replay a video from its first frame to its last, as ProAssist's runner does: `video_inference.infer_video`."""
        return infer_video(self, self.model.config.frame_format, video, output_dir, root)

    def step(self, frame: np.ndarray | Tensor, user_text: str | None = None) -> StepOutput:
        """One frame: (size, size, 3) uint8, or its embeddings (I, D) from `DSTSmolVLM.encode_frames`."""
        return self.advance([(frame, user_text)])[0]

    @torch.no_grad()
    def advance(self, span: Sequence[Seen]) -> list[StepOutput]:
        """As many frames of the span as nothing happens on, and the one after them: one output each, at least one.

        What the user says comes before its frame. The seconds of the span are shared out evenly; beside other streams the
        waiting for those is in them.
        """
        if self.task is None:
            raise UserError("call reset(task) before the first step")
        begin = time.perf_counter()
        self._first_token_at: float | None = None
        if "past" in self.model.config.ablated_inputs:
            span = span[:1]
            # a question is heard with the frame that it was asked on, as in training
            if not span[0][1]:
                self._unread = 0
                self._forget(len(self.prompt.ids))
        ends, hidden_1FD = self._read_span(span)
        self.peak_tokens = max(self.peak_tokens, self.length)
        speaking_F, update_F, states_FK3 = self._decide(hidden_1FD)
        last = next(
            (k for k in range(len(ends)) if self._happens(k, ends[k], speaking_F[k], update_F[k])), len(ends) - 1
        )
        if last + 1 < len(ends):
            self._forget(ends[last])
        for said in (text for _, text in span[: last + 1] if text):
            self.said.append(("User", said))
        number = self.frame + last
        self.frame = number + 1
        if last:
            self.tracker.nothing_due()
        transitions, refusals = self._update(number, update_F[last], states_FK3[last])
        utterance = self._speak(number) if speaking_F[last] >= self.knobs.speaking_threshold else None
        compression, compression_seconds = self._compress(number)
        self.peak_tokens = max(self.peak_tokens, self.length)
        for k, end in enumerate(ends[: last + 1], number - last):
            self.lengths.note(k, k + 1 - self._since, end, self.compressions)
        if compression is not None:
            self.compressions, self._since = self.compressions + 1, number + 1
        seconds = (time.perf_counter() - begin) / (last + 1)
        silent = [
            StepOutput(
                number - last + k, speaking_F[k], update_F[k], states_FK3[k],
                cache_tokens=ends[k], cache_bytes=ends[k] * self.token_bytes, seconds=seconds,
            )
            for k in range(last)
        ]  # fmt: skip
        event = StepOutput(
            number, speaking_F[last], update_F[last], states_FK3[last], transitions, refusals, utterance,
            self.length, self.length * self.token_bytes, seconds, compression, compression_seconds,
            None if self._first_token_at is None else self._first_token_at - begin,
        )  # fmt: skip
        return [*silent, event]

    @property
    def state(self) -> DialogState:
        """What is tracked so far."""
        return self.tracker.state

    @property
    def length(self) -> int:
        """Tokens of the context: those in the cache, and those that are read with the next ones."""
        return len(self.context_ids)

    @property
    def token_bytes(self) -> int:
        """Bytes of a token's keys and values."""
        return self.cache.nbytes // max(1, self.cache.length)

    def _read_span(self, span: Sequence[Seen]) -> tuple[list[int], Tensor]:
        """Cache lengths after each frame that was read, and the hidden states (1, F, D) at their last tokens.

        Frames beyond the first that triggers a compression are left unread.
        """
        ids: list[int] = []
        ends: list[int] = []
        base = self.length
        for number, (_, user_text) in enumerate(span, self.frame):
            if user_text:
                said = self.builder.user(user_text)
                ids += said
                self.meta.add(Kind.USER, number, len(said))
            ids += self.builder.frame()
            self.meta.add(Kind.FRAME, number, self.builder.tokens_per_frame)
            ends.append(base + len(ids))
            if self._full(ends[-1]):
                break
        with self.watch("vision"):
            frames_NID = self._embeddings([frame for frame, _ in span[: len(ends)]])
        with self.watch("language model"):
            hidden_1TD = self._read(ids, frames_NID)
        return ends, hidden_1TD[:, [end - base - 1 for end in ends]]

    def _embeddings(self, frames: Sequence[np.ndarray | Tensor]) -> Tensor:
        """(F, I, D) of frames of either form."""
        pictures = [frame for frame in frames if isinstance(frame, np.ndarray)]
        if len(pictures) == len(frames):
            return self.model.encode_frames(to_pixels(np.stack(pictures)).to(self.model.device))
        return torch.stack([frame for frame in frames if isinstance(frame, Tensor)])

    def _decide(self, hidden_1FD: Tensor) -> tuple[list[float], list[float], np.ndarray]:
        """Probabilities of speaking and of an update, and of the states (F, K, 3)."""
        speaking_1F, update_1F, state_1FK3 = self.model.decide(hidden_1FD, self.markers)
        return (
            speaking_1F[0].sigmoid().tolist(),
            update_1F[0].sigmoid().tolist(),
            state_1FK3[0].softmax(-1).cpu().numpy(),
        )

    def _happens(self, k: int, length: int, speaking: float, update: float) -> bool:
        """Whether the k-th frame from here is more than a silent one."""
        return speaking >= self.knobs.speaking_threshold or self._updates(self.frame + k, update) or self._full(length)

    def _updates(self, frame: int, update: float) -> bool:
        assert self.task is not None
        return update >= self.knobs.update_threshold and frame >= self.rest_until and bool(self.task.steps)

    def _full(self, length: int) -> bool:
        return self.knobs.budget is not None and length > self.knobs.budget - self.reserve

    def _update(
        self, frame: int, probability: float, state_probs: np.ndarray
    ) -> tuple[tuple[PredictedTransition, ...], tuple[Refusal, ...]]:
        """Write what the tracker takes over from the state head into the context; what is illegal is refused."""
        if not self._updates(frame, probability):
            self.tracker.nothing_due()
            return (), ()
        changes, illegal = self.tracker.follow(frame, state_probs)
        if changes:
            written = self.builder.update(changes)
            self.meta.add(Kind.UPDATE, frame, len(written))
            self._note(written)
        elif illegal and not self.tracker.held:
            # it would be refused again at once; where nothing was wanted, the change may come with the next frame
            self.rest_until = frame + 1 + self.model.config.update_rest_frames
        accepted = tuple(PredictedTransition(frame, step, change) for step, change in changes)
        return accepted, tuple(Refusal(frame, step, new) for step, new in illegal)

    def _speak(self, frame: int) -> PredictedUtterance | None:
        tokens, cut = self._write(self.builder.special.asst, self.model.config.max_reply_tokens)
        self.meta.add(Kind.REPLY, frame, len(tokens) + 2)
        text = self.builder.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        if not has_words(text):
            return None
        self.said.append(("Assistant", text))
        return PredictedUtterance(frame, text, len(tokens), cut)

    def _write(self, mark: int, limit: int) -> tuple[list[int], bool]:
        """What the model says after a mark, into the context up to its end token; whether the limit cut it."""
        special = self.builder.special
        with self.watch("generation"):
            (said,) = self._following([mark])
            tokens, cut = greedy_decode(
                said,
                self._following,
                lambda count: self._forget(self.length - count),
                special.eos, limit, self.builder.unsayable, self._heard, self.context_ids, self.draft,
            )  # fmt: skip
        self._note([special.eos])
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
            event = self._compressed(frame)
        return event, time.perf_counter() - self.watch.waited - begin

    def _compressed(self, frame: int) -> CompressionEvent:
        tokens, token_bytes = self.length, self.token_bytes
        assert self.knobs.budget is not None
        if isinstance(self.strategy, Rebuilds):
            assert self.task is not None
            recent = self.model.config.recent_utterances
            memory = StreamMemory(self.task, self.state, tuple(self.said), self.builder, recent, self._summarize)
            text = self._read_prompt(self.strategy.rebuild(memory)).text
        else:
            assert isinstance(self.strategy, Selects)
            if self._unread:
                self._read([])
            keys, values = zip(*self.cache.tensors(), strict=True)
            kept = self.strategy.select(keys, values, self.meta, self.knobs.budget // 2)
            self._keep(kept)
            text = ""
        return CompressionEvent(
            frame, self.strategy.name, tokens, self.length, tokens * token_bytes, self.length * token_bytes, text
        )

    def _summarize(self, context: Context | None = None) -> str:
        """A progress summary over the cache as it is, or over a prompt that shows this context."""
        if context is not None:
            self._read_prompt(context)
        tokens, _ = self._write(self.builder.special.sum, self.model.config.max_summary_tokens)
        return " ".join(self.builder.tokenizer.decode(tokens, skip_special_tokens=True).split())

    def _keep(self, indices: Sequence[int]) -> None:
        """Forget all but these tokens; what a strategy must not do is an error."""
        assert self.knobs.budget is not None
        prompt = len(self.prompt.ids)
        whole = sorted(set(indices))
        if list(indices) != whole or whole[:prompt] != list(range(prompt)) or whole[-1] >= self.length:
            raise UserError(
                f"strategy {self.strategy.name!r}: keeps tokens out of order, twice, or not all of the prompt"
            )
        if len(whole) > self.knobs.budget // 2:
            raise UserError(
                f"strategy {self.strategy.name!r}: keeps {len(whole)} tokens, at most {self.knobs.budget // 2} may stay"
            )
        self.cache.keep(whole, self.model.model.text_model.rotary_emb.inv_freq)
        self.meta.keep(whole)
        self.context_ids[:] = [self.context_ids[index] for index in whole]

    def _forget(self, length: int) -> None:
        """Go back to where the context held so many tokens, all of them read."""
        self.cache.truncate(length)
        self.meta.truncate(length)
        del self.context_ids[length:]

    def _read_prompt(self, context: Context) -> Prompt:
        """Start the cache anew with a prompt, and keep the hidden states at its step markers. A summary is cut to its
        limit: words decoded and read again may be more tokens than were written."""
        assert self.task is not None
        context = replace(
            context, summary=shortened(self.builder, context.summary, self.model.config.max_summary_tokens)
        )
        self.prompt = self.builder.prompt(self.task, context)
        self.cache, self.meta = StreamCache(self.knobs.cache_dtype), TokenMeta()
        self.context_ids: list[int] = []
        self._unread = 0
        self.meta.add(Kind.PROMPT, -1, len(self.prompt.ids))
        hidden_1TD = self._read(list(self.prompt.ids))
        self.markers = hidden_1TD[:, list(self.prompt.markers)]
        return self.prompt

    def _read(self, ids: list[int], frames_NID: Tensor | None = None) -> Tensor:
        """Read tokens; their hidden states (1, T, D)."""
        hidden_1TD: Tensor = self._ask(ids, frames_NID)
        return hidden_1TD[:, hidden_1TD.shape[1] - len(ids) :]

    def _ask(self, ids: list[int], frames_NID: Tensor | None = None, banned: tuple[int, ...] | None = None) -> Any:
        """Read what was noted and these tokens; the reader's answer for all of them."""
        asked = [*self.context_ids[self.length - self._unread :], *ids]
        self.lengths.require_positions(self.frame, self.cache.length + len(asked))
        with self.watch.shared() as mine:
            answer, seconds = self.reader(ForwardRequest(asked, self.cache, frames_NID, banned))
            mine.append(seconds)
        self.context_ids += ids
        self._unread = 0
        return answer

    def _note(self, ids: list[int]) -> None:
        """Write text into the context whose hidden states nobody asks for: it is read with what comes next."""
        self.context_ids += ids
        self._unread += len(ids)

    def _reserve(self, task: Task) -> int:
        """Tokens that one step may add at most: user text, frame, update, a reply with its two marks, and, where the
        model writes one, a summary with its two."""
        config = self.model.config
        summary: int = config.max_summary_tokens + 2 if self.strategy.writes else 0
        speech: int = config.max_reply_tokens + 2 + summary
        heard: int = config.max_user_tokens + config.tokens_per_frame
        return heard + self.builder.longest_update(task) + speech

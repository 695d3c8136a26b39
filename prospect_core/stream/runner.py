"""`VLMStreamRunner`: one stream, one step a frame. Live and replay share every line that decides.

    runner = VLMStreamRunner(model, tokenizer, Knobs("dst_refresh", 512, 0.5, 0.5))
    runner.reset(task, fps=2)
    output = runner.step(frame, user_text="What now?")      # text said since the frame before

At each step: the user's text and the frame are read; an update is decided and the accepted transitions written into
the context; speaking is decided and the reply decoded; the context is compressed when it has outgrown its budget.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from prospect_core.errors import UserError
from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.model.processing import to_pixels
from prospect_core.records import CompressionEvent, Knobs, PredictedTransition, PredictedUtterance, Refusal
from prospect_core.sequence import RECENT_QUOTA, Context, Prompt, SequenceBuilder
from prospect_core.stream.cache import StreamCache
from prospect_core.stream.strategies import StreamMemory, strategy
from prospect_core.timeline import STEP_STATES, DialogState, Task


@dataclass(frozen=True)
class StepOutput:
    """What one step decided. Probabilities are in 0..1; ``state_probs`` has shape (K, 3)."""

    frame: int
    speaking_prob: float
    update_prob: float
    state_probs: np.ndarray
    transitions: tuple[PredictedTransition, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    utterance: PredictedUtterance | None = None
    cache_tokens: int = 0
    cache_bytes: int = 0
    seconds: float = 0.0
    compression: CompressionEvent | None = None
    compression_seconds: float = 0.0
    #: from the frame's arrival to the first token of the reply; None in silence
    first_token_seconds: float | None = None

    @property
    def text(self) -> str:
        """What is said, empty for silence."""
        return self.utterance.text if self.utterance else ""


class StreamModel(Protocol):
    """Any streaming model that can be replayed."""

    def reset(self, task: Task, state: DialogState | None = None, fps: float = 2, start_frame: int = 0) -> None:
        """Begin a stream."""
        ...

    def step(self, frame: Any, user_text: str | None = None) -> StepOutput:
        """Take the next frame, and what the user said since the one before."""
        ...


class VLMStreamRunner:
    """A `DSTSmolVLM` on one stream, under a context strategy and a budget in tokens."""

    def __init__(self, model: DSTSmolVLM, tokenizer: Any, knobs: Knobs) -> None:
        config = model.config
        self.model, self.knobs = model, knobs
        self.strategy = strategy(knobs.strategy, knobs.budget)
        self.builder = SequenceBuilder(tokenizer, config.tokens_per_frame, config.max_user_tokens)
        self.task: Task | None = None

    @torch.no_grad()
    def reset(self, task: Task, state: DialogState | None = None, fps: float = 2, start_frame: int = 0) -> None:
        """Begin a stream: ``state`` is what is known to be done already, ``start_frame`` the video's frame number
        of the first step. A budget that could not be kept for this task is refused with the least possible one."""
        self.task, self.fps, self.frame = task, fps, start_frame
        self.state = state if state is not None else DialogState.initial(task)
        self.said: list[tuple[str, str]] = []
        self.rest_until = start_frame
        self.reserve = self._reserve(task)
        least = self.least_budget(task)
        if self.knobs.budget is not None and self.knobs.budget < least:
            raise UserError(
                f"--budget {self.knobs.budget}: too small for the task {task.goal!r}, at least {least} tokens are needed"
            )
        self.prompt = self._read_prompt(Context(self.state))

    def least_budget(self, task: Task) -> int:
        """The least budget that keeps the longest prompt in at most half of it and leaves room for one step."""
        state = DialogState(
            task.step_ids, (STEP_STATES[2],) * len(task.steps), tuple((s, 99999.0) for s in task.step_ids)
        )
        longest = len(self.builder.prompt(task, Context(state)).ids) + RECENT_QUOTA
        return max(longest + self._reserve(task), 2 * longest)

    @torch.no_grad()
    def step(self, frame: np.ndarray | Tensor, user_text: str | None = None) -> StepOutput:
        """One frame: (size, size, 3) uint8, or its embeddings (I, D) from `DSTSmolVLM.encode_frames`."""
        if self.task is None:
            raise UserError("call reset(task) before the first step")
        begin = time.perf_counter()
        self._first_token_at: float | None = None
        number = self.frame
        self.frame += 1
        hidden_1D = self._read_frame(frame, user_text)
        speaking_B1, update_B1, state_B1K3 = self.model.decide(hidden_1D[:, None], self.markers)
        speaking, update = float(speaking_B1.sigmoid()), float(update_B1.sigmoid())
        state_probs = state_B1K3[0, 0].softmax(-1).cpu().numpy()
        transitions, refusals = self._update(number, update, state_probs)
        utterance = self._speak(number) if speaking >= self.knobs.speaking_threshold else None
        compression, compression_seconds = self._compress(number)
        return StepOutput(
            number,
            speaking,
            update,
            state_probs,
            transitions,
            refusals,
            utterance,
            self.cache.length,
            self.cache.nbytes,
            time.perf_counter() - begin,
            compression,
            compression_seconds,
            None if self._first_token_at is None else self._first_token_at - begin,
        )

    def _read_frame(self, frame: np.ndarray | Tensor, user_text: str | None) -> Tensor:
        ids = []
        if user_text:
            ids += self.builder.user(user_text)
            self.said.append(("User", user_text))
        ids += self.builder.frame()
        if isinstance(frame, np.ndarray):
            frame = self.model.encode_frames(to_pixels(frame[None]).to(self.model.device))[0]
        return self._read(ids, frame[None])[:, -1]

    def _update(
        self, frame: int, probability: float, state_probs: np.ndarray
    ) -> tuple[tuple[PredictedTransition, ...], tuple[Refusal, ...]]:
        """Accept the legal part of what the state head sees, write it into the context, refuse the rest."""
        if probability < self.knobs.update_threshold or frame < self.rest_until or not len(state_probs):
            return (), ()
        wanted = [STEP_STATES[k] for k in state_probs.argmax(-1)]
        accepted: list[PredictedTransition] = []
        refused: list[Refusal] = []
        for step, new, changes in self.state.changes_to(wanted):
            if not changes:
                refused.append(Refusal(frame, step, new))
            for change in changes:
                self.state = self.state.apply(step, change, frame / self.fps)
                accepted.append(PredictedTransition(frame, step, change))
        if accepted:
            self._read(self.builder.update([(t.step, t.change) for t in accepted]))
        else:
            self.rest_until = frame + 1 + self.model.config.update_rest_frames
        return tuple(accepted), tuple(refused)

    def _speak(self, frame: int) -> PredictedUtterance | None:
        hidden_1D = self._read([self.builder.special.asst])[:, -1]
        limit = self.model.config.max_reply_tokens
        special = self.builder.special
        tokens, cut = self.model.fast_greedy_generate(hidden_1D, self.cache, limit, special.unsayable, self._heard)
        self.context_ids += [*tokens, special.eos]
        text = self.builder.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        if not text:
            return None
        self.said.append(("Assistant", text))
        return PredictedUtterance(frame, text, len(tokens), cut)

    def _heard(self, token: int) -> None:
        if self._first_token_at is None:
            self._first_token_at = time.perf_counter()

    def _compress(self, frame: int) -> tuple[CompressionEvent | None, float]:
        budget = self.knobs.budget
        if budget is None or self.cache.length <= budget - self.reserve:
            return None, 0.0
        begin = time.perf_counter()
        before = self.cache.length, self.cache.nbytes
        assert self.task is not None
        recent = self.model.config.recent_utterances
        memory = StreamMemory(self.task, self.state, tuple(self.said), self.builder, recent)
        self.prompt = self._read_prompt(self.strategy.rebuild(memory))
        event = CompressionEvent(
            frame,
            self.strategy.name,
            before[0],
            self.cache.length,
            before[1],
            self.cache.nbytes,
            self.prompt.text,
        )
        return event, time.perf_counter() - begin

    def _read_prompt(self, context: Context) -> Prompt:
        """Start the cache anew with a prompt, and keep the hidden states at its step markers."""
        assert self.task is not None
        prompt = self.builder.prompt(self.task, context)
        self.cache = StreamCache()
        self.context_ids: list[int] = []
        hidden_1TD = self._read(list(prompt.ids))
        self.markers = hidden_1TD[:, list(prompt.markers)]
        return prompt

    def _read(self, ids: list[int], frames_NID: Tensor | None = None) -> Tensor:
        ids_1T = torch.tensor([ids], device=self.model.device)
        self.context_ids += ids
        return self.model.read(self.model.joint_embed(ids_1T, frames_NID), past_key_values=self.cache)

    def _reserve(self, task: Task) -> int:
        """Tokens that one step may add at most: user text, frame, update, and a reply with its two marks."""
        config = self.model.config
        frame = config.tokens_per_frame
        return config.max_user_tokens + frame + self.builder.longest_update(task) + config.max_reply_tokens + 2

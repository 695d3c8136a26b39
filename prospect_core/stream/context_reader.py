"""Read tokens into the context of a stream: a prompt into a new context, and everything after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prospect_core.model.image_processing import process_images_to_pixels
from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.sequence.layout import Context, Prompt, TokenLayout, shorten_layout_text
from prospect_core.stream.context_lengths import StreamLengths
from prospect_core.stream.forward import ForwardRequest, StreamForward
from prospect_core.stream.kv_cache import StreamCache
from prospect_core.stream.stream_state import ContextTokens
from prospect_core.stream.token_metadata import Kind
from prospect_core.timeline import Task
from prospect_core.util.timer import StageTimer


class ContextReader:
    """Reads tokens for one stream.

    Args:
        model: The model.
        layout: Its token layout.
        forward_stream: Forward pass for a single stream, or batched with other streams.
        cache_dtype: How keys and values are stored: ``model``, ``int8`` or ``fp8``.
    """

    def __init__(self, model: DSTSmolVLM, layout: TokenLayout, forward_stream: StreamForward, cache_dtype: Any) -> None:
        self.model, self.layout, self.forward_stream, self.cache_dtype = model, layout, forward_stream, cache_dtype

    def open(
        self, task: Task, context: Context, lengths: StreamLengths, frame: int, watch: StageTimer
    ) -> tuple[ContextTokens, Prompt, Tensor]:
        """Read a prompt into a new context.

        The summary is cut to its limit: decoded and tokenized again, it may have more tokens than
        were generated.

        Args:
            task: Task of the prompt.
            context: Contents of the prompt in addition to the task.
            lengths: Checks the length of the prompt.
            frame: Number of the next frame, for error messages.
            watch: Timer of the forward pass.

        Returns:
            (tokens of the context, prompt, hidden states (1, K, D) at its step markers).
        """
        summary = shorten_layout_text(self.layout, context.summary, self.model.config.max_summary_tokens)
        prompt = self.layout.prompt(task, replace(context, summary=summary))
        tokens = ContextTokens(StreamCache(self.cache_dtype))
        tokens.meta.add(Kind.PROMPT, -1, len(prompt.ids))
        lengths.require_positions(frame, len(prompt.ids))
        hidden_1TD = self.forward(tokens, prompt.ids, watch)
        return tokens, prompt, hidden_1TD[:, list(prompt.markers)]

    def embed(self, frames: Sequence[np.ndarray | Tensor]) -> Tensor:
        """(F, I, D) embeddings of frames, each (size, size, 3) uint8 or its own embeddings (I, D)."""
        pictures = [frame for frame in frames if isinstance(frame, np.ndarray)]
        if len(pictures) == len(frames):
            return self.model.encode_frames(process_images_to_pixels(np.stack(pictures)).to(self.model.device))
        return torch.stack([frame for frame in frames if isinstance(frame, Tensor)])

    def forward(
        self,
        context: ContextTokens,
        ids: Sequence[int],
        watch: StageTimer,
        frames_NID: Tensor | None = None,
        banned: tuple[int, ...] | None = None,
    ) -> Any:
        """Read pending tokens and then the given ones.

        Args:
            context: The context.
            ids: Token ids.
            watch: Timer of the forward pass.
            frames_NID: Embeddings of the image slots among the ids.
            banned: Ids that are never predicted; None requests hidden states.

        Returns:
            Hidden states (1, T, D) of all read tokens or, with ``banned``, the likeliest token
            after each.
        """
        with watch.shared() as mine:
            request = ForwardRequest(context.to_read(ids), context.cache, frames_NID, banned)
            answer, seconds = self.forward_stream(request)
            mine.append(seconds)
        context.note_read(ids)
        return answer

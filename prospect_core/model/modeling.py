"""`DSTSmolVLM`: SmolVLM2 that reads a stream of frames and text and makes four predictions per frame.

Per frame: speaking (1 logit), DST update (1 logit), DST state (3 logits per step) and, from the LM
head, the response. With ``mistake_head``, a fifth: whether the filmed person is making a mistake (1
logit).

Shape letters: B batch, T tokens, N frames in the batch, F frames of a sequence, I tokens per frame,
K steps, D hidden, V vocabulary, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMVisionConfig
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMModel
from transformers.utils import ModelOutput

from prospect_core.model.configuration import DSTSmolVLMConfig
from prospect_core.model.generation import generate_greedily
from prospect_core.model.image_processing import BLACK, normalize_image_pixels


class CheckpointError(ValueError):
    """A checkpoint whose tensors differ from the model's in name or shape."""


@dataclass
class DSTOutput(ModelOutput):
    """Outputs of a forward pass.

    Attributes:
        hidden_BTD: Hidden states of every token.
        speaking_BF: Speaking logits.
        update_BF: Update logits.
        state_BFK3: State logits, in the order of `STEP_STATES`.
        words_XV: Next-token logits at the X requested places.
        mistake_BF: Mistake logits; None without a mistake head.
    """

    hidden_BTD: Tensor | None = None
    speaking_BF: Tensor | None = None
    update_BF: Tensor | None = None
    state_BFK3: Tensor | None = None
    words_XV: Tensor | None = None
    mistake_BF: Tensor | None = None


class StateHead(nn.Module):
    """Three logits per step from the hidden states of a frame and of the step's marker.

    Each pair (frame, marker) is scored separately, so any number of steps works.

    Args:
        hidden: Width of hidden states (D).
        width: Width of the head.
    """

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.frame = nn.Linear(hidden, 2 * width)
        self.marker = nn.Linear(hidden, 2 * width)
        self.out = nn.Linear(width, 3)

    def forward(self, frame_BFD: Tensor, marker_BKD: Tensor) -> Tensor:
        """Score frames (B, F, D) and markers (B, K, D); return logits (B, F, K, 3)."""
        frame_sum, frame_gate = self.frame(frame_BFD)[:, :, None].chunk(2, dim=-1)
        marker_sum, marker_gate = self.marker(marker_BKD)[:, None].chunk(2, dim=-1)
        logits_BFK3: Tensor = self.out(functional.gelu(frame_sum + marker_sum + frame_gate * marker_gate))
        return logits_BFK3


class ConvStem(nn.Sequential):
    """Patch embedding (N, D, H / P, W / P) by several small convolutions instead of one of the patch size.

    A tower that learns from random weights finds shapes sooner with it (Xiao et al., "Early
    Convolutions Help Transformers See Better", NeurIPS 2021). SmolVLM2's weights have no such stem.

    Args:
        width: Channels of the first convolution.
        config: Configuration of the vision tower.
    """

    def __init__(self, width: int, config: SmolVLMVisionConfig) -> None:
        if not isinstance(config.patch_size, int):
            raise ValueError(
                f"patch_size {config.patch_size}: the convolutional stem needs square patches; use one whole number"
            )
        rest = config.patch_size // 4
        super().__init__(
            nn.Conv2d(config.num_channels, width, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * width, config.hidden_size, rest, stride=rest),
        )


class DSTSmolVLM(PreTrainedModel):
    """SmolVLM2 backbone with speaking, update and state heads, and an optional mistake head; shapes are in the module's description.

    Args:
        config: Configuration of the model.
    """

    config_class = DSTSmolVLMConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["SmolVLMVisionAttention", "LlamaDecoderLayer"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(self, config: DSTSmolVLMConfig) -> None:
        super().__init__(config)
        # SmolVLMModel declares transformers' configuration class, but reads only
        # attributes that DSTSmolVLMConfig has too
        smolvlm_config: Any = config
        self.model = SmolVLMModel(smolvlm_config)
        if config.stem_width:
            self.model.vision_model.embeddings.patch_embedding = ConvStem(config.stem_width, config.vision_config)
        hidden, vocab = config.text_config.hidden_size, config.text_config.vocab_size
        # if tied, the embedding table itself is used, so no second tensor must be kept
        # equal
        self.lm_head = None if config.tie_word_embeddings else nn.Linear(hidden, vocab, bias=False)
        self.speaking_head = nn.Linear(hidden, 1)
        self.update_head = nn.Linear(hidden, 1)
        self.state_head = StateHead(hidden, config.state_head_size)
        self.mistake_head: nn.Linear | None = None
        self.post_init()
        # drawn last, so that the other weights are those of a model without it
        if config.mistake_head:
            self.add_mistake_head()

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load as in transformers, but require every tensor to match.

        Args:
            *args: As in transformers.
            **kwargs: As in transformers.

        Raises:
            CheckpointError: If a tensor is missing, unexpected or of another shape.
        """
        want_info = kwargs.pop("output_loading_info", False)
        # load tensors of other shapes so that they can be named below: transformers'
        # error only refers to its log
        kwargs |= {"use_safetensors": True, "ignore_mismatched_sizes": True}
        loaded: Any = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        model, info = loaded
        wrong = [(kind, sorted(map(str, info[kind]))) for kind in info if "keys" in kind and info[kind]]
        if wrong:
            text = "; ".join(
                f"{kind.replace('_', ' ')}: {', '.join(names[:3])} ({len(names)})" for kind, names in wrong
            )
            raise CheckpointError(f"{args[0]}: does not fit the model ({text})")
        return (model, info) if want_info else model

    def compute_in(self, dtype: torch.dtype) -> DSTSmolVLM:
        """Convert the weights to ``dtype``, except the decision heads, which stay float32; return the model."""
        self.to(dtype)
        for head in (self.speaking_head, self.update_head, self.state_head, self.mistake_head):
            if head is not None:
                head.float()
        return self

    def add_mistake_head(self) -> None:
        """Add a mistake head with random weights; a model that has one does not change."""
        if self.mistake_head is not None:
            return
        self.config.mistake_head = True
        like = self.speaking_head.weight
        self.mistake_head = nn.Linear(like.shape[1], 1, device=like.device, dtype=like.dtype)
        nn.init.normal_(self.mistake_head.weight, std=self.config.text_config.initializer_range)
        nn.init.zeros_(self.mistake_head.bias)

    def encode_frames(self, pixels_N3HW: Tensor) -> Tensor:
        """Encode frames by vision tower, connector and pooling on the grid.

        Args:
            pixels_N3HW: Frames (N, 3, H, W), normalised or uint8.

        Returns:
            Embeddings (N, I, D).
        """
        if not pixels_N3HW.is_floating_point():
            pixels_N3HW = normalize_image_pixels(pixels_N3HW)
        if "pictures" in self.config.ablated_inputs:
            pixels_N3HW = torch.full_like(pixels_N3HW, BLACK)
        patches = self.model.vision_model(pixel_values=pixels_N3HW.to(self.dtype)).last_hidden_state
        tokens_NGD: Tensor = self.model.connector(patches)
        frames, count, width = tokens_NGD.shape
        wanted = self.config.tokens_per_frame
        if wanted == count:
            return tokens_NGD
        side, target = round(count**0.5), round(wanted**0.5)
        grid = tokens_NGD.transpose(1, 2).reshape(frames, width, side, side)
        return functional.adaptive_avg_pool2d(grid, target).flatten(2).transpose(1, 2)

    def joint_embed(self, ids_BT: Tensor, frames_NID: Tensor | None = None) -> Tensor:
        """Embed tokens and put the frames' embeddings into the image slots, in reading order.

        Args:
            ids_BT: Token ids.
            frames_NID: Embeddings of the frames; the tokens must have N * I image slots.

        Returns:
            Embeddings (B, T, D).

        Raises:
            ValueError: If the number of slots differs.
        """
        slots_BT = ids_BT == self.config.image_token_id
        embeds_BTD: Tensor = self.model.text_model.get_input_embeddings()(ids_BT)
        given = 0 if frames_NID is None else frames_NID.shape[0] * frames_NID.shape[1]
        if int(slots_BT.sum()) != given:
            raise ValueError(f"{int(slots_BT.sum())} frame slots in the tokens, {given} frame embeddings")
        if frames_NID is None:
            return embeds_BTD
        return embeds_BTD.masked_scatter(slots_BT[..., None], frames_NID.to(embeds_BTD.dtype))

    def read(
        self,
        embeds_BTD: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """Run the text model.

        Args:
            embeds_BTD: Embeddings.
            attention_mask: (B, T), 0 for padding.
            past_key_values: Cache to which keys and values are appended.
            position_ids: (B, T) positions.

        Returns:
            Hidden states (B, T, D).
        """
        hidden_BTD: Tensor = self.model.text_model(
            inputs_embeds=embeds_BTD,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            position_ids=position_ids,
            use_cache=past_key_values is not None,
        ).last_hidden_state
        return hidden_BTD

    def lm_logits(self, hidden: Tensor) -> Tensor:
        """Return next-token logits (..., V) of hidden states (..., D)."""
        if self.lm_head is not None:
            logits: Tensor = self.lm_head(hidden)
            return logits
        return functional.linear(hidden, self.model.text_model.get_input_embeddings().weight)

    def decide(self, frame_BFD: Tensor, marker_BKD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits of speaking (B, F), update (B, F) and state (B, F, K, 3)."""
        exact = self.speaking_head.weight.dtype
        frame_BFD, marker_BKD = frame_BFD.to(exact), marker_BKD.to(exact)
        speaking_BF = self.speaking_head(frame_BFD).squeeze(-1)
        update_BF = self.update_head(frame_BFD).squeeze(-1)
        return speaking_BF, update_BF, self.state_head(frame_BFD, marker_BKD)

    def decide_mistakes(self, frame_BFD: Tensor) -> Tensor | None:
        """Return mistake logits (B, F); None without a mistake head."""
        if self.mistake_head is None:
            return None
        logits_BF: Tensor = self.mistake_head(frame_BFD.to(self.mistake_head.weight.dtype)).squeeze(-1)
        return logits_BF

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        frame_embeds: Tensor | None = None,
        frame_index: Tensor | None = None,
        marker_index: Tensor | None = None,
        speaks_BT: Tensor | None = None,
    ) -> DSTOutput:
        """Run one causal pass over whole sequences.

        It uses every parameter, as sharded training requires.

        Args:
            input_ids: (B, T).
            attention_mask: (B, T), 0 for padding.
            pixel_values: (N, 3, H, W) of all frames in reading order.
            frame_embeds: (N, I, D), instead of ``pixel_values``.
            frame_index: (B, F) position of each frame's last token, padded with -1; predictions at
                padding have no meaning.
            marker_index: (B, K) position of each step's marker, padded with -1.
            speaks_BT: True where next-token logits are wanted (X places, in reading order).
        """
        if pixel_values is not None:
            frame_embeds = self.encode_frames(pixel_values)
        hidden_BTD = self.read(self.joint_embed(input_ids, frame_embeds), attention_mask)
        words_XV = None if speaks_BT is None else self.lm_logits(hidden_BTD[speaks_BT])
        if frame_index is None or marker_index is None:
            return DSTOutput(hidden_BTD, words_XV=words_XV)
        frame_BFD = gather_hidden_states(hidden_BTD, frame_index)
        decisions = self.decide(frame_BFD, gather_hidden_states(hidden_BTD, marker_index))
        return DSTOutput(hidden_BTD, *decisions, words_XV, self.decide_mistakes(frame_BFD))

    @torch.no_grad()
    def fast_greedy_generate(
        self,
        hidden_1D: Tensor,
        cache: Any,
        limit: int,
        banned: tuple[int, ...] = (),
        heard: Callable[[int], None] = lambda token: None,
        context: Sequence[int] = (),
    ) -> tuple[list[int], bool]:
        """Decode greedily through the cache, up to and including eos.

        ProAssist's models have a method of this name; it is kept for code that calls it. Streams
        use `generate_greedily` with their own cache.

        Args:
            hidden_1D: Hidden state of the token before the result.
            cache: A `StreamCache`. It then holds all returned tokens and the eos, as in training.
            limit: Maximum number of tokens.
            banned: Ids that are never generated (markers, image slots).
            heard: Called with each token when it is decided.
            context: Token ids in the cache, from which drafts come.

        Returns:
            (tokens without eos, whether the limit ended the result).
        """
        eos = self.config.eos_token_id

        def following(tokens: list[int]) -> list[int]:
            return self.likeliest(self._append(tokens, cache)[0], banned)

        tokens, cut = generate_greedily(
            self.likeliest(hidden_1D, banned)[0],
            following,
            lambda count: cache.truncate(cache.get_seq_length() - count),
            eos, limit, banned, heard, context,
        )  # fmt: skip
        self._append([eos], cache)
        return tokens, cut

    def likeliest(self, hidden_TD: Tensor, banned: Sequence[int] = ()) -> list[int]:
        """Return the likeliest token after each hidden state, never a banned one."""
        logits_TV = self.lm_logits(hidden_TD)
        logits_TV.index_fill_(1, torch.tensor(list(banned), dtype=torch.long, device=logits_TV.device), -torch.inf)
        found: list[int] = logits_TV.argmax(-1).tolist()
        return found

    def _append(self, tokens: list[int], cache: Cache) -> Tensor:
        ids = torch.tensor([tokens], device=self.device)
        return self.read(self.joint_embed(ids), past_key_values=cache)


def gather_hidden_states(hidden_BTD: Tensor, index_BX: Tensor) -> Tensor:
    """Return hidden states (B, X, D) at positions (B, X); -1 is padding and gives position 0."""
    index = index_BX.clamp(min=0)[..., None].expand(-1, -1, hidden_BTD.shape[-1])
    return hidden_BTD.gather(1, index)


AutoModel.register(DSTSmolVLMConfig, DSTSmolVLM)

"""Configuration of `DSTSmolVLM`: SmolVLM2 backbone, tokens per frame, heads, and limits of the runner."""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy
from typing import Any

from transformers import AutoConfig, PreTrainedConfig
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMVisionConfig

from prospect_core.data.frame_format import FRAMINGS, FrameFormat, Framing

#: inputs that can be ablated: pictures (all are black), the names of the steps, their tracked
#: states (in prompt and context), and the past (the context holds the prompt without states, the
#: newest frame and the turns since the frame before)
INPUTS = ("pictures", "steps", "state", "past")


class ConfigurationError(ValueError):
    """A value that a model's configuration does not allow."""


#: supported type of text model: `stream.packed_forward` implements its forward pass
TEXT_MODEL = "llama"


class DSTSmolVLMConfig(PreTrainedConfig):
    """Configuration of SmolVLM2 with four objectives, and mistake prediction as an optional fifth.

    Args:
        vision_config: Configuration of the vision tower.
        text_config: Configuration of the text model.
        scale_factor: The connector merges scale_factor x scale_factor patches into one token.
        stem_width: Channels of the first convolution of a convolutional stem (`ConvStem`); 0 uses
            one convolution, as in SmolVLM2.
        framing: How a picture becomes a square (`prospect_core.data.frame_format`).
        tokens_per_frame: A square number up to the vision tower's own number, or 0 for that number.
        image_token_id: Id of an image slot.
        pad_token_id: Id of padding.
        eos_token_id: Id that ends a turn, an update or a summary.
        state_head_size: Width of the state head.
        mistake_head: Whether the model has a head for mistakes of the filmed person.
        tie_word_embeddings: Whether the LM head uses the embedding table.
        speaking_threshold: Probability from which a stream speaks, 0 to 1.01 (never).
        update_threshold: Probability from which a stream updates the state, 0 to 1.01 (never).
        mistake_threshold: Probability from which a stream reports a mistake, 0 to 1.01 (never); no
            effect without a mistake head.
        thresholds_data: Data on which the thresholds were chosen; empty for the neutral 0.5.
        max_user_tokens: Tokens to which a user turn is cut.
        max_reply_tokens: Tokens to which a reply is cut.
        max_summary_tokens: Tokens to which a progress summary is cut.
        recent_utterances: Maximum number of last utterances in a rebuilt prompt.
        update_rest_frames: Frames without an update decision after a refused update.
        max_context: Largest context in tokens.
        trained_steps: Optimizer steps of training; evaluation refuses a model with 0.
        trained_frames: Frames of the longest training window; 0 if unknown.
        trained_tokens: Tokens of the longest training window.
        trained_compressions: Number of compressions that training has shown.
        ablated_inputs: Inputs (`INPUTS`) that the model has neither in training nor in a stream.
        tokenizer_digest: Digest of the tokenizer in training (`digest_tokenizer`); empty if
            unknown.
        **kwargs: Further settings of transformers.

    Raises:
        ConfigurationError: If a value is not allowed or contradicts another one.
    """

    model_type = "dst_smolvlm"
    sub_configs = {"vision_config": SmolVLMVisionConfig, "text_config": AutoConfig}  # noqa: RUF012

    def __init__(
        self,
        vision_config: dict[str, Any] | PreTrainedConfig | None = None,
        text_config: dict[str, Any] | PreTrainedConfig | None = None,
        scale_factor: int = 2,
        stem_width: int = 0,
        framing: Framing = "crop",
        tokens_per_frame: int = 4,
        image_token_id: int = 2,
        pad_token_id: int = 0,
        eos_token_id: int = 1,
        state_head_size: int = 128,
        mistake_head: bool = False,
        tie_word_embeddings: bool = True,
        speaking_threshold: float = 0.5,
        update_threshold: float = 0.5,
        mistake_threshold: float = 0.5,
        thresholds_data: str = "",
        max_user_tokens: int = 64,
        max_reply_tokens: int = 48,
        max_summary_tokens: int = 160,
        recent_utterances: int = 2,
        update_rest_frames: int = 0,
        max_context: int = 2048,
        trained_steps: int = 0,
        trained_frames: int = 0,
        trained_tokens: int = 0,
        trained_compressions: int = 0,
        ablated_inputs: Collection[str] = (),
        tokenizer_digest: str = "",
        **kwargs: Any,
    ) -> None:
        for name, number in (
            ("speaking_threshold", speaking_threshold),
            ("update_threshold", update_threshold),
            ("mistake_threshold", mistake_threshold),
        ):
            # no probability reaches 1.01
            if type(number) not in (int, float) or not 0 <= number <= 1.01:
                raise ConfigurationError(f"{name} {number!r}: use 0 to 1")
        for name, count in (
            ("max_user_tokens", max_user_tokens), ("max_reply_tokens", max_reply_tokens), ("max_context", max_context),
            ("max_summary_tokens", max_summary_tokens), ("trained_steps", trained_steps), ("trained_frames", trained_frames),
            ("trained_tokens", trained_tokens), ("trained_compressions", trained_compressions),
        ):  # fmt: skip
            if type(count) is not int or count < 0:
                raise ConfigurationError(f"{name} {count!r}: use a whole number from 0")
        if framing not in FRAMINGS:
            raise ConfigurationError(f"framing {framing!r}: use one of {', '.join(FRAMINGS)}")
        if kwargs.get("lacks"):
            # an ignored key would give the model inputs that it was trained without
            raise ConfigurationError("the key lacks is now named ablated_inputs; rename it in config.json")
        if unknown := sorted(set(ablated_inputs) - set(INPUTS)):
            raise ConfigurationError(f"ablated_inputs {', '.join(unknown)}: use any of {', '.join(INPUTS)}")
        self.vision_config: Any = _without_dtype(_sub(SmolVLMVisionConfig, vision_config))
        self.text_config: Any = _without_dtype(_text(text_config))
        if self.text_config.model_type != TEXT_MODEL:
            raise ConfigurationError(
                f"text_config describes a {self.text_config.model_type!r} model; use {TEXT_MODEL!r}, as in SmolVLM2"
            )
        if stem_width and self.vision_config.patch_size % 4:
            raise ConfigurationError(
                f"stem_width {stem_width}: needs a patch_size that 4 divides, not {self.vision_config.patch_size}"
            )
        self.scale_factor = scale_factor
        self.stem_width = stem_width
        self.framing = framing
        side = self.vision_config.image_size // self.vision_config.patch_size // scale_factor
        self.tokens_per_frame = _square_grid(tokens_per_frame, side)
        self.image_token_id = image_token_id
        self.state_head_size = state_head_size
        self.mistake_head = mistake_head
        self.speaking_threshold = speaking_threshold
        self.update_threshold = update_threshold
        self.mistake_threshold = mistake_threshold
        self.thresholds_data = thresholds_data
        self.tokenizer_digest = tokenizer_digest
        self.max_user_tokens = max_user_tokens
        self.max_reply_tokens = max_reply_tokens
        self.max_summary_tokens = max_summary_tokens
        self.recent_utterances = recent_utterances
        self.update_rest_frames = update_rest_frames
        self.max_context = max_context
        self.trained_steps = trained_steps
        self.trained_frames = trained_frames
        self.trained_tokens = trained_tokens
        self.trained_compressions = trained_compressions
        self.ablated_inputs = sorted(ablated_inputs)
        shared: dict[str, Any] = {
            "tie_word_embeddings": tie_word_embeddings,
            "pad_token_id": pad_token_id,
            "eos_token_id": eos_token_id,
        }
        super().__init__(**shared, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a dictionary, without the keys of a missing mistake head.

        Checkpoints without that head keep their bytes and digests.
        """
        settings: dict[str, Any] = super().to_dict()
        if not self.mistake_head:
            for name in ("mistake_head", "mistake_threshold"):
                settings.pop(name, None)
        return settings

    @property
    def image_size(self) -> int:
        """Side of the square frames in pixels."""
        return int(self.vision_config.image_size)

    @property
    def frame_format(self) -> FrameFormat:
        """Size and framing of the frames."""
        return FrameFormat(self.image_size, self.framing)


def _square_grid(tokens_per_frame: int, side: int) -> int:
    """Return the tokens per frame: a square grid no finer than the tower's ``side`` x ``side``; 0 is all."""
    if tokens_per_frame > side * side:
        raise ConfigurationError(
            f"tokens_per_frame {tokens_per_frame}: the vision tower produces {side * side} per frame"
        )
    allowed = [count * count for count in range(1, side + 1)]
    if tokens_per_frame and tokens_per_frame not in allowed:
        numbers = ", ".join(map(str, allowed))
        raise ConfigurationError(f"tokens_per_frame {tokens_per_frame}: use one of {numbers}, or 0 for the tower's own")
    return tokens_per_frame or side * side


def _without_dtype(config: PreTrainedConfig) -> PreTrainedConfig:
    """Return a copy of a part's configuration without its own dtype.

    Published configurations state bfloat16 for the text model alone. That part would then be built
    in bfloat16, with heads in float32, whatever dtype the whole model is loaded with.
    """
    config = deepcopy(config)
    config.dtype = None
    return config


def _sub(kind: type, value: Any) -> Any:
    return value if isinstance(value, PreTrainedConfig) else kind(**(value or {}))


def _text(value: Any) -> Any:
    if isinstance(value, PreTrainedConfig):
        return value
    if value is not None and not isinstance(value, dict):
        raise ConfigurationError(f"text_config is {type(value).__name__}, not an object")
    options = dict(value or {})
    return AutoConfig.for_model(options.pop("model_type", TEXT_MODEL), **options)


AutoConfig.register("dst_smolvlm", DSTSmolVLMConfig)

"""Configuration of the smallest model that has all parts."""

from __future__ import annotations

from typing import Any

from prospect_core.model.configuration import DSTSmolVLMConfig

VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    "model_type": "llama",
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}


def small_config(tokenizer: Any, **changes: Any) -> DSTSmolVLMConfig:
    """Make the configuration of a model with two text layers and one vision layer.

    ``changes`` replace top-level options.
    """
    options: dict[str, Any] = {
        "vision_config": dict(VISION),
        "text_config": {**TEXT, "vocab_size": len(tokenizer)},
        "state_head_size": 16,
        "tokens_per_frame": 4,
        "max_reply_tokens": 8,
        "max_user_tokens": 16,
        "trained_steps": 1,
    }
    return DSTSmolVLMConfig(**{**options, **changes})

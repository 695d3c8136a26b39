"""Published SmolVLM2 weights as our model: the same backbone, our special tokens, fresh heads.

python -c "from prospect_core.model.published import load_published; load_published('HuggingFaceTB/SmolVLM2-256M-Video-Instruct', 4)"
"""

from __future__ import annotations

from typing import Any

from prospect_core.errors import DataError
from prospect_core.model.configuration import DSTSmolVLMConfig
from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.model.processing import SpecialIds, add_special_tokens


def load_published(
    name: str,
    tokens_per_frame: int,
    state_head_size: int = 256,
    max_context: int = 4096,
    attention: str = "sdpa",
) -> tuple[DSTSmolVLM, Any]:
    """(model in float32, tokenizer) of a folder or a hub name in SmolVLM2's published layout.

    Every tensor of the backbone must be there and fit, else it is a `DataError`: nothing but the three heads (and the
    rows of our special tokens) begins at random. Pictures are framed as the published processor does it.
    """
    import torch
    from transformers import AutoConfig, AutoTokenizer, SmolVLMForConditionalGeneration

    try:
        published = AutoConfig.from_pretrained(name)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"model.weights={name}: cannot be read ({reason})") from error
    if published.model_type != "smolvlm":
        raise DataError(f"model.weights={name}: is a {published.model_type!r} model; a smolvlm one is needed")
    add_special_tokens(tokenizer)
    ids = SpecialIds.of(tokenizer)
    if ids.image != published.image_token_id:
        raise DataError(
            f"model.weights={name}: <image> is token {ids.image}, config.json says {published.image_token_id}"
        )
    try:
        loaded: Any = SmolVLMForConditionalGeneration.from_pretrained(
            name, dtype=torch.float32, output_loading_info=True, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"model.weights={name}: cannot be loaded ({reason})") from error
    source, info = loaded
    wrong = [f"{kind}: {sorted(map(str, info[kind]))[0]}" for kind in info if "keys" in kind and info[kind]]
    if wrong:
        raise DataError(f"model.weights={name}: not a complete SmolVLM2 checkpoint ({'; '.join(wrong)})")
    config = DSTSmolVLMConfig(
        vision_config=published.vision_config,
        text_config=published.text_config,
        scale_factor=published.scale_factor,
        framing="squash",
        tokens_per_frame=tokens_per_frame,
        image_token_id=ids.image,
        pad_token_id=ids.pad,
        eos_token_id=ids.eos,
        state_head_size=state_head_size,
        max_context=max_context,
        tie_word_embeddings=source.lm_head.weight is source.get_input_embeddings().weight,
    )
    config._attn_implementation = attention
    model = DSTSmolVLM(config)
    model.model.load_state_dict(source.model.state_dict(), strict=True)
    if model.lm_head is not None:
        model.lm_head.load_state_dict(source.lm_head.state_dict(), strict=True)
    if len(tokenizer) > config.text_config.vocab_size:
        # new rows are drawn around the mean of the old ones, each its own
        model.resize_token_embeddings(len(tokenizer))
    return model, tokenizer

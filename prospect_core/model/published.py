"""Load published SmolVLM2 weights as our model: the same backbone, our special tokens, new heads."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from prospect_core.checkpoints.folders import require_one_checkpoint_weight_set
from prospect_core.model.configuration import ConfigurationError, DSTSmolVLMConfig
from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.sequence.tokenizer import SpecialIds, add_tokenizer_special_tokens
from prospect_core.util.errors import DataError, UserError

#: the number of rows of the embedding table is padded to a multiple of this
ROWS = 64
#: default tokens per frame of a training
TOKENS_PER_FRAME = 4


def load_published_vision_tower(name: str, device: str, tokens_per_frame: int | None) -> Any:
    """Load a model for encoding frames.

    Args:
        name: Checkpoint of `prospect train`, or published weights by folder or hub name.
        device: Torch device.
        tokens_per_frame: For published weights only: 0 is the vision tower's own number, None is
            `TOKENS_PER_FRAME`.

    Raises:
        UserError: If ``tokens_per_frame`` is not possible or is given for a checkpoint of `prospect
            train`, or if the name is neither.
        DataError: If the model cannot be loaded.
    """
    from prospect_core.model.checkpoint import load_model_checkpoint, move_checkpoint_to_device

    if not _is_published(name):
        if tokens_per_frame is not None:
            raise UserError(f"--tokens-per-frame {tokens_per_frame}: {name} fixes this number; remove the option")
        return load_model_checkpoint(name, device)[0]
    try:
        model, _ = load_published_model(name, TOKENS_PER_FRAME if tokens_per_frame is None else tokens_per_frame)
    except ConfigurationError as error:
        raise UserError(str(error)) from error
    return move_checkpoint_to_device(model, device).eval()


def _is_published(name: str) -> bool:
    """Check for a folder with a published SmolVLM2, or a name of a model on the hub (``OWNER/NAME``)."""
    folder = Path(name)
    if folder.is_dir():
        try:
            kind: Any = json.loads((folder / "config.json").read_bytes())
            return isinstance(kind, dict) and kind.get("model_type") == "smolvlm"
        except (OSError, ValueError):
            return False
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) is not None and not folder.parent.is_dir()


def load_published_model(
    name: str,
    tokens_per_frame: int,
    state_head_size: int = 256,
    max_context: int = 4096,
    attention: str = "sdpa",
) -> tuple[DSTSmolVLM, Any]:
    """Load a folder or a hub name in SmolVLM2's published layout.

    Only the three heads, and the rows of our special tokens, start at random. Pictures are framed
    as by the published processor.

    Args:
        name: Folder or hub name.
        tokens_per_frame: Tokens per frame; 0 is the vision tower's own number.
        state_head_size: Width of the state head.
        max_context: Largest context in tokens.
        attention: Attention implementation of transformers.

    Returns:
        (model in float32, tokenizer).

    Raises:
        DataError: If a tensor of the backbone is missing or does not fit, or the files cannot be
            read.
    """
    import torch
    from transformers import AutoConfig, AutoTokenizer, SmolVLMForConditionalGeneration

    if Path(name).is_dir():
        require_one_checkpoint_weight_set(Path(name), f"published weights {name}")

    try:
        published = AutoConfig.from_pretrained(name)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"published weights {name}: cannot be read ({reason})") from error
    if published.model_type != "smolvlm":
        raise DataError(f"published weights {name}: is a {published.model_type!r} model; give smolvlm weights")
    add_tokenizer_special_tokens(tokenizer)
    ids = SpecialIds.of(tokenizer)
    if ids.image != published.image_token_id:
        raise DataError(
            f"published weights {name}: <image> is token {ids.image}, config.json says {published.image_token_id}"
        )
    try:
        loaded: Any = SmolVLMForConditionalGeneration.from_pretrained(
            name, dtype=torch.float32, output_loading_info=True, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"published weights {name}: cannot be loaded ({reason})") from error
    source, info = loaded
    wrong = [f"{kind}: {sorted(map(str, info[kind]))[0]}" for kind in info if "keys" in kind and info[kind]]
    if wrong:
        raise DataError(f"published weights {name}: not a complete SmolVLM2 checkpoint ({'; '.join(wrong)})")
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
        # new rows are drawn around the mean of the old ones; GPUs multiply fast by
        # multiples of 64
        model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=ROWS)
    return model, tokenizer

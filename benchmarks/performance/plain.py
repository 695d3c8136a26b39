"""Write the backbone of a checkpoint as a plain Hugging Face image-text model.

The streaming benchmark uses this model as its slow reference. The layout is Idefics3, on which
SmolVLM is based: its processor needs neither torchvision nor num2words.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

AROUND, GLOBAL, END = "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"
TEMPLATE = (
    "{% for m in messages %}{{ m.role | capitalize }}:{% for part in m.content %}"
    "{% if part.type == 'image' %}<image>{% else %} {{ part.text }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def write_plain(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write the backbone of a model with its tokenizer to a folder that ``from_pretrained`` reads.

    Args:
        model: A `DSTSmolVLM`.
        tokenizer: Its tokenizer; three special tokens are added to it.
        folder: Output folder.
    """
    from transformers import GenerationConfig, Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor

    config = model.config
    tokenizer.add_special_tokens({"additional_special_tokens": [AROUND, GLOBAL, END]})
    size = config.vision_config.image_size
    # the connector merges scale_factor x scale_factor patches into one token
    tokens = (size // config.vision_config.patch_size // config.scale_factor) ** 2
    text = {**config.text_config.to_dict(), "vocab_size": len(tokenizer)}
    vision = {**config.vision_config.to_dict(), "model_type": "idefics3_vision"}
    # Idefics3Config accepts pad_token_id although its signature does not declare it
    settings: dict[str, Any] = {
        "vision_config": vision,
        "text_config": text,
        "scale_factor": config.scale_factor,
        "image_token_id": config.image_token_id,
        "pad_token_id": config.pad_token_id,
        "tie_word_embeddings": True,
    }
    plain = Idefics3ForConditionalGeneration(Idefics3Config(**settings))
    old = {key: tensor for key, tensor in model.model.state_dict().items() if "embed_tokens" not in key}
    plain.model.load_state_dict(old, strict=False)
    with torch.no_grad():
        words = model.get_input_embeddings().weight
        plain.get_input_embeddings().weight[: len(words)] = words
    plain.tie_weights()
    end = tokenizer.convert_tokens_to_ids(END)
    plain.generation_config = GenerationConfig(
        eos_token_id=[end, config.eos_token_id], pad_token_id=config.pad_token_id
    )
    images = _image_processor()(
        size={"longest_edge": size}, max_image_size={"longest_edge": size}, do_image_splitting=False
    )
    plain.save_pretrained(folder)
    Idefics3Processor(images, tokenizer, image_seq_len=tokens, chat_template=TEMPLATE).save_pretrained(folder)


def _image_processor() -> Callable[..., Any]:
    """Return the image processor for PIL images.

    Older versions of transformers export it under the general name.
    """
    try:
        from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
    except ImportError:
        from transformers import Idefics3ImageProcessor as Idefics3ImageProcessorPil
    processor: Callable[..., Any] = Idefics3ImageProcessorPil
    return processor

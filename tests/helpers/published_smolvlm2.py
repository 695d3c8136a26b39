"""A folder in the layout of a published SmolVLM2: its configuration with every key, few layers, random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

#: entries of the published tokenizer before its added tokens
PLAIN_TOKENS = 49152
LAYERS = 2


def write_published(folder: Path, config: dict[str, Any]) -> SmolVLMForConditionalGeneration:
    """Write configuration, weights and tokenizer; the model that the weights are of.

    Args:
        folder: A folder that does not exist yet.
        config: The published ``config.json``. All of its keys are kept but the numbers of layers.
    """
    folder.mkdir()
    config = json.loads(json.dumps(config))
    for part in ("text_config", "vision_config"):
        config[part]["num_hidden_layers"] = LAYERS
    torch.manual_seed(0)
    model = SmolVLMForConditionalGeneration(_float32(config))
    model.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    _write_tokenizer(folder)
    return model


def _float32(config: dict[str, Any]) -> SmolVLMConfig:
    """The configuration without dtypes, so that the random weights are float32."""
    plain = json.loads(json.dumps(config))
    for part in (plain, plain["text_config"], plain["vision_config"]):
        part.pop("torch_dtype", None)
        part.pop("dtype", None)
    return SmolVLMConfig(**{k: v for k, v in plain.items() if k not in ("architectures", "transformers_version")})


def _write_tokenizer(folder: Path) -> None:
    """Bytes as tokens, and the published special tokens under their published ids."""
    vocabulary = {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2}
    for letter in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[letter] = len(vocabulary)
    while len(vocabulary) < PLAIN_TOKENS:
        vocabulary[f"<unused_{len(vocabulary)}>"] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    added = ["<global-img>"]
    added += [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    added += ["<fake_token_around_image>", "<image>"]
    added += [f"<|reserved_special_token_{number}|>" for number in range(88)]
    added += ["<end_of_utterance>"]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in added])
    tokenizer.save(str(folder / "tokenizer.json"))
    options = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<end_of_utterance>",
        "pad_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
        "model_max_length": 8192,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(options))

"""A folder in the layout of a published SmolVLM2: its full configuration, few layers, random weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.data.frame_format import FrameFormat
from tests.helpers.media import write_pictures

#: entries of the published tokenizer before its added tokens, and the number of them that are
#: words here
PLAIN_TOKENS, WORDS = 49152, 2000
#: side of the pictures of a brief dataset, in pixels
SIDE = 96
LAYERS = 2


def write_published(
    folder: Path, config: dict[str, Any], texts: Iterable[str], others: Path | None = None
) -> SmolVLMForConditionalGeneration:
    """Write configuration, weights and tokenizer; return the model.

    Args:
        folder: A folder that does not exist yet.
        config: The published ``config.json``, of which only the numbers of layers change.
        texts: Training texts of the tokenizer.
        others: Folder with the other published files (processor, chat template, generation), which
            are copied.
    """
    folder.mkdir()
    config = json.loads(json.dumps(config))
    for part in ("text_config", "vision_config"):
        config[part]["num_hidden_layers"] = LAYERS
    torch.manual_seed(0)
    model = SmolVLMForConditionalGeneration(_float32(config))
    model.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    for file in () if others is None else sorted(others.glob("*.json")):
        if file.name != "config.json":
            shutil.copy(file, folder / file.name)
    _write_tokenizer(folder, texts)
    return model


def brief_dataset(root: Path, source: Dataset, frames: int) -> Dataset:
    """Make a dataset from the first ``frames`` frames of two episodes per split, with videos of that length."""
    splits = {
        split: [e.window(0, frames) for e in source.episodes(split) if not e.start_frame][:2] for split in source.splits
    }
    (root / "videos").mkdir(parents=True)
    for episode in (e for episodes in splits.values() for e in episodes):
        pictures = source.frame_source(episode, FrameFormat(SIDE)).frames(0, frames)
        write_pictures(root / episode.video, list(pictures), [k / 2 for k in range(frames)])
    return write_dataset(root, "brief", "1", 2, splits)


def texts_of(source: Dataset) -> list[str]:
    """Return training texts for a tokenizer."""
    steps = [step.name for e in source.episodes("train") for step in e.task.steps]
    return steps + [event.text for e in source.episodes("train") for event in e.events if event.text]


def _float32(config: dict[str, Any]) -> SmolVLMConfig:
    """Return the configuration without dtypes, so that random weights are float32."""
    plain = json.loads(json.dumps(config))
    for part in (plain, plain["text_config"], plain["vision_config"]):
        part.pop("torch_dtype", None)
        part.pop("dtype", None)
    return SmolVLMConfig(**{k: v for k, v in plain.items() if k not in ("architectures", "transformers_version")})


def _write_tokenizer(folder: Path, texts: Iterable[str]) -> None:
    """Write a tokenizer with words of the texts and the published special tokens under their ids."""
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learnt.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=WORDS,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    model = json.loads(learnt.to_str())["model"]
    vocabulary = dict(model["vocab"])
    while len(vocabulary) < PLAIN_TOKENS:
        vocabulary[f"<unused_{len(vocabulary)}>"] = len(vocabulary)
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
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

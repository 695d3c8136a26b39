"""Sentence-transformers models with random weights, small enough for a test to make."""

from __future__ import annotations

import shutil
from pathlib import Path

WORDS = ("put", "the", "red", "cup", "away", "now", "please", "good", "stop", "go", "on", "all")


def make_sentence_model(folder: Path, seed: int = 0) -> Path:
    """Save an MPNet of one layer with mean pooling, the architecture of all-mpnet-base-v2."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import MPNetConfig, MPNetModel, PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=32,
        model_input_names=["input_ids", "attention_mask"],
    )
    torch.manual_seed(seed)
    config = MPNetConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
    )
    bare = folder.parent / f"{folder.name}-transformer"
    MPNetModel(config).eval().save_pretrained(bare)
    wrapped.save_pretrained(bare)
    transformer = Transformer(str(bare), max_seq_length=32)
    model = SentenceTransformer(modules=[transformer, Pooling(16)], device="cpu")
    model.save(str(folder))
    shutil.rmtree(bare)
    return folder


def put_in_hub_cache(cache: Path, name: str, model: Path) -> None:
    """Copy a model into a Hugging Face cache like a download of the repository ``name``."""
    repository, revision = cache / f"models--{name.replace('/', '--')}", "0" * 40
    shutil.copytree(model, repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)

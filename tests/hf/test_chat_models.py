"""Chat models with their own processors as streams: SmolVLM2's published files, and Qwen-VL's
layout.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from prospect_core.data.frame_format import FrameFormat
from prospect_core.records import EpisodeRecord
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import load_json
from prospect_eval.models.huggingface import RereadingStream, huggingface_frame_format, load_huggingface_model
from tests.helpers.commands import evaluate, one_line
from tests.helpers.published_smolvlm2 import brief_dataset, texts_of, write_published
from tests.helpers.streams import TASK, pictures

#: Qwen2-VL's chat template, reduced to text and pictures
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def smolvlm2(shared_data, world, tmp_path_factory):
    """The published 500M files with two layers per part and random weights."""
    files = shared_data / "field" / "smolvlm2" / "500M"
    folder = tmp_path_factory.mktemp("published") / "500M"
    write_published(folder, json.loads((files / "config.json").read_text()), texts_of(world), files)
    return folder


@pytest.fixture(scope="module")
def brief(short_world, tmp_path_factory):
    return brief_dataset(tmp_path_factory.mktemp("brief") / "data", short_world, 4)


def test_smolvlm2_frame_is_one_tile_with_time(smolvlm2):
    """As in its published video setting: 64 tokens per frame, while an image is cut into 17 tiles
    of 64.
    """
    model, processor = load_huggingface_model(str(smolvlm2), "cpu")
    assert type(processor).__name__ == "SmolVLMProcessor"
    assert huggingface_frame_format(model, processor) == FrameFormat(512, "squash")
    stream = RereadingStream(model, processor, threshold=1.01)
    stream.reset(TASK)
    tokens = [stream.step(frame).cache_tokens for frame in pictures(3, 512)]
    inputs, _ = stream._inputs(stream.messages())
    text = processor.tokenizer.decode(inputs["input_ids"][0])
    assert text.startswith("<|im_start|>System: You watch a person")
    assert text.count("<image>") == 3 * 64
    assert text.count("<global-img>") == 3
    assert "<row_1_col_1>" not in text
    assert [text.count(f"Frame from 00:0{second}:") for second in (0, 1)] == [2, 1]
    assert text.endswith("<end_of_utterance>\nAssistant:")
    assert 64 < tokens[2] - tokens[1] < 100
    assert inputs["pixel_values"].shape == (1, 3, 3, 512, 512)
    # pictures are not scaled a second time
    shown = ((inputs["pixel_values"][0].permute(0, 2, 3, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    assert np.array_equal(shown, pictures(3, 512))


def test_smolvlm2_stops_on_own_end_token(smolvlm2):
    model, processor = load_huggingface_model(str(smolvlm2), "cpu")
    end = processor.tokenizer.convert_tokens_to_ids("<end_of_utterance>")
    assert end == 49279
    stream = RereadingStream(model, processor, threshold=0.0)
    assert end in stream.ends
    asked = {}
    real = model.generate

    def generate(**given):
        asked.update(given)
        return real(**{**given, "max_new_tokens": 2})

    model.generate = generate
    stream.reset(TASK)
    stream.step(pictures(1, 512)[0])
    assert end in asked["eos_token_id"]


def test_smolvlm2_replay_beyond_positions_raises(smolvlm2, brief, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("prospect_eval.models.huggingface.REPLY_TOKENS", 2)
    given = ("run", "--ckpt", f"hf:{smolvlm2}", "--data", brief.root, "--limit", 1, "--speaking-threshold", 1)
    assert evaluate(*given, "--output", tmp_path / "run") == 0
    (path,) = (tmp_path / "run" / "episodes").iterdir()
    assert len(load_json(EpisodeRecord, path.read_bytes(), "x").speaking_prob) == 4
    model, processor = load_huggingface_model(str(smolvlm2), "cpu")
    model.config.text_config.max_position_embeddings = 500
    stream = RereadingStream(model, processor, threshold=1.01)
    stream.reset(TASK)
    with pytest.raises(
        DataError, match=r"frame \d \(.* s\): \d+ tokens of context and up to 2 of a reply are more than"
    ):
        list(map(stream.step, pictures(8, 512)))
    # with fewer pictures in the chat the stream continues
    limited = RereadingStream(model, processor, threshold=1.01, frames_shown=2)
    limited.reset(TASK)
    assert len([limited.step(frame) for frame in pictures(4, 512)]) == 4
    capsys.readouterr()
    assert evaluate("run", "--ckpt", "workbench-tiny", "--data", brief.root, "--frames-shown", 2) == 2
    assert "--frames-shown works only with hf:NAME and endpoint:MODEL" in one_line(capsys)


@pytest.fixture(scope="module")
def qwen(world, tmp_path_factory):
    """A random small model in the layout of Qwen2-VL."""
    from transformers import (
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    from prospect_core.sequence.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(texts_of(world), 500)
    marks = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    ids = dict(zip(marks, tokenizer.convert_tokens_to_ids(marks), strict=True))
    tokenizer.eos_token = "<|im_end|>"
    torch.manual_seed(0)
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "patch_size": 8,
                       "spatial_merge_size": 2, "temporal_patch_size": 2},
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("qwen") / "model"
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    sizes = {"patch_size": 8, "merge_size": 2, "temporal_patch_size": 2}
    limits = {"min_pixels": 16 * 16, "max_pixels": 64 * 64}
    Qwen2VLProcessor(
        Qwen2VLImageProcessor(**sizes, **limits), tokenizer, Qwen2VLVideoProcessor(**sizes), chat_template=QWEN_TEMPLATE
    ).save_pretrained(folder)
    return folder


def test_qwen_vl_frames_keep_aspect_ratio(qwen, brief, tmp_path, monkeypatch):
    monkeypatch.setattr("prospect_eval.models.huggingface.REPLY_TOKENS", 2)
    model, processor = load_huggingface_model(str(qwen), "cpu")
    assert huggingface_frame_format(model, processor).framing == "whole"
    stream = RereadingStream(model, processor, threshold=1.01)
    stream.reset(TASK)
    steps = [stream.step(frame) for frame in np.zeros((3, 32, 64, 3), np.uint8)]
    inputs, _ = stream._inputs(stream.messages())
    assert inputs["image_grid_thw"].tolist() == [[1, 4, 8]] * 3
    text = processor.tokenizer.decode(inputs["input_ids"][0])
    assert text.count("<|image_pad|>") == 3 * 8
    assert "Frame from 00:01:" in text
    assert all(0 < step.speaking_prob <= 1 for step in steps)
    given = ("run", "--ckpt", f"hf:{qwen}", "--data", brief.root, "--limit", 1, "--speaking-threshold", 1)
    assert evaluate(*given, "--output", tmp_path / "run") == 0

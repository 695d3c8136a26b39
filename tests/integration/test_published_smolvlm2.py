"""The published 500M files: configuration (with two layers per part and random weights) and
processor.
"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import TrainerCallback

from prospect_core.data.video import VideoFile
from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.model.published import load_published_model
from prospect_core.train.trainer import DSTTrainer
from tests.helpers.commands import evaluate, run_cli
from tests.helpers.media import write_pictures
from tests.helpers.published_smolvlm2 import brief_dataset, texts_of, write_published
from tests.helpers.tiers import nightly

pytestmark = pytest.mark.slow

#: frames of the episodes for training and replay
FRAMES = 4


@pytest.fixture(scope="module")
def files(shared_data):
    """The folder of the published files."""
    return shared_data / "field" / "smolvlm2" / "500M"


@pytest.fixture(scope="module")
def published(files, world, tmp_path_factory):
    """(folder, model with the same weights)."""
    config = json.loads((files / "config.json").read_text())
    assert config["text_config"]["torch_dtype"] == "bfloat16"
    folder = tmp_path_factory.mktemp("published") / "500M"
    return folder, write_published(folder, config, texts_of(world), files)


@pytest.fixture(scope="module")
def brief(short_world, tmp_path_factory):
    return brief_dataset(tmp_path_factory.mktemp("brief") / "data", short_world, FRAMES)


def test_load_published_model_is_float32_with_published_values(published):
    folder, source = published
    model, _ = load_published_model(str(folder), 0)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert (model.config.tokens_per_frame, model.config.framing) == (64, "squash")
    found = model.model.state_dict()
    for name, tensor in source.model.state_dict().items():
        assert torch.equal(found[name][: len(tensor)], tensor), name
    rows = len(source.lm_head.weight)
    assert torch.equal(model.lm_head.weight[:rows], source.lm_head.weight)


def of_256m(files):
    """The shape of the first generation's 256M; the second generation's own configuration is not
    available.
    """
    config = json.loads((files / "config.json").read_text())
    text = {"hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3}
    config["text_config"] |= text
    return config


def of_2_2b(files):
    """The available part of the configuration, which lacks many keys, and the vision tower with 81
    tokens.
    """
    config = json.loads((files.parent / "2.2B" / "config.partial.json").read_text())
    config["vision_config"] = {"model_type": "smolvlm_vision", "hidden_size": 1152, "intermediate_size": 4304,
                               "num_attention_heads": 16, "image_size": 384, "patch_size": 14}  # fmt: skip
    return config


@pytest.mark.parametrize(("config_of", "tokens"), [(of_256m, 64), nightly(of_2_2b, 81)])
def test_load_published_model_other_sizes(files, world, tmp_path, config_of, tokens):
    source = write_published(tmp_path / "weights", config_of(files), texts_of(world))
    model, _ = load_published_model(str(tmp_path / "weights"), 0)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.tokens_per_frame == tokens
    found = model.model.state_dict()
    for name, tensor in source.model.state_dict().items():
        assert torch.equal(found[name][: len(tensor)], tensor), name
    model.save_pretrained(tmp_path / "saved")
    assert type(model).from_pretrained(tmp_path / "saved").config.tokens_per_frame == tokens


def published_pixels(path, files):
    """Return transformers' pixels of the first two seconds of a video by the published settings:
    (2, 3, S, S) float32.
    """
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
    from transformers.video_utils import load_video

    frames, _ = load_video(str(path), sample_indices_fn=lambda metadata, **_: np.arange(2), backend="pyav")
    stated = json.loads((files / "preprocessor_config.json").read_text())
    stated |= {"do_image_splitting": False, "size": stated["video_sampling"]["video_size"]}
    processor = SmolVLMImageProcessorPil(**{k: v for k, v in stated.items() if k != "video_sampling"})
    return processor([[Image.fromarray(frame) for frame in frames]], return_tensors="pt")["pixel_values"][0]


@torch.no_grad()
def test_load_published_model_video_equals_transformers(published, files, tmp_path):
    """To the last bit, including decoding and preprocessing."""
    folder, source = published
    model, tokenizer = load_published_model(str(folder), 0)
    rng = np.random.default_rng(0)
    small = [Image.fromarray(rng.integers(0, 255, (9, 16, 3), dtype=np.uint8)) for _ in range(3)]
    path = write_pictures(tmp_path / "wide.mp4", [np.asarray(picture.resize((640, 360))) for picture in small])
    frames = np.stack(list(VideoFile(path, 1, model.config.frame_format).frames(0, 2)))
    theirs = published_pixels(path, files)
    features = model.encode_frames(torch.from_numpy(frames).permute(0, 3, 1, 2))
    expected = torch.stack(list(source.eval().model.get_image_features(theirs[None]).pooler_output))
    assert features.shape == (2, 64, 960)
    assert torch.equal(features, expected.reshape(features.shape))
    image = model.config.image_token_id
    words = tokenizer("What is done here?", add_special_tokens=False).input_ids
    ids = torch.tensor([[*words, *[image] * 64, *words, *[image] * 64, *words]])
    hidden = model.read(model.joint_embed(ids, features))
    logits = source(input_ids=ids, pixel_values=theirs[None]).logits
    assert torch.equal(model.lm_logits(hidden)[..., : logits.shape[-1]], logits)


@pytest.mark.nightly
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_train_command_published_weights_gives_calibrated_checkpoint(published, brief, tmp_path, precision):
    """All tokens of a frame; the checkpoint is loaded, calibrated and replayed."""
    out = tmp_path / "out"
    options = ["model=smolvlm2_500m", f"model.weights={published[0]}", f"data={brief.root}", f"output={out}"]
    options += ["model.tokens_per_frame=0", "train.max_steps=2", "train.batch_size=1", "eval.episodes=1"]
    options += ["sampling.min_frames=2", "sampling.max_frames=3"]
    options += [f"train.precision={precision}", "train.learning_rate=1e-5", "model.max_reply_tokens=4"]
    assert run_cli("train", *options) == 0
    model, _ = load_model_checkpoint(str(out))
    assert model.config.tokens_per_frame == 64
    assert model.config.thresholds_data.startswith("brief/val/")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert "bfloat16" not in (out / "config.json").read_text()
    given = ["--ckpt", out, "--data", brief.root, "--limit", 1]
    assert evaluate("calibrate", *given) == 0
    assert evaluate("run", *given, "--output", tmp_path / "run") == 0


def test_features_command_published_tower_trains_without_videos(published, brief, tmp_path, capsys):
    """In half precision, from the published weights; training and calibration then need no video."""
    folder, root, store = published[0], tmp_path / "data", tmp_path / "store"
    shutil.copytree(brief.root, root)
    given = ["data", "features", root, "--ckpt", folder, "--output", store, "--dtype", "float16"]
    assert run_cli(*given, "--tokens-per-frame", "4") == 0
    shutil.rmtree(root / "videos")
    out = tmp_path / "out"
    options = ["model=smolvlm2_500m", f"model.weights={folder}", f"data={root}", f"data.store={store}", f"output={out}"]
    options += ["train.max_steps=1", "train.batch_size=1", "sampling.min_frames=2", "sampling.max_frames=3"]
    assert run_cli("train", *options, "eval.episodes=1", "model.max_reply_tokens=4") == 0
    assert load_model_checkpoint(str(out))[0].config.thresholds_data.startswith("brief/val/")
    capsys.readouterr()
    assert run_cli(*given, "--tokens-per-frame", "5") == 2
    assert "tokens_per_frame 5" in capsys.readouterr().err


class MovedWeights(TrainerCallback):
    """Records after each step which weights of the text layers differ from their first values."""

    def __init__(self, before):
        self.before = before
        self.moved = {name: torch.zeros_like(tensor, dtype=torch.bool) for name, tensor in before.items()}

    def on_step_end(self, args, state, control, model=None, **kwargs):
        weights = model.model.text_model.state_dict()
        for name, tensor in self.before.items():
            self.moved[name] |= weights[name] != tensor


@pytest.mark.nightly
def test_train_command_gpu_preset_moves_every_weight(published, brief, tmp_path, monkeypatch):
    """8 steps at 1e-5 in bfloat16: if the weights are stored in bfloat16 too, only 13 % of them
    change.
    """
    folder, source = published
    before = {k: v for k, v in source.model.text_model.state_dict().items() if k.startswith("layers.")}
    assert len(before) == 2 * 9
    callback, train = MovedWeights(before), DSTTrainer.train

    def watched(trainer, *args, **kwargs):
        trainer.add_callback(callback)
        return train(trainer, *args, **kwargs)

    monkeypatch.setattr(DSTTrainer, "train", watched)
    out = tmp_path / "out"
    options = ["model=smolvlm2_500m", "run=gpu", f"model.weights={folder}", f"data={brief.root}", f"output={out}"]
    options += ["train.max_steps=8", "train.learning_rate=1e-5", "train.batch_tokens=500", "train.accumulation=1"]
    options += ["sampling.min_frames=2", "sampling.max_frames=3", "eval.thresholds=false", "train.warmup=0"]
    assert run_cli("train", *options) == 0
    # includes weights that returned to their first value in the last step
    assert all(bool(moved.all()) for moved in callback.moved.values())
    trained = load_model_checkpoint(str(out))[0].model.text_model.state_dict()
    changed = sum(int((trained[name] != tensor).sum()) for name, tensor in before.items())
    assert changed > 0.9999 * sum(tensor.numel() for tensor in before.values())

"""The model factory: trained and frozen parts, published weights, and the real SmolVLM2 shape."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, SmolVLMConfig, SmolVLMForConditionalGeneration

from prospect_core.data.dataset import write_dataset
from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.model.image_processing import normalize_image_pixels
from prospect_core.model.published import load_published_model
from prospect_core.sequence.tokenizer import SpecialIds
from prospect_core.timeline import Event
from prospect_core.train.config.compose import compose_config
from prospect_core.train.config.schema import Lora
from prospect_core.train.setup.connector_fit import _inputs
from prospect_core.train.setup.model_factory import (
    add_model_lora,
    factory_vision_is_frozen,
    freeze_model_factory_parts,
    make_model,
    merge_model_lora,
)
from prospect_core.util.errors import DataError, UserError
from tests.helpers.commands import run_cli
from tests.helpers.tiers import slow
from tests.helpers.training import SMALL

pytestmark = pytest.mark.integration

HEADS = ("speaking_head", "update_head", "state_head")


def learning(model):
    return {n for n, p in model.named_parameters() if p.requires_grad}


def options(*overrides):
    return compose_config([*SMALL, *overrides])[0].model


def test_freeze_backbone_trains_heads(model):
    freeze_model_factory_parts(model, options("model.backbone=frozen"))
    assert all(name.startswith(HEADS) for name in learning(model))
    assert factory_vision_is_frozen(model)


def test_freeze_tower_trains_text_model_and_heads(model):
    assert not factory_vision_is_frozen(model)
    freeze_model_factory_parts(model, options("model.vision_tower=frozen"))
    assert factory_vision_is_frozen(model)
    assert any(name.startswith("model.text_model") for name in learning(model))


def test_lora_trains_adapters_and_merges(model, tokenizer):
    names = set(model.state_dict())
    ids = torch.randint(9, 300, (1, 12))
    before = model.read(model.joint_embed(ids))
    freeze_model_factory_parts(model, options("model.backbone=lora", "model.lora.dropout=0"))
    torch.testing.assert_close(model.read(model.joint_embed(ids)), before)
    found = learning(model)
    assert any("lora_A" in name for name in found)
    assert not any("base_layer" in name for name in found)
    assert any("embed_tokens" in name for name in found)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.1)
    adapted = model.read(model.joint_embed(ids))
    assert float((adapted - before).abs().max()) > 1e-3
    merge_model_lora(model)
    assert set(model.state_dict()) == names
    torch.testing.assert_close(model.read(model.joint_embed(ids)), adapted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("backbone", ["lora", slow("frozen")])
def test_train_command_changes_only_trained_parts(world, tmp_path, backbone, monkeypatch):
    """The origin saved one kind of checkpoint, loaded another, and continued with untrained
    weights.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    start, out = tmp_path / "start", tmp_path / "out"
    run_cli("train", f"data={world.root}", f"output={start}", "train.max_steps=1", *SMALL)
    assert run_cli("train", f"data={world.root}", f"output={out}", f"init={start}", "train.max_steps=4",
                   "train.save_every=2", *SMALL, f"model.backbone={backbone}") == 0  # fmt: skip
    one, two = (load_model_checkpoint(str(folder))[0].state_dict() for folder in (start, out))
    changed = {name for name in one if not torch.equal(one[name], two[name])}
    assert {name.split(".")[0] for name in changed} >= set(HEADS)
    if backbone == "frozen":
        assert all(name.startswith(HEADS) for name in changed)
    else:
        assert any("q_proj" in name for name in changed)


def test_lora_without_package_names_extra(model, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(UserError, match=r"pip install 'prospect-suite\[lora\]'"):
        add_model_lora(model, Lora(4, 8, 0.0))


@pytest.fixture
def published(tmp_path):
    """A folder with the layout of HuggingFaceTB/SmolVLM2-*: config, sharded weights, GPT-2 style
    tokenizer.
    """
    specials = [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<fake_token_around_image>",
        "<image>",
        "<end_of_utterance>",
    ]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        ["put the red cube in the box"] * 3,
        trainers.BpeTrainer(
            vocab_size=300, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        ),
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<end_of_utterance>",
                                   pad_token="<|im_end|>", unk_token="<|endoftext|>")  # fmt: skip
    image = fast.convert_tokens_to_ids("<image>")
    config = SmolVLMConfig(
        vision_config={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                       "image_size": 32, "patch_size": 4},
        text_config={"model_type": "llama", "vocab_size": len(fast), "hidden_size": 64, "intermediate_size": 128,
                     "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                     "rope_theta": 100000.0, "pad_token_id": 2},
        image_token_id=image, scale_factor=4, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(1)
    model = SmolVLMForConditionalGeneration(config).eval()
    folder = tmp_path / "published"
    model.save_pretrained(folder, max_shard_size="100KB")
    fast.save_pretrained(folder)
    return folder, model


def test_load_published_model_has_all_tensors(published):
    folder, source = published
    assert (folder / "model.safetensors.index.json").exists()
    model, tokenizer = load_published_model(str(folder), 4)
    ours, theirs = model.state_dict(), source.state_dict()
    rows = len(theirs["lm_head.weight"])
    for name, tensor in theirs.items():
        same = ours[name][:rows] if name.endswith(("embed_tokens.weight", "lm_head.weight")) else ours[name]
        assert torch.equal(same, tensor), name
    assert all(name.startswith(HEADS) for name in set(ours) - set(theirs))
    assert model.config.text_config.rope_parameters["rope_theta"] == 100000.0
    ids = SpecialIds.of(tokenizer)
    assert len({*vars(ids).values()}) == 8
    assert ids.image == source.config.image_token_id
    table = model.model.text_model.get_input_embeddings().weight
    assert table.shape[0] == model.lm_head.weight.shape[0] == -(-len(tokenizer) // 64) * 64 > rows
    new = table[rows : len(tokenizer)]
    assert float((torch.cdist(new, new) + torch.eye(len(new))).min().detach()) > 0


@pytest.mark.parametrize("key", ["torch_dtype", "dtype"])
def test_load_published_model_ignores_text_dtype(published, key):
    """The 500M's config.json has float32 at the top and bfloat16 in text_config."""
    folder, source = published
    config = json.loads((folder / "config.json").read_text())
    config["text_config"].pop("dtype", None)
    config["text_config"][key] = "bfloat16"
    (folder / "config.json").write_text(json.dumps(config))
    model, _ = load_published_model(str(folder), 0)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    expected = source.model.state_dict()
    found = model.model.state_dict()
    rows = expected["text_model.embed_tokens.weight"].shape[0]
    for name, tensor in expected.items():
        mine = found[name][:rows] if name == "text_model.embed_tokens.weight" else found[name]
        assert torch.equal(mine, tensor), name


def test_load_published_model_logits_equal_transformers(published):
    """For the same pictures and text the logits equal those of transformers' own class."""
    folder, source = published
    model, tokenizer = load_published_model(str(folder), 0)
    image = SpecialIds.of(tokenizer).image
    pixels = torch.randn(2, 3, 32, 32)
    text = tokenizer("put the cube", add_special_tokens=False).input_ids
    ids = torch.tensor([[*text, *[image] * 4, *text, *[image] * 4, *text]])
    with torch.no_grad():
        theirs = source(input_ids=ids, pixel_values=pixels[None]).logits
        ours = model.eval()(ids, pixel_values=pixels, speaks_BT=torch.ones_like(ids, dtype=torch.bool)).words_XV
    torch.testing.assert_close(ours[:, : theirs.shape[-1]], theirs[0], atol=1e-5, rtol=1e-4)


def test_train_command_starts_from_published_weights(published, world, tmp_path):
    folder, _ = published
    out = tmp_path / "run"
    assert run_cli("train", "model=smolvlm2_256m", f"model.weights={folder}", f"data={world.root}", f"output={out}",
                   "train.max_steps=2", "sampling.max_frames=8", "eval.thresholds=false") == 0  # fmt: skip
    model, tokenizer = load_model_checkpoint(str(out))
    assert model.config.trained_steps == 2
    assert len(tokenizer) <= model.config.text_config.vocab_size


def break_weights(folder):
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    name = "model.text_model.layers.1.mlp.up_proj.weight"
    file = folder / index["weight_map"][name]
    tensors = load_file(file)
    tensors.pop(name)
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize("how", ["missing tensor", "other model", "no such folder", "broken file"])
def test_load_published_model_incomplete_is_one_line(published, how, checkpoint):
    folder, _ = published
    name = str(folder)
    if how == "missing tensor":
        break_weights(folder)
    elif how == "other model":
        name = str(checkpoint)
    elif how == "no such folder":
        name = str(folder / "nowhere")
    else:
        (folder / "model.safetensors.index.json").write_text("{")
    with pytest.raises(DataError) as error:
        load_published_model(name, 4)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"published weights {name}: ")


def test_make_model_small_table_raises(world):
    with pytest.raises(UserError, match=r"model\.text\.vocab_size=300: the tokenizer has 400 entries"):
        make_model(options("model.text.vocab_size=300"), None, list(world.episodes("train")))


def test_make_model_tokenizer_covers_more_datasets(world, tmp_path):
    episode = next(world.episodes("train"))
    words = Event("a0", 1.0, "assistant", " ".join(["see zyzzyvas"] * 400), frame=2)
    other = replace(episode, events=(words,), id="other")
    (tmp_path / "videos").mkdir()
    shutil.copyfile(world.root / episode.video, tmp_path / episode.video)
    write_dataset(tmp_path, "words", "1", 2, {"train": [], "val": [other]})
    episodes = list(world.episodes("train"))

    def pieces(*given):
        tokenizer = make_model(options(*given), None, episodes)[1]
        return len(tokenizer(" zyzzyvas", add_special_tokens=False).input_ids)

    assert pieces() > pieces(f"model.texts=[{tmp_path}]") == 1


def test_make_model_pooling_can_change(world, tmp_path):
    """The number of tokens per frame is the requested one, independent of the checkpoint."""
    episodes = list(world.episodes("train"))
    model, tokenizer = make_model(options("model.tokens_per_frame=1"), None, episodes)
    model.config.trained_steps = 1
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    pixels = torch.rand(2, 3, model.config.image_size, model.config.image_size)
    for given, count in (((), 1), (("model.tokens_per_frame=4",), 4), (("model.tokens_per_frame=0",), 4)):
        again, _ = make_model(options(*given), str(tmp_path), episodes)
        assert again.config.tokens_per_frame == count
        features = again.encode_frames(pixels)
        assert features.shape[1] == count
        assert torch.allclose(features.mean(1), model.encode_frames(pixels)[:, 0], atol=1e-5)
    with pytest.raises(UserError, match=r"^model: tokens_per_frame 16: the vision tower produces 4 per frame"):
        make_model(options("model.tokens_per_frame=16"), str(tmp_path), episodes)


def saved(model, tokenizer, folder):
    model.config.trained_steps = 1
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_make_model_uses_tower_of_other_model(world, tmp_path):
    """Frames are embedded as by the other model's tower of any shape; words are read as before."""
    episodes = list(world.episodes("train"))
    torch.manual_seed(1)
    reading, tokenizer = make_model(options(), None, episodes)
    torch.manual_seed(2)
    given = ("model.vision.layers=2", "model.vision.image_size=64", "model.text.layers=1", "model.tokens_per_frame=4")
    seeing, _ = make_model(options(*given), None, episodes)
    init, tower = saved(reading, tokenizer, tmp_path / "init"), saved(seeing, tokenizer, tmp_path / "tower")
    both, _ = make_model(options(f"model.tower={tower}", "model.tokens_per_frame=1"), init, episodes)
    assert both.config.image_size == 64
    pixels, ids = torch.rand(2, 3, 64, 64), torch.randint(9, 300, (1, 12))
    assert torch.allclose(both.encode_frames(pixels)[:, 0], seeing.encode_frames(pixels).mean(1), atol=1e-5)
    assert torch.allclose(both.read(both.joint_embed(ids)), reading.read(reading.joint_embed(ids)), atol=1e-5)


@pytest.mark.slow
def test_make_model_fitted_tower_equals_own(world, tmp_path):
    """The own tower behind another connector is recovered; another tower is fitted as well as by
    numpy's least squares.
    """
    episodes = list(world.episodes("train"))
    torch.manual_seed(1)
    own, tokenizer = make_model(options(), None, episodes)
    torch.manual_seed(2)
    other, _ = make_model(options(), None, episodes)
    init, tower = saved(own, tokenizer, tmp_path / "init"), saved(other, tokenizer, tmp_path / "tower")
    size = own.config.image_size
    rng = np.random.default_rng(0)
    videos = [rng.integers(0, 255, (90, size, size, 3), dtype=np.uint8) for _ in range(10)]
    told = []

    def fitted(tower):
        given = options(f"model.tower={tower}", "model.fit_tower=10")
        return make_model(given, init, episodes, lambda count, size: videos[:count], told.append)[0]

    pixels = torch.from_numpy(videos[-1]).permute(0, 3, 1, 2)
    wanted = own.encode_frames(pixels).detach().flatten(0, 1)
    twin, _ = load_model_checkpoint(init)
    with torch.no_grad():
        twin.model.connector.modality_projection.proj.weight.normal_()
    found = fitted(saved(twin, tokenizer, tmp_path / "twin")).encode_frames(pixels).flatten(0, 1)
    assert (found - wanted).square().mean() < 1e-3 * wanted.var()
    assert told[-1].endswith("1.00 of the variance on held-out videos")
    found = fitted(tower).encode_frames(pixels).detach().flatten(0, 1)
    inputs = _inputs(
        load_model_checkpoint(tower)[0],
        normalize_image_pixels(torch.from_numpy(np.concatenate(videos[:9])).permute(0, 3, 1, 2)),
    )
    target = own.encode_frames(torch.from_numpy(np.concatenate(videos[:9])).permute(0, 3, 1, 2)).flatten(0, 1)
    weight = np.linalg.lstsq(inputs.detach().numpy(), target.detach().double().numpy(), rcond=None)[0]
    expected = _inputs(load_model_checkpoint(tower)[0], normalize_image_pixels(pixels)).detach().numpy() @ weight
    assert np.abs(found.numpy() - expected).mean() < 0.05 * wanted.std().item()


def test_make_model_fit_other_shape_raises(world, tmp_path):
    episodes = list(world.episodes("train"))
    own, tokenizer = make_model(options("model.tokens_per_frame=1"), None, episodes)
    init = saved(own, tokenizer, tmp_path / "init")
    tower = saved(make_model(options("model.tokens_per_frame=4"), None, episodes)[0], tokenizer, tmp_path / "tower")
    with pytest.raises(UserError, match=r"model\.fit_tower: both towers must have the same tokens per frame"):
        make_model(options(f"model.tower={tower}", "model.fit_tower=2"), init, episodes)


def test_make_model_tower_of_other_width_raises(world, tmp_path):
    episodes = list(world.episodes("train"))
    wide, tokenizer = make_model(options("model.text.hidden_size=128", "model.text.heads=2"), None, episodes)
    tower = saved(wide, tokenizer, tmp_path / "tower")
    with pytest.raises(UserError, match=r"model\.tower: its frames are 128 wide, the text model's embeddings \d+"):
        make_model(options(f"model.tower={tower}"), None, episodes)


@pytest.mark.nightly
def test_smolvlm2_256m_shape_trains_and_streams(world, tmp_path):
    """Random weights in SmolVLM2-256M's configuration: one training step, then a streamed minute."""
    from prospect_core.records import Knobs
    from prospect_core.stream.runner import VLMStreamRunner

    out = tmp_path / "real"
    assert run_cli("train", "model=smolvlm2_256m", "model.weights=null", "model.vision_tower=train",
                   f"data={world.root}", f"output={out}", "train.max_steps=1", "train.batch_size=1",
                   "sampling.min_frames=4", "sampling.max_frames=6", "eval.thresholds=false") == 0  # fmt: skip
    model, tokenizer = load_model_checkpoint(str(out))
    parameters = sum(p.numel() for p in model.parameters())
    assert 250e6 < parameters < 265e6
    config = model.config
    assert (config.text_config.num_hidden_layers, config.text_config.hidden_size) == (30, 576)
    assert (config.text_config.num_key_value_heads, config.text_config.vocab_size) == (3, 49280)
    assert (config.vision_config.image_size, config.vision_config.num_hidden_layers) == (512, 12)
    episode = next(world.episodes("test"))
    source = world.frame_source(episode, config.frame_format)
    budget = VLMStreamRunner(model, tokenizer, Knobs("dst_refresh", 10**6)).least_budget(episode.task) + 40
    runner = VLMStreamRunner(model, tokenizer, Knobs("dst_refresh", budget, 0.99, 0.99))
    runner.reset(episode.task, episode.initial_state, episode.fps, episode.start_frame)
    compressed = 0
    for frame in source.frames(0, min(120, episode.end_frame)):
        step = runner.step(frame)
        assert 0 <= step.speaking_prob <= 1
        assert np.isfinite(step.state_probs).all()
        assert step.cache_tokens <= budget
        compressed += step.compression is not None
    assert compressed
    assert step.frame == min(120, episode.end_frame) - 1
    head = config.text_config.hidden_size // config.text_config.num_attention_heads
    assert step.cache_bytes == step.cache_tokens * 2 * 30 * 3 * head * 4

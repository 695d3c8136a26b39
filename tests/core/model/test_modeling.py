"""The model: strict checkpoints, heads, frame embeddings."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from prospect_core.checkpoints.folders import SHIPPED, SUMS, digest_checkpoint_folder
from prospect_core.model import CheckpointError, DSTSmolVLM
from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.model.image_processing import process_images_to_pixels
from prospect_core.sequence.tokenizer import SPECIAL_TOKENS, SpecialIds, add_tokenizer_special_tokens
from prospect_core.util.errors import DataError, UserError
from tests.helpers.files import edit_json
from tests.helpers.small_models import TEXT, VISION, small_config

pytestmark = pytest.mark.integration


def test_auto_model_loads_saved_tensors(checkpoint, model):
    loaded = AutoModel.from_pretrained(checkpoint)
    assert isinstance(loaded, DSTSmolVLM)
    assert isinstance(AutoConfig.from_pretrained(checkpoint).vision_config.image_size, int)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    assert list(checkpoint.glob("*.safetensors"))
    assert not list(checkpoint.glob("*.bin"))


def change_tensors(folder, change):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("speaking_head.weight"), "missing keys: speaking_head.weight"),
        (lambda t: t.update(extra=torch.zeros(2)), "unexpected keys: extra"),
        (lambda t: t.update({"update_head.weight": torch.zeros(1, 7)}), "mismatched keys"),
    ],
)
def test_load_checkpoint_misfitting_weights_raise(checkpoint, change, message):
    change_tensors(checkpoint, change)
    with pytest.raises(CheckpointError, match=message):
        DSTSmolVLM.from_pretrained(checkpoint)
    with pytest.raises(DataError) as error:
        load_model_checkpoint(str(checkpoint))
    assert "\n" not in str(error.value)


def test_load_checkpoint_untrained_raises(checkpoint):
    edit_json(checkpoint / "config.json", trained_steps=0)
    with pytest.raises(DataError, match="never trained"):
        load_model_checkpoint(str(checkpoint))


def test_load_checkpoint_damaged_file_is_one_line(checkpoint, tokenizer):
    weights = checkpoint / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be loaded"):
        load_model_checkpoint(str(checkpoint))
    weights.write_bytes(whole)
    load_model_checkpoint(str(checkpoint))
    config = json.loads((checkpoint / "config.json").read_text())
    for broken in (
        "{",
        json.dumps({**config, "model_type": "llama"}),
        json.dumps({**config, "tokens_per_frame": 5}),
    ):
        (checkpoint / "config.json").write_text(broken)
        with pytest.raises(DataError):
            load_model_checkpoint(str(checkpoint))


def test_load_checkpoint_other_tokenizer_raises(checkpoint, tmp_path):
    from prospect_core.sequence.tokenizer import train_tokenizer

    train_tokenizer(["quite other words " * 9, "and more of them"], 600).save_pretrained(checkpoint)
    (checkpoint / "tokenizer.json").write_text(
        (checkpoint / "tokenizer.json").read_text().replace('"<eos>"', '"<oes>"')
    )
    with pytest.raises(DataError):
        load_model_checkpoint(str(checkpoint))


def test_load_checkpoint_unknown_name_suggests_nearest():
    with pytest.raises(UserError, match="neither a folder nor a released checkpoint"):
        load_model_checkpoint("workbench-tny")


def test_digest_checkpoint_folder_covers_every_file(checkpoint):
    before = digest_checkpoint_folder(checkpoint)
    assert digest_checkpoint_folder(checkpoint) == before
    edit_json(checkpoint / "config.json", speaking_threshold=0.25)
    assert digest_checkpoint_folder(checkpoint) != before


def test_special_tokens_have_own_embedding_rows(model, tokenizer):
    """The origin clamped ids to the vocabulary, so that two special tokens shared one embedding."""
    table = model.model.text_model.get_input_embeddings().weight
    rows = table[list(vars(SpecialIds.of(tokenizer)).values())]
    distance = torch.cdist(rows, rows) + torch.eye(len(SPECIAL_TOKENS))
    assert table.shape[0] == len(tokenizer)
    assert float(distance.min().detach()) > 0


def test_add_special_tokens_to_published_tokenizer():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    base = Tokenizer(models.WordLevel({"<|im_start|>": 0, "<|im_end|>": 1, "word": 2, "[UNK]": 3}, unk_token="[UNK]"))
    published = PreTrainedTokenizerFast(
        tokenizer_object=base, unk_token="[UNK]", eos_token="<|im_end|>", pad_token="<|im_end|>"
    )
    with pytest.raises(ValueError, match="lacks special tokens"):
        SpecialIds.of(published)
    add_tokenizer_special_tokens(published)
    ids = SpecialIds.of(published)
    assert ids.pad != ids.eos == published.eos_token_id


def test_model_frames_and_slots_must_agree(model, tokenizer):
    image = SpecialIds.of(tokenizer).image
    with pytest.raises(ValueError, match="3 frame slots in the tokens, 4 frame embeddings"):
        model.joint_embed(torch.tensor([[image] * 3]), torch.zeros(1, 4, 48))
    with pytest.raises(ValueError, match="1 frame slots in the tokens, 0"):
        model.joint_embed(torch.tensor([[image]]))


def test_model_frame_embeddings_fill_slots_in_order(model, tokenizer):
    image = SpecialIds.of(tokenizer).image
    frames = torch.arange(2 * 4 * 48.0).reshape(2, 4, 48)
    ids = torch.tensor([[9, *[image] * 4, 10, *[image] * 4]])
    embeds = model.joint_embed(ids, frames)
    assert torch.equal(embeds[0, 1:5], frames[0])
    assert torch.equal(embeds[0, 6:10], frames[1])
    assert torch.equal(embeds[0, 5], model.model.text_model.get_input_embeddings().weight[10])


@pytest.mark.parametrize("count", [1, 4, 0])
def test_model_pooling_keeps_positions(tokenizer, count):
    torch.manual_seed(0)
    model = DSTSmolVLM(small_config(tokenizer, tokens_per_frame=count)).eval()
    seen = []
    model.model.connector.register_forward_hook(lambda module, given, out: seen.append(out))
    out = model.encode_frames(torch.randn(3, 3, 32, 32))
    grid = seen[0]
    assert grid.shape == (3, 4, 48)
    assert out.shape == (3, count or 4, 48)
    torch.testing.assert_close(out.mean(1), grid.mean(1))
    if count != 1:
        torch.testing.assert_close(out, grid)


def test_encode_frames_black_frame_is_encoded():
    """The library drops all-zero frames as padding; PROSPECT's are never zero and are encoded one
    by one.
    """
    assert float(process_images_to_pixels(np.zeros((1, 8, 8, 3), np.uint8)).max()) == -1.0


def test_encode_frames_batch_equals_single(model):
    pixels = torch.randn(5, 3, 32, 32)
    torch.testing.assert_close(model.encode_frames(pixels)[2:3], model.encode_frames(pixels[2:3]), atol=1e-5, rtol=0)


def test_state_head_scores_each_step_separately(model):
    frame, markers = torch.randn(1, 2, 48), torch.randn(1, 5, 48)
    whole = model.state_head(frame, markers)
    assert whole.shape == (1, 2, 5, 3)
    torch.testing.assert_close(model.state_head(frame, markers[:, 3:4]), whole[:, :, 3:4])
    assert model.state_head(frame, markers[:, :0]).shape == (1, 2, 0, 3)


def test_model_is_causal(model):
    ids = torch.tensor([[20, 21, 22, 23, 24]])
    other = torch.tensor([[20, 21, 22, 30, 31]])
    a, b = (model.read(model.joint_embed(x)) for x in (ids, other))
    torch.testing.assert_close(a[:, :3], b[:, :3], atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [0, 1, 4, 9, 16, 25, 36, 49, 64])
def test_model_square_token_grids_round_trip(tokenizer, tmp_path, count):
    """0 selects the tower's own number of tokens, here 8 x 8 patches."""
    vision = {**VISION, "patch_size": 4}
    model = DSTSmolVLM(small_config(tokenizer, vision_config=vision, scale_factor=1, tokens_per_frame=count))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded, _ = load_model_checkpoint(str(tmp_path))
    assert loaded.config.tokens_per_frame == (count or 64)
    assert loaded.encode_frames(torch.zeros(1, 3, 32, 32)).shape == (1, count or 64, 48)


@pytest.mark.parametrize("part", ["text_config", "vision_config"])
def test_model_dtype_of_part_changes_no_weight(tokenizer, tmp_path, part):
    """Published configurations have bfloat16 in text_config and float32 at the top."""
    parts = {"text_config": {**TEXT, "vocab_size": len(tokenizer)}, "vision_config": dict(VISION)}
    parts[part]["dtype"] = "bfloat16"
    model = DSTSmolVLM(small_config(tokenizer, **parts))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    model.save_pretrained(tmp_path)
    assert "bfloat16" not in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize("bad", [{"tokens_per_frame": 5}, {"tokens_per_frame": 9}])
def test_model_invalid_tokens_per_frame_raises(tokenizer, bad):
    with pytest.raises(ValueError, match="tokens_per_frame"):
        small_config(tokenizer, **bad)


def test_load_checkpoint_damaged_release_raises(tmp_path):
    """A changed byte in the weights or the vocabulary is detected before scoring."""
    name = "workbench-tiny"
    told = (SHIPPED / name / SUMS).read_text()
    assert [line.split("  ")[1] for line in told.splitlines()] == ["model.safetensors", "tokenizer.json"]
    for file in ("model.safetensors", "tokenizer.json"):
        folder = tmp_path / file
        shutil.copytree(SHIPPED / name, folder)
        load_model_checkpoint(str(folder))
        damaged = bytearray((folder / file).read_bytes())
        damaged[-2] ^= 1
        (folder / file).write_bytes(damaged)
        with pytest.raises(DataError, match=f"{file}: sha256 differs from SHA256SUMS"):
            load_model_checkpoint(str(folder))


def test_load_checkpoint_without_tokenizer_raises(checkpoint, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "c")
    (tmp_path / "c" / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"no tokenizer\.json; copy the tokenizer of the training there"):
        load_model_checkpoint(str(tmp_path / "c"))

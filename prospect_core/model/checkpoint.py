"""Load a trained and complete model from a checkpoint folder or a released checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prospect_core.checkpoints.folders import (
    find_checkpoint_folder,
    require_one_checkpoint_weight_set,
    require_whole_checkpoint,
)
from prospect_core.records import Dtype
from prospect_core.util.errors import DataError, UserError

if TYPE_CHECKING:
    from prospect_core.model.configuration import DSTSmolVLMConfig

#: files that define a tokenizer
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")


#: longest part of a library's message that an error line includes, in characters
LONGEST = 300


def load_model_checkpoint(
    name: str, device: str = "cpu", option: str = "--ckpt", dtype: Dtype = "float32"
) -> tuple[Any, Any]:
    """Load a model and its tokenizer.

    Args:
        name: Checkpoint folder or name of a released checkpoint.
        device: Torch device.
        option: Command-line option that ``name`` comes from, for error messages.
        dtype: Number type for computation. In ``bfloat16`` the decision heads stay float32, because
            their results are compared with thresholds.

    Returns:
        (model in evaluation mode, tokenizer).

    Raises:
        UserError: If ``name`` or ``device`` is not valid.
        DataError: If the checkpoint is untrained, incomplete or inconsistent.
    """
    import torch
    from transformers import AutoTokenizer

    from prospect_core.model.modeling import CheckpointError, DSTSmolVLM
    from prospect_core.sequence.tokenizer import SpecialIds, digest_tokenizer

    folder = find_checkpoint_folder(name, option)
    if not (folder / "config.json").is_file():
        raise DataError(f"{folder}: no config.json; give a checkpoint folder that `prospect train` wrote")
    require_whole_checkpoint(folder)
    require_one_checkpoint_weight_set(folder)
    config = _config_of(folder)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise DataError(f"{folder}: no {TOKENIZERS[0]}; copy the tokenizer of the training there")
    try:
        model = DSTSmolVLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        ids = SpecialIds.of(tokenizer)
    except CheckpointError as error:
        raise DataError(str(error)) from error
    except Exception as error:
        # transformers, safetensors and tokenizers raise various types for a broken file
        raise DataError(f"{folder}: cannot be loaded ({_first_line(error)})") from error
    if (ids.pad, ids.eos, ids.image) != (config.pad_token_id, config.eos_token_id, config.image_token_id):
        raise DataError(f"{folder}: the tokenizer's special tokens differ from those in config.json")
    if config.tokenizer_digest and config.tokenizer_digest != digest_tokenizer(tokenizer):
        raise DataError(f"{folder}: the tokenizer differs from that of the training; restore it")
    if broken := [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]:
        raise DataError(f"{folder}: weights in {broken[0]} are NaN or infinite; train the model again")
    if len(tokenizer) > config.text_config.vocab_size:
        raise DataError(
            f"{folder}: the tokenizer has {len(tokenizer)} entries, the model {config.text_config.vocab_size} rows"
        )
    allow_checkpoint_tf32(device, dtype)
    return move_checkpoint_to_device(model.compute_in(getattr(torch, dtype)), device).eval(), tokenizer


def allow_checkpoint_tf32(device: str, dtype: str) -> None:
    """Allow TF32 products on an NVIDIA GPU if a type below float32 is wanted anyway."""
    import torch

    if device.startswith("cuda") and dtype != "float32":
        torch.set_float32_matmul_precision("high")


def _config_of(folder: Path) -> DSTSmolVLMConfig:
    """Read the configuration of a trained checkpoint."""
    from transformers import AutoConfig

    from prospect_core.model.configuration import DSTSmolVLMConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        # libraries raise their own types for values that are not valid
        raise DataError(f"{folder}: config.json cannot be read ({_first_line(error)})") from error
    if not isinstance(config, DSTSmolVLMConfig):
        raise DataError(
            f"{folder}: a {config.model_type!r} checkpoint; give a dst_smolvlm checkpoint from `prospect train`"
        )
    if config.trained_steps <= 0:
        raise DataError(f"{folder}: was never trained (trained_steps is 0); train it with `prospect train` first")
    return config


def move_checkpoint_to_device(model: Any, device: str) -> Any:
    """Move a model to a device.

    Raises:
        UserError: If the device cannot be used.
    """
    try:
        return model.to(device)
    except (AssertionError, RuntimeError, NotImplementedError) as error:
        # torch raises different types depending on the kind of device
        raise UserError(
            f"--device {device}: not usable on this machine ({_first_line(error)}); remove the option to use the CPU"
        ) from error


def _first_line(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."

"""A model from a checkpoint, by folder or by the name of a shipped one: complete and trained, or a clear error.

python -c "from prospect_core.model.checkpoint import load_model_checkpoint; model, tokenizer = load_model_checkpoint('workbench-tiny')"
"""

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

#: files that a tokenizer may be read from
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")


#: of a library's own words that an error line takes over
LONGEST = 300


def load_model_checkpoint(
    name: str, device: str = "cpu", option: str = "--ckpt", dtype: Dtype = "float32"
) -> tuple[Any, Any]:
    """(model in eval mode, tokenizer); untrained, incomplete or misfitting checkpoints are a `DataError`.

    In ``bfloat16`` the decision heads stay float32: what they weigh is compared with thresholds.
    """
    import torch
    from transformers import AutoTokenizer

    from prospect_core.model.modeling import CheckpointError, DSTSmolVLM
    from prospect_core.sequence.tokenizer import SpecialIds, digest_tokenizer

    folder = find_checkpoint_folder(name, option)
    if not (folder / "config.json").is_file():
        raise DataError(f"{folder}: no config.json; a checkpoint that `prospect train` wrote is needed")
    require_whole_checkpoint(folder)
    require_one_checkpoint_weight_set(folder)
    config = _config_of(folder)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise DataError(f"{folder}: no {TOKENIZERS[0]}; bring the tokenizer that it was trained with")
    try:
        model = DSTSmolVLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        ids = SpecialIds.of(tokenizer)
    except CheckpointError as error:
        raise DataError(str(error)) from error
    except Exception as error:
        # transformers, safetensors and tokenizers each raise kinds of their own for a broken file
        raise DataError(f"{folder}: cannot be loaded ({_first_line(error)})") from error
    if (ids.pad, ids.eos, ids.image) != (config.pad_token_id, config.eos_token_id, config.image_token_id):
        raise DataError(f"{folder}: the tokenizer's special tokens are not the ones in config.json")
    if config.tokenizer_digest and config.tokenizer_digest != digest_tokenizer(tokenizer):
        raise DataError(f"{folder}: the tokenizer is not the one that the model was trained with; bring that one back")
    if broken := [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]:
        raise DataError(f"{folder}: weights that are not numbers (NaN or infinite) in {broken[0]}; train it anew")
    if len(tokenizer) > config.text_config.vocab_size:
        raise DataError(
            f"{folder}: the tokenizer has {len(tokenizer)} entries, the model {config.text_config.vocab_size} rows"
        )
    allow_checkpoint_tf32(device, dtype)
    return move_checkpoint_to_device(model.compute_in(getattr(torch, dtype)), device).eval(), tokenizer


def allow_checkpoint_tf32(device: str, dtype: str) -> None:
    """Let an NVIDIA GPU compute products of float32 in TF32 where less than float32 was asked for anyway."""
    import torch

    if device.startswith("cuda") and dtype != "float32":
        torch.set_float32_matmul_precision("high")


def _config_of(folder: Path) -> DSTSmolVLMConfig:
    """The configuration of a checkpoint that was trained."""
    from transformers import AutoConfig

    from prospect_core.model.configuration import DSTSmolVLMConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        # libraries have kinds of their own for what cannot be
        raise DataError(f"{folder}: config.json cannot be read ({_first_line(error)})") from error
    if not isinstance(config, DSTSmolVLMConfig):
        raise DataError(
            f"{folder}: a {config.model_type!r} checkpoint; a dst_smolvlm one from `prospect train` is needed"
        )
    if config.trained_steps <= 0:
        raise DataError(f"{folder}: was never trained (trained_steps is 0); train it with `prospect train` first")
    return config


def move_checkpoint_to_device(model: Any, device: str) -> Any:
    """The model on a device; one that cannot be used is a `UserError`."""
    try:
        return model.to(device)
    except (AssertionError, RuntimeError, NotImplementedError) as error:
        # torch says so in as many ways as there are kinds of device
        raise UserError(
            f"--device {device}: cannot be used here ({_first_line(error)}); leave it out for the CPU"
        ) from error


def _first_line(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."

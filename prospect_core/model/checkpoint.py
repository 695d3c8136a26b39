"""Checkpoints: by folder or by the name of a shipped one, complete and trained, or a clear error.

python -c "from prospect_core.model.checkpoint import load_checkpoint; model, tokenizer = load_checkpoint('workbench-tiny')"
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from prospect_core.errors import DataError, UserError, did_you_mean

SHIPPED = Path(__file__).parent.parent / "checkpoints"
#: of a shipped checkpoint, as `sha256sum` writes it
SUMS = "SHA256SUMS"


def shipped_checkpoints() -> list[str]:
    """Names of the checkpoints that come with the package."""
    return sorted(p.name for p in SHIPPED.iterdir() if p.is_dir()) if SHIPPED.is_dir() else []


def find_checkpoint(name: str, option: str = "--ckpt") -> Path:
    """The folder of a checkpoint, by path or by shipped name; ``option`` is what the user gave it as."""
    if Path(name).is_dir():
        return Path(name)
    if name in shipped_checkpoints():
        return SHIPPED / name
    names = shipped_checkpoints()
    raise UserError(
        f"{option} {name!r} is neither a folder nor a shipped checkpoint ({', '.join(names) or 'none'}){did_you_mean(name, names)}"
    )


def checkpoint_digest(folder: Path) -> str:
    """sha256 over names and contents of the files that make the model what it is."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".json", ".safetensors", ".model", ".txt", ".jinja"):
            digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def load_checkpoint(name: str, device: str = "cpu", option: str = "--ckpt") -> tuple[Any, Any]:
    """(model in float32 and eval mode, tokenizer); untrained, incomplete or misfitting checkpoints are a `DataError`."""
    import torch
    from transformers import AutoConfig, AutoTokenizer

    from prospect_core.model.configuration import DSTSmolVLMConfig
    from prospect_core.model.modeling import CheckpointError, DSTSmolVLM
    from prospect_core.model.processing import SpecialIds, tokenizer_digest

    folder = find_checkpoint(name, option)
    if not (folder / "config.json").is_file():
        raise DataError(f"{folder}: no config.json; a checkpoint that `prospect train` wrote is needed")
    _require_whole(folder)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: config.json cannot be read ({_first_line(error)})") from None
    if not isinstance(config, DSTSmolVLMConfig):
        raise DataError(
            f"{folder}: a {config.model_type!r} checkpoint; a dst_smolvlm one from `prospect train` is needed"
        )
    if config.trained_steps <= 0:
        raise DataError(f"{folder}: was never trained (trained_steps is 0); train it with `prospect train` first")
    try:
        model = DSTSmolVLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        ids = SpecialIds.of(tokenizer)
    except CheckpointError as error:
        raise DataError(str(error)) from None
    except Exception as error:
        # transformers, safetensors and tokenizers each raise kinds of their own for a broken file
        raise DataError(f"{folder}: cannot be loaded ({_first_line(error)})") from None
    if (ids.pad, ids.eos, ids.image) != (config.pad_token_id, config.eos_token_id, config.image_token_id):
        raise DataError(f"{folder}: the tokenizer's special tokens are not the ones in config.json")
    if config.tokenizer_digest and config.tokenizer_digest != tokenizer_digest(tokenizer):
        raise DataError(f"{folder}: the tokenizer is not the one that the model was trained with; bring that one back")
    if broken := [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]:
        raise DataError(f"{folder}: weights that are not numbers (NaN or infinite) in {broken[0]}; train it anew")
    if len(tokenizer) > config.text_config.vocab_size:
        raise DataError(
            f"{folder}: the tokenizer has {len(tokenizer)} entries, the model {config.text_config.vocab_size} rows"
        )
    return _placed(model, device).eval(), tokenizer


def _placed(model: Any, device: str) -> Any:
    try:
        return model.to(device)
    except (AssertionError, RuntimeError, NotImplementedError) as error:
        # torch says so in as many ways as there are kinds of device
        raise UserError(
            f"--device {device}: cannot be used here ({_first_line(error)}); leave it out for the CPU"
        ) from None


def _require_whole(folder: Path) -> None:
    """Files that a checkpoint's ``SHA256SUMS`` names (the shipped ones have it) are what they were, or a `DataError`."""
    sums = folder / SUMS
    for line in sums.read_text("utf-8").splitlines() if sums.is_file() else ():
        digest, _, name = line.partition("  ")
        file = folder / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise DataError(f"{file}: is not the file that {SUMS} tells of; install the package anew")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

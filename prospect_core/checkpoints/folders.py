"""Checkpoint folders: released checkpoints, lookup by name, digests and integrity checks.

This module needs torch only to ask a GPU for bfloat16 support. `prospect_core.model.checkpoint`
loads models from these folders.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from prospect_core.records import AskedDtype, Dtype
from prospect_core.util.errors import DataError, UserError, did_you_mean

SHIPPED = Path(__file__).parent
#: digests of a released checkpoint's files, in the format of `sha256sum`
SUMS = "SHA256SUMS"
#: file names of weights in one file; `_SHARD` matches those of shards
WHOLE = ("model.safetensors",)
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")


def list_released_checkpoints() -> list[str]:
    """Return the names of the checkpoints that come with the package."""
    return sorted(config.parent.name for config in SHIPPED.glob("*/config.json"))


def find_checkpoint_folder(name: str, option: str = "--ckpt") -> Path:
    """Find the folder of a checkpoint.

    Args:
        name: Path of a folder, or name of a released checkpoint.
        option: Command-line option that the name comes from, for the error message.

    Raises:
        UserError: If ``name`` is neither.
    """
    if Path(name).is_dir():
        return Path(name)
    if name in list_released_checkpoints():
        return SHIPPED / name
    names = list_released_checkpoints()
    raise UserError(
        f"{option} {name!r} is neither a folder nor a released checkpoint ({', '.join(names) or 'none'})"
        f"{did_you_mean(name, names)}"
    )


def choose_checkpoint_folder_dtype(device: str, wanted: AskedDtype) -> Dtype:
    """Choose the number type for computation.

    Args:
        device: Torch device.
        wanted: Type that the user asks for. ``auto`` is bfloat16 on an NVIDIA GPU that supports it,
            and float32 elsewhere.
    """
    if wanted != "auto":
        return wanted
    if not device.startswith("cuda"):
        return "float32"
    import torch

    return "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"


def digest_checkpoint_folder(folder: Path) -> str:
    """Compute the sha256 over names and contents of the files that define the model."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".json", ".safetensors", ".model", ".txt", ".jinja"):
            digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def require_whole_checkpoint(folder: Path) -> None:
    """Check the files that a checkpoint's ``SHA256SUMS`` lists; a folder without that file passes.

    Raises:
        DataError: If a file is missing or has changed.
    """
    sums = folder / SUMS
    for line in sums.read_text("utf-8").splitlines() if sums.is_file() else ():
        digest, _, name = line.partition("  ")
        file = folder / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise DataError(f"{file}: sha256 differs from {SUMS}; reinstall the package")


def require_one_checkpoint_weight_set(folder: Path, given: str = "") -> None:
    """Refuse a folder with two sets of weights, because it is undefined which set a library reads.

    Args:
        folder: Folder in the layout of transformers.
        given: Name of the folder for the error message, if it differs from the path.

    Raises:
        DataError: If the folder holds two whole files, shards next to a whole file, or two sets of
            shards.
    """
    names = sorted(file.name for file in folder.glob("*.safetensors"))
    parts = [name for name in names if _SHARD.fullmatch(name)]
    whole = [name for name in names if name in WHOLE]
    counts = sorted({name.rpartition("-of-")[2].removesuffix(".safetensors") for name in parts})
    sets = [*whole, *(f"shards of {int(count)}" for count in counts)]
    if len(sets) > 1:
        raise DataError(f"{given or folder}: holds two sets of weights ({', '.join(sets)}); remove one of them")

"""Checkpoints as files: where the shipped ones lie, which folder a name means, and what tells one from another.

    python -c "from prospect_core.checkpoints.folders import find_checkpoint_folder; print(find_checkpoint_folder('workbench-tiny'))"

Nothing here needs torch, but to ask a GPU what it can; `prospect_core.model.checkpoint` makes models of these files.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from prospect_core.records import AskedDtype, Dtype
from prospect_core.util.errors import DataError, UserError, did_you_mean

SHIPPED = Path(__file__).parent
#: of a shipped checkpoint, as `sha256sum` writes it
SUMS = "SHA256SUMS"
#: names of weights in one file, and of shards
WHOLE = ("model.safetensors",)
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")


def list_released_checkpoints() -> list[str]:
    """Names of the checkpoints that come with the package."""
    return sorted(config.parent.name for config in SHIPPED.glob("*/config.json"))


def find_checkpoint_folder(name: str, option: str = "--ckpt") -> Path:
    """The folder of a checkpoint, by path or by shipped name; ``option`` is what the user gave it as."""
    if Path(name).is_dir():
        return Path(name)
    if name in list_released_checkpoints():
        return SHIPPED / name
    names = list_released_checkpoints()
    raise UserError(
        f"{option} {name!r} is neither a folder nor a shipped checkpoint ({', '.join(names) or 'none'}){did_you_mean(name, names)}"
    )


def choose_checkpoint_folder_dtype(device: str, wanted: AskedDtype) -> Dtype:
    """What to compute in: as wanted, or (``auto``) bfloat16 on an NVIDIA GPU that has it, else float32."""
    if wanted != "auto":
        return wanted
    if not device.startswith("cuda"):
        return "float32"
    import torch

    return "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"


def digest_checkpoint_folder(folder: Path) -> str:
    """sha256 over names and contents of the files that make the model what it is."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".json", ".safetensors", ".model", ".txt", ".jinja"):
            digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def require_whole_checkpoint(folder: Path) -> None:
    """Files that a checkpoint's ``SHA256SUMS`` names (the shipped ones have it) are what they were, or a `DataError`."""
    sums = folder / SUMS
    for line in sums.read_text("utf-8").splitlines() if sums.is_file() else ():
        digest, _, name = line.partition("  ")
        file = folder / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise DataError(f"{file}: its sha256 is not the one in {SUMS}; install the package again")


def require_one_checkpoint_weight_set(folder: Path, given: str = "") -> None:
    """Refuse a folder with two sets of weights: which of them a library reads is not defined.

    Args:
        folder: A folder in the layout of transformers.
        given: What the folder was named by, where that is something else.

    Raises:
        DataError: The folder holds two whole files, or shards next to a whole file, or two sets of shards.
    """
    names = sorted(file.name for file in folder.glob("*.safetensors"))
    parts = [name for name in names if _SHARD.fullmatch(name)]
    whole = [name for name in names if name in WHOLE]
    counts = sorted({name.rpartition("-of-")[2].removesuffix(".safetensors") for name in parts})
    sets = [*whole, *(f"shards of {int(count)}" for count in counts)]
    if len(sets) > 1:
        raise DataError(
            f"{given or folder}: holds two sets of weights ({', '.join(sets)}); keep the one that is meant and take the other out"
        )

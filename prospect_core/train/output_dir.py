"""Output directory of a training: ownership, resume and atomic publication of the checkpoint."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import flatten_json, read_json

SCRATCH, TRAINING_FILE, CONFIG_FILE = ".trainer", "training.json", "train_config.yaml"


def is_output_dir_finished(output: Path, text: str) -> bool:
    """Check whether a folder holds the result of a training with exactly this configuration.

    Args:
        output: The folder.
        text: YAML text of the configuration.
    """
    kept = output / CONFIG_FILE
    return (output / "config.json").exists() and kept.is_file() and kept.read_text("utf-8") == text


def refuse_finished_output_dir(output: Path) -> None:
    """Check that a folder can take a new checkpoint.

    Raises:
        UserError: If the path is empty or a file, or the folder holds a checkpoint.
    """
    if output == Path():
        raise UserError("output= is empty; give a folder")
    if output.exists() and not output.is_dir():
        raise UserError(f"output={output}: is a file, not a folder; give a folder")
    if (output / "config.json").exists():
        raise UserError(f"output={output}: already holds a checkpoint; choose another folder or delete it first")


def refuse_other_output_dir(scratch: Path, training: dict[str, Any]) -> None:
    """Check that a folder's training checkpoints belong to this training.

    Args:
        scratch: Folder of the training checkpoints.
        training: Signature of this training.

    Raises:
        UserError: If they belong to another training; the message shows the differences.
        DataError: If the stored signature cannot be read.
    """
    file = scratch / TRAINING_FILE
    before = read_json(file)
    if not isinstance(before, dict):
        raise DataError(f"{file}: is damaged; delete {scratch} to start again")
    then, now = flatten_json(before), flatten_json(training)
    different = [key for key in sorted({*then, *now}) if then.get(key) != now.get(key)]
    if different:
        shown = "; ".join(f"{k.removeprefix('config.')}: {then.get(k)} before, {now.get(k)} now" for k in different)
        raise UserError(
            f"output={scratch.parent}: holds an unfinished training with other options ({shown}); choose another folder or delete"
            f" {scratch}"
        )


def publish_to_output_dir(output: Path, model: Any, tokenizer: Any, text: str) -> None:
    """Write the checkpoint into the output folder and remove the training checkpoints.

    ``config.json``, which marks a complete checkpoint, appears last.

    Args:
        output: The output folder.
        model: The model.
        tokenizer: Its tokenizer.
        text: YAML text of the configuration.
    """
    staging = output / SCRATCH / "final"
    shutil.rmtree(staging, ignore_errors=True)
    model.save_pretrained(staging)
    tokenizer.save_pretrained(staging)
    (staging / CONFIG_FILE).write_text(text, "utf-8")
    for file in sorted(staging.iterdir(), key=lambda f: f.name == "config.json"):
        file.chmod(0o644)
        os.replace(file, output / file.name)
    shutil.rmtree(output / SCRATCH, ignore_errors=True)

"""The output folder of a training: whose it is, what may go on in it, and how the checkpoint appears in it.

python -c "from prospect_core.train.output_dir import refuse_finished_output_dir; from pathlib import Path; refuse_finished_output_dir(Path('runs/new'))"
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import flatten_json, read_json

SCRATCH, TRAINING_FILE, CONFIG_FILE = ".trainer", "training.json", "train_config.yaml"


def is_output_dir_finished(output: Path, text: str) -> bool:
    """Whether an output holds what came of a training of this very configuration."""
    kept = output / CONFIG_FILE
    return (output / "config.json").exists() and kept.is_file() and kept.read_text("utf-8") == text


def refuse_finished_output_dir(output: Path) -> None:
    """An output that is no folder, or that holds a checkpoint already, is refused."""
    if output == Path():
        raise UserError("output= is empty; give a folder")
    if output.exists() and not output.is_dir():
        raise UserError(f"output={output}: is a file; give a folder")
    if (output / "config.json").exists():
        raise UserError(f"output={output}: holds a checkpoint already; choose another folder or delete it first")


def refuse_other_output_dir(scratch: Path, training: dict[str, Any]) -> None:
    """A folder with checkpoints of another training is refused with what differs."""
    file = scratch / TRAINING_FILE
    before = read_json(file)
    if not isinstance(before, dict):
        raise DataError(f"{file}: is damaged; delete {scratch} to begin anew")
    then, now = flatten_json(before), flatten_json(training)
    different = [key for key in sorted({*then, *now}) if then.get(key) != now.get(key)]
    if different:
        shown = "; ".join(f"{k.removeprefix('config.')}: {then.get(k)} there, {now.get(k)} now" for k in different)
        raise UserError(
            f"output={scratch.parent}: holds another training, unfinished ({shown}); choose another folder or delete {scratch}"
        )


def publish_to_output_dir(output: Path, model: Any, tokenizer: Any, text: str) -> None:
    """Write the checkpoint so that ``config.json``, which marks it whole, appears last; then drop the scratch folder."""
    staging = output / SCRATCH / "final"
    shutil.rmtree(staging, ignore_errors=True)
    model.save_pretrained(staging)
    tokenizer.save_pretrained(staging)
    (staging / CONFIG_FILE).write_text(text, "utf-8")
    for file in sorted(staging.iterdir(), key=lambda f: f.name == "config.json"):
        file.chmod(0o644)
        os.replace(file, output / file.name)
    shutil.rmtree(output / SCRATCH, ignore_errors=True)

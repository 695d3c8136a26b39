"""The kind of data that a checkpoint was trained for, and a note for other data."""

from __future__ import annotations

from collections.abc import Iterable

from prospect_core.checkpoints.folders import find_checkpoint_folder
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import read_json

#: name of the generated dataset; its pretraining sets begin with it
WORKBENCH = "workbench"


def describe_checkpoint_scope(ckpt: str, datasets: Iterable[str]) -> str:
    """Warn of a workbench checkpoint on data of another kind.

    A checkpoint's configuration names the dataset that its thresholds were chosen on. Training on other data clears or
    replaces that name.

    Args:
        ckpt: A checkpoint folder, or the name of a released checkpoint.
        datasets: Names of the datasets of the data; empty names count as another kind of data.

    Returns:
        One sentence without a period; empty where the checkpoint or all data is of another kind, or no checkpoint is found.
    """
    try:
        stored = read_json(find_checkpoint_folder(ckpt) / "config.json")
    except (DataError, UserError, OSError):
        return ""
    chosen_on = stored.get("thresholds_data") if isinstance(stored, dict) else None
    if not isinstance(chosen_on, str) or chosen_on.partition("/")[0] != WORKBENCH:
        return ""
    if all(name.startswith(WORKBENCH) for name in datasets):
        return ""
    return (
        f"checkpoint {ckpt} was trained for the generated workbench videos only; do not expect useful output on other"
        " videos"
    )

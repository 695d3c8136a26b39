"""Recognize a published folder of step annotations and read it with the options of its publication."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from prospect_core.data.procedures.captaincook4d import read_captaincook4d
from prospect_core.data.procedures.captaincook4d_files import STEPS_FILE, find_captaincook4d_annotations
from prospect_core.data.procedures.goalstep import read_goalstep
from prospect_core.data.procedures.goalstep_files import GOALSTEP_FILES, find_goalstep_files
from prospect_core.data.procedures.interactive_cooking import (
    COOKING_SETS,
    find_interactive_cooking_files,
    read_interactive_cooking,
)
from prospect_core.data.procedures.occurrence_events import PROCEDURE_FPS
from prospect_core.data.procedures.published_rows import PublishedRows
from prospect_core.util.errors import DataError, UserError

#: options that each publication has, by its name
_OPTIONS = {
    "CaptainCook4D": ("split_by", "recordings"),
    "Ego4D Goal-Step": ("level",),
    "Qualcomm Interactive Cooking": ("message_set", "captaincook4d"),
}
#: command-line names of options that have another name here
_SHOWN = {"message_set": "set"}


@dataclass(frozen=True)
class ProcedureChoices:
    """Options of each publication; None is its default.

    Attributes:
        split_by: CaptainCook4D: property that separates the splits.
        recordings: CaptainCook4D: ``normal`` or ``combined``.
        level: Ego4D Goal-Step: ``steps`` or ``substeps``.
        message_set: Qualcomm Interactive Cooking: ``main`` or ``advanced_planning``.
        captaincook4d: Qualcomm Interactive Cooking: folder of CaptainCook4D.
    """

    split_by: str | None = None
    recordings: str | None = None
    level: str | None = None
    message_set: str | None = None
    captaincook4d: Path | None = None


def read_published_procedures(
    folder: Path, choices: ProcedureChoices | None = None, fps: float = PROCEDURE_FPS
) -> PublishedRows:
    """Read the episodes of a published folder of step annotations.

    Args:
        folder: The folder of CaptainCook4D, Ego4D Goal-Step or Qualcomm Interactive Cooking.
        choices: Options of the publication.
        fps: Decision frames per second.

    Raises:
        UserError: If an option is unknown or belongs to another publication.
        DataError: If the folder holds none of these, or its files are damaged.
    """
    given = choices or ProcedureChoices()
    if any(find_interactive_cooking_files(folder, name) for name in COOKING_SETS):
        _refuse_other_choices("Qualcomm Interactive Cooking", given)
        own = folder if find_captaincook4d_annotations(folder) is not None else None
        return read_interactive_cooking(folder, given.message_set or "main", given.captaincook4d or own, fps)
    root = find_captaincook4d_annotations(folder)
    if root is not None:
        _refuse_other_choices("CaptainCook4D", given)
        return read_captaincook4d(folder, root, given.split_by or "recordings", given.recordings or "combined", fps)
    if find_goalstep_files(folder):
        _refuse_other_choices("Ego4D Goal-Step", given)
        return read_goalstep(folder, given.level or "steps", fps)
    raise DataError(
        f"{folder}: holds no step annotations: {STEPS_FILE} (CaptainCook4D), {' or '.join(GOALSTEP_FILES.values())}"
        " (Ego4D Goal-Step), or parquet files of Qualcomm Interactive Cooking"
    )


def _refuse_other_choices(publication: str, choices: ProcedureChoices) -> None:
    for choice in fields(choices):
        if getattr(choices, choice.name) is None or choice.name in _OPTIONS[publication]:
            continue
        owner = next(name for name, options in _OPTIONS.items() if choice.name in options)
        option = _SHOWN.get(choice.name, choice.name).replace("_", "-")
        raise UserError(f"--{option} is for {owner}; this folder holds {publication}, leave the option out")

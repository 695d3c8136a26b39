"""Verdicts of an LLM judge for the official values of a run (``official_verdicts.json``)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prospect_core.util.atomic import write_atomic
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import dump_json, read_json

logger = logging.getLogger(__name__)

VERDICTS_FILE = "official_verdicts.json"
SCHEMA = 1


@dataclass(frozen=True)
class OfficialVerdicts:
    """Verdicts of one LLM judge on the predictions of a run.

    Attributes:
        judge: Name of the LLM judge.
        predictions_digest: Digest of the judged records.
        verdicts: Verdicts by id, in the form of the benchmark.
    """

    judge: str
    predictions_digest: str
    verdicts: Mapping[str, Any]


def write_official_verdicts(folder: Path, found: OfficialVerdicts) -> None:
    """Write the verdicts into a run folder."""
    write_atomic(folder / VERDICTS_FILE, dump_json({"schema": SCHEMA, **asdict(found)}, indent=1) + "\n")


def read_official_verdicts(folder: Path, digest: str) -> OfficialVerdicts | None:
    """Return the verdicts in a run folder; None if there are none for these predictions.

    Args:
        folder: The run folder.
        digest: Digest of its records.

    Raises:
        DataError: The file is damaged.
    """
    file = folder / VERDICTS_FILE
    if not file.is_file():
        return None
    stored = read_json(file)
    try:
        found = OfficialVerdicts(stored["judge"], stored["predictions_digest"], dict(stored["verdicts"]))
        known = stored["schema"] == SCHEMA
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(f"{file}: damaged; judge the run again") from error
    if known and found.predictions_digest == digest:
        return found
    logger.warning("%s: about other predictions, so its verdicts do not count; judge the run again", file)
    return None

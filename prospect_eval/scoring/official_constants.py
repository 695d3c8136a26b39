"""Items of the constant answers of a run (``official_constants.json``), which intervals and paired tests need.

``official.json`` holds only the values of the constant answers, because it is printed and shown in the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prospect_core.util.atomic import write_atomic
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import dump_json, read_json
from prospect_eval.suites.benchmark import Benchmark
from prospect_eval.suites.official_score import ItemScore, OfficialScore, make_official_score

CONSTANTS_FILE = "official_constants.json"
SCHEMA = 1


def write_official_constants(folder: Path, constants: Mapping[str, OfficialScore], digest: str) -> None:
    """Write the items of constant answers.

    Args:
        folder: The folder of ``official.json``.
        constants: Official numbers of the constant answers, by name.
        digest: Digest of the predictions that ``official.json`` is about.
    """
    items = {
        name: [[item.id, item.video, item.task, item.status, item.totals] for item in score.items]
        for name, score in constants.items()
    }
    stored = {"schema": SCHEMA, "predictions_digest": digest, "constants": items}
    write_atomic(folder / CONSTANTS_FILE, dump_json(stored) + "\n")


def read_official_constants(
    folder: Path, official: Mapping[str, Any], benchmark: Benchmark[Any, Any]
) -> dict[str, OfficialScore]:
    """Return the constant answers of a folder by name; none if the file is missing or of other predictions.

    Args:
        folder: The folder of ``official.json``.
        official: Contents of ``official.json``.
        benchmark: The benchmark of both files.

    Raises:
        DataError: The file is damaged.
    """
    file = folder / CONSTANTS_FILE
    if not file.is_file():
        return {}
    stored = read_json(file)
    try:
        if stored["schema"] != SCHEMA or stored["predictions_digest"] != official["predictions_digest"]:
            return {}
        return {name: _restore(rows, benchmark) for name, rows in stored["constants"].items()}
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise DataError(f"{file}: damaged; score the run again") from error


def _restore(rows: list[list[Any]], benchmark: Benchmark[Any, Any]) -> OfficialScore:
    items = []
    for name, video, task, status, totals in rows:
        items.append(ItemScore(id=name, video=video, task=task, status=status, totals=totals))
    return make_official_score(items, benchmark.values_of_totals)

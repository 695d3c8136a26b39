"""Edit and read files of datasets, checkpoints and run folders."""

from __future__ import annotations

import json
from pathlib import Path


def edit_json(path: Path, **changes: object) -> None:
    """Change values of a JSON object in a file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def digest(run: Path) -> str:
    """Return the digest of a finished run's predictions."""
    value = json.loads((run / "DONE.json").read_text())["predictions_digest"]
    assert isinstance(value, str)
    return value

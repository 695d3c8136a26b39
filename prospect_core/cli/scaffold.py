"""Command `prospect new`: write a working example of a metric, strategy, suite, adapter or benchmark with its test.

    prospect new metric my_metric
    cd my_metric && pip install -e . && pytest

The example is a small package. PROSPECT finds it through its entry point after installation. A
suite is one YAML file and needs no installation.
"""

from __future__ import annotations

import keyword
import re
from importlib.util import find_spec
from pathlib import Path
from string import Template

from prospect_core.util.atomic import atomic_folder
from prospect_core.util.errors import UserError, require_choice

KINDS = ("adapter", "benchmark", "metric", "strategy", "suite")
TEMPLATES = Path(__file__).parents[1] / "templates"


def scaffold_example(kind: str, name: str, output: Path) -> list[Path]:
    """Write an example into a new folder.

    Args:
        kind: One of `KINDS`.
        name: Name of the example and its module.
        output: Folder to create.

    Returns:
        The files of the example.

    Raises:
        UserError: If the kind is unknown, the name is not a valid or free module name, or the
            folder exists.
    """
    require_choice("kind", kind, KINDS)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(f"name {name!r}: use lower-case letters, digits and _, such as my_{kind}")
    if kind != "suite" and find_spec(name):
        raise UserError(f"name {name!r}: an installed module has this name; choose another")
    if output.exists():
        raise UserError(f"{output}: already exists; choose another name, or give --output FOLDER")
    with atomic_folder(output) as scratch:
        for template in sorted((TEMPLATES / kind).rglob("*.txt")):
            place = template.relative_to(TEMPLATES / kind).as_posix()
            file = place.removesuffix(".txt").replace("module", name)
            file = f"{name}.yaml" if file == "suite.yaml" else file
            text = Template(template.read_text(encoding="utf-8")).substitute(name=name)
            (scratch / file).parent.mkdir(exist_ok=True)
            (scratch / file).write_text(text, encoding="utf-8")
    return sorted(file for file in output.rglob("*") if file.is_file())

"""Pages of the documentation and their code blocks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from prospect_core.cli.commands import prospect
from prospect_eval.cli.commands import prospect_eval
from tests.helpers.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = {"prospect": prospect, "prospect-eval": prospect_eval}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def blocks(language: str) -> list[tuple[Path, str]]:
    """Return the code blocks of a language with their pages."""
    found = []
    for page in PAGES:
        for block in BLOCK.finditer(page.read_text()):
            if block[1] == language:
                found.append((page, block[2]))
    return found


def lines(block: str) -> Iterator[list[str]]:
    """Yield the commands of a console block as words, with continued lines joined and without comments."""
    for line in block.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            yield shlex.split(line[2:], comments=True)

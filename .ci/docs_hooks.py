"""Additions to the documentation site: the figures of reports/.

make docs
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: of the checkout, what a page may show; links to anything else become plain text
SHOWN = (".json", ".md", ".png")


def on_files(files, config):
    """Add the reports."""
    from mkdocs.structure.files import File

    for file in sorted((ROOT / "reports").rglob("*")):
        if file.suffix in SHOWN and file.name != "README.md":
            name = file.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(file)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links that lead out of docs/: to a report's file, where it is shown, else to nothing."""
    here = posixpath.dirname(page.file.src_uri)

    def mended(found):
        text, target = found[1], found[2]
        path = target.partition("#")[0]
        if "://" in target or not path.startswith("../"):
            return found[0]
        place = posixpath.normpath(posixpath.join("docs", here, path))
        if place.startswith("docs/"):
            return found[0]
        if place.startswith("reports/") and files.get_file_from_path(place):
            return f"[{text}]({posixpath.relpath(place, here or '.')})"
        return text if text.startswith("!") else f"{text} (`{place}`)"

    return re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", mended, markdown)

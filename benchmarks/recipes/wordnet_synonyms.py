"""Build the synonym table of METEOR from the database files of WordNet 3.0.

apt-get install wordnet-base
python -m benchmarks.recipes.wordnet_synonyms --source /usr/share/wordnet
"""

from __future__ import annotations

import argparse
import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from prospect_core.util.atomic import write_atomic
from prospect_core.util.errors import UserError
from prospect_eval.text.wordnet import LICENSE, TABLE, VERSION

#: suffix of a database file: part of speech in the table
PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
NOTICE_LINE = re.compile(r"  \d+ (.*)")


def make_synonym_table(source: Path) -> str:
    """The table, one line for each set of synonyms and each irregular form.

    METEOR compares lower-case words. So the table leaves out sets without a lower-case name of one word, and
    everything that is neither a name nor an irregular form.

    Args:
        source: A folder with ``data.noun``, ``noun.exc`` and so on.

    Raises:
        UserError: The folder holds no WordNet, or another version.
    """
    lines: set[str] = set()
    for part, pos in PARTS.items():
        lines |= {f"{pos} {' '.join(names)}" for names in _synsets(source / f"data.{part}") if _has_a_match(names)}
        lines |= {f"{pos}= {' '.join(line.split())}" for line in _lines(source / f"{part}.exc")}
    notice = [f"# {line}".rstrip() for line in license_notice(source).splitlines()]
    return "\n".join([*notice, *sorted(lines)]) + "\n"


def license_notice(source: Path) -> str:
    """The licence as the database states it at its beginning."""
    notice = []
    for line in _lines(source / "data.noun"):
        found = NOTICE_LINE.fullmatch(line)
        if not found:
            break
        notice.append(found[1].rstrip())
    text = "\n".join(notice) + "\n"
    if f"WordNet {VERSION} Copyright" not in text:
        raise UserError(f"{source} holds no WordNet {VERSION}; give the folder of that version's data.noun")
    return text


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        raise UserError(f"{file} is missing; give a folder with the database files of WordNet {VERSION}")
    return file.read_text("ascii").splitlines()


def _synsets(file: Path) -> Iterator[list[str]]:
    """The names of each set, in order, without the syntactic marker of adjectives."""
    for line in _lines(file):
        if not line.startswith(" "):
            fields = line.split("|")[0].split()
            count = int(fields[3], 16)
            yield [name.split("(")[0] for name in fields[4 : 4 + 2 * count : 2]]


def _has_a_match(names: list[str]) -> bool:
    return any("_" not in name and name == name.lower() for name in names)


def main() -> None:
    """Write the table and the licence into the package."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, default=Path("/usr/share/wordnet"), help="folder with data.noun")
    options = parser.parse_args()
    table = gzip.compress(make_synonym_table(options.source).encode("ascii"), compresslevel=9, mtime=0)
    TABLE.parent.mkdir(exist_ok=True)
    write_atomic(TABLE, table)
    write_atomic(LICENSE, license_notice(options.source))
    print(f"{TABLE}: {len(table):,} bytes")


if __name__ == "__main__":
    main()

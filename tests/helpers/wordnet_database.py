"""NLTK's own reader over the database of the Debian package ``wordnet-base``, to compare the packaged table with."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SYSTEM_FOLDER = Path("/usr/share/wordnet")
NUMBER_OF_LEXICOGRAPHER_FILES = 45


def has_wordnet_database() -> bool:
    """Whether the Debian package is installed."""
    return (SYSTEM_FOLDER / "data.noun").is_file()


@contextmanager
def nltk_wordnet(folder: Path) -> Iterator[Any]:
    """NLTK's reader of a copy below ``folder``, which is in NLTK's data path meanwhile: it reads nothing outside."""
    import nltk
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    copy = folder / "corpora" / "wordnet"
    shutil.copytree(SYSTEM_FOLDER, copy)
    # NLTK reads nothing that other users can write
    for path in (folder / "corpora", copy):
        path.chmod(0o755)
    (copy / "index.sense").touch()
    lines = [f"{number:02d}\tfile{number}\t1\n" for number in range(NUMBER_OF_LEXICOGRAPHER_FILES)]
    (copy / "lexnames").write_text("".join(lines), "ascii")
    before = list(nltk.data.path)
    nltk.data.path.insert(0, str(folder))
    try:
        with warnings.catch_warnings():
            # it warns that other languages are absent
            warnings.simplefilter("ignore")
            yield WordNetCorpusReader(nltk.data.find("corpora/wordnet"), None)
    finally:
        nltk.data.path[:] = before

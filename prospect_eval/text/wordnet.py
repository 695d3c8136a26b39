"""WordNet for METEOR: found where it lies already, else fetched on request.

    prospect-eval doctor --fix

Looked for in our cache, in the folders of system packages, and in NLTK's data path. Those hold the database without
two small files that NLTK's reader wants, and NLTK reads nothing outside its data path, so they are copied once.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import tempfile
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prospect_core.util.cache_dir import cache_dir

SYSTEM_FOLDERS = (
    "/usr/share/wordnet",
    "/usr/local/share/wordnet",
    "/usr/share/wordnet/dict",
    "/usr/local/WordNet-3.0/dict",
)
#: the 45 lexicographer files of WordNet 3.0, in order
LEXNAMES = [
    "adj.all",
    "adj.pert",
    "adv.all",
    "noun.Tops",
    "noun.act",
    "noun.animal",
    "noun.artifact",
    "noun.attribute",
    "noun.body",
    "noun.cognition",
    "noun.communication",
    "noun.event",
    "noun.feeling",
    "noun.food",
    "noun.group",
    "noun.location",
    "noun.motive",
    "noun.object",
    "noun.person",
    "noun.phenomenon",
    "noun.plant",
    "noun.possession",
    "noun.process",
    "noun.quantity",
    "noun.relation",
    "noun.shape",
    "noun.state",
    "noun.substance",
    "noun.time",
    "verb.body",
    "verb.change",
    "verb.cognition",
    "verb.communication",
    "verb.competition",
    "verb.consumption",
    "verb.contact",
    "verb.creation",
    "verb.emotion",
    "verb.motion",
    "verb.perception",
    "verb.possession",
    "verb.social",
    "verb.stative",
    "verb.weather",
    "adj.ppl",
]
_POS = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}


@dataclass(frozen=True)
class WordNet:
    """A database on this machine: its version by its own header, our folder when it was found, and NLTK's name of its
    place."""

    version: str
    ours: Path
    place: str

    def reader(self) -> Any:
        """NLTK's reader of it; takes seconds."""
        from nltk.corpus.reader.wordnet import WordNetCorpusReader

        with warnings.catch_warnings():
            # it warns that other languages are not there; METEOR here is English
            warnings.simplefilter("ignore")
            reader = WordNetCorpusReader(_know(self.ours).find(self.place), None)
        reader.synsets("put")
        return reader


def find_wordnet(folders: tuple[str, ...] = SYSTEM_FOLDERS) -> WordNet | None:
    """The database in our cache, a system package's (copied there), or one in NLTK's data path; None where there is
    none. Never uses the network."""
    home = _private_home()
    ours = home / "corpora" / "wordnet"
    source = next((Path(f) for f in folders if (Path(f) / "data.noun").is_file()), None)
    if source is not None and not ours.is_dir():
        with suppress(OSError):
            copy_system_wordnet(source, ours)
    if (ours / "data.noun").is_file():
        with (ours / "data.noun").open("rb") as file:
            return WordNet(_version(file), home, "corpora/wordnet")
    data = _know(home)
    for place in ("corpora/wordnet", "corpora/wordnet.zip/wordnet/"):
        try:
            with data.find(f"{place.rstrip('/')}/data.noun").open() as file:
                return WordNet(_version(file), home, place)
        except (LookupError, OSError):
            continue
    return None


def _ours() -> Path:
    return cache_dir() / "nltk_data"


def _private_home() -> Path:
    """Our folder for NLTK, made private to this user: NLTK reads nothing that other users may write.

    In a cache that several users share, whoever comes second has a folder of their own.
    """
    folder = _ours()
    return folder if _make_private(folder) else folder.with_name(f"{folder.name}-{os.getuid()}")


def _make_private(folder: Path) -> bool:
    """Take the right to write from all but the owner, as a umask of 002 gives it; whether NLTK then reads the folder."""
    if os.name != "posix":
        return True
    try:
        for path in (folder, *folder.rglob("*")) if folder.exists() else ():
            found = path.stat()
            if found.st_uid not in (os.geteuid(), 0):
                return False
            if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                path.chmod(stat.S_IMODE(found.st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))
    except OSError:
        return False
    return True


def _know(ours: Path) -> Any:
    """NLTK's data module, reading from our folder first."""
    import nltk

    if str(ours) not in nltk.data.path:
        nltk.data.path.insert(0, str(ours))
    return nltk.data


def _version(file: Any) -> str:
    found = re.search(rb"WordNet (\d+\.\d+)", file.read(4096))
    return found[1].decode() if found else "unknown"


def copy_system_wordnet(source: Path, target: Path) -> None:
    """Copy a system package's database, adding what NLTK's reader wants beside it; appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # whatever the umask: others may read, and not write
    _make_private(target.parent.parent)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=".wordnet."))
    for file in source.iterdir():
        if file.is_file() and file.name.split(".")[0] in (
            "data",
            "index",
            "noun",
            "verb",
            "adj",
            "adv",
            "cntlist",
        ):
            shutil.copy(file, scratch / file.name)
    lines = [f"{n:02d}\t{name}\t{_POS[name.split('.')[0]]}\n" for n, name in enumerate(LEXNAMES)]
    (scratch / "lexnames").write_text("".join(lines), "ascii")
    for name in ("index.sense", "cntlist.rev", "adj.exc", "adv.exc", "noun.exc", "verb.exc"):
        if not (scratch / name).exists():
            (scratch / name).touch()
    scratch.chmod(0o755)
    _make_private(scratch)
    try:
        scratch.rename(target)
    except OSError:
        # another process was first
        shutil.rmtree(scratch, ignore_errors=True)


def fetch_wordnet() -> str:
    """Download WordNet with NLTK into our cache; returns what came of it, in words."""
    import nltk

    target = _private_home()
    target.mkdir(parents=True, exist_ok=True)
    _make_private(target)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)
    try:
        done = nltk.download("wordnet", download_dir=str(target), quiet=True)
    except (OSError, ValueError) as error:
        return f"could not be downloaded ({error})"
    finally:
        socket.setdefaulttimeout(before)
        _make_private(target)
    return f"downloaded to {target}" if done else "could not be downloaded (no connection to NLTK's server)"

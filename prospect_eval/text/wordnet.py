"""Synonyms of WordNet 3.0 for METEOR, from a table in this package.

``python -m benchmarks.recipes.wordnet_synonyms`` builds the table.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: version of WordNet in the table
VERSION = "3.0"
TABLE = Path(__file__).parent / "wordnet_data" / "synonyms.txt.gz"
LICENSE = TABLE.with_name("LICENSE.wordnet")

#: by part of speech (noun, verb, adjective, adverb): endings of inflected forms and their
#: replacements, from WordNet's morphological processing (morphy)
ENDINGS = {
    "n": [
        ("s", ""),
        ("ses", "s"),
        ("ves", "f"),
        ("xes", "x"),
        ("zes", "z"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("men", "man"),
        ("ies", "y"),
    ],
    "v": [("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")],
    "a": [("er", ""), ("est", ""), ("er", "e"), ("est", "e")],
    "r": [],
}


@dataclass(frozen=True)
class Lemma:
    """A name in a set of synonyms, with the interface of NLTK's lemmas.

    Attributes:
        text: The name; an underscore stands for a blank.
    """

    text: str

    def name(self) -> str:
        """Return the name."""
        return self.text


@dataclass(frozen=True)
class Synset:
    """A set of synonyms, with the interface of NLTK's synsets.

    Attributes:
        names: The names of the set.
    """

    names: tuple[str, ...]

    def lemmas(self) -> list[Lemma]:
        """Return the names of the set as lemmas."""
        return [Lemma(name) for name in self.names]


class WordNetSynonyms:
    """The part of NLTK's WordNet reader that METEOR uses.

    Args:
        table: Text of the table: comments begin with ``#``; ``n car auto`` is a set of synonyms of nouns, and
            ``n= geese goose`` an irregular form with its base forms.
    """

    def __init__(self, table: str) -> None:
        self._synsets: dict[str, dict[str, list[Synset]]] = {pos: {} for pos in ENDINGS}
        self._irregular: dict[str, dict[str, list[str]]] = {pos: {} for pos in ENDINGS}
        for line in table.splitlines():
            if line.startswith("#"):
                continue
            kind, *names = line.split(" ")
            if kind.endswith("="):
                self._irregular[kind[:-1]][names[0]] = names[1:]
            else:
                self._add(kind, tuple(names))

    def _add(self, pos: str, names: tuple[str, ...]) -> None:
        synset = Synset(names)
        by_word = self._synsets[pos]
        for word in {name.lower() for name in names}:
            by_word.setdefault(word, []).append(synset)

    def synsets(self, word: str) -> list[Synset]:
        """Return the sets that contain a word, or a base form of it, as any part of speech."""
        word = word.lower()
        found = []
        for pos, by_word in self._synsets.items():
            for form in self._base_forms(word, pos):
                found += by_word.get(form, [])
        return found

    def _base_forms(self, word: str, pos: str) -> list[str]:
        """Return the word and its possible base forms, each once."""
        irregular = self._irregular[pos].get(word)
        if irregular is None:
            regular = [word.removesuffix(old) + new for old, new in ENDINGS[pos] if word.endswith(old)]
            return list(dict.fromkeys([word, *regular]))
        return list(dict.fromkeys([word, *irregular]))


@cache
def load_wordnet_synonyms() -> WordNetSynonyms:
    """Return the table of this package. The first call takes a fraction of a second."""
    return WordNetSynonyms(gzip.decompress(TABLE.read_bytes()).decode("ascii"))

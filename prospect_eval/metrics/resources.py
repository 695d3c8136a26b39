"""Semantic similarity and METEOR as the metrics use them: offline, cached by text.

python -c "from prospect_eval.metrics.resources import make_scoring_resources; print(make_scoring_resources().similarity(['a cup'], ['a mug']))"
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable
from dataclasses import replace
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

from prospect_core.util.errors import DataError
from prospect_eval.matching.settings import STANDARD, ScoreSettings
from prospect_eval.metrics.base import ScoringResources
from prospect_eval.text.disk_cache import DiskCache
from prospect_eval.text.embeddings import DEFAULT, open_embedding_similarity
from prospect_eval.text.wordnet import WordNet, find_wordnet

_TOKEN = re.compile(r"\w+|[^\w\s]")


def make_scoring_resources(similarity: str | None = None, settings: ScoreSettings = STANDARD) -> ScoringResources:
    """A sentence-transformers model (None: the packaged all-MiniLM-L6-v2), METEOR with WordNet where it is at hand, and
    the parameters of scoring."""
    return replace(_open_resources(similarity or DEFAULT), settings=settings)


@lru_cache(maxsize=4)
def _open_resources(similarity: str) -> ScoringResources:
    embeddings, meteor = open_embedding_similarity(similarity), Meteor(find_wordnet())
    return ScoringResources(
        similarity=embeddings,
        similarity_signature=embeddings.signature,
        meteor=meteor,
        meteor_signature=meteor.signature,
        wordnet=meteor.wordnet is not None,
        similarity_model=embeddings.model,
    )


@cache
def open_meteor_resource(wordnet: bool) -> Meteor:
    """METEOR with WordNet (a `DataError` where there is none) or without."""
    found = find_wordnet() if wordnet else None
    if wordnet and found is None:
        raise DataError("METEOR wants WordNet, which is not on this machine; `prospect-eval doctor --fix` looks for it")
    return Meteor(found)


class Meteor:
    """nltk's METEOR (0..1) of a hypothesis and its reference, over lower-case words and marks. Scores are kept on disk,
    for reading WordNet and stemming are slow; without WordNet only exact and stem matches count."""

    def __init__(self, wordnet: WordNet | None) -> None:
        self.wordnet = wordnet
        known = wordnet.version if wordnet else "no"
        self.signature = f"nltk {version('nltk')},wordnet:{known},a:.9,b:3,g:.5,tok:words"
        self._synonyms: Any = None
        self._scores: dict[tuple[str, str], float] = {}

    def __call__(self, hypothesis: str, reference: str) -> float:
        """The score of one pair."""
        if (hypothesis, reference) not in self._scores:
            self._scores[hypothesis, reference] = self._score(hypothesis, reference)
        return self._scores[hypothesis, reference]

    def prepare(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Have the scores of these pairs at hand: from memory, from disk, or worked out now."""
        new = {json.dumps(pair): pair for pair in pairs if pair not in self._scores}
        store = DiskCache(f"meteor/{re.sub('[^a-z0-9.]+', '-', self.signature)}")
        kept = store.read(new)
        self._scores |= {new[key]: struct.unpack("<d", value)[0] for key, value in kept.items()}
        store.write({key: struct.pack("<d", self(*pair)) for key, pair in new.items() if key not in kept})

    def _score(self, hypothesis: str, reference: str) -> float:
        from nltk.translate.meteor_score import single_meteor_score

        if self._synonyms is None:
            self._synonyms = self.wordnet.reader() if self.wordnet else _NoSynonyms()
        tokens = [_TOKEN.findall(text.lower()) for text in (reference, hypothesis)]
        return float(single_meteor_score(*tokens, wordnet=self._synonyms))


class _NoSynonyms:
    """Stands in for WordNet: exact and stem matches only."""

    @staticmethod
    def synsets(word: str) -> list[Any]:
        return []

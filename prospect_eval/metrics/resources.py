"""Resources for scoring: semantic similarity and METEOR, offline and cached by text."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable
from dataclasses import replace
from functools import cache, lru_cache
from importlib.metadata import version

from prospect_eval.matching.settings import STANDARD, ScoreSettings
from prospect_eval.metrics.base import ScoringResources
from prospect_eval.text.disk_cache import DiskCache
from prospect_eval.text.embeddings import DEFAULT, open_embedding_similarity
from prospect_eval.text.wordnet import VERSION as WORDNET_VERSION
from prospect_eval.text.wordnet import load_wordnet_synonyms

_TOKEN = re.compile(r"\w+|[^\w\s]")


def make_scoring_resources(similarity: str | None = None, settings: ScoreSettings = STANDARD) -> ScoringResources:
    """Open the resources for scoring.

    Args:
        similarity: A sentence-transformers model; None for the packaged all-MiniLM-L6-v2.
        settings: Parameters of scoring.

    Raises:
        UserError: The similarity model is not found.
        DataError: The similarity model cannot be read.
    """
    return replace(_open_resources(similarity or DEFAULT), settings=settings)


@lru_cache(maxsize=4)
def _open_resources(similarity: str) -> ScoringResources:
    embeddings, meteor = open_embedding_similarity(similarity), open_meteor_resource()
    return ScoringResources(
        similarity=embeddings,
        similarity_signature=embeddings.signature,
        meteor=meteor,
        meteor_signature=meteor.signature,
        similarity_model=embeddings.model,
    )


@cache
def open_meteor_resource() -> Meteor:
    """Return the METEOR instance of this process."""
    return Meteor()


class Meteor:
    """nltk's METEOR (0..1) of a text and its reference, with WordNet's synonyms.

    It compares lower-case words and punctuation. Scores are cached on disk because stemming is
    slow.

    Attributes:
        signature: Versions and settings, as part of a metric's signature.
    """

    def __init__(self) -> None:
        self.signature = f"nltk {version('nltk')},wordnet:{WORDNET_VERSION},a:.9,b:3,g:.5,tok:words"
        self._scores: dict[tuple[str, str], float] = {}

    def __call__(self, hypothesis: str, reference: str) -> float:
        """Return the score of one pair."""
        if (hypothesis, reference) not in self._scores:
            self._scores[hypothesis, reference] = self._score(hypothesis, reference)
        return self._scores[hypothesis, reference]

    def prepare(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Load the scores of pairs into memory, from the disk cache or by computing them."""
        new = {json.dumps(pair): pair for pair in pairs if pair not in self._scores}
        store = DiskCache(f"meteor/{re.sub('[^a-z0-9.]+', '-', self.signature)}")
        kept = store.read(new)
        self._scores |= {new[key]: struct.unpack("<d", value)[0] for key, value in kept.items()}
        store.write({key: struct.pack("<d", self(*pair)) for key, pair in new.items() if key not in kept})

    def _score(self, hypothesis: str, reference: str) -> float:
        from nltk.translate.meteor_score import single_meteor_score

        tokens = [_TOKEN.findall(text.lower()) for text in (reference, hypothesis)]
        return float(single_meteor_score(*tokens, wordnet=load_wordnet_synonyms()))

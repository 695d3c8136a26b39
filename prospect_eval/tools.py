"""Semantic similarity and METEOR as the metrics use them: offline, cached by text.

python -c "from prospect_eval.tools import make_tools; print(make_tools().similarity(['a cup'], ['a mug']))"
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

from prospect_core.errors import DataError
from prospect_eval.metrics.base import Tools
from prospect_eval.semantic import open_similarity
from prospect_eval.wordnet import find_wordnet

_TOKEN = re.compile(r"\w+|[^\w\s]")


@lru_cache(maxsize=4)
def make_tools(similarity: str | None = None) -> Tools:
    """A sentence-transformers model (None: the packaged all-MiniLM-L6-v2), and METEOR with WordNet where it is at hand."""
    import nltk

    embeddings, wordnet = open_similarity(similarity), find_wordnet() is not None
    signature = f"nltk {nltk.__version__},wordnet:{'3.0' if wordnet else 'no'},a:.9,b:3,g:.5,tok:words"
    return Tools(embeddings, embeddings.signature, meteor_of_pair(wordnet), signature, wordnet)


@cache
def meteor_of_pair(wordnet: bool) -> Callable[[str, str], float]:
    """nltk's METEOR (0..1) of a hypothesis and its reference, over lower-case words and marks."""
    from nltk.translate.meteor_score import single_meteor_score

    synonyms = find_wordnet() if wordnet else _NoSynonyms()
    if synonyms is None:
        raise DataError("METEOR wants WordNet, which is not on this machine; `prospect-eval doctor --fix` looks for it")

    @cache
    def score(hypothesis: str, reference: str) -> float:
        tokens = [_TOKEN.findall(text.lower()) for text in (reference, hypothesis)]
        return float(single_meteor_score(*tokens, wordnet=synonyms))

    return score


class _NoSynonyms:
    """Stands in for WordNet: exact and stem matches only."""

    @staticmethod
    def synsets(word: str) -> list[Any]:
        return []

"""CIDEr-D (Vedantam et al. 2015) on the tokens that published captioning scores and ProAssist use.

Tokens follow the Penn Treebank, in lower case and without punctuation. They equal the output of
Stanford's tokenizer, which the published code calls and which needs Java: contractions are split
("do n't", "that 's"), hyphenated words stay whole, and ``!!!`` is a token.

CIDEr-D averages over the orders n = 1..4 the clipped cosine of the tf-idf weighted n-grams. It
multiplies the mean by a Gaussian penalty on the difference of the lengths (sigma 6) and by 10. The
published code takes the number of bigrams as the length. The range is 0..10. Identical texts reach
10 only if all four orders exist and no n-gram occurs in every reference. For a corpus of one pair
all idf weights are 0.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

ORDERS = 4
SIGMA = 6.0
_NORMAL = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "—": " -- ", "–": " -- ", "…": "..."})
_TOKEN = re.compile(
    r"(?:mr|mrs|ms|dr|prof|jr|sr|vs|etc|inc|approx|e\.g|i\.e|u\.s|a\.m|p\.m)\."  # abbreviations keep their full stop
    r"|[?!]{2,}|\.{2,}|--+"
    r"|\w+(?:[-'/&](?=\w)\w+|(?<=\d)[.,:](?=\d)\w+)*"
    r"|[^\w\s]"
)
_CONTRACTION = re.compile(r"(.+?)(n't|'(?:s|m|d|re|ve|ll))")
_SPLIT = {
    "cannot": "can not", "gonna": "gon na", "gotta": "got ta", "wanna": "wan na", "gimme": "gim me", "lemme": "lem me",
}  # fmt: skip
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_DROPPED = frozenset("'`\".?!,:;-")


@lru_cache(maxsize=1 << 15)
def cider_treebank_tokens(text: str) -> tuple[str, ...]:
    """Split a text into lower-case Penn Treebank tokens without punctuation."""
    out: list[str] = []
    for token in _TOKEN.findall(text.translate(_NORMAL).lower()):
        if token in _DROPPED or re.fullmatch(r"\.{2,}|--+", token):
            continue
        if token in _SPLIT:
            out += _SPLIT[token].split()
        elif "'" in token and (parts := _CONTRACTION.fullmatch(token)):
            out += parts.groups()
        else:
            out.append(_BRACKETS.get(token, token))
    return tuple(out)


def cider_ngrams(tokens: Sequence[str]) -> list[Counter[tuple[str, ...]]]:
    """Count the n-grams of each order 1..4.

    Args:
        tokens: Tokens of a text.

    Returns:
        One counter for each order, unigrams first.
    """
    return [Counter(zip(*(tokens[k:] for k in range(n)), strict=False)) for n in range(1, ORDERS + 1)]


class CiderIdf:
    """CIDEr-D with document frequencies of n-grams over a set of references.

    A document is one reference with all its accepted wordings. A reference that occurs several
    times counts as several documents.
    """

    def __init__(self, references: Iterable[str | tuple[str, ...]]) -> None:
        texts = Counter((each,) if isinstance(each, str) else each for each in references)
        self.documents = texts.total()
        self.frequency: Counter[tuple[str, ...]] = Counter()
        for wordings, times in texts.items():
            grams = {gram for text in wordings for order in cider_ngrams(cider_treebank_tokens(text)) for gram in order}
            for gram in grams:
                self.frequency[gram] += times
        self._scores: dict[tuple[str, str], float] = {}
        self._vectors: dict[str, tuple[list[dict[tuple[str, ...], float]], list[float], int]] = {}

    def score(self, hypothesis: str, reference: str) -> float:
        """Return the CIDEr-D of one pair of texts, 0..10."""
        if (hypothesis, reference) not in self._scores:
            self._scores[hypothesis, reference] = self._score(hypothesis, reference)
        return self._scores[hypothesis, reference]

    def _score(self, hypothesis: str, reference: str) -> float:
        (left, left_norms, left_length), (right, right_norms, right_length) = map(self._vector, (hypothesis, reference))
        penalty = math.exp(-((left_length - right_length) ** 2) / (2 * SIGMA**2))
        total = 0.0
        for mine, theirs, a, b in zip(left, right, left_norms, right_norms, strict=True):
            if a and b:
                total += sum(min(w, theirs[g]) * theirs[g] for g, w in mine.items() if g in theirs) / (a * b)
        return 10.0 * penalty * total / ORDERS

    def score_of_wordings(self, hypothesis: str, wordings: Sequence[str]) -> float:
        """Return the mean CIDEr-D over several wordings of a reference, as the published code does."""
        return sum(self.score(hypothesis, text) for text in wordings) / len(wordings)

    def _vector(self, text: str) -> tuple[list[dict[tuple[str, ...], float]], list[float], int]:
        if text not in self._vectors:
            orders = cider_ngrams(cider_treebank_tokens(text))
            log_documents = math.log(max(1, self.documents))
            weights = [
                {g: c * (log_documents - math.log(max(1, self.frequency[g]))) for g, c in order.items()}
                for order in orders
            ]
            norms = [math.sqrt(sum(w * w for w in order.values())) for order in weights]
            self._vectors[text] = weights, norms, sum(orders[1].values())
        return self._vectors[text]


def cider(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Return the mean CIDEr-D over pairs, with document frequencies over these references.

    Pairs whose reference has no token are left out.

    Args:
        hypotheses: Predicted texts.
        references: Reference texts, one for each hypothesis.

    Returns:
        The mean score, 0..10.

    Raises:
        ValueError: The lists differ in length, or no reference has a token.
    """
    if len(hypotheses) != len(references):
        raise ValueError(
            f"{len(hypotheses)} hypotheses for {len(references)} references; give equally many, at least one"
        )
    pairs = [(h, r) for h, r in zip(hypotheses, references, strict=True) if cider_treebank_tokens(r)]
    if not pairs:
        raise ValueError("no reference with a word in it")
    idf = CiderIdf(r for _, r in pairs)
    return float(np.mean([idf.score(h, r) for h, r in pairs]))

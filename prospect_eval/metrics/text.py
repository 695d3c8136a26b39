"""Text scores of correctly matched pairs: BLEU, chrF, METEOR, CIDEr-D, semantic similarity.

BLEU and chrF are sacreBLEU's corpus scores, 0..100. BLEU uses 13a tokens, exponential smoothing and
effective order: orders of which the texts have no n-gram are left out, so that equal texts score
100 even if they are short. chrF uses character 6-grams and beta 2. METEOR is nltk's with WordNet's
synonyms, the mean over pairs, 0..1. Its maximum is below 1 for short sentences, so compare it with
the oracle's value. CIDEr-D (0..10) takes its document frequencies from all reference utterances of
the split, independent of the scored episodes. Similarity is the mean cosine of the pairs.

A reference with several accepted wordings (`Event.alternatives`) counts as several references. BLEU
and chrF treat them as sacreBLEU does (``nrefs:var``), METEOR takes the best, CIDEr-D the mean.

``_w`` is the score times the Jaccard index of the matching, so that few utterances are not an
advantage. It is 0 without a pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
from operator import or_
from typing import Any

import numpy as np
import sacrebleu
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.metrics.helpers import extract_all_char_ngrams
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from prospect_eval.metrics.base import Metric, Scored, ScoringResources, ratio
from prospect_eval.metrics.dialogue import FORMULAS, MATCHED_SIGNATURE, dialogue_match_counts
from prospect_eval.metrics.families import TEXT
from prospect_eval.text.cider import cider

_metric = partial(Metric, family=TEXT)

__all__ = ["bleu", "chrf", "cider", "meteor", "text_metrics"]

CHRF_ORDER, CHRF_BETA = CHRF.CHAR_ORDER, CHRF.BETA
#: headline metrics of this family
HEADLINE = ("bleu", "meteor", "similarity")
_TOKENS, _CHRF = Tokenizer13a(), CHRF()
#: a text, or all its accepted wordings
Reference = str | tuple[str, ...]
Counts = Callable[[Scored], np.ndarray]
Value = Callable[[np.ndarray], np.ndarray]


def bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Return sacreBLEU's corpus BLEU with effective order and one reference each.

    Args:
        hypotheses: Predicted texts.
        references: Reference texts, one for each hypothesis.

    Returns:
        The score, 0..100.

    Raises:
        ValueError: The lists are empty or differ in length.
    """
    _same_length(hypotheses, references)
    return float(BLEU(effective_order=True).corpus_score(list(hypotheses), [list(references)]).score)


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Return sacreBLEU's corpus chrF2 with one reference each.

    Args:
        hypotheses: Predicted texts.
        references: Reference texts, one for each hypothesis.

    Returns:
        The score, 0..100.

    Raises:
        ValueError: The lists are empty or differ in length.
    """
    _same_length(hypotheses, references)
    return float(CHRF().corpus_score(list(hypotheses), [list(references)]).score)


def meteor(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Return nltk's METEOR with WordNet's synonyms, as the mean over pairs.

    Args:
        hypotheses: Predicted texts.
        references: Reference texts, one for each hypothesis.

    Returns:
        The score, 0..1.

    Raises:
        ValueError: The lists are empty or differ in length.
    """
    from prospect_eval.metrics.resources import open_meteor_resource

    _same_length(hypotheses, references)
    score = open_meteor_resource()
    return float(np.mean([score(h, r) for h, r in zip(hypotheses, references, strict=True)]))


def _same_length(hypotheses: Sequence[str], references: Sequence[Reference]) -> None:
    if isinstance(hypotheses, str) or isinstance(references, str):
        raise ValueError("give lists of texts, not one text")
    if len(hypotheses) != len(references) or not len(hypotheses):
        raise ValueError(
            f"{len(hypotheses)} hypotheses for {len(references)} references; give equally many, at least one"
        )


@lru_cache(maxsize=1 << 16)
def _words(text: str) -> tuple[Counter[tuple[str, ...]], ...]:
    """Count word n-grams of order 1..4 of sacreBLEU's 13a tokens."""
    tokens = _TOKENS(text.rstrip()).split()
    return tuple(Counter(zip(*(tokens[k:] for k in range(n)), strict=False)) for n in range(1, 5))


@lru_cache(maxsize=1 << 16)
def _characters(text: str) -> tuple[Counter[str], ...]:
    """Count character n-grams of order 1..6 without spaces."""
    return tuple(extract_all_char_ngrams(text, CHRF_ORDER, False))


@lru_cache(maxsize=1 << 17)
def _pair_stats(hypothesis: str, reference: Reference) -> tuple[np.ndarray, np.ndarray]:
    """Return `bleu_stats` and `chrf_stats` of a text and the accepted wordings of its reference."""
    wordings = (reference,) if isinstance(reference, str) else reference
    mine, theirs = _words(hypothesis), [_words(text) for text in wordings]
    sizes = [sum(order.values()) for order in mine]
    # the maximum of each n-gram over the wordings, and the length nearest to the hypothesis', the
    # shorter in a tie
    most = theirs[0] if len(theirs) == 1 else [reduce(or_, orders) for orders in zip(*theirs, strict=True)]
    hits = [_common(left, right) for left, right in zip(mine, most, strict=True)]
    lengths = [sum(orders[0].values()) for orders in theirs]
    nearest = min(lengths, key=lambda length: (abs(length - sizes[0]), length))
    words = np.array([*hits, *sizes, sizes[0], nearest], dtype=float)
    # the wording with the best F score, the first in a tie
    each = [_character_stats(hypothesis, text) for text in wordings]
    characters = each[0] if len(each) == 1 else max(each, key=_CHRF._compute_f_score)
    return words, np.array(characters, dtype=float)


def _character_stats(hypothesis: str, reference: str) -> list[int]:
    """Return `chrf_stats` of one pair of texts."""
    out = []
    for left, right in zip(_characters(hypothesis), _characters(reference), strict=True):
        # sacreBLEU counts a hypothesis' n-grams only if the reference has any of that order
        out += [sum(left.values()) if right else 0, sum(right.values()), _common(left, right)]
    return out


def _common(left: Counter[Any], right: Counter[Any]) -> int:
    """Count the n-grams that two counters share."""
    return sum(min(left[gram], right[gram]) for gram in left.keys() & right.keys())


def bleu_stats(hypotheses: Sequence[str], references: Sequence[Reference]) -> np.ndarray:
    """Compute sacreBLEU's statistics for BLEU, summed over segments.

    Args:
        hypotheses: Predicted texts.
        references: Reference texts, or tuples of accepted wordings.

    Returns:
        (10,) matches of order 1..4, n-grams of order 1..4, hypothesis length, reference length.

    Raises:
        ValueError: The lists are empty or differ in length.
    """
    _same_length(hypotheses, references)
    total: np.ndarray = np.sum([_pair_stats(h, r)[0] for h, r in zip(hypotheses, references, strict=True)], axis=0)
    return total


def bleu_value(stats: np.ndarray) -> np.ndarray:
    """Return BLEU of summed statistics.

    It uses sacreBLEU's exponential smoothing and effective order: the mean is over the orders that
    the hypotheses have.

    Args:
        stats: (..., 10) summed `bleu_stats`.

    Returns:
        (...) scores, 0..100.
    """
    matches, totals = stats[..., :4], stats[..., 4:8]
    length, reference = stats[..., 8], stats[..., 9]
    zero = (matches <= 0) & (totals > 0)
    smooth = 2.0 ** np.cumsum(zero, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(zero, 1 / (smooth * totals), matches / totals)
        logs = np.where(totals > 0, np.log(precision), 0.0)
        brevity = np.where(length < reference, np.exp(1 - reference / length), 1.0)
        orders = (totals > 0).sum(-1)
        value = 100 * brevity * np.exp(logs.sum(-1) / np.maximum(orders, 1))
    nothing = (matches.sum(-1) <= 0) & (reference > 0)
    return np.where(reference == 0, np.nan, np.where(nothing, 0.0, value))


def chrf_stats(hypotheses: Sequence[str], references: Sequence[Reference]) -> np.ndarray:
    """Compute sacreBLEU's statistics for chrF, summed over segments.

    Args:
        hypotheses: Predicted texts.
        references: Reference texts, or tuples of accepted wordings.

    Returns:
        (18,) hypothesis, reference and common character n-grams of order 1, then of order 2, up to
        6.

    Raises:
        ValueError: The lists are empty or differ in length.
    """
    _same_length(hypotheses, references)
    total: np.ndarray = np.sum([_pair_stats(h, r)[1] for h, r in zip(hypotheses, references, strict=True)], axis=0)
    return total


def chrf_value(stats: np.ndarray) -> np.ndarray:
    """Return chrF of summed statistics, over the orders that both sides have.

    Args:
        stats: (..., 18) summed `chrf_stats`.

    Returns:
        (...) scores, 0..100.
    """
    mine, theirs, common = np.moveaxis(stats.reshape(*stats.shape[:-1], CHRF_ORDER, 3), -1, 0)
    used = (mine > 0) & (theirs > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        orders = used.sum(-1)
        precision = np.where(used, common / mine, 0.0).sum(-1) / orders
        recall = np.where(used, common / theirs, 0.0).sum(-1) / orders
        value = 100 * (1 + CHRF_BETA**2) * precision * recall / (CHRF_BETA**2 * precision + recall)
    return np.where((orders == 0) | (precision + recall == 0), 0.0, value)


def _pairs(statistic: Counts) -> Callable[[Scored], np.ndarray | str]:
    def counts(scored: Scored) -> np.ndarray | str:
        return statistic(scored) if scored.good_pairs else "no utterance is correctly matched"

    return counts


def _or_zeros(statistic: Counts, size: int) -> Counts:
    """Return a statistic that is zero if no pair is correct."""
    return lambda scored: statistic(scored) if scored.good_pairs else np.zeros(size)


def _once(name: str, statistic: Counts) -> Counts:
    """Return a statistic that a view computes once for the score and its weighted version."""
    return lambda scored: scored.once((name, scored.only, scored.resources.settings.match), lambda: statistic(scored))


def jaccard_weighted_text_counts(
    statistic: Callable[[Scored], np.ndarray | str],
) -> Callable[[Scored], np.ndarray | str]:
    """Return a statistic of an episode followed by its matching counts.

    Args:
        statistic: The statistic. The four counts of `dialogue.dialogue_match_counts` are appended.
    """

    def counts(scored: Scored) -> np.ndarray | str:
        found = statistic(scored)
        return found if isinstance(found, str) else np.concatenate([found, dialogue_match_counts(scored)])

    return counts


def jaccard_weighted_text_value(value: Value, size: int) -> Value:
    """Return a value times the Jaccard index of the matching.

    Args:
        value: The value of the first ``size`` counts.
        size: Number of counts of the value. The matching counts follow.

    Returns:
        A function of counts (..., size + 4). It is 0 if no pair is correct, although the value is
        undefined there.
    """

    def of(counts: np.ndarray) -> np.ndarray:
        jaccard = FORMULAS["jaccard"](counts[..., size:])
        return np.where(counts[..., size] <= 0, 0.0 * jaccard, value(counts[..., :size]) * jaccard)

    return of


def _best_meteor(score: Callable[[str, str], float], hypothesis: str, wordings: tuple[str, ...]) -> float:
    """Return METEOR with several references: the best over them, as published."""
    return max(score(hypothesis, text) for text in wordings)


@dataclass(frozen=True)
class TextScore:
    """A score of the texts of correctly matched pairs, which makes two metrics.

    Attributes:
        name: Name of the metric.
        counts: Count vector of an episode.
        value: Maps summed counts to the score.
        size: Length of the count vector.
        top: Largest value.
        signature: Settings of the score.
        definition: Meaning of the value, in one sentence.
        failure_mode: Predictions that score well without being good.
    """

    name: str
    counts: Counts
    value: Value
    size: int
    top: float
    signature: dict[str, str]
    definition: str
    failure_mode: str

    def _statistic(self) -> Counts:
        return _once(self.name, self.counts)

    def plain(self, base: dict[str, str]) -> Metric:
        """Return the score as a metric; undefined if no pair is correct.

        Args:
            base: Entries of the signature that all text scores share.
        """
        return _metric(
            self.name,
            _pairs(self._statistic()),
            self.value,
            {**base, **self.signature},
            range=(0.0, self.top),
            turns="pairs",
            definition=self.definition,
            failure_mode=self.failure_mode,
            headline=self.name in HEADLINE,
        )

    def weighted(self, base: dict[str, str]) -> Metric:
        """Return the score times the Jaccard index as a metric; 0 if no pair is correct.

        Args:
            base: Entries of the signature that all text scores share.
        """
        return _metric(
            f"{self.name}_w",
            jaccard_weighted_text_counts(_or_zeros(self._statistic(), self.size)),
            jaccard_weighted_text_value(self.value, self.size),
            {**base, **self.signature},
            range=(0.0, self.top),
            turns="all",
            definition=f"`{self.name}` times the Jaccard index of the matching (`matched_jaccard`).",
            failure_mode="Mixes the timing of the utterances with their wording: a low value does not show which of the two"
            " is at fault.",
        )


def text_metrics(resources: ScoringResources) -> list[Metric]:
    """Return the metrics of the family.

    Args:
        resources: Resources for scoring.
    """

    def sides(scored: Scored) -> tuple[list[str], list[tuple[str, ...]]]:
        return [p for p, _ in scored.good_pairs], [r for _, r in scored.good_pairs]

    def mean_of(score_in: Callable[[Scored], Callable[[str, tuple[str, ...]], float]]) -> Counts:
        def counts(scored: Scored) -> np.ndarray:
            score = score_in(scored)
            return np.array([sum(score(p, r) for p, r in scored.good_pairs), len(scored.good_pairs)])

        return counts

    def similarity_counts(scored: Scored) -> np.ndarray:
        if scored.failed:
            return np.array([0.0, len(scored.good_pairs)])
        good = [cosine for _, _, cosine in scored.pairs if scored.is_good(cosine)]
        return np.array([sum(good), len(good)])

    base = {**MATCHED_SIGNATURE, **resources.settings.match.signature, "sim": resources.similarity_signature}
    version = sacrebleu.__version__
    scores = [
        TextScore(
            name="bleu",
            counts=lambda s: bleu_stats(*sides(s)),
            value=bleu_value,
            size=10,
            top=100.0,
            signature={"bleu": f"nrefs:1,case:mixed,eff:yes,tok:13a,smooth:exp,sacrebleu {version}"},
            definition="Corpus BLEU (sacreBLEU, effective order) of correctly matched utterances against their reference"
            " turns.",
            failure_mode="Covers only pairs that are already similar, so a model that says little, but safely, scores"
            " higher; a synonym costs as much as the wrong object.",
        ),
        TextScore(
            name="chrf",
            counts=lambda s: chrf_stats(*sides(s)),
            value=chrf_value,
            size=3 * CHRF_ORDER,
            top=100.0,
            signature={"chrf": f"nrefs:1,case:mixed,eff:yes,nc:6,nw:0,space:no,sacrebleu {version}"},
            definition="Corpus chrF2 (sacreBLEU, character n-grams) of correctly matched utterances against their reference"
            " turns.",
            failure_mode="Covers only pairs that are already similar; a wrong count or object that differs in few letters"
            " costs little.",
        ),
        TextScore(
            name="meteor",
            counts=mean_of(lambda s: partial(_best_meteor, s.resources.meteor)),
            value=ratio,
            size=2,
            top=1.0,
            signature={"meteor": resources.meteor_signature},
            definition="METEOR (nltk) of correctly matched utterances against their reference turns, averaged over pairs.",
            failure_mode="Covers only pairs that are already similar; identical short texts score below 1, so compare with"
            " the oracle.",
        ),
        TextScore(
            name="cider",
            counts=mean_of(lambda s: s.idf.score_of_wordings),
            value=ratio,
            size=2,
            top=10.0,
            signature={"cider": f"cider-d,tok:treebank,n:4,sigma:6,idf:{resources.idf_signature}"},
            definition="CIDEr-D of correctly matched utterances against their reference turns, with document frequencies"
            " from the whole split.",
            failure_mode="Covers only pairs that are already similar; one rare word outweighs the rest of the text, and"
            " texts that occur in every episode count nothing.",
        ),
        TextScore(
            name="similarity",
            counts=similarity_counts,
            value=ratio,
            size=2,
            top=1.0,
            signature={},
            definition="Mean cosine of the sentence embeddings of correctly matched utterances and their reference turns.",
            failure_mode="Covers only pairs that are already similar, and is almost blind to the object or count:"
            " `three left` and `two left` have a cosine of 0.90.",
        ),
    ]
    out = []
    for score in scores:
        out += [score.plain(base), score.weighted(base)]
    return out

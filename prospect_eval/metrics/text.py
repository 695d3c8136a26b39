"""Words of correctly matched pairs: sacreBLEU, METEOR, semantic similarity; and each weighted by Jaccard (``_w``).

    python -c "from prospect_eval.metrics.text import bleu; print(bleu(['put the red cube away'], ['put the red cube back']))"

BLEU is sacreBLEU's corpus BLEU (13a, exponential smoothing, 0..100); METEOR is nltk's mean over pairs (0..1; it tops
out below 1 for short sentences: the oracle's value stands beside it); similarity is the mean cosine of the pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import sacrebleu
from sacrebleu.metrics import BLEU

from prospect_eval.metrics.base import Metric, Scored, Tools, ratio
from prospect_eval.metrics.dialogue import FORMULAS, MATCHED_SIGNATURE, match_counts


def bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """sacreBLEU's corpus BLEU (0..100) of one reference each; lists of different lengths or empty ones: ValueError."""
    return float(bleu_value(bleu_stats(hypotheses, references)))


def bleu_stats(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """(matches of order 1..4, n-grams of order 1..4, hypothesis length, reference length), summed over segments."""
    if len(hypotheses) != len(references) or not hypotheses:
        raise ValueError(f"{len(hypotheses)} hypotheses for {len(references)} references; as many and at least one")
    score = BLEU().corpus_score(list(hypotheses), [list(references)])
    return np.array([*score.counts, *score.totals, score.sys_len, score.ref_len], dtype=float)


def bleu_value(stats: np.ndarray) -> np.ndarray:
    """BLEU (0..100) of summed `bleu_stats` (..., 10), with sacreBLEU's exponential smoothing; vectorised."""
    matches, totals = stats[..., :4], stats[..., 4:8]
    length, reference = stats[..., 8], stats[..., 9]
    zero = (matches == 0) & (totals > 0)
    smooth = 2.0 ** np.cumsum(zero, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(zero, 1 / (smooth * totals), matches / totals)
        logs = np.where(totals > 0, np.log(precision), -np.inf)
        brevity = np.where(length < reference, np.exp(1 - reference / length), 1.0)
        value = 100 * brevity * np.exp(logs.mean(-1))
    nothing = (matches.sum(-1) == 0) & (reference > 0)
    return np.where(reference == 0, np.nan, np.where(nothing, 0.0, value))


def _pairs(statistic: Callable[[Scored], np.ndarray]) -> Callable[[Scored], np.ndarray | str]:
    def counts(scored: Scored) -> np.ndarray | str:
        return statistic(scored) if scored.good_pairs else "no correctly matched pair"

    return counts


def _weighted(statistic: Callable[[Scored], np.ndarray], size: int) -> Callable[[Scored], np.ndarray]:
    """The statistic followed by the matching counts; zeros where nothing matched."""

    def counts(scored: Scored) -> np.ndarray:
        return np.concatenate([statistic(scored) if scored.good_pairs else np.zeros(size), match_counts(scored)])

    return counts


def _times_jaccard(value: Callable[[np.ndarray], np.ndarray], size: int) -> Callable[[np.ndarray], np.ndarray]:
    def weighted(counts: np.ndarray) -> np.ndarray:
        jaccard = FORMULAS["jaccard"](counts[..., size:])
        # nothing matched: there are no words to judge, and the weight is 0
        return np.where(counts[..., size] == 0, 0.0 * jaccard, value(counts[..., :size]) * jaccard)

    return weighted


def metrics(tools: Tools) -> list[Metric]:
    """The family's metrics with the similarity and METEOR in use."""

    def bleu_counts(scored: Scored) -> np.ndarray:
        return bleu_stats([p for p, _ in scored.good_pairs], [r for _, r in scored.good_pairs])

    def meteor_counts(scored: Scored) -> np.ndarray:
        return np.array([sum(tools.meteor(p, r) for p, r in scored.good_pairs), len(scored.good_pairs)])

    def similarity_counts(scored: Scored) -> np.ndarray:
        good = [c for c in scored.matching.similarities if c > 0.5]
        return np.array([sum(good), len(good)])

    base = {**MATCHED_SIGNATURE, "sim": tools.similarity_signature}
    meteor_name = "meteor" if tools.wordnet else "meteor_exact_stem"
    families: list[
        tuple[str, Callable[[Scored], np.ndarray], Callable[[np.ndarray], np.ndarray], int, dict[str, str]]
    ] = [
        ("bleu", bleu_counts, bleu_value, 10, {**base, "bleu": f"13a,exp,sacrebleu {sacrebleu.__version__}"}),
        (meteor_name, meteor_counts, ratio, 2, {**base, "meteor": tools.meteor_signature}),
        ("similarity", similarity_counts, ratio, 2, base),
    ]
    out = []
    for name, statistic, value, size, signature in families:
        out.append(Metric(name, _pairs(statistic), value, signature))
        out.append(Metric(f"{name}_w", _weighted(statistic, size), _times_jaccard(value, size), signature))
    if not tools.wordnet:
        missing = "WordNet is not installed; `prospect-eval doctor --fix` looks for it"
        out += [Metric(name, lambda _: missing, ratio, base) for name in ("meteor", "meteor_w")]
    return out

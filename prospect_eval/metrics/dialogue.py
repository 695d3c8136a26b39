"""ProAssist's matched dialogue scores.

There are M = C + X pairs, of which C have a cosine > 0.5 (`MatchSettings.good_similarity`), S
missed references and U redundant predictions. Precision is C / (M + U) and recall is C / (M + S).
F1 is their harmonic mean, and Jaccard is C / (M + S + U). The missing rate is S / (M + S), and the
redundant rate is U / (M + U). Each is 0..1 and undefined if the divisor is 0.
`prospect_eval.metrics.published` returns 0 in that case, as the published code does.

The mean |dt| is over the C correct pairs, in seconds. It does not measure missed references.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from prospect_eval.matching.settings import STANDARD, MatchSettings
from prospect_eval.metrics.base import POSITIVE, Metric, Scored, f1, ratio
from prospect_eval.metrics.families import MATCHED

_metric = partial(Metric, family=MATCHED)


def dialogue_match_counts(scored: Scored) -> np.ndarray:
    """Count (C correct, X mismatched, S missed, U redundant)."""
    good = sum(scored.is_good(cosine) for _, _, cosine in scored.pairs)
    pairs, predicted, reference = scored.tally(scored.matching.pairs)
    return np.array([good, pairs - good, reference - pairs, predicted - pairs])


def dialogue_time_differences(scored: Scored) -> np.ndarray:
    """Count (sum of |dt| in seconds, pairs) over the correct pairs."""
    predictions, references = scored.predictions, scored.references
    gaps = [
        abs(predictions[p][0] - references[r][0]) / scored.fps
        for p, r, cosine in scored.pairs
        if scored.is_good(cosine)
    ]
    return np.array([sum(gaps), len(gaps)])


def dialogue_scores(counts: Mapping[str, float]) -> dict[str, float | None]:
    """Compute the matched scores of pooled counts.

    Args:
        counts: Numbers ``correct``, ``mismatched``, ``missed`` and ``redundant``.

    Returns:
        ``precision``, ``recall``, ``f1``, ``jaccard``, ``missing_rate`` and ``redundant_rate``;
        None where undefined.
    """
    table = np.array([counts[key] for key in ("correct", "mismatched", "missed", "redundant")], dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {name: float(formula(table)) for name, formula in FORMULAS.items()}
    return {name: value if np.isfinite(value) else None for name, value in values.items()}


FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "precision": lambda c: c[..., 0] / (c[..., 0] + c[..., 1] + c[..., 3]),
    "recall": lambda c: c[..., 0] / (c[..., 0] + c[..., 1] + c[..., 2]),
    "f1": lambda c: f1(np.stack([c[..., 0], c[..., 0] + c[..., 1] + c[..., 3], c[..., 0] + c[..., 1] + c[..., 2]], -1)),
    "jaccard": lambda c: c[..., 0] / c.sum(-1),
    "missing_rate": lambda c: c[..., 2] / (c[..., 0] + c[..., 1] + c[..., 2]),
    "redundant_rate": lambda c: c[..., 3] / (c[..., 0] + c[..., 1] + c[..., 3]),
}
#: formulas that do not use unmatched utterances
PAIRS_ONLY = ("recall", "missing_rate")
MATCHED_SIGNATURE = {
    "match": "proassist",
    **STANDARD.match.signature,
}


_BLIND = (
    "Blind to which object, count or place is named: the reference with every object swapped scores 0.951"
    " (45 workbench episodes)"
)
#: (definition, failure mode) of each metric
_ABOUT = {
    "precision": ("Share of the utterances that are matched with a reference turn of similar wording (cosine above 0.5).",
                  f"{_BLIND}; a model that speaks only once, at a safe moment, scores 1."),
    "recall": ("Share of the reference turns that are matched with an utterance of similar wording (cosine above 0.5).",
               f"{_BLIND}; utterances without a match cost nothing."),
    "f1": ("F1 of utterances matched with reference turns in the dataset's time window and with similar wording"
           " (cosine above 0.5).",
           f"{_BLIND}; `content_accuracy` counts that."),
    "jaccard": ("Correct pairs divided by the sum of all pairs, missed turns and redundant utterances.", f"{_BLIND}."),
    "missing_rate": ("Share of the reference turns without a matched utterance.",
                     "A pair with different wording does not count as missed; talking all the time scores 0."),
    "redundant_rate": ("Share of the utterances without a matched reference turn.",
                       "A pair with different wording does not count as redundant; a single safe utterance scores 0."),
}  # fmt: skip


def dialogue_metrics(similarity_signature: str, match: MatchSettings = STANDARD.match) -> list[Metric]:
    """Return the metrics of the family.

    Args:
        similarity_signature: Name and digest of the similarity model.
        match: Parameters of the matching.
    """
    signature = {**MATCHED_SIGNATURE, **match.signature, "sim": similarity_signature}
    out = []
    for name, formula in FORMULAS.items():
        definition, failure_mode = _ABOUT[name]
        out.append(
            _metric(
                f"matched_{name}", dialogue_match_counts, formula, signature, turns="pairs" if name in PAIRS_ONLY else "all",
                better="lower" if name.endswith("rate") else "higher", definition=definition, failure_mode=failure_mode,
                headline=name == "f1", companion="content_accuracy" if name == "f1" else "",
            )
        )  # fmt: skip
    seconds = _metric(
        "matched_time_diff_s", dialogue_time_differences, ratio, signature, better="lower", unit="s", turns="pairs",
        range=POSITIVE, definition="Mean absolute time between correctly matched utterances and their reference turns.",
        failure_mode="Covers only correct pairs, so missed turns do not count.",
    )  # fmt: skip
    return [*out, seconds]

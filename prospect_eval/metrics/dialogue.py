"""ProAssist's matched dialogue scores, and exact answers to the user's questions.

    python -c "from prospect_eval.metrics.dialogue import dialogue_scores; print(dialogue_scores({'correct': 13, 'mismatched': 19, 'missed': 22, 'redundant': 4}))"

With M = C + X pairs, C of them with cosine > 0.5, S missed and U redundant: precision C / (M + U), recall C / (M + S),
F1 their harmonic mean, Jaccard C / (M + S + U); each 0..1 and undefined when there is nothing to divide by.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np

from prospect_eval.metrics.base import GOOD_SIMILARITY, Metric, Scored, f1, ratio

ANSWER_WITHIN_S = 5


def match_counts(scored: Scored) -> np.ndarray:
    """(C correct, X mismatched, S missed, U redundant)."""
    matching = scored.matching
    good = sum(cosine > GOOD_SIMILARITY for cosine in matching.similarities)
    return np.array([good, len(matching.pairs) - good, len(matching.missed), len(matching.redundant)])


def dialogue_scores(counts: Mapping[str, float]) -> dict[str, float | None]:
    """Precision, recall, f1, jaccard, missing_rate and redundant_rate of pooled counts ``correct``, ``mismatched``,
    ``missed`` and ``redundant``; None where undefined."""
    table = np.array([counts[key] for key in ("correct", "mismatched", "missed", "redundant")], dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {name: float(formula(table)) for name, formula in FORMULAS.items()}
    return {name: value if np.isfinite(value) else None for name, value in values.items()}


def answered(kind: str) -> Callable[[Scored], np.ndarray | str]:
    """(right answers, questions) of one kind: the first reply within 5 s holds an accepted value as a whole word."""

    def counts(scored: Scored) -> np.ndarray | str:
        episode = scored.record.episode
        questions = [(frame, event) for frame, event in episode.user_turns() if event.question == kind]
        if not questions:
            return f"no question on the {kind}"
        right = 0
        for frame, event in questions:
            limit = frame + ANSWER_WITHIN_S * episode.fps
            reply = next((text for f, text in scored.predictions if frame < f <= limit), "")
            right += any(
                re.search(rf"(?<![\w-]){re.escape(a)}(?![\w-])", reply, re.IGNORECASE) is not None
                for a in event.accepted
            )
        return np.array([right, len(questions)])

    return counts


FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "precision": lambda c: c[..., 0] / (c[..., 0] + c[..., 1] + c[..., 3]),
    "recall": lambda c: c[..., 0] / (c[..., 0] + c[..., 1] + c[..., 2]),
    "f1": lambda c: f1(np.stack([c[..., 0], c[..., 0] + c[..., 1] + c[..., 3], c[..., 0] + c[..., 1] + c[..., 2]], -1)),
    "jaccard": lambda c: c[..., 0] / c.sum(-1),
    "missing_rate": lambda c: c[..., 2] / (c[..., 0] + c[..., 1] + c[..., 2]),
    "redundant_rate": lambda c: c[..., 3] / (c[..., 0] + c[..., 1] + c[..., 3]),
}
MATCHED_SIGNATURE = {
    "match": "proassist",
    "factor": "0.3",
    "power": "1.5",
    "window": "dataset",
    "good": ">0.5",
}


def metrics(similarity_signature: str) -> list[Metric]:
    """The family's metrics with the similarity in use."""
    signature = {**MATCHED_SIGNATURE, "sim": similarity_signature}
    return [
        *(
            Metric(f"matched_{name}", match_counts, FORMULAS[name], signature)
            for name in ("precision", "recall", "f1", "jaccard")
        ),
        *(
            Metric(f"answer_accuracy@{kind}", answered(kind), ratio, {"within": f"{ANSWER_WITHIN_S}s"})
            for kind in ("present", "past", "remainder")
        ),
    ]

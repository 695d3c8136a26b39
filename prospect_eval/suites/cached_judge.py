"""An LLM judge with replies cached on disk, and the agreement of two LLM judges."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from prospect_core.util.errors import DataError
from prospect_eval.text.disk_cache import DiskCache


class NoVerdictError(DataError):
    """The LLM judge gives no reply to this question; the other questions still get one."""


@dataclass(frozen=True)
class CachedJudge:
    """An LLM judge with its instruction.

    Attributes:
        name: Name of the LLM judge with everything that changes its replies (revision,
            temperature); part of the cache's key.
        ask: Returns the reply to a prompt, from an endpoint or a local model. It raises
            `NoVerdictError` if the model gives no reply. Any other error ends the judging; the
            replies until then stay in the cache.
        instruction: Text before each judged text.
        is_readable: Whether a reply contains a verdict. Other replies are not cached, so that they
            are requested again.
        cache: Name of the cache.
    """

    name: str
    ask: Callable[[str], str]
    instruction: str
    is_readable: Callable[[str], bool]
    cache: str

    def judge(
        self, texts: Iterable[str], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> dict[str, str]:
        """Return the reply to each text; an empty one if the LLM judge gives none.

        Args:
            texts: The texts to judge; equal texts need one request.
            progress: Called with (number of new replies, number of texts not in the cache).
        """
        keys = {text: json.dumps([self.name, self.instruction, text]) for text in texts}
        store = DiskCache(self.cache)
        kept = {key: value.decode() for key, value in store.read(keys.values()).items()}
        replies = {text: kept[key] for text, key in keys.items() if key in kept}
        missing = [text for text in keys if text not in replies]
        for done, text in enumerate(missing, 1):
            replies[text] = self._ask(text)
            if self.is_readable(replies[text]):
                store.write({keys[text]: replies[text].encode()}, replace=True)
            progress(done, len(missing))
        return replies

    def _ask(self, text: str) -> str:
        try:
            return self.ask(f"{self.instruction}\n\n{text}")
        except NoVerdictError:
            return ""


@dataclass(frozen=True)
class JudgeAgreement:
    """Agreement of two LLM judges.

    Attributes:
        compared: Number of questions with a score of both.
        unreadable: Number of questions without a score of one or both.
        exact: Fraction of equal scores; None without a compared question.
        kappa: Quadratic-weighted Cohen's kappa: 1 for equal scores, 0 for the agreement expected by
            chance; None if undefined, as for two constant LLM judges.
    """

    compared: int
    unreadable: int
    exact: float | None
    kappa: float | None


def compare_judges(
    first: Mapping[str, int | None], second: Mapping[str, int | None], scores: Iterable[int]
) -> JudgeAgreement:
    """Return the agreement of two LLM judges on their common questions.

    Args:
        first: Score of each question by its id; None for a reply without a score.
        second: The same for the other LLM judge.
        scores: All possible scores, in order.
    """
    from sklearn.metrics import cohen_kappa_score

    asked = [name for name in first if name in second]
    pairs = [(first[name], second[name]) for name in asked]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    if not known:
        return JudgeAgreement(compared=0, unreadable=len(pairs), exact=None, kappa=None)
    exact = sum(a == b for a, b in known) / len(known)
    kappa: float | None = None
    if len({score for pair in known for score in pair}) > 1:
        left, right = zip(*known, strict=True)
        value = float(cohen_kappa_score(left, right, labels=list(scores), weights="quadratic"))
        kappa = value if np.isfinite(value) else None
    return JudgeAgreement(compared=len(known), unreadable=len(pairs) - len(known), exact=exact, kappa=kappa)

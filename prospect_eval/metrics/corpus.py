"""References of a whole split, for CIDEr's document frequencies and the values of answers.

An episode's score must not depend on the other scored episodes. Both therefore come from the split,
and their digests are part of the signatures.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from prospect_core.timeline import Episode
from prospect_eval.text.cider import CiderIdf


@dataclass(frozen=True)
class Corpus:
    """Reference texts and accepted answers of a set of episodes.

    Attributes:
        references: Number of occurrences of each reference, by its accepted wordings.
        answers: Accepted values of all questions of each kind, in lower case and sorted.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}
    references: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, episodes: Iterable[Episode]) -> Corpus:
        """Return the corpus of episodes."""
        references: Counter[tuple[str, ...]] = Counter()
        answers: dict[str, set[str]] = {}
        for episode in episodes:
            references.update(turn.wordings for turn in episode.utterances())
            for _, event in episode.user_turns():
                if event.question:
                    answers.setdefault(event.question, set()).update(value.lower() for value in event.accepted)
        return cls(dict(references), {kind: tuple(sorted(values)) for kind, values in answers.items()})

    @classmethod
    def merged(cls, corpora: Iterable[Corpus]) -> Corpus:
        """Return the corpus of the episodes of several corpora."""
        references: Counter[tuple[str, ...]] = Counter()
        answers: dict[str, set[str]] = {}
        for corpus in corpora:
            references.update(corpus.references)
            for kind, values in corpus.answers.items():
                answers.setdefault(kind, set()).update(values)
        return cls(dict(references), {kind: tuple(sorted(values)) for kind, values in answers.items()})

    @cached_property
    def idf(self) -> CiderIdf:
        """Document frequencies for CIDEr."""
        return CiderIdf(Counter(self.references).elements())

    @cached_property
    def idf_digest(self) -> str:
        """12 hexadecimal digits that identify the references and their numbers."""
        return _digest(self.plain()["references"])

    @cached_property
    def answers_digest(self) -> str:
        """12 hexadecimal digits that identify the accepted values of each kind of question."""
        return _digest(sorted((kind, list(values)) for kind, values in self.answers.items()))

    def plain(self) -> dict[str, Any]:
        """Return the corpus as plain values for JSON, in a fixed order."""
        return {
            "references": [[list(wordings), times] for wordings, times in sorted(self.references.items())],
            "answers": {kind: list(values) for kind, values in sorted(self.answers.items())},
        }


def _digest(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]

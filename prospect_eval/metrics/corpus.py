"""The references of a whole split: what CIDEr's document frequencies and the values of answers come from.

An episode's score must not depend on which other episodes were scored, so both come from the split, and digests of them
are part of the signatures.
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
        references: How often each reference occurs, by its accepted wordings.
        answers: By kind of question, the accepted values of all its questions, in lower case and sorted.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}
    references: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, episodes: Iterable[Episode]) -> Corpus:
        """The corpus of these episodes."""
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
        """The corpus of the episodes of all these."""
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
        """12 hex digits of the references and how often each occurs."""
        return _digest(self.plain()["references"])

    @cached_property
    def answers_digest(self) -> str:
        """12 hex digits of the accepted values by kind of question."""
        return _digest(sorted((kind, list(values)) for kind, values in self.answers.items()))

    def plain(self) -> dict[str, Any]:
        """As JSON; the same corpus gives the same bytes."""
        return {
            "references": [[list(wordings), times] for wordings, times in sorted(self.references.items())],
            "answers": {kind: list(values) for kind, values in sorted(self.answers.items())},
        }


def _digest(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]

"""View of one record for the metrics: utterances, pairs and states, computed once and shared.

``Scored.view(kind)`` restricts the view to one kind of turn: ``proactive``, ``responsive``, or
``label:NAME``. Pairs are made over all turns and counted by the kind of their reference. An
unpaired utterance counts by its own kind (proactive or responsive by the same rule as references)
and has no label.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any, TypeVar

import numpy as np

from prospect_core.records import EpisodeRecord
from prospect_core.timeline import STEP_STATES, DialogState, Utterance
from prospect_eval.matching.matcher import Matching, Similarity, match_events, match_utterances
from prospect_eval.matching.settings import STANDARD, ScoreSettings
from prospect_eval.metrics.corpus import Corpus
from prospect_eval.text.cider import CiderIdf

T = TypeVar("T")


@dataclass(frozen=True)
class ScoringResources:
    """Resources that metrics share.

    Attributes:
        similarity: Cosines of two lists of texts.
        similarity_signature: Name and digest of the similarity model.
        meteor: METEOR of a hypothesis and its reference.
        meteor_signature: Version and settings of METEOR.
        similarity_model: Folder or name that opens the similarity model again; empty if there is
            none.
        settings: Parameters of scoring.
        corpus: References of the whole split. None takes each episode's own, which is correct only
            for a single episode.
    """

    similarity: Similarity
    similarity_signature: str
    meteor: Callable[[str, str], float]
    meteor_signature: str
    settings: ScoreSettings = STANDARD
    similarity_model: str = ""
    corpus: Corpus | None = None

    @property
    def idf_signature(self) -> str:
        """Digest of the references for CIDEr's document frequencies."""
        return self.corpus.idf_digest if self.corpus else "episode"

    @property
    def answers_signature(self) -> str:
        """Digest of the questions for the values of answers."""
        return self.corpus.answers_digest if self.corpus else "episode"


def add_corpus_to_scored_resources(resources: ScoringResources, records: Iterable[EpisodeRecord]) -> ScoringResources:
    """Return resources with a corpus.

    Args:
        resources: Resources for scoring. Their own corpus is kept.
        records: Records whose references become the corpus otherwise, failed ones included.
    """
    if resources.corpus is not None:
        return resources
    return replace(resources, corpus=Corpus.of(record.episode for record in records))


@dataclass(frozen=True)
class Scored:
    """View of one record for the metrics. Use ``Scored.over`` for records that are scored together.

    A failed episode counts as the worst case: it has no utterances, every state is wrong on every
    frame, every probability has the wrong rank, and each reference turn is paired with an empty
    text.

    Attributes:
        record: The record.
        resources: Resources for scoring.
        only: Kind of the turns that count; empty for all.
        compute: (F,) seconds from the arrival of a frame to the end of its step; None if not
            measured.
    """

    record: EpisodeRecord
    resources: ScoringResources
    only: str = ""
    compute: tuple[float, ...] | None = None
    #: values that do not depend on ``only``, shared by all views
    _shared: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def over(cls, records: Iterable[EpisodeRecord], resources: ScoringResources) -> list[Scored]:
        """Return views of records that are scored together.

        Args:
            records: The records.
            resources: Resources for scoring. Without a corpus, the references of the records are
                the corpus.
        """
        found = list(records)
        resources = add_corpus_to_scored_resources(resources, found)
        return [cls(record, resources) for record in found]

    def view(self, only: str) -> Scored:
        """Return a view of the same record that counts turns of one kind.

        Args:
            only: ``proactive``, ``responsive`` or ``label:NAME``; empty for all turns.
        """
        key = ("view", only, self.resources.settings, self.compute)
        return self.once(key, lambda: replace(self, only=only))

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return a value that is computed on first use and shared by all views.

        Args:
            key: Key of the value.
            make: Computes the value.
        """
        if key not in self._shared:
            self._shared[key] = make()
        value: T = self._shared[key]
        return value

    @property
    def corpus(self) -> Corpus:
        """The references of the split, or of this episode if the resources have no corpus."""
        return self.resources.corpus or self.once("corpus", lambda: Corpus.of([self.record.episode]))

    @property
    def idf(self) -> CiderIdf:
        """Document frequencies for CIDEr."""
        return self.corpus.idf

    @property
    def failed(self) -> bool:
        """Whether the episode has no prediction."""
        return self.record.status != "ok"

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.record.episode.fps

    @property
    def minutes(self) -> float:
        """Length of the episode in minutes."""
        return self.record.episode.num_frames / self.fps / 60

    @property
    def turns(self) -> list[Utterance]:
        """The reference utterances."""
        return self.once("turns", self.record.episode.utterances)

    @property
    def references(self) -> list[tuple[int, str]]:
        """(frame, text) of the reference utterances."""
        return self.once("references", lambda: [(u.frame, u.text) for u in self.turns])

    @property
    def wordings(self) -> list[tuple[str, ...]]:
        """The accepted wordings of each reference utterance; the first is its text."""
        return self.once("wordings", lambda: [turn.wordings for turn in self.turns])

    @property
    def predictions(self) -> list[tuple[int, str]]:
        """(frame, text) of the predicted utterances."""
        return self.once("predictions", lambda: [(u.frame, u.text) for u in self.record.utterances])

    @property
    def matching(self) -> Matching:
        """ProAssist's matching, with the dataset's window and the parameters of the settings."""
        episode, settings = self.record.episode, self.resources.settings.match
        window = settings.window(episode.dataset)
        similarity = best_scored_wording_similarity(self.resources.similarity, self.wordings)
        return self.once(
            ("matching", window, settings.distance_factor, settings.distance_power),
            lambda: match_utterances(
                self.predictions,
                self.references,
                similarity,
                window,
                episode.fps,
                settings.distance_factor,
                settings.distance_power,
            ),
        )

    def is_good(self, cosine: float) -> bool:
        """Return whether a matched pair with this cosine is correct."""
        return cosine > self.resources.settings.match.good_similarity

    def event_pairs(self, seconds: float) -> list[tuple[int, int]]:
        """Return (prediction, reference) indices of utterances, paired by time only.

        Args:
            seconds: Largest distance of a pair.
        """
        frames = [f for f, _ in self.predictions], [f for f, _ in self.references]
        return self.once(("events", seconds), lambda: match_events(*frames, seconds * self.fps))

    @cached_property
    def counts_reference(self) -> np.ndarray:
        """(R,) booleans: whether each reference utterance counts in this view."""
        if not self.only:
            return np.ones(len(self.turns), bool)
        if self.only.startswith("label:"):
            label = self.only.removeprefix("label:")
            return np.array([label in list_scored_turn_labels(turn) for turn in self.turns], bool)
        return np.array([turn.responsive == (self.only == "responsive") for turn in self.turns], bool)

    @cached_property
    def counts_alone(self) -> np.ndarray:
        """(P,) booleans: whether each predicted utterance counts in this view if it is unpaired."""
        if not self.only or self.only.startswith("label:"):
            return np.full(len(self.predictions), not self.only)
        frames = [f for f, _ in self.predictions]
        theirs = self.once("responsive", lambda: self.record.episode.responsive(frames))
        return np.array([(frame in theirs) == (self.only == "responsive") for frame in frames], bool)

    def tally(self, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
        """Return the (pairs, predicted, reference) that count in this view.

        Args:
            pairs: (prediction, reference) indices of the pairs.
        """
        ours, theirs = np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T
        hits = int(self.counts_reference[theirs].sum())
        alone = self.counts_alone.copy()
        alone[ours] = False
        return np.array([hits, hits + int(alone.sum()), int(self.counts_reference.sum())])

    @cached_property
    def pairs(self) -> list[tuple[int, int, float]]:
        """(prediction, reference, cosine) of the matched pairs that count."""
        matching = self.matching
        return [
            (p, r, cosine)
            for (p, r), cosine in zip(matching.pairs, matching.similarities, strict=True)
            if self.counts_reference[r]
        ]

    @cached_property
    def good_pairs(self) -> list[tuple[str, tuple[str, ...]]]:
        """(predicted text, accepted wordings of the reference) of the correct pairs."""
        if self.failed:
            return [("", each) for each, counts in zip(self.wordings, self.counts_reference, strict=True) if counts]
        predictions, wordings = self.predictions, self.wordings
        return [(predictions[p][1], wordings[r]) for p, r, cosine in self.pairs if self.is_good(cosine)]

    @property
    def reference_states(self) -> np.ndarray:
        """(F, K) indices of the reference states of K steps."""
        return self.once("reference states", lambda: self._by_frame(self.record.episode.states_by_change()))

    @property
    def tracked_states(self) -> np.ndarray:
        """(F, K) indices of the tracked states of K steps."""
        if self.failed:
            return self._wrong_states
        return self.once("tracked states", lambda: self._by_frame(self.record.tracked_states()))

    @property
    def head_states(self) -> np.ndarray | None:
        """(F, K) indices of the state head's most likely states; None if the record has none."""
        if self.failed:
            return self._wrong_states
        probs = self.record.state_probs

        def most_likely() -> np.ndarray:
            # a flat list, because NumPy is slow on nested tuples
            flat = list(chain.from_iterable(chain.from_iterable(probs)))
            states: np.ndarray = np.array(flat).reshape(len(probs), -1, 3).argmax(-1)
            return states

        return self.once("head states", most_likely) if probs else None

    @property
    def speaking_labels(self) -> np.ndarray:
        """(F,) booleans: whether the reference speaks on each frame."""
        return self.once("speaking", lambda: self._marks(f for f, _ in self.references))

    @property
    def update_labels(self) -> np.ndarray:
        """(F,) booleans: whether the reference state changes on each frame."""
        return self.once("updates", lambda: self._marks(f for f, _, _ in self.record.episode.transitions()))

    @property
    def speaking_prob(self) -> Sequence[float]:
        """(F,) speaking probabilities; empty if the record has none."""
        return (~self.speaking_labels).astype(float).tolist() if self.failed else self.record.speaking_prob

    @property
    def update_prob(self) -> Sequence[float]:
        """(F,) update probabilities; empty if the record has none."""
        return (~self.update_labels).astype(float).tolist() if self.failed else self.record.update_prob

    @property
    def _wrong_states(self) -> np.ndarray:
        return (self.reference_states + 1) % len(STEP_STATES)

    def _marks(self, frames: Any) -> np.ndarray:
        out = np.zeros(self.record.episode.num_frames, bool)
        out[[frame - self.record.episode.start_frame for frame in frames]] = True
        return out

    def _by_frame(self, changes: list[tuple[int, DialogState]]) -> np.ndarray:
        episode = self.record.episode
        out = np.zeros((episode.num_frames, len(episode.task.steps)), dtype=np.int8)
        for frame, state in changes:
            out[max(0, frame - episode.start_frame) :] = [STEP_STATES.index(s) for s in state.states]
        return out


def best_scored_wording_similarity(similarity: Similarity, wordings: Sequence[tuple[str, ...]]) -> Similarity:
    """Return a similarity to references with several wordings.

    It is the largest absolute cosine over the wordings of each reference.

    Args:
        similarity: Cosines of two lists of texts.
        wordings: Accepted wordings of each reference.
    """
    if all(len(each) == 1 for each in wordings):
        return similarity
    flat = [text for each in wordings for text in each]
    begins = np.cumsum([0, *(len(each) for each in wordings[:-1])])

    def best(left: Sequence[str], _: Sequence[str]) -> np.ndarray:
        cosines = np.abs(np.asarray(similarity(left, flat), dtype=float))
        return np.asarray(np.maximum.reduceat(cosines, begins, axis=1))

    return best


def list_scored_turn_labels(turn: Utterance) -> set[str]:
    """List the kinds in an utterance's labels.

    ``initiative|instruction,feedback`` has the kinds ``instruction`` and ``feedback``.
    """
    return {
        kind.strip()
        for event in turn.events
        for kind in event.labels.rpartition("|")[2].split(",")
        if event.labels and kind.strip()
    }

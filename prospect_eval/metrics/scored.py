"""One record as the metrics see it: utterances, their pairs, states by frame; each worked out once and shared.

    python -c "from prospect_eval.metrics.scored import Scored; help(Scored)"

``Scored.view(kind)`` looks at one kind of turn only: ``proactive``, ``responsive``, or ``label:NAME``. Pairs are made
over all turns, then counted by the kind of their reference; an utterance without a partner counts by what it is itself
(proactive or responsive by the rule that references follow), and has no label.
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
        similarity_signature: The similarity model's name and digest.
        meteor: METEOR of a hypothesis and its reference.
        meteor_signature: Version and settings of METEOR.
        similarity_model: The folder or name to open the similarity model by again; empty where it has none.
        settings: The parameters of scoring.
        corpus: The references of the whole split; None: each episode's own, which only suits a single episode.
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
        """Which references CIDEr's document frequencies come from."""
        return self.corpus.idf_digest if self.corpus else "episode"

    @property
    def answers_signature(self) -> str:
        """Which questions the values of answers come from."""
        return self.corpus.answers_digest if self.corpus else "episode"


def add_corpus_to_scored_resources(resources: ScoringResources, records: Iterable[EpisodeRecord]) -> ScoringResources:
    """The tools with a corpus: their own, or that of the records, failed ones included."""
    if resources.corpus is not None:
        return resources
    return replace(resources, corpus=Corpus.of(record.episode for record in records))


@dataclass(frozen=True)
class Scored:
    """One record with what several metrics need of it. ``Scored.over`` sees several that are scored together.

    A failed episode counts as the worst case: nothing is said, every state is wrong on every frame, every probability
    ranks the wrong way, and each reference turn is paired with an empty text.
    """

    record: EpisodeRecord
    resources: ScoringResources
    only: str = ""
    #: (frames,) seconds from the arrival of a frame to the end of its step; None: not measured
    compute: tuple[float, ...] | None = None
    #: what does not depend on ``only``, shared by all views
    _shared: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def over(cls, records: Iterable[EpisodeRecord], resources: ScoringResources) -> list[Scored]:
        """Records that are scored together. Where the tools have no corpus, their references are the corpus."""
        found = list(records)
        resources = add_corpus_to_scored_resources(resources, found)
        return [cls(record, resources) for record in found]

    def view(self, only: str) -> Scored:
        """The same record, counting turns of one kind."""
        key = ("view", only, self.resources.settings, self.compute)
        return self.once(key, lambda: replace(self, only=only))

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """A value made on first use and shared by all views."""
        if key not in self._shared:
            self._shared[key] = make()
        value: T = self._shared[key]
        return value

    @property
    def corpus(self) -> Corpus:
        """The references of the split, or, where the tools have none, of this episode."""
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
        return self.record.episode.fps

    @property
    def minutes(self) -> float:
        return self.record.episode.num_frames / self.fps / 60

    @property
    def turns(self) -> list[Utterance]:
        """The reference utterances."""
        return self.once("turns", self.record.episode.utterances)

    @property
    def references(self) -> list[tuple[int, str]]:
        return self.once("references", lambda: [(u.frame, u.text) for u in self.turns])

    @property
    def wordings(self) -> list[tuple[str, ...]]:
        """The accepted wordings of each reference utterance, its text first."""
        return self.once("wordings", lambda: [turn.wordings for turn in self.turns])

    @property
    def predictions(self) -> list[tuple[int, str]]:
        return self.once("predictions", lambda: [(u.frame, u.text) for u in self.record.utterances])

    @property
    def matching(self) -> Matching:
        """ProAssist's matching in the window of the episode's dataset, with the parameters of the settings."""
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
        """Whether a matched pair of this cosine counts as correct."""
        return cosine > self.resources.settings.match.good_similarity

    def event_pairs(self, seconds: float) -> list[tuple[int, int]]:
        """(prediction, reference) indices of utterances paired in time alone, at most ``seconds`` apart."""
        frames = [f for f, _ in self.predictions], [f for f, _ in self.references]
        return self.once(("events", seconds), lambda: match_events(*frames, seconds * self.fps))

    @cached_property
    def counts_reference(self) -> np.ndarray:
        """(references,) whether a reference utterance counts in this view."""
        if not self.only:
            return np.ones(len(self.turns), bool)
        if self.only.startswith("label:"):
            label = self.only.removeprefix("label:")
            return np.array([label in list_scored_turn_labels(turn) for turn in self.turns], bool)
        return np.array([turn.responsive == (self.only == "responsive") for turn in self.turns], bool)

    @cached_property
    def counts_alone(self) -> np.ndarray:
        """(predictions,) whether a predicted utterance counts in this view when it has no partner."""
        if not self.only or self.only.startswith("label:"):
            return np.full(len(self.predictions), not self.only)
        frames = [f for f, _ in self.predictions]
        theirs = self.once("responsive", lambda: self.record.episode.responsive(frames))
        return np.array([(frame in theirs) == (self.only == "responsive") for frame in frames], bool)

    def tally(self, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
        """(pairs, predicted, reference) that count in this view."""
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
        """(predicted text, accepted wordings of the reference) of matched pairs that are similar enough."""
        if self.failed:
            return [("", each) for each, counts in zip(self.wordings, self.counts_reference, strict=True) if counts]
        predictions, wordings = self.predictions, self.wordings
        return [(predictions[p][1], wordings[r]) for p, r, cosine in self.pairs if self.is_good(cosine)]

    @property
    def reference_states(self) -> np.ndarray:
        """(frames, K) indices of the reference states."""
        return self.once("reference states", lambda: self._by_frame(self.record.episode.states_by_change()))

    @property
    def tracked_states(self) -> np.ndarray:
        """(frames, K) indices of the tracked states."""
        if self.failed:
            return self._wrong_states
        return self.once("tracked states", lambda: self._by_frame(self.record.tracked_states()))

    @property
    def head_states(self) -> np.ndarray | None:
        """(frames, K) indices of the state head's most likely states; None where the record has none."""
        if self.failed:
            return self._wrong_states
        probs = self.record.state_probs

        def most_likely() -> np.ndarray:
            # one flat list: NumPy is slow on nested tuples
            flat = list(chain.from_iterable(chain.from_iterable(probs)))
            states: np.ndarray = np.array(flat).reshape(len(probs), -1, 3).argmax(-1)
            return states

        return self.once("head states", most_likely) if probs else None

    @property
    def speaking_labels(self) -> np.ndarray:
        """(frames,) whether the reference speaks."""
        return self.once("speaking", lambda: self._marks(f for f, _ in self.references))

    @property
    def update_labels(self) -> np.ndarray:
        """(frames,) whether the reference state changes."""
        return self.once("updates", lambda: self._marks(f for f, _, _ in self.record.episode.transitions()))

    @property
    def speaking_prob(self) -> Sequence[float]:
        """(frames,) speaking probabilities; empty where the record has none."""
        return (~self.speaking_labels).astype(float).tolist() if self.failed else self.record.speaking_prob

    @property
    def update_prob(self) -> Sequence[float]:
        """(frames,) update probabilities; empty where the record has none."""
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
    """A similarity to the references of these wordings: the largest absolute cosine over the wordings of each."""
    if all(len(each) == 1 for each in wordings):
        return similarity
    flat = [text for each in wordings for text in each]
    begins = np.cumsum([0, *(len(each) for each in wordings[:-1])])

    def best(left: Sequence[str], _: Sequence[str]) -> np.ndarray:
        cosines = np.abs(np.asarray(similarity(left, flat), dtype=float))
        return np.asarray(np.maximum.reduceat(cosines, begins, axis=1))

    return best


def list_scored_turn_labels(turn: Utterance) -> set[str]:
    """Label kinds of an utterance: ``instruction`` and ``feedback`` of ``initiative|instruction,feedback``."""
    return {
        kind.strip()
        for event in turn.events
        for kind in event.labels.rpartition("|")[2].split(",")
        if event.labels and kind.strip()
    }

"""Priors of dialogues, learned from training episodes: times of turns, texts, pace of steps.

The blind baselines of `prospect_eval.models.baselines.trivial` speak and track by these priors.
Without training episodes, the priors of an episode come from the other videos of the same split.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from prospect_core.data.formats.proassist import parse_proassist_recipe_steps
from prospect_core.timeline import Change, Episode
from prospect_eval.matching.matcher import Similarity
from prospect_eval.models.baselines.held_out_learning import HeldOutLearner

#: number of the most frequent texts among which the most typical one is chosen
CANDIDATES = 300


@dataclass(frozen=True)
class EpisodeFacts:
    """Contribution of one episode to a prior.

    Attributes:
        texts: Texts of the turns.
        positions: Times of the turns as shares of the episode's length.
        first_start_s: Seconds to the first start of a step; None without one.
        first_turn_s: Seconds to the first proactive turn; None without one.
        step_gaps_s: Seconds between the starts of consecutive steps.
        turn_gaps_s: Seconds between consecutive proactive turns.
        leads_s: Seconds from an instruction to the start of its step.
        instructions: (step name, instruction) pairs.
    """

    texts: tuple[str, ...]
    positions: tuple[float, ...]
    first_start_s: float | None
    first_turn_s: float | None
    step_gaps_s: tuple[float, ...]
    turn_gaps_s: tuple[float, ...]
    leads_s: tuple[float, ...]
    instructions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Prior:
    """A learned prior.

    Attributes:
        text: The text with the highest mean similarity to all others; empty without texts.
        positions: Times of the turns as shares of the episode's length, sorted.
        first_start_s: Seconds from the episode's start to the first step; None if unknown.
        seconds_per_step: Seconds from the start of a step to the start of the next one.
        lead_s: Seconds from an instruction to the start of its step.
        instructions: The most frequent instruction of each step name.
    """

    text: str
    positions: np.ndarray
    first_start_s: float | None
    seconds_per_step: float
    lead_s: float
    instructions: dict[str, str]


class Priors:
    """The prior of each episode, from training episodes or from the other videos.

    Args:
        training: Episodes to learn from. If empty, the priors are learned from ``episodes``,
            without the video (or recording, or participant) of the requested episode.
        episodes: The episodes that priors will be requested for.
        similarity: Cosines of two lists of texts, used to choose the most typical text. None takes
            the most frequent text.
    """

    def __init__(
        self, training: Sequence[Episode], episodes: Sequence[Episode], similarity: Similarity | None = None
    ) -> None:
        self._similarity = similarity
        self._learner = HeldOutLearner(training, episodes, prior_episode_facts, self._learn)

    def of(self, episode: Episode) -> Prior:
        """Return the prior of an episode."""
        return self._learner.learn_for(episode)

    def _learn(self, some: Sequence[EpisodeFacts]) -> Prior:
        return learn_prior(some, self._choose)

    @cached_property
    def _choose(self) -> Callable[[Counter[str]], str]:
        return make_prior_text_chooser(self._learner.facts, self._similarity)


def prior_episode_facts(episode: Episode) -> EpisodeFacts:
    """Return the contribution of one episode."""
    turns = episode.utterances()
    seconds = [(turn.frame - episode.start_frame) / episode.fps for turn in turns]
    names = {step.id: step.name for step in episode.task.steps}
    starts: dict[str, float] = {}
    for frame, step, change in episode.transitions():
        if change == "start":
            starts.setdefault(step, (frame - episode.start_frame) / episode.fps)
    leads, instructions, before = [], [], float("-inf")
    for step, start in sorted(starts.items(), key=lambda item: item[1]):
        # the last turn between the starts of two steps is the instruction of the later step
        said = [(time, turn.text) for time, turn in zip(seconds, turns, strict=True) if before < time <= start]
        if said:
            leads.append(start - said[-1][0])
            instructions.append((names[step], said[-1][1]))
        before = start
    proactive = [time for time, turn in zip(seconds, turns, strict=True) if not turn.responsive]
    times = sorted(starts.values())
    return EpisodeFacts(
        texts=tuple(turn.text for turn in turns),
        positions=tuple((turn.frame - episode.start_frame + 0.5) / episode.num_frames for turn in turns),
        first_start_s=times[0] if times else None,
        first_turn_s=proactive[0] if proactive else None,
        step_gaps_s=tuple(b - a for a, b in pairwise(times)),
        turn_gaps_s=tuple(b - a for a, b in pairwise(proactive)),
        leads_s=tuple(leads),
        instructions=tuple(instructions),
    )


def learn_prior(some: Sequence[EpisodeFacts], choose: Callable[[Counter[str]], str]) -> Prior:
    """Learn a prior from episodes.

    If no episode has steps, a step lasts from one proactive turn to the next.

    Args:
        some: Contributions of the episodes.
        choose: Chooses the most typical text from counts of texts.
    """
    first = _median(f.first_start_s for f in some if f.first_start_s is not None)
    gap = _median(gap for f in some for gap in f.step_gaps_s)
    lead = _median(lead for f in some for lead in f.leads_s)
    if first is None:
        first, lead = _median(f.first_turn_s for f in some if f.first_turn_s is not None), 0.0
    if gap is None:
        gap = _median(gap for f in some for gap in f.turn_gaps_s)
    said: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for step, text in (pair for f in some for pair in f.instructions):
        said[step][text] += 1
    return Prior(
        text=choose(Counter(text for f in some for text in f.texts)),
        positions=np.sort([position for f in some for position in f.positions]),
        first_start_s=first,
        seconds_per_step=gap or first or 0.0,
        lead_s=lead or 0.0,
        instructions={step: _most_frequent(texts)[0] for step, texts in said.items()},
    )


def make_prior_text_chooser(
    every: Sequence[EpisodeFacts], similarity: Similarity | None
) -> Callable[[Counter[str]], str]:
    """Return a function that chooses the most typical text.

    That is the text with the highest mean similarity to all texts, among the `CANDIDATES` most
    frequent ones. Cosines are computed once.

    Args:
        every: Contributions of all episodes.
        similarity: Cosines of two lists of texts. None chooses the most frequent text.

    Returns:
        A function from counts of texts to a text, empty if there are no texts.
    """
    known = _most_frequent(Counter(text for f in every for text in f.texts))[:CANDIDATES]
    cosines = similarity(known, known) if similarity is not None and known else None

    def choose(texts: Counter[str]) -> str:
        if not texts:
            return ""
        if cosines is None:
            return _most_frequent(texts)[0]
        weights = np.array([texts[text] for text in known], dtype=float)
        mean = np.where(weights > 0, cosines @ weights, -np.inf)
        # rounded, so that the choice is the same on every machine
        return known[int(np.argmax(np.round(mean / weights.sum(), 9)))] if weights.any() else _most_frequent(texts)[0]

    return choose


def pace_steps_by_prior(episode: Episode, prior: Prior) -> list[tuple[str, str, int]]:
    """Schedule the steps of an episode in the listed order at the pace of a prior.

    If the task has no steps, the numbered lines of its knowledge are the steps.

    Args:
        episode: The episode.
        prior: Its prior.

    Returns:
        (step id, text, frame of the step's start) of each step that starts before the episode ends.
    """
    steps = episode.task.steps or parse_proassist_recipe_steps(episode.task.knowledge)
    if prior.first_start_s is None or prior.seconds_per_step <= 0:
        return []
    out = []
    for k, step in enumerate(steps):
        frame = episode.start_frame + round((prior.first_start_s + k * prior.seconds_per_step) * episode.fps)
        if frame >= episode.end_frame:
            break
        out.append((step.id, prior.instructions.get(step.name, step.name), frame))
    return out


def keep_legal_prior_changes(
    episode: Episode, moves: Iterable[tuple[int, str, Change]]
) -> list[tuple[int, str, Change]]:
    """Keep the changes that are legal in sequence and lie within the episode.

    Args:
        episode: The episode.
        moves: (frame, step id, change) in any order.

    Returns:
        The kept changes in order of time.
    """
    state = episode.initial_state
    out: list[tuple[int, str, Change]] = []
    for frame, step, change in sorted(moves, key=lambda move: move[0]):
        if frame < episode.end_frame and state.is_legal(step, change):
            state = state.apply(step, change, frame / episode.fps)
            out.append((frame, step, change))
    return out


def spread_frames_by_prior(episode: Episode, count: int, positions: np.ndarray) -> list[int]:
    """Place frames in an episode at the quantiles of positions.

    Args:
        episode: The episode.
        count: Number of frames.
        positions: Sorted shares of the episode's length. If empty, the frames are spread evenly.

    Returns:
        ``count`` different frames, ascending.
    """
    levels = (np.arange(count) + 0.5) / max(count, 1)
    shares = np.quantile(positions, levels) if len(positions) else levels
    frames = [episode.start_frame + int(share * episode.num_frames) for share in shares]
    for k in range(1, count):
        frames[k] = max(frames[k], frames[k - 1] + 1)
    for k in range(count):
        frames[k] = min(frames[k], episode.end_frame - (count - k))
    return frames


def _most_frequent(texts: Counter[str]) -> list[str]:
    """Sort texts by descending frequency, equal ones alphabetically."""
    return sorted(texts, key=lambda text: (-texts[text], text))


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return float(np.median(found)) if found else None

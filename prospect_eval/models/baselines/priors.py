"""What training episodes tell about dialogues that nobody has seen: when turns come, which texts are said, how long steps take.

    python -c "from prospect_eval.models.baselines.priors import Priors; help(Priors)"

The blind baselines of `prospect_eval.models.baselines.trivial` speak and track by these priors. Without training episodes the priors of an
episode come from the other videos of the same split.
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
from prospect_eval.stats.clusters import find_episode_cluster

#: the most frequent texts that the best one is chosen from
CANDIDATES = 300
#: of more videos than this, several are left out at a time
FOLDS = 50


@dataclass(frozen=True)
class EpisodeFacts:
    """What one episode contributes. Times are in seconds, positions are shares of the episode's length."""

    cluster: str
    texts: tuple[str, ...]
    positions: tuple[float, ...]
    #: first step start, first proactive turn; None where there is none
    first_start_s: float | None
    first_turn_s: float | None
    step_gaps_s: tuple[float, ...]
    turn_gaps_s: tuple[float, ...]
    #: seconds from an instruction to the start of its step, and (step name, instruction)
    leads_s: tuple[float, ...]
    instructions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Prior:
    """What was learnt.

    Attributes:
        text: The text that is most similar to all others on average; empty where nothing was said.
        positions: Shares of the episode's length at which turns came, sorted.
        first_start_s: When the first step starts, in seconds from the episode's start; None where that is not known.
        seconds_per_step: From the start of a step to that of the next one.
        lead_s: From an instruction to the start of its step.
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
        training: Episodes to learn from; empty to learn from ``episodes`` themselves, leaving out the video (recording,
            participant) that is asked about.
        episodes: The episodes that priors will be asked for.
        similarity: Cosines of two lists of texts, to choose the most typical text by; None takes the most frequent one.
    """

    def __init__(
        self, training: Sequence[Episode], episodes: Sequence[Episode], similarity: Similarity | None = None
    ) -> None:
        self._leaves_out = not training
        self._episodes = training or episodes
        self._similarity = similarity
        self._learnt: dict[int, Prior] = {}

    def of(self, episode: Episode) -> Prior:
        """The prior of an episode."""
        fold = self._folds.get(_cluster(episode), -1) if self._leaves_out else -1
        if fold not in self._learnt:
            some = [f for f in self._facts if self._folds[f.cluster] != fold]
            self._learnt[fold] = learn_prior(some, self._choose)
        return self._learnt[fold]

    @cached_property
    def _facts(self) -> list[EpisodeFacts]:
        return [prior_episode_facts(episode) for episode in self._episodes]

    @cached_property
    def _folds(self) -> dict[str, int]:
        """The part that each cluster is left out with."""
        return {name: k % FOLDS for k, name in enumerate(sorted({f.cluster for f in self._facts}))}

    @cached_property
    def _choose(self) -> Callable[[Counter[str]], str]:
        return make_prior_text_chooser(self._facts, self._similarity)


def prior_episode_facts(episode: Episode) -> EpisodeFacts:
    """What one episode tells."""
    turns = episode.utterances()
    seconds = [(turn.frame - episode.start_frame) / episode.fps for turn in turns]
    names = {step.id: step.name for step in episode.task.steps}
    starts: dict[str, float] = {}
    for frame, step, change in episode.transitions():
        if change == "start":
            starts.setdefault(step, (frame - episode.start_frame) / episode.fps)
    leads, instructions, before = [], [], float("-inf")
    for step, start in sorted(starts.items(), key=lambda item: item[1]):
        # what is said last before a step starts, and after the one before it started, tells the person to start it
        said = [(time, turn.text) for time, turn in zip(seconds, turns, strict=True) if before < time <= start]
        if said:
            leads.append(start - said[-1][0])
            instructions.append((names[step], said[-1][1]))
        before = start
    proactive = [time for time, turn in zip(seconds, turns, strict=True) if not turn.responsive]
    times = sorted(starts.values())
    return EpisodeFacts(
        cluster=_cluster(episode),
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
    """The prior of these episodes. Where none has steps, a step is taken to last from one proactive turn to the next."""
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
    """A function that chooses the text with the highest mean similarity to all texts of a count, out of the most frequent
    ones; the most frequent one without a ``similarity``. Cosines are computed once."""
    known = _most_frequent(Counter(text for f in every for text in f.texts))[:CANDIDATES]
    cosines = similarity(known, known) if similarity is not None and known else None

    def choose(texts: Counter[str]) -> str:
        if not texts:
            return ""
        if cosines is None:
            return _most_frequent(texts)[0]
        weights = np.array([texts[text] for text in known], dtype=float)
        mean = np.where(weights > 0, cosines @ weights, -np.inf)
        # equal to the last digits on every machine
        return known[int(np.argmax(np.round(mean / weights.sum(), 9)))] if weights.any() else _most_frequent(texts)[0]

    return choose


def pace_steps_by_prior(episode: Episode, prior: Prior) -> list[tuple[str, str, int]]:
    """(step id, text, frame on which the step starts) of each step in the listed order, as far as the episode lasts.

    Of a task without steps, the numbered lines of its knowledge are the steps.
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
    """Those of these changes that are legal one after the other and lie within the episode, in order of time."""
    state = episode.initial_state
    out: list[tuple[int, str, Change]] = []
    for frame, step, change in sorted(moves, key=lambda move: move[0]):
        if frame < episode.end_frame and state.is_legal(step, change):
            state = state.apply(step, change, frame / episode.fps)
            out.append((frame, step, change))
    return out


def spread_frames_by_prior(episode: Episode, count: int, positions: np.ndarray) -> list[int]:
    """``count`` frames of an episode, each a different one, at the quantiles of the positions; evenly without any."""
    levels = (np.arange(count) + 0.5) / max(count, 1)
    shares = np.quantile(positions, levels) if len(positions) else levels
    frames = [episode.start_frame + int(share * episode.num_frames) for share in shares]
    for k in range(1, count):
        frames[k] = max(frames[k], frames[k - 1] + 1)
    for k in range(count):
        frames[k] = min(frames[k], episode.end_frame - (count - k))
    return frames


def _cluster(episode: Episode) -> str:
    return find_episode_cluster(episode).key


def _most_frequent(texts: Counter[str]) -> list[str]:
    """Texts by falling frequency, equal ones in the order of the alphabet."""
    return sorted(texts, key=lambda text: (-texts[text], text))


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return float(np.median(found)) if found else None

"""Hidden semi-Markov schedule without observations: the most probable state of every step at any time.

The model simulates many courses of the task. It draws the steps of a course by their shares of the
training recordings, and their order from the counts of consecutive starts and the mean ranks. Each
start draws a duration and the gap to the next start. A course does a step at most once, because a
chain of consecutive starts forgets which steps are done.

``state_probs`` holds the shares of the courses by state. A tracker applies every legal change
towards the most probable state of each step. That is best for the accuracy of single steps. The
joint goal accuracy can be lower than that of one plausible course.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from prospect_core.records import EpisodeRecord, PredictedNextStep
from prospect_core.timeline import STEP_STATES, Change, Episode, StepState
from prospect_eval.models.baselines.believed_states import track_believed_states
from prospect_eval.models.baselines.mean_schedule import ScheduledStep, list_schedule_mistakes
from prospect_eval.models.baselines.procedure_prior import ProcedurePriors, TaskPrior
from prospect_eval.models.baselines.trivial import make_trivial_baseline_record

#: simulated courses of a task
COURSES = 400
#: added to each count of consecutive starts
UNSEEN_COUNT = 0.1
#: difference of mean ranks (0 first, 1 last) over which the probability of an early start falls to
#: 37 %; the best of 0.05, 0.1, 0.15 and 0.3 on training recordings of CaptainCook4D, by a small margin
RANK_SCALE = 0.05
#: seconds of a start or an end before the episode
_BEFORE = -1.0


@dataclass(frozen=True, eq=False)
class SemiMarkovCourses:
    """Simulated courses of a task.

    Attributes:
        starts_s: (N, K) seconds from the episode's start to the start of each step; -1 for a step
            that started before the episode, infinite for a step that is not done.
        ends_s: (N, K) seconds to the end of each step, with the same special values.
    """

    starts_s: np.ndarray
    ends_s: np.ndarray


def semi_markov_baseline(priors: ProcedurePriors) -> Callable[[Episode], EpisodeRecord]:
    """Return the baseline ``semi_markov_schedule`` as a function of an episode."""
    simulated: dict[tuple[TaskPrior, tuple[StepState, ...]], SemiMarkovCourses] = {}

    def predict(episode: Episode) -> EpisodeRecord:
        prior = priors.learn_for(episode).of_task(episode.task)
        if not prior.steps:
            return make_trivial_baseline_record("baseline:semi_markov_schedule", episode, [], [])
        key = (prior, episode.initial_state.states)
        if key not in simulated:
            seed = hashlib.sha256("\n".join((episode.task.goal, *key[1])).encode()).digest()
            simulated[key] = simulate_semi_markov_courses(prior, key[1], int.from_bytes(seed[:8], "little"))
        return _make_record(episode, prior, simulated[key])

    return predict


def simulate_semi_markov_courses(
    prior: TaskPrior, initial: tuple[StepState, ...], seed: int, count: int = COURSES
) -> SemiMarkovCourses:
    """Simulate courses of a task.

    The next one of the remaining steps is drawn with the weight (c + `UNSEEN_COUNT`)
    exp(-d / `RANK_SCALE`). Here c counts how often it follows the current step in training, and d is
    the difference of its mean rank to the smallest one of the remaining steps. Without the second
    factor, a chain of consecutive starts does overdue steps too late.

    Args:
        prior: Prior of the task, with steps.
        initial: State of each step before the episode.
        seed: Seed of the random numbers.
        count: Number of courses.
    """
    random = np.random.default_rng(seed)
    states = np.array([STEP_STATES.index(state) for state in initial])
    ranks = np.array([step.rank for step in prior.steps])
    starts = np.where(states > 0, _BEFORE, np.inf) * np.ones((count, 1))
    ends = np.where(states > 1, _BEFORE, np.inf) * np.ones((count, 1))
    for place in np.flatnonzero(states == 1):
        ends[:, place] = random.choice(prior.steps[place].runs[:, 0], count)
    remaining = random.random(starts.shape) < [step.done_share for step in prior.steps]
    remaining &= states == 0
    clock = random.choice(prior.first_starts_s, count)
    current = np.zeros(count, dtype=int)
    draw = _RunSampler(prior)
    while (rows := np.flatnonzero(remaining.any(1))).size:
        earliest = np.where(remaining[rows], ranks, np.inf).min(1, keepdims=True)
        overdue = np.exp((earliest - ranks) / RANK_SCALE) * remaining[rows]
        weights = (prior.bigrams[current[rows]] + UNSEEN_COUNT) * overdue
        chosen = _draw_weighted(weights, random)
        durations, gaps = draw(chosen, random)
        starts[rows, chosen] = clock[rows]
        ends[rows, chosen] = clock[rows] + durations
        clock[rows] += gaps
        remaining[rows, chosen] = False
        current[rows] = chosen + 1
    return SemiMarkovCourses(starts, ends)


class _RunSampler:
    """Draws (duration, gap) pairs of steps from their executions in training."""

    def __init__(self, prior: TaskPrior) -> None:
        self._runs = np.concatenate([step.runs for step in prior.steps])
        self._sizes = np.array([len(step.runs) for step in prior.steps])
        self._offsets = np.cumsum(self._sizes) - self._sizes

    def __call__(self, places: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        rows = self._offsets[places] + random.integers(self._sizes[places])
        return self._runs[rows, 0], self._runs[rows, 1]


def _draw_weighted(weights: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw a column in each row with probabilities in proportion to the weights."""
    cumulative = weights.cumsum(1)
    levels = random.random(len(weights)) * cumulative[:, -1]
    return np.asarray((cumulative <= levels[:, None]).sum(1))


def semi_markov_state_probabilities(episode: Episode, courses: SemiMarkovCourses) -> np.ndarray:
    """Return the shares of the courses by state.

    Args:
        episode: The episode, for its frame rate and length.
        courses: Simulated courses of its task.

    Returns:
        (frames, steps, 3) shares.
    """
    count = len(courses.starts_s)
    begun, done = (_count_up_to_frame(episode, times) for times in (courses.starts_s, courses.ends_s))
    return np.stack([count - begun, begun - done, done], axis=-1) / count


def semi_markov_next_steps(episode: Episode, courses: SemiMarkovCourses) -> tuple[PredictedNextStep, ...]:
    """Return the step that starts next in most courses, from each frame on at which it changes.

    Courses whose steps have all started do not count.

    Args:
        episode: The episode, for its frame rate and length.
        courses: Simulated courses of its task.
    """
    order = np.argsort(courses.starts_s, axis=1, kind="stable")
    starts = np.take_along_axis(courses.starts_s, order, axis=1)
    previous = np.concatenate([np.full((len(starts), 1), _BEFORE), starts[:, :-1]], axis=1)
    waits = np.isfinite(starts) & (starts > _BEFORE)
    changes = np.zeros((episode.num_frames + 1, starts.shape[1]), dtype=int)
    np.add.at(changes, (_frames_of(episode, previous[waits]), order[waits]), 1)
    np.subtract.at(changes, (_frames_of(episode, starts[waits]), order[waits]), 1)
    counts = changes[:-1].cumsum(0)
    best = np.where(counts.any(1), counts.argmax(1), -1)
    out: list[PredictedNextStep] = []
    for frame in np.flatnonzero(np.diff(best, prepend=-1)).tolist():
        step = episode.task.step_ids[best[frame]] if best[frame] >= 0 else ""
        if step and (not out or out[-1].step != step):
            out.append(PredictedNextStep(episode.start_frame + frame, step))
    return tuple(out)


def _make_record(episode: Episode, prior: TaskPrior, courses: SemiMarkovCourses) -> EpisodeRecord:
    probabilities = semi_markov_state_probabilities(episode, courses)
    likeliest = probabilities.argmax(-1).tolist()
    transitions = track_believed_states(episode, [tuple(STEP_STATES[code] for code in row) for row in likeliest])
    record = make_trivial_baseline_record("baseline:semi_markov_schedule", episode, [], transitions)
    rates = np.array([step.mistake_rate for step in prior.steps])
    mistaken = 1 - np.prod(1 - probabilities[:, :, 1] * rates, axis=1)
    return replace(
        record,
        state_probs=_as_tuples(probabilities),
        next_steps=semi_markov_next_steps(episode, courses),
        mistakes=list_schedule_mistakes(episode, prior, _tracked_schedule(episode, transitions)),
        mistake_prob=tuple(mistaken.clip(0, 1).tolist()) if prior.has_mistakes else (),
    )


def _as_tuples(probabilities: np.ndarray) -> tuple[tuple[tuple[float, float, float], ...], ...]:
    """Convert (frames, steps, 3) probabilities; equal triples share one object, which saves time and memory."""
    distinct, places = np.unique(probabilities.reshape(-1, 3), axis=0, return_inverse=True)
    triples = [(a, b, c) for a, b, c in distinct.tolist()]
    places_FK: np.ndarray = np.asarray(places).reshape(probabilities.shape[:2])
    return tuple(tuple(map(triples.__getitem__, row.tolist())) for row in places_FK)


def _tracked_schedule(episode: Episode, transitions: list[tuple[int, str, Change]]) -> list[ScheduledStep]:
    """Return the first execution of each tracked step, to the end of the episode if it is not completed."""
    ids = episode.task.step_ids
    starts = {step: frame for frame, step, change in transitions if change == "start"}
    ends: dict[str, int] = {}
    for frame, step, change in transitions:
        if change == "complete":
            ends.setdefault(step, frame)
    return [ScheduledStep(ids.index(step), frame, ends.get(step, episode.end_frame)) for step, frame in starts.items()]


def _frames_of(episode: Episode, times_s: np.ndarray) -> np.ndarray:
    """Return the frames of times, relative to the episode's start, at most its number of frames."""
    return np.rint(np.clip(times_s * episode.fps, 0, episode.num_frames)).astype(int)


def _count_up_to_frame(episode: Episode, times_s: np.ndarray) -> np.ndarray:
    """Return the (frames, steps) numbers of times that have passed at each frame."""
    passed = np.zeros((episode.num_frames + 1, times_s.shape[1]), dtype=int)
    columns = np.broadcast_to(np.arange(times_s.shape[1]), times_s.shape)
    np.add.at(passed, (_frames_of(episode, times_s), columns), 1)
    return np.asarray(passed[:-1].cumsum(0))

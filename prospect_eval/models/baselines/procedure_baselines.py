"""Baselines for the steps of real procedures: blind schedules, and observers without memory.

    prospect-eval run --ckpt baseline:semi_markov_schedule --data DIR

They run by name, and in the tables of a suite that lists them under ``baselines``. None speaks.
The schedules learn from the train split, or from the other videos of the evaluated split, and use
nothing of the evaluated episode but its id, its task and the state before its first frame. Its
length only ends the predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from prospect_core.records import EpisodeRecord
from prospect_core.timeline import Episode
from prospect_core.util.errors import require_choice
from prospect_eval.models.baselines.graph_walk import graph_walk_baseline
from prospect_eval.models.baselines.mean_schedule import always_mistake_baseline, mean_schedule_baseline
from prospect_eval.models.baselines.procedure_prior import ProcedurePriors
from prospect_eval.models.baselines.recent_observer import recent_observer
from prospect_eval.models.baselines.semi_markov import semi_markov_baseline
from prospect_eval.models.baselines.trivial import answer_baseline_polls


@dataclass(frozen=True)
class ProcedureBaseline:
    """A baseline in the table `PROCEDURE_BASELINES`.

    Attributes:
        description: A sentence about its behavior.
        sees: The part of the reference that it uses. Only those that use nothing are trivial
            baselines, which a model must beat.
        make: Makes the baseline as a function of an episode, from the priors.
        learns: Whether it uses the priors.
    """

    description: str
    sees: Literal["nothing", "recent steps"]
    make: Callable[[ProcedurePriors], Callable[[Episode], EpisodeRecord]]
    learns: bool


def _observer(seconds: int) -> ProcedureBaseline:
    return ProcedureBaseline(
        f"sees the steps in progress and the steps that ended in the last {seconds} seconds, and forgets all others",
        "recent steps",
        lambda priors: recent_observer(f"recent_observer_{seconds}s", seconds),
        learns=False,
    )


PROCEDURE_BASELINES: dict[str, ProcedureBaseline] = {
    "mean_schedule": ProcedureBaseline(
        "does the usual steps in the mean order, durations and gaps of the training data",
        "nothing",
        mean_schedule_baseline,
        learns=True,
    ),
    "graph_walk": ProcedureBaseline(
        "does the steps in a random order that the task graph allows, at the pace of the training data",
        "nothing",
        graph_walk_baseline,
        learns=True,
    ),
    "semi_markov_schedule": ProcedureBaseline(
        "follows the most probable states of a semi-Markov model of the training data",
        "nothing",
        semi_markov_baseline,
        learns=True,
    ),
    "recent_observer_10s": _observer(10),
    "recent_observer_60s": _observer(60),
    "always_mistake": ProcedureBaseline(
        "reports a mistake at the start of each step of mean_schedule",
        "nothing",
        always_mistake_baseline,
        learns=True,
    ),
}


def make_procedure_baseline(name: str, priors: ProcedurePriors) -> Callable[[Episode], EpisodeRecord]:
    """Return a procedure baseline as a function of an episode.

    Args:
        name: One of `PROCEDURE_BASELINES`.
        priors: Priors of the baselines that learn.

    Returns:
        A function from an episode to its record.

    Raises:
        UserError: The name is unknown.
    """
    require_choice("procedure baseline", name, list(PROCEDURE_BASELINES))
    make_record = PROCEDURE_BASELINES[name].make(priors)

    def predict(episode: Episode) -> EpisodeRecord:
        return replace(make_record(episode), answers=answer_baseline_polls(name, episode))

    return predict


def require_procedure_baselines(names: Iterable[str], suite: str) -> None:
    """Require that the baselines of a suite are procedure baselines.

    Args:
        names: Names of baselines.
        suite: Name or file of the suite, for the message.

    Raises:
        UserError: A name is not one of `PROCEDURE_BASELINES`; the message lists them.
    """
    for name in names:
        require_choice(f"suite {suite}: baseline", name, list(PROCEDURE_BASELINES))

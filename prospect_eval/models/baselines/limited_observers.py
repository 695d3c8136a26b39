"""Limited observers of workbench episodes as predictions: one frame, ten seconds or everything.

    prospect-eval run --ckpt baseline:observer_all --suite workbench

The observers know the meaning of the pixels (`prospect_core.workbench.symbolic_observers`), so they
exist for the workbench only. ``dst_head_jga`` scores what the observer sees. ``dst_jga`` scores a
tracker that applies every legal change that the observer sees. The observers answer the user's
questions from their beliefs and say nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

from prospect_core.records import EpisodeRecord
from prospect_core.timeline import Change, Episode, Event
from prospect_core.workbench.dialogue.phrases import number_phrase
from prospect_core.workbench.generate import regenerate_workbench_plan
from prospect_core.workbench.symbolic_observers import Belief, symbolic_observer_beliefs
from prospect_core.workbench.world.tasks import Assignment
from prospect_eval.models.baselines.believed_states import track_believed_states
from prospect_eval.models.baselines.trivial import make_trivial_baseline_record

#: number of last seconds that each observer sees (0: the current frame, None: everything)
LIMITED_OBSERVERS: dict[str, float | None] = {"observer_frame": 0, "observer_10s": 10, "observer_all": None}


def limited_observer(name: str) -> Callable[[Episode], EpisodeRecord]:
    """Return a limited observer as a function of an episode.

    Args:
        name: One of `LIMITED_OBSERVERS`.

    Returns:
        A function from an episode to its record. It raises a `UserError` for an episode of another
        dataset.
    """
    watched: dict[str, list[Belief]] = {}

    def observe(episode: Episode) -> EpisodeRecord:
        plan = regenerate_workbench_plan(episode)
        if episode.video not in watched:
            watched.clear()  # episodes of one video are consecutive
            watched[episode.video] = symbolic_observer_beliefs(
                plan, episode.end_frame, episode.fps, LIMITED_OBSERVERS[name]
            )
        believed, task = watched[episode.video], plan.assignment
        speech = [
            (frame + 1, limited_observer_answer(event, believed[frame], task))
            for frame, event in episode.user_turns()
            if event.question
        ]
        return make_trivial_baseline_record(
            f"baseline:{name}",
            episode,
            speech,
            limited_observer_transitions(episode, believed),
            [b.states for b in believed],
        )

    return observe


def limited_observer_transitions(episode: Episode, believed: list[Belief]) -> list[tuple[int, str, Change]]:
    """Return the transitions of a tracker that applies every legal change towards the beliefs.

    Args:
        episode: The episode.
        believed: The observer's belief after each frame.

    Returns:
        (frame, step id, change) in order of time.
    """
    return track_believed_states(episode, [belief.states for belief in believed[episode.start_frame :]])


def limited_observer_answer(event: Event, belief: Belief, task: Assignment) -> str:
    """Return the answer to a question according to a belief.

    Args:
        event: The user's question.
        belief: The observer's belief.
        task: The assignment of the workbench video.
    """
    asked = [int(step[1:]) - 1 for step in event.slots.get("steps", "").split()]
    if event.question == "past" and len(asked) == 1:
        return "Yes." if belief.states[asked[0]] == "completed" else "No."
    if event.question == "past":
        first = min(asked, key=lambda job: belief.order.index(job) if job in belief.order else len(belief.order))
        return f"The {task.things[task.jobs[first].thing].name}."
    if event.question == "present":
        following = next((k for k, s in enumerate(belief.states) if s != "completed"), None)
        return "Everything is done." if following is None else f"Now {task.phrase(following)}."
    return f"{number_phrase(sum(s != 'completed' for s in belief.states))} left."

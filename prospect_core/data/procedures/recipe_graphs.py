"""Join task graphs to the steps of recordings by text, and derive the order of the steps.

Nodes of a graph have their own ids; the text of a node is that of a step. Blanks and letter case do
not count. The rules for texts that do not match one to one:

* A step with several texts over the recordings has the most frequent one that the graph has.
* If several steps and nodes have one text, they are paired in order of their ids. The last of these
  steps takes the remaining nodes.
* One step can therefore have several nodes: it is done several times. Step A comes before step B if
  every node of B has a node of A before it, so A is done once before B is first done.
* A step without a node has no order; it is listed last.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from heapq import heapify, heappop, heappush

from prospect_core.data.procedures.captaincook4d_files import CookingGraph, CookingRecording
from prospect_core.timeline import Step, Task
from prospect_core.util.errors import DataError

#: texts of the nodes at the start and the end of a graph
BORDER_TEXTS = ("start", "end")


@dataclass(frozen=True)
class RecipeActivity:
    """The steps of an activity over all of its recordings.

    Attributes:
        id: Id of the activity.
        name: Name of the activity.
        texts: Texts of each step by its id, the most frequent first.
    """

    id: int
    name: str
    texts: dict[int, tuple[str, ...]]

    @property
    def all_texts(self) -> set[str]:
        """Every text of its steps, as written."""
        return {text for texts in self.texts.values() for text in texts}


def list_recipe_activities(recordings: Iterable[CookingRecording]) -> dict[int, RecipeActivity]:
    """Return the activities of recordings by their ids, in order of first appearance."""
    names: dict[int, str] = {}
    counts: dict[int, dict[int, Counter[str]]] = {}
    for recording in recordings:
        names.setdefault(recording.activity_id, recording.activity_name)
        steps = counts.setdefault(recording.activity_id, {})
        for step in recording.steps:
            steps.setdefault(step.step_id, Counter())[step.description] += 1
    return {
        activity: RecipeActivity(
            activity, names[activity], {step: _by_frequency(steps[step]) for step in sorted(steps)}
        )
        for activity, steps in counts.items()
    }


def _by_frequency(counts: Counter[str]) -> tuple[str, ...]:
    return tuple(sorted(counts, key=lambda text: (-counts[text], text)))


def match_recipe_graphs(graphs: Mapping[str, CookingGraph], activities: Iterable[RecipeActivity]) -> dict[str, int]:
    """Return the id of the activity of each graph that has one.

    The file of a graph has the name of its activity without blanks. A graph with another name
    belongs to the activity with which it shares most texts, if it shares at least half of its own.
    """
    by_name = {_plain_name(activity.name): activity for activity in activities}
    matched = {name: by_name[_plain_name(name)].id for name in graphs if _plain_name(name) in by_name}
    rest = [activity for activity in by_name.values() if activity.id not in matched.values()]
    for name, graph in graphs.items():
        if name in matched or not rest:
            continue
        texts = set(_inner_nodes(graph).values())
        best = max(rest, key=lambda activity: len(texts & {_plain_text(text) for text in activity.all_texts}))
        shared = texts & {_plain_text(text) for text in best.all_texts}
        if texts and 2 * len(shared) >= len(texts):
            matched[name] = best.id
            rest.remove(best)
    return matched


def make_recipe_task(activity: RecipeActivity, graph: CookingGraph | None) -> Task:
    """Return the task of an activity.

    Its steps are in a topological order of the graph, of two free steps the one with the lower node
    id first: the list does not depend on any recording. The order edges are those of the graph
    between two steps; paths through START, END and nodes without a step are kept as edges.

    Args:
        activity: The activity.
        graph: Its task graph; None if it has none. Steps are then in order of their ids.

    Raises:
        DataError: If the edges of the graph form a cycle.
    """
    nodes = {} if graph is None else join_recipe_nodes(activity, graph)
    before = {} if graph is None else _find_earlier_nodes(activity.name, graph)
    places = {} if graph is None else {node: place for place, node in enumerate(_sort_nodes(graph))}
    placed = sorted(nodes, key=lambda step: min(places[node] for node in nodes[step]))
    listed = [*placed, *(step for step in activity.texts if step not in nodes)]
    names = {step: _choose_text(activity, step, graph) for step in listed}
    return Task(
        goal=activity.name,
        steps=tuple(Step(recipe_step_id(step), " ".join(names[step].split())) for step in listed),
        order_edges=tuple((recipe_step_id(a), recipe_step_id(b)) for a, b in _step_edges(placed, nodes, before, graph)),
    )


def recipe_step_id(step: int) -> str:
    """Return the id of a step in the task: ``S`` and its number."""
    return f"S{step}"


def join_recipe_nodes(activity: RecipeActivity, graph: CookingGraph) -> dict[int, tuple[int, ...]]:
    """Return the nodes of each step that has any, by step id, by the rules of this module."""
    by_text: dict[str, list[int]] = {}
    for node, text in _inner_nodes(graph).items():
        by_text.setdefault(text, []).append(node)
    steps_by_text: dict[str, list[int]] = {}
    for step in sorted(activity.texts):
        known = [text for text in map(_plain_text, activity.texts[step]) if text in by_text]
        if known:
            steps_by_text.setdefault(known[0], []).append(step)
    joined: dict[int, tuple[int, ...]] = {}
    for text, steps in steps_by_text.items():
        nodes = sorted(by_text[text])
        pairs = list(zip(steps, nodes, strict=False))
        joined |= {step: (node,) for step, node in pairs}
        last, _ = pairs[-1]
        joined[last] += tuple(nodes[len(pairs) :])
    return joined


def _step_edges(
    steps: Sequence[int],
    nodes: Mapping[int, tuple[int, ...]],
    before: Mapping[int, set[int]],
    graph: CookingGraph | None,
) -> list[tuple[int, int]]:
    """Return the edges between steps: those of the graph, and those that paths need."""
    if graph is None:
        return []
    earlier = {
        step: {
            other for other in steps if other != step and all(before[node] & set(nodes[other]) for node in nodes[step])
        }
        for step in steps
    }
    direct = set(graph.edges)
    edges = []
    for step in steps:
        for other in (one for one in steps if one in earlier[step]):
            stated = any((a, b) in direct for a in nodes[other] for b in nodes[step])
            if stated or not any(other in earlier[between] for between in earlier[step]):
                edges.append((other, step))
    return edges


def _find_earlier_nodes(name: str, graph: CookingGraph) -> dict[int, set[int]]:
    """Return all nodes before each node, directly or not."""
    sorter: TopologicalSorter[int] = TopologicalSorter({int(node): () for node in graph.steps})
    direct: dict[int, set[int]] = {int(node): set() for node in graph.steps}
    for start, end in graph.edges:
        sorter.add(end, start)
        direct[end].add(start)
    earlier: dict[int, set[int]] = {}
    try:
        for node in sorter.static_order():
            earlier[node] = direct[node].union(*(earlier[one] for one in direct[node]))
    except CycleError as error:
        raise DataError(
            f"task graph of {name}: its edges form a cycle: {' -> '.join(map(str, error.args[1]))}"
        ) from error
    return earlier


def _sort_nodes(graph: CookingGraph) -> list[int]:
    """Return the nodes of an acyclic graph in topological order, of free nodes the lowest id first."""
    missing = {int(node): {start for start, end in graph.edges if end == int(node)} for node in graph.steps}
    free = [node for node, starts in missing.items() if not starts]
    heapify(free)
    out: list[int] = []
    while free:
        node = heappop(free)
        out.append(node)
        for other, starts in missing.items():
            if node in starts:
                starts.remove(node)
                if not starts:
                    heappush(free, other)
    return out


def _inner_nodes(graph: CookingGraph) -> dict[int, str]:
    """Return the plain text of each node except START and END."""
    texts = {int(node): _plain_text(text) for node, text in graph.steps.items()}
    return {node: text for node, text in texts.items() if text not in BORDER_TEXTS}


def _choose_text(activity: RecipeActivity, step: int, graph: CookingGraph | None) -> str:
    """Return the most frequent text of a step, preferably one that the graph has."""
    known = set() if graph is None else set(_inner_nodes(graph).values())
    texts = activity.texts[step]
    return next((text for text in texts if _plain_text(text) in known), texts[0])


def _plain_text(text: str) -> str:
    return " ".join(text.split()).lower()


def _plain_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())

"""Task graphs joined to steps by text; orders derived by hand."""

from __future__ import annotations

import pytest

from prospect_core.data.procedures.captaincook4d_files import CookingGraph, CookingRecording, CookingStep
from prospect_core.data.procedures.recipe_graphs import (
    RecipeActivity,
    join_recipe_nodes,
    list_recipe_activities,
    make_recipe_task,
    match_recipe_graphs,
)
from prospect_core.util.errors import DataError


def make_activity(texts, name="Tea"):
    return RecipeActivity(1, name, {step: (text,) if isinstance(text, str) else text for step, text in texts.items()})


def make_graph(texts, edges):
    nodes = {"0": "START", **{str(node): text for node, text in texts.items()}, str(max(texts) + 1): "END"}
    return CookingGraph(nodes, tuple(edges))


def make_recording(texts):
    steps = tuple(CookingStep(step, 0.0, 1.0, text, False) for step, text in texts)
    return CookingRecording(1, "Tea", steps)


def test_recipe_task_order_follows_graph_and_node_ids():
    activity = make_activity({20: "Boil-Boil water", 21: "Fill-Fill the pot", 22: "Steep-Steep the tea"})
    graph = make_graph(
        {1: "Steep-Steep the tea", 2: "Boil-Boil water", 3: "Fill-Fill the pot"},
        [(0, 3), (3, 2), (2, 1), (1, 4)],
    )

    task = make_recipe_task(activity, graph)

    assert task.goal == "Tea"
    assert [(step.id, step.name) for step in task.steps] == [
        ("S21", "Fill-Fill the pot"),
        ("S20", "Boil-Boil water"),
        ("S22", "Steep-Steep the tea"),
    ]
    assert set(task.order_edges) == {("S21", "S20"), ("S20", "S22")}


def test_recipe_task_free_steps_come_by_node_id():
    activity = make_activity({5: "c", 6: "b", 7: "a"})
    graph = make_graph({1: "a", 2: "b", 3: "c"}, [(0, 1), (0, 2), (0, 3)])
    assert make_recipe_task(activity, graph).step_ids == ("S7", "S6", "S5")
    assert make_recipe_task(activity, graph).order_edges == ()


def test_recipe_graph_blanks_and_case_do_not_count():
    activity = make_activity({5: "Coat -Coat  the cup", 6: "pour-Pour"})
    graph = make_graph({1: "coat -coat the cup ", 2: "POUR-pour"}, [(1, 2)])
    assert join_recipe_nodes(activity, graph) == {5: (1,), 6: (2,)}


def test_recipe_graph_lacking_a_step_lists_it_last_without_order():
    activity = make_activity({1: "spice", 2: "mix", 3: "cut"})
    task = make_recipe_task(activity, make_graph({1: "mix", 2: "cut"}, [(0, 2), (2, 1), (1, 3)]))
    assert task.step_ids == ("S3", "S2", "S1")
    assert task.order_edges == (("S3", "S2"),)


def test_recipe_graph_node_without_step_keeps_the_path_through_it():
    activity = make_activity({1: "cut", 3: "serve"})
    task = make_recipe_task(activity, make_graph({1: "cut", 2: "fry", 3: "serve"}, [(1, 2), (2, 3)]))
    assert task.order_edges == (("S1", "S3"),)


def test_recipe_graph_two_steps_with_one_text_are_paired_by_id():
    activity = make_activity({10: "stir", 11: "pour", 12: "stir"})
    graph = make_graph({4: "stir", 5: "pour", 6: "stir"}, [(4, 5), (5, 6)])
    assert join_recipe_nodes(activity, graph) == {10: (4,), 12: (6,), 11: (5,)}
    assert make_recipe_task(activity, graph).step_ids == ("S10", "S11", "S12")


def test_recipe_graph_two_nodes_of_one_step_make_no_cycle():
    # stir, then pour, then stir again: pour needs a first stir, the first stir does not need pour
    activity = make_activity({10: "stir", 11: "pour", 12: "serve"})
    graph = make_graph({1: "stir", 2: "pour", 3: "stir", 4: "serve"}, [(1, 2), (2, 3), (3, 4)])

    task = make_recipe_task(activity, graph)

    assert join_recipe_nodes(activity, graph)[10] == (1, 3)
    assert task.step_ids == ("S10", "S11", "S12")
    assert task.find_predecessors() == {"S10": (), "S11": ("S10",), "S12": ("S10", "S11")}


def test_recipe_graph_more_steps_than_nodes_leaves_the_last_without_order():
    activity = make_activity({10: "stir", 11: "stir"})
    assert join_recipe_nodes(activity, make_graph({1: "stir"}, [])) == {10: (1,)}


def test_recipe_activities_have_most_frequent_text_first():
    recordings = [make_recording([(1, "chat masala"), (2, "mix")]), make_recording([(1, "chaat masala")])]
    recordings += [make_recording([(1, "chaat masala")])]
    assert list_recipe_activities(recordings)[1].texts == {1: ("chaat masala", "chat masala"), 2: ("mix",)}


def test_recipe_task_rare_text_that_the_graph_has_is_chosen():
    activity = make_activity({1: ("chat masala", "chaat masala"), 2: "mix"})
    task = make_recipe_task(activity, make_graph({1: "mix", 2: "chaat masala"}, [(1, 2)]))
    assert [step.name for step in task.steps] == ["mix", "chaat masala"]


def test_recipe_task_without_graph_has_steps_by_id():
    task = make_recipe_task(make_activity({3: "b", 1: "a", 2: "c"}), None)
    assert sorted(task.step_ids) == ["S1", "S2", "S3"]
    assert task.order_edges == ()


def test_recipe_graphs_match_by_name_then_by_text():
    tea, soup = make_activity({1: "boil", 2: "steep"}, "Green Tea"), make_activity({3: "chop", 4: "boil"}, "Soup")
    soup = RecipeActivity(2, "Soup", soup.texts)
    graphs = {"greentea": make_graph({1: "chop"}, []), "broth": make_graph({1: "chop", 2: "boil"}, [])}
    assert match_recipe_graphs(graphs, [tea, soup]) == {"greentea": 1, "broth": 2}
    assert match_recipe_graphs({"cake": make_graph({1: "bake"}, [])}, [tea, soup]) == {}


def test_recipe_graph_cycle_is_one_line():
    activity = make_activity({1: "a", 2: "b"})
    with pytest.raises(DataError, match=r"^task graph of Tea: its edges form a cycle: (1 -> 2 -> 1|2 -> 1 -> 2)$"):
        make_recipe_task(activity, make_graph({1: "a", 2: "b"}, [(1, 2), (2, 1)]))

"""Statistics of steps: hand-computed episodes, merged tallies, the table of several datasets."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from prospect_core.data.dataset import write_dataset
from prospect_core.data.procedure_stats import ProcedureTally, count_open_steps
from prospect_core.data.stats import make_dataset_stats_table, tally_dataset_stats
from prospect_core.timeline import Episode, Event, Mistake, Step, StepSpan, Task
from tests.helpers.commands import run_cli
from tests.helpers.random_episodes import episodes

TASK = Task("tea", tuple(Step(f"S{k}", f"do {k}") for k in range(1, 5)))


def make(*changes, mistakes=(), frames=20, name="e"):
    events = tuple(
        Event(f"T{k}", time, "transition", step=step, change=change) for k, (time, step, change) in enumerate(changes)
    )
    return Episode(name, "v.mp4", 1, 0, frames, TASK, events, mistakes=mistakes).validate()


#: S2 first, S1 begins during it, S2 is repeated, S3 runs to the end, S4 is never done
BUSY = make(
    (2, "S2", "start"), (4, "S1", "start"), (5, "S2", "complete"), (8, "S1", "complete"), (9, "S2", "reopen"),
    (10, "S2", "complete"), (15, "S3", "start"), mistakes=(Mistake("m", "Order Error", "S1", (4.0, 8.0)),),
)  # fmt: skip


def test_episode_step_spans_hand_computed():
    assert BUSY.step_spans() == [
        StepSpan("S2", 2, 5), StepSpan("S1", 4, 8), StepSpan("S2", 9, 10), StepSpan("S3", 15, 20),
    ]  # fmt: skip


def test_episode_step_spans_of_window_begin_with_open_steps():
    assert BUSY.window(4, 12).step_spans() == [StepSpan("S2", 4, 5), StepSpan("S1", 4, 8), StepSpan("S2", 9, 10)]


@given(episodes())
def test_count_open_steps_equals_states(episode):
    expected = [
        sum(state == "in_progress" for state in episode.state_at(frame).states)
        for frame in range(episode.start_frame, episode.end_frame)
    ]
    assert count_open_steps(episode.step_spans(), episode).tolist() == expected


def test_procedure_tally_hand_computed():
    table = tally_dataset_stats([BUSY]).procedure.table()
    assert table == {
        "occurrences of steps an episode (mean)": 4.0,
        "occurrence seconds (10 %)": 1.6,
        "occurrence seconds (median)": 3.5,
        "occurrence seconds (90 %)": 4.7,
        "frames without a step in progress (%)": 40.0,
        "frames with several steps in progress (%)": 5.0,
        "starts during another step (%)": 25.0,
        "pairs of steps in the listed order (%)": 66.7,
        "repeated occurrences (%)": 25.0,
        "steps never done (%)": 25.0,
        "episodes with overlapping steps (%)": 100.0,
        "episodes with a repeated step (%)": 100.0,
        "episodes with a step never done (%)": 100.0,
        "episodes with an annotated mistake (%)": 100.0,
        "annotated mistakes an episode (mean)": 1.0,
    }


def test_dataset_stats_table_without_steps_has_no_rows_about_steps():
    plain = Episode("e", "v.mp4", 1, 0, 20, Task("tea"))
    assert "steps never done (%)" not in make_dataset_stats_table([plain])


@given(st.lists(episodes(), min_size=2, max_size=4))
def test_procedure_tally_merged_equals_whole(several):
    whole, left, right = ProcedureTally(), ProcedureTally(), ProcedureTally()
    for episode in several:
        whole.add(episode)
    left.add(several[0])
    for episode in several[1:]:
        right.add(episode)
    left.merge(right)
    assert left.table() == whole.table()


def test_stats_command_several_datasets_have_a_column_each(tmp_path, capsys):
    roots = []
    for name in ("tea", "soup"):
        write_dataset(tmp_path / name, name, "1", 1, {"test": [BUSY]})
        roots.append(tmp_path / name)
    assert run_cli("data", "stats", *roots, "--json") == 0
    assert list(json.loads(capsys.readouterr().out)) == ["tea test", "soup test"]
    assert run_cli("data", "stats", roots[0], roots[0], "--json") == 0
    assert list(json.loads(capsys.readouterr().out)) == [f"{roots[0]} test"]

"""Which episodes changed most between two runs and why, by hand; and comparisons of several runs as text and files."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from prospect_core.errors import DataError
from prospect_core.jsonio import dump
from prospect_core.records import Knobs, PredictedTransition, PredictedUtterance
from prospect_core.timeline import Episode, Event, Step, Task
from prospect_eval.baselines import baseline
from prospect_eval.changed import changed_episodes
from prospect_eval.cli import main
from prospect_eval.compare import Comparison, as_markdown, compare_runs
from prospect_eval.finish import finish
from prospect_eval.markdown import code, text
from prospect_eval.metrics import all_metrics
from prospect_eval.run import RunConfig, open_folder, record_path
from tests.test_metrics import TOOLS


def episode(k):
    """Three turns at 2, 6 and 10 s; a step from 4 s to 8 s; ten seconds and a half."""
    task = Task("t", (Step("S1", "boil"),))
    events = (
        Event("a1", 2.0, "assistant", f"Boil the water, {k}."),
        Event("d1", 4.0, "transition", step="S1", change="start"),
        Event("a2", 6.0, "assistant", "Good | so <b>far</b>."),
        Event("d2", 8.0, "transition", step="S1", change="complete"),
        Event("a3", 10.0, "assistant", "That is all."),
    )
    return Episode(f"e{k:02d}", f"v{k:02d}", 2, 0, 21, task, events, dataset="x").validate()


def store(folder, records):
    open_folder(folder, RunConfig("m", "", "data", "d", "test", None, Knobs(), ""))
    for record in records:
        record_path(folder, record.episode.id).write_text(dump(record))
    return folder


@pytest.fixture(scope="module")
def records():
    return [baseline("oracle", [])(episode(k)) for k in range(12)]


@pytest.fixture(scope="module")
def runs(records, tmp_path_factory):
    """The oracle, and one that misses two turns of e03, says one for nothing in e05, and misses an update of e07."""
    root = tmp_path_factory.mktemp("changed")
    first = store(root / "first", records)
    changed = list(records)
    changed[3] = replace(records[3], utterances=records[3].utterances[:1])
    extra = PredictedUtterance(16, "Stop!")
    changed[5] = replace(records[5], utterances=(*records[5].utterances[:2], extra, *records[5].utterances[2:]))
    changed[7] = replace(records[7], transitions=(PredictedTransition(8, "S1", "start"),))
    second = store(root / "second", changed)
    for folder in (first, second):
        finish(folder)
    return first, second


def test_the_most_changed_first_and_by_what(runs):
    found = changed_episodes(*runs, TOOLS)
    assert [change.episode for change in found] == ["e03", "e07", "e05"]
    three, seven, five = found
    # F1 1 -> 2 * 1 / (1 + 3), said well 1 -> 1/3
    assert three.score == pytest.approx(0.5 + 2 / 3)
    assert asdict(three.second) == {"speaking": pytest.approx(0.5), "matched": pytest.approx(1 / 3), "states": 1.0}
    assert three.why == ("6.0 s, no longer said well: 'Good | so <b>far</b>.' and 1 more",)
    # 5 of 21 frames from 8 s on
    assert seven.score == pytest.approx(5 / 21)
    assert seven.why == ("8.0 s, states lost for 2 s: S1 is in progress where completed is right",)
    assert five.why == ("8.0 s, now said for nothing: 'Stop!'",)
    back = changed_episodes(*reversed(runs), TOOLS, most=2)
    assert [change.why[0] for change in back] == [
        "6.0 s, now said well: 'Good | so <b>far</b>.' and 1 more",
        "8.0 s, states right again for 2 s: S1 is in progress where completed is right",
    ]
    assert changed_episodes(runs[0], runs[0], TOOLS) == []


def test_runs_without_a_common_episode_are_refused(runs, records, tmp_path):
    other = store(
        tmp_path / "other", [replace(r, episode=replace(r.episode, id=f"x{k}")) for k, r in enumerate(records)]
    )
    with pytest.raises(DataError, match="no episode in common"):
        changed_episodes(runs[0], other, TOOLS)


def test_several_runs_against_the_first_as_files(runs, tmp_path, capsys):
    files = tmp_path / "c.md", tmp_path / "c.json"
    with pytest.raises(SystemExit) as stop:
        main(["compare", *map(str, (*runs, runs[0])), "--markdown", str(files[0]), "--json", str(files[1])])
    assert not stop.value.code
    assert "no longer said well" in capsys.readouterr().out
    stored = json.loads(files[1].read_text())["comparisons"]
    assert [one["second"] for one in stored] == [str(runs[1]), str(runs[0])]
    assert stored[0]["episodes"][0]["episode"] == "e03"
    assert all(d["second"] == d["first"] for d in stored[1]["differences"])
    table = files[0].read_text()
    assert table.count("### ") == 2
    assert "Good \\| so &lt;b&gt;far&lt;/b&gt;." in table


def test_a_table_has_as_many_cells_in_every_row(runs):
    differences = tuple(compare_runs(*runs, all_metrics(TOOLS)))
    rows = as_markdown(Comparison("a|b", "c", differences)).splitlines()[2:]
    assert len({row.replace("\\|", "").count("|") for row in rows if row}) == 1


def test_what_people_write_shows_as_text_in_markdown():
    assert text("a|b\n*c* <script>") == "a\\|b \\*c\\* &lt;script&gt;"
    assert code("a`b|c") == "`a'b\\|c`"

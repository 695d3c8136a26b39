"""Episode diff by hand, and comparisons of several runs as text and files."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from prospect_core.records import PredictedTransition, PredictedUtterance
from prospect_core.util.errors import DataError
from prospect_eval.analysis.episode_diff import diff_episodes
from prospect_eval.api import score_run
from prospect_eval.cli.commands import prospect_eval
from prospect_eval.models.baselines.trivial import make_trivial_baseline
from prospect_eval.text.markdown import markdown_code, markdown_text
from tests.helpers.predictions import TOOLS
from tests.helpers.run_folders import numbered_episode, store_run

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def records():
    return [make_trivial_baseline("oracle", [])(numbered_episode(k)) for k in range(12)]


@pytest.fixture(scope="module")
def runs(records, tmp_path_factory):
    """The oracle, and a run that misses two turns of e03, has a redundant one in e05, and misses an
    update of e07.
    """
    root = tmp_path_factory.mktemp("changed")
    first = store_run(root / "first", records)
    changed = list(records)
    changed[3] = replace(records[3], utterances=records[3].utterances[:1])
    extra = PredictedUtterance(16, "Stop!")
    changed[5] = replace(records[5], utterances=(*records[5].utterances[:2], extra, *records[5].utterances[2:]))
    changed[7] = replace(records[7], transitions=(PredictedTransition(8, "S1", "start"),))
    second = store_run(root / "second", changed)
    for folder in (first, second):
        score_run(folder)
    return first, second


def test_diff_episodes_lists_most_changed_with_reasons(runs):
    found = diff_episodes(*runs, TOOLS)
    assert [change.episode for change in found] == ["e03", "e07", "e05"]
    three, seven, five = found
    # F1 1 -> 2 * 1 / (1 + 3), share of correct matches 1 -> 1/3
    assert three.score == pytest.approx(0.5 + 2 / 3)
    assert asdict(three.second) == {"speaking": pytest.approx(0.5), "matched": pytest.approx(1 / 3), "states": 1.0}
    assert three.why == ("6.0 s, was right, is now wrong: 'Good | so <b>far</b>.' and 1 more",)
    # 5 of 21 frames, starting at 8 s
    assert seven.score == pytest.approx(5 / 21)
    assert seven.why == ("8.0 s, states now wrong for 2 s: S1 is in progress, should be completed",)
    assert five.why == ("8.0 s, new false alarm: 'Stop!'",)
    back = diff_episodes(*reversed(runs), TOOLS, most=2)
    assert [change.why[0] for change in back] == [
        "6.0 s, was wrong, is now right: 'Good | so <b>far</b>.' and 1 more",
        "8.0 s, states now right for 2 s: S1 was in progress, should be completed",
    ]
    assert diff_episodes(runs[0], runs[0], TOOLS) == []


def test_diff_episodes_no_common_episode_raises(runs, records, tmp_path):
    other = store_run(
        tmp_path / "other", [replace(r, episode=replace(r.episode, id=f"x{k}")) for k, r in enumerate(records)]
    )
    with pytest.raises(DataError, match="no episode in common"):
        diff_episodes(runs[0], other, TOOLS)


def test_compare_command_several_runs_writes_files(runs, tmp_path, capsys):
    files = tmp_path / "c.md", tmp_path / "c.json"
    with pytest.raises(SystemExit) as stop:
        prospect_eval(["compare", *map(str, (*runs, runs[0])), "--markdown", str(files[0]), "--json", str(files[1])])
    assert not stop.value.code
    assert "was right, is now wrong" in capsys.readouterr().out
    stored = json.loads(files[1].read_text())["comparisons"]
    assert [one["second"] for one in stored] == [str(runs[1]), str(runs[0])]
    assert stored[0]["episodes"][0]["episode"] == "e03"
    assert all(d["second"] == d["first"] for d in stored[1]["differences"])
    table = files[0].read_text()
    assert table.count("### ") == 2
    assert "Good \\| so &lt;b&gt;far&lt;/b&gt;." in table


def test_markdown_text_escapes_markup():
    assert markdown_text("a|b\n*c* <script>") == "a\\|b \\*c\\* &lt;script&gt;"
    assert markdown_code("a`b|c") == "`a'b\\|c`"

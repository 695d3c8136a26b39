"""Comparison of runs: comparable runs and valid conclusions."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from prospect_core.records import Knobs, ReplayProtocol
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import read_json
from prospect_eval.analysis.compare import compare_runs
from prospect_eval.analysis.compare_formats import format_compare_families, format_compare_markdown
from prospect_eval.analysis.leaderboard import make_leaderboard
from prospect_eval.analysis.pairing import pairing_differing_keys
from prospect_eval.analysis.seeds import compare_seed_groups
from prospect_eval.cli.commands import prospect_eval
from prospect_eval.metrics import all_metrics
from tests.helpers.predictions import TOOLS
from tests.helpers.scored_runs import edit_json, failed, oracle, partly_said, scored_run, silent, toy_episode
from tests.helpers.tiers import slow

pytestmark = pytest.mark.integration
METRICS = all_metrics(TOOLS)
SPEAKING = "speaking_event_f1@2s"
#: only the metrics that the tests read, because each compared metric takes time
SOME = [m for m in METRICS if m.name in (SPEAKING, "matched_f1", "dst_jga", "speaking_event_f1@1s", "bleu", "cider")]


@pytest.fixture(autouse=True)
def headline(monkeypatch):
    """Two headline metrics of any kind."""
    monkeypatch.setattr(
        "prospect_eval.suites.suite.suite_first_metrics", lambda name: (SPEAKING, "dst_jga") if name else ()
    )


def compared(first, second, **options):
    (found,) = compare_runs(first, [second], SOME, **options)
    return {d.name: d for d in found.differences}


def episodes(count):
    return [toy_episode(n) for n in range(count)]


def test_compare_runs_other_data_raises(tmp_path):
    records = oracle(episodes(12))
    first, second = (scored_run(tmp_path / d, records, data_digest=d * 64) for d in "ab")
    with pytest.raises(UserError, match=r"cannot be compared: different data \(a+ and b+\)"):
        compare_runs(first, [second], SOME)


def test_compare_runs_other_split_raises(tmp_path):
    records = oracle(episodes(12))
    first, second = scored_run(tmp_path / "a", records), scored_run(tmp_path / "b", records, split="val")
    with pytest.raises(UserError, match=r"different split \(test and val\)"):
        compare_runs(first, [second], SOME)


def test_compare_runs_other_protocol_raises(tmp_path):
    records = oracle(episodes(12))
    gold = Knobs(protocol=ReplayProtocol(history="gold"))
    first, second = scored_run(tmp_path / "a", records), scored_run(tmp_path / "b", records, knobs=gold)
    with pytest.raises(
        UserError, match=r"protocols differ \(autonomous; autonomous, gold history \(teacher-forced\)\)"
    ):
        compare_runs(first, [second], SOME)


def test_compare_runs_other_episodes_raises_without_intersect(tmp_path):
    records = oracle(episodes(14))
    first, second = scored_run(tmp_path / "a", records), scored_run(tmp_path / "b", records[:12])
    with pytest.raises(UserError, match=r"b lacks 2 episodes of .*a \(e12, e13\); --intersect compares the 12 common"):
        compare_runs(first, [second], SOME)
    (found,) = compare_runs(first, [second], SOME, intersect=True)
    assert found.left_out == ("e12", "e13")
    assert {d.videos for d in found.differences} == {12}


def test_compare_runs_failed_episodes_is_not_better(tmp_path):
    rng, good, bad = np.random.default_rng(3), [], []
    for n in range(12):
        for k, share in enumerate((1.0, 0.3)):
            (record,) = oracle([toy_episode(n, id=f"e{n:02d}.{k}")])
            record = partly_said(record, share, rng)
            good.append(record)
            bad.append(record if k == 0 else failed(record))
    found = compared(scored_run(tmp_path / "a", good, suite="x"), scored_run(tmp_path / "b", bad, suite="x"))
    assert found[SPEAKING].verdict == "worse"
    # in each video 9 of 18 turns are predicted, and nothing else: 2 * 9 / (9 + 18)
    assert found[SPEAKING].second == pytest.approx(2 / 3)
    first, second = found[SPEAKING].without_failed
    assert first < second == 1.0


def test_metrics_failed_episodes_count_as_worst_value(tmp_path):
    records = oracle(episodes(2))
    folder = scored_run(tmp_path / "a", [records[0], failed(records[1])])
    table = read_json(folder / "metrics.json")
    values = {name: entry["value"] for name, entry in table["metrics"].items()}
    # nine turns of each episode: 2 * 9 / (9 + 18)
    assert values[SPEAKING] == pytest.approx(2 / 3)
    assert values["dst_jga"] == values["dst_head_jga"] == values["similarity"] == 0.5
    assert values["dst_macro_f1"] < 0.6
    assert values["speaking_ap"] < 0.6
    assert table["without_failed"][SPEAKING] == table["without_failed"]["dst_jga"] == 1.0
    assert table["episodes"] == {"scored": 1, "failed": 1, "failed_ids": ["e01"]}
    # a rate without an upper end has no worst value, so the failed episode is left out
    assert table["metrics"]["false_alarms_per_minute"]["n_undefined"] == 1


def test_metrics_only_failed_episodes_are_left_out(tmp_path):
    from dataclasses import replace

    # a model without probabilities
    records = [replace(r, speaking_prob=(), update_prob=(), state_probs=()) for r in oracle(episodes(2))]
    table = read_json(scored_run(tmp_path / "a", [records[0], failed(records[1])]) / "metrics.json")
    assert table["metrics"]["dst_head_jga"]["value"] is table["metrics"]["speaking_ap"]["value"] is None


@pytest.mark.parametrize("videos", [10, slow(12)])
def test_compare_runs_oracle_is_better_from_ten_videos(tmp_path, videos):
    some = [toy_episode(n, frames=100 + 4 * n) for n in range(videos)]
    first = scored_run(tmp_path / "silent", silent(some), suite="x")
    found = compared(first, scored_run(tmp_path / "oracle", oracle(some), suite="x"))
    assert found[SPEAKING].verdict == found["dst_jga"].verdict == "better"
    assert found[SPEAKING].p == pytest.approx(2 * 2 / 2**videos)


def test_compare_runs_too_few_videos_reports_needed_number(tmp_path):
    first, second = (
        scored_run(tmp_path / d, made(episodes(5)), suite="x") for d, made in (("a", silent), ("b", oracle))
    )
    found = compared(first, second)[SPEAKING]
    assert (found.verdict, found.p) == ("too few", None)
    assert found.note == "only 5 videos: at least 10 are needed to show a difference with 2 tests"


def test_compare_runs_same_run_is_identical(tmp_path):
    first = scored_run(tmp_path / "a", oracle(episodes(12)), suite="x")
    found = compared(first, first)
    assert {d.verdict for d in found.values() if d.tested} == {"identical"}
    assert {d.ci95 for d in found.values()} == {None}


def test_compare_runs_suite_tests_its_metrics(tmp_path):
    some = episodes(12)
    first, second = (scored_run(tmp_path / d, made(some), suite="x") for d, made in (("a", silent), ("b", oracle)))
    (found,) = compare_runs(first, [second], SOME)
    assert [d.name for d in found.differences if d.tested] == [SPEAKING, "dst_jga"]
    assert found.tests == 2
    # Holm over both pairs of a comparison of three runs
    both = compare_runs(first, [second, second], SOME)
    assert [one.tests for one in both] == [4, 4]
    assert both[0].differences[0].p == pytest.approx(4 * 2 / 2**12)
    assert all(d.p is None for d in found.differences if not d.tested)


@pytest.mark.slow
def test_compare_runs_detectable_uses_corrected_level(tmp_path):
    rng = np.random.default_rng(5)
    records = oracle(episodes(20))
    first = scored_run(tmp_path / "a", [partly_said(r, 0.7, rng) for r in records], suite="x")
    second = scored_run(tmp_path / "b", [partly_said(r, 0.7, rng) for r in records], suite="x")
    (alone,) = compare_runs(first, [second], SOME)
    three = compare_runs(first, [second] * 5, SOME)
    one, several = (next(d for d in found.differences if d.name == SPEAKING) for found in (alone, three[0]))
    assert one.verdict == "not shown"
    assert 0.02 < one.detectable < several.detectable


def test_compare_runs_other_family_version_asks_to_rescore(tmp_path):
    records = oracle(episodes(12))
    first, second = scored_run(tmp_path / "a", records), scored_run(tmp_path / "b", records)
    table = read_json(second / "metrics.json")["metrics"]
    for entry in table.values():
        entry["signature"] = entry["signature"].replace("|v:2", "|v:1")
    edit_json(second / "metrics.json", metrics=table)
    with pytest.raises(UserError, match=r"v: 2 / 1 .*rescore both with `prospect-eval score`"):
        compare_runs(first, [second], SOME)


def test_compare_runs_older_counts_schema_asks_to_rescore(tmp_path):
    first = scored_run(tmp_path / "a", oracle(episodes(3)))
    edit_json(first / "counts.json", schema=1)
    with pytest.raises(DataError, match="scored by another version; run `prospect-eval score"):
        compare_runs(first, [first], SOME)


def test_pairing_differing_keys_lists_differences():
    assert pairing_differing_keys("metric:a|tol:1s", "metric:a|bs:5") == ["tol: 1s / absent", "bs: absent / 5"]


def test_compare_command_shows_tested_metrics_and_families(tmp_path):
    some = episodes(12)
    first, second = (scored_run(tmp_path / d, made(some), suite="x") for d, made in (("a", silent), ("b", oracle)))
    result = CliRunner().invoke(prospect_eval, ["compare", str(first), str(second), "--episodes", "0"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "b compared with a"
    rows = [line for line in lines if "better" in line]
    assert [row.split()[0] for row in rows] == [SPEAKING, "dst_jga"]
    assert any(line.startswith("  speaking: ") and " more metrics, " in line for line in lines)
    assert max(map(len, lines[:8])) <= 110


def test_format_compare_markdown_has_complete_rows(tmp_path):
    some = episodes(12)
    first, second = (scored_run(tmp_path / d, made(some), suite="x") for d, made in (("a|b", silent), ("b", oracle)))
    (found,) = compare_runs(first, [second], SOME)
    text = format_compare_markdown(found)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({row.replace("\\|", "").count("|") for row in rows}) == 1
    assert text.startswith("### b compared with a\\|b\n")
    assert len(format_compare_families(found.differences)) >= 2


def trained(tmp_path, name, share, seeds=3):
    """Scored runs of several trainings of a recipe with the given shares of spoken turns."""
    return [
        scored_run(
            tmp_path / f"{name}{seed}",
            [partly_said(r, share, np.random.default_rng(100 * seed + n)) for n, r in enumerate(oracle(episodes(12)))],
            suite="x", model_digest=f"{name}{seed}",
        )
        for seed in range(seeds)
    ]  # fmt: skip


@pytest.mark.slow
def test_compare_seed_groups_compares_means(tmp_path):
    good, bad = trained(tmp_path, "g", 0.95), trained(tmp_path, "b", 0.4)
    found = {d.name: d for d in compare_seed_groups(bad, good, SOME)}[SPEAKING]
    values = [[read_json(f / "metrics.json")["metrics"][SPEAKING]["value"] for f in group] for group in (bad, good)]
    assert found.first == pytest.approx((np.mean(values[0]), np.std(values[0], ddof=1)))
    assert found.difference == pytest.approx(np.mean(values[1]) - np.mean(values[0]))
    assert found.ci95[0] < found.difference < found.ci95[1]
    assert found.verdict == "better"
    same = {d.name: d for d in compare_seed_groups(good, trained(tmp_path, "h", 0.95), SOME)}[SPEAKING]
    assert same.verdict == "not shown"


def test_compare_seed_groups_one_seed_raises(tmp_path):
    runs = trained(tmp_path, "g", 0.9, 2)
    with pytest.raises(UserError, match="give runs of at least 2 training seeds"):
        compare_seed_groups(runs[:1], runs, SOME)


def test_make_leaderboard_ranks_and_tests_runs(tmp_path):
    rng, records = np.random.default_rng(1), oracle(episodes(12))
    runs = [
        scored_run(tmp_path / name, [partly_said(r, share, rng) for r in records], suite="x")
        for name, share in (("half", 0.5), ("all", 1.0), ("most", 0.99))
    ]
    board = make_leaderboard(runs, METRICS)
    assert board.by == SPEAKING
    assert [place.run.rpartition("/")[2] for place in board.places] == ["all", "most", "half"]
    assert [place.verdict for place in board.places] == [
        "best",
        "no difference from the best shown",
        "worse than the best",
    ]
    result = CliRunner().invoke(prospect_eval, ["leaderboard", *map(str, runs), "--by", "dst_jga"])
    assert result.exit_code == 0, result.output
    assert "ranked by dst_jga over 12 episodes" in result.output

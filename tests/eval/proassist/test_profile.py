"""Published scores next to PROSPECT's: equal where they should be, with a reason for every
difference.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from prospect_core.records import SCHEMA, EpisodeRecord, Knobs
from prospect_core.util.errors import UserError
from prospect_core.util.json_io import dump_json, read_json
from prospect_eval.matching.settings import MatchSettings, ScoreSettings
from prospect_eval.metrics.published_scores import Stream, compute_published_scores
from prospect_eval.proassist.profile import DST, PAIRS, make_proassist_profile
from tests.helpers.commands import evaluate
from tests.helpers.predictions import TOOLS, episode, predict, same_words, say, step
from tests.helpers.run_folders import numbered_episode

REFERENCE = episode(say(5.0, "Boil the water."), say(9.0, "Pour it in."), say(15.0, "Wait for it."), frames=40)


def rows(table):
    return {row.name: row for row in table.rows}


def test_profile_perfect_hits_reports_lost_pairs():
    record = predict(REFERENCE, [(10, "Boil the water."), (18, "Pour it in."), (31, "Wait for it.")])
    (table,) = make_proassist_profile([record], TOOLS)
    assert (table.dataset, table.streams, table.window_s, table.lost_hits) == ("x", 1, (2.5, 2.5), 2)
    found = rows(table)
    # the two exact hits are lost, the hit that is a frame late is kept
    assert found["F1"].published == pytest.approx(1 / 3)
    assert found["F1"].ours == 1.0
    assert "2 pairs of cost 0 (same frame, same words) lost as published, kept here" in found["F1"].reason


def test_profile_has_reason_for_each_difference():
    record = predict(REFERENCE, [(11, "Boil the water."), (19, "Pour it away."), (25, "Hm.")])
    for row in make_proassist_profile([record], TOOLS)[0].rows:
        equal = row.published is not None and row.ours is not None and abs(row.published - row.ours) < 1e-4
        assert bool(row.reason) == bool(row.ours_name and not equal), row
    names = {row.name for row in make_proassist_profile([record], TOOLS)[0].rows}
    assert names == {name for name in PAIRS if not name.startswith(DST)}


def test_profile_updates_have_published_scores():
    reference = episode(step(2.0, "S1", "start"), say(5.0, "Go on."), step(9.0, "S1", "complete"))
    # an update a frame late; the second one is missing
    one = predict(reference, [(10, "Go on.")], [(5, "S1", "start")])
    found = rows(make_proassist_profile([one, predict(replace(reference, id="e2", video="w"))], TOOLS)[0])
    assert (found["speaking_f1"].published, found["speaking_f1"].ours) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (found["dst_update_f1"].published, found["dst_update_f1"].ours) == (0.0, pytest.approx(2 / 5))
    assert found["dst_exact_match"].published == 1.0
    assert found["dst_exact_match"].ours == pytest.approx(2 / 5)
    assert all(found[name].reason for name in ("dst_update_f1", "dst_exact_match"))


def test_profile_silent_run_explains_undefined():
    found = rows(make_proassist_profile([predict(REFERENCE)], TOOLS)[0])
    assert (found["precision"].published, found["precision"].ours) == (0.0, None)
    assert found["precision"].reason == "no denominator: 0 in the published score, undefined in PROSPECT"
    assert (found["recall"].published, found["recall"].ours, found["recall"].reason) == (0.0, 0.0, "")


def test_profile_several_datasets_are_averaged():
    one, other = numbered_episode(1), replace(numbered_episode(2), dataset="wtag")
    perfect = predict(one, [(u.frame - 1, u.text) for u in one.utterances()])
    tables = make_proassist_profile([perfect, predict(other)], TOOLS)
    assert [table.dataset for table in tables] == ["wtag", "x", None]
    assert [table.window_s for table in tables] == [(3.0, 6.0), (2.5, 2.5), None]
    found = rows(tables[-1])
    assert found["recall"].published == 0.5
    assert found["F1"].published == 0.5
    # pooled: 3 of 3 utterances correct, 3 of 6 references found
    assert found["F1"].ours == pytest.approx(2 / 3)
    assert "published: mean over 2 datasets; PROSPECT: pooled counts" in found["F1"].reason


def test_profile_failed_stream_is_explained():
    failed = EpisodeRecord(SCHEMA, "m", Knobs(), numbered_episode(2), status="failed", error="no video")
    heard = predict(numbered_episode(1), [(4, "Boil the water, 1.")])
    found = rows(make_proassist_profile([heard, failed], TOOLS)[0])
    assert "1 failed stream: silence as published, the worst value here" in found["Bleu_4"].reason


def near_or_far(left, right):
    """Similarities: 1 for equal texts, 0.9 for texts with a common word, otherwise 0."""
    shares = same_words(left, right)
    return 0.9 * (shares > 0.3) + 0.1 * (shares == 1)


@pytest.mark.parametrize(
    ("match", "correct"),
    [
        (MatchSettings(), 1),
        (MatchSettings(window_s=(4.0, 4.0)), 2),
        (MatchSettings(window_s=(4.0, 4.0), distance_factor=5.0), 1),
        (MatchSettings(window_s=(4.0, 4.0), distance_factor=5.0, distance_power=9.0), 2),
        (MatchSettings(0.95, window_s=(4.0, 4.0)), 1),
    ],
)
def test_profile_match_settings_apply_to_both(match, correct):
    # one frame late with the same words; six frames late with other words of a cosine of 0.9
    record = predict(REFERENCE, [(11, "Boil the water."), (36, "Wait for it now.")])
    resources = replace(TOOLS, similarity=near_or_far, settings=ScoreSettings(match))
    found = rows(make_proassist_profile([record], resources)[0])
    assert found["num_matched"].published == correct
    assert found["F1"].ours == pytest.approx(found["F1"].published)


def test_published_scores_empty_window_raises():
    stream = Stream(predict(REFERENCE, [(11, "Boil the water.")]), same_words, MatchSettings(window_s=(0.0, 0.4)))
    with pytest.raises(UserError, match="less than one frame at 2 per second"):
        compute_published_scores([stream])


@pytest.mark.slow
@pytest.mark.integration
def test_score_command_profile_prints_and_stores_both(tmp_path, capsys):
    theirs = tmp_path / "theirs.jsonl"
    theirs.write_text(dump_json(predict(REFERENCE, [(10, "Boil the water."), (20, "Pour it in.")])) + "\n")
    run = tmp_path / "run"
    assert evaluate("score", theirs, "--profile", "proassist", "--output", run) == 0
    out = capsys.readouterr().out
    assert "x: 1 stream, window 2.5 s late, 2.5 s early" in out
    assert "similarity model: all-MiniLM-L6-v2:53aa51172d14 (published: all-mpnet-base-v2)" in out
    stored = read_json(run / "published.json")
    assert stored["datasets"][0]["published"]["F1"] == read_json(run / "metrics.json")["metrics"]["matched_f1"]["value"]
    assert set(stored["settings"]) == {"factor", "power", "threshold", "similarity"}
    assert evaluate("score", run, "--profile", "proassist", "--window", "0,2", "--json", "-") == 0
    assert '"published"' in capsys.readouterr().out
    assert evaluate("score", run, "--window", "near") == 2
    assert "give seconds late and early, such as 3,6, or auto" in capsys.readouterr().err

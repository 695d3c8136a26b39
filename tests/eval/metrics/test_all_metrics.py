"""Metrics by hand, compared with independent references, and on the oracle and the trivial
baselines.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sacrebleu
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from prospect_core.timeline import Episode, Event, Task
from prospect_eval.metrics import all_metrics
from prospect_eval.metrics.text import bleu, bleu_stats, bleu_value
from prospect_eval.models.baselines.trivial import (
    BASELINES,
    best_baseline_period,
    make_trivial_baseline,
    make_trivial_baseline_record,
)
from prospect_eval.scoring.score import score_records
from prospect_eval.stats.bootstrap import Resampling, bootstrap_interval
from tests.helpers.predictions import TASK, TOOLS, WORDS, episode, predict, say, score, step
from tests.helpers.random_episodes import episodes


def test_speaking_metrics_by_hand():
    reference = episode(say(5.0), say(10.0), say(15.0))
    record = predict(reference, [(10, "a"), (21, "b"), (38, "c"), (39, "d")])
    got = score(record)
    assert got["speaking_f1"]["value"] == pytest.approx(2 * 1 / (4 + 3))
    assert got["speaking_event_f1@1s"]["value"] == pytest.approx(2 * 2 / 7)
    assert got["speaking_event_f1@5s"]["value"] == pytest.approx(2 * 3 / 7)
    assert got["proactive_event_f1@1s"]["value"] == pytest.approx(2 * 2 / 7)
    assert got["responsive_event_f1@1s"]["status"] == "undefined"


def test_speaking_f1_equals_scikit_learn():
    rng = np.random.default_rng(0)
    truth, guess = rng.random(200) < 0.1, rng.random(200) < 0.15
    reference = Episode(
        "e",
        "v",
        2,
        0,
        200,
        TASK,
        tuple(Event(f"a{f}", f / 2, "assistant", "x") for f in np.flatnonzero(truth).tolist()),
    )
    record = predict(reference, [(f, "x") for f in np.flatnonzero(guess).tolist()])
    assert score(record, name="speaking_f1") == pytest.approx(f1_score(truth, guess))


def test_speaking_event_f1_by_kind_of_turn():
    reference = episode(Event("u", 4.0, "user", "What now?"), say(4.5), say(15.0))
    replies = predict(reference, [(9, "x")])
    got = score(replies)
    assert got["responsive_event_f1@1s"]["value"] == 1.0
    assert got["proactive_event_f1@1s"]["value"] == 0.0
    assert got["speaking_event_f1@1s"]["value"] == pytest.approx(2 / 3)


def test_false_alarms_by_hand():
    reference = episode(say(10.0), frames=100)  # frames 10..30 are near the turn, the other 79 frames are not
    record = predict(reference, [(5, "x"), (15, "y"), (90, "z")])
    assert score(record, name="false_alarms_per_minute") == pytest.approx(2 / (79 / 120))


def test_state_metrics_by_hand():
    reference = episode(step(2.0, "S1", "start"), step(6.0, "S1", "complete"), step(10.0, "S2", "start"))
    record = predict(reference, (), [(5, "S1", "start"), (12, "S1", "complete"), (30, "S2", "start")])
    got = score(record)
    # wrong on frame 4 and on frames 20..29 of 40
    assert got["dst_jga"]["value"] == pytest.approx(29 / 40)
    assert got["dst_step_accuracy"]["value"] == pytest.approx(1 - 11 / 80)
    assert got["dst_final_accuracy"]["value"] == 1.0
    assert got["transition_f1@1s"]["value"] == pytest.approx(2 * 2 / 6)
    assert got["transition_f1@5s"]["value"] == pytest.approx(1.0)
    assert got["dst_head_jga"]["status"] == "undefined"


def test_dst_jga_averages_videos_not_frames():
    long = episode(step(0.0, "S1", "start"), frames=1000, video="long", id_="a")
    short = [episode(frames=10, video="short", id_=i) for i in ("b", "c")]
    records = [predict(long), predict(short[0]), predict(short[1], (), [(5, "S1", "start")])]
    # long video: 0; short video: mean of 1.0 and 0.5
    assert score(*records, name="dst_jga") == pytest.approx((0 + 0.75) / 2)


def test_transition_f1_one_update_of_three_is_not_perfect():
    """The index-aligned accuracy is 1.0 here."""
    reference = episode(step(2.0, "S1", "start"), step(6.0, "S1", "complete"), step(10.0, "S2", "start"))
    assert score(predict(reference, (), [(4, "S1", "start")]), name="transition_f1@1s") == pytest.approx(0.5)


def test_state_metrics_task_without_steps_is_undefined():
    got = score(predict(episode(say(3.0), steps=Task("watch"))))
    for name in ("dst_jga", "transition_f1@2s", "dst_final_accuracy"):
        assert got[name]["value"] is None
        assert got[name]["reason"] == "the task has no steps"


def test_matched_and_text_metrics_by_hand():
    reference = episode(say(5.0, "put the cup away"), say(10.0, "well done"), say(15.0, "stop now"))
    record = predict(reference, [(10, "put the cup away"), (20, "something else"), (38, "stop now")])
    got = score(record)
    # one correct pair, one pair with other words or no pair, one missed, one redundant
    assert got["matched_precision"]["value"] == pytest.approx(1 / 3)
    assert got["matched_recall"]["value"] == pytest.approx(1 / 3)
    assert got["similarity"]["value"] == 1.0
    assert got["similarity_w"]["value"] == pytest.approx(got["matched_jaccard"]["value"])


def test_answer_accuracy_whole_words_within_five_seconds():
    question = Event("u", 5.0, "user", "How many?", question="remainder", accepted=("two", "2"))
    reference = episode(question, say(5.5, "Two left."), frames=60)
    for frame, text, value in ((11, "There are TWO left.", 1.0), (11, "Two, or twenty2", 1.0), (11, "twofold", 0.0), (11, "twenty-two left", 0.0),
                               (21, "two", 0.0), (10, "two", 0.0)):  # fmt: skip
        assert score(predict(reference, [(frame, text)]), name="answer_accuracy@remainder") == value
    assert score(predict(reference), name="answer_accuracy@remainder") == 0.0
    first = predict(reference, [(11, "Three left."), (13, "Two left.")])
    assert score(first, name="answer_accuracy@remainder") == 0.0


def test_cache_metrics_by_hand():
    reference = episode(frames=3)
    record = predict(reference, cache_tokens=(5, 9, 7), cache_bytes=(50, 90, 70))
    got = score(record)
    assert (got["cache_peak_tokens"]["value"], got["cache_peak_bytes"]["value"]) == (9, 90)
    assert got["cache_mean_bytes"]["value"] == 70
    assert score(predict(reference))["cache_peak_bytes"]["reason"] == "the model reports no cache"


@pytest.mark.integration
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_bleu_equals_sacrebleu_from_summed_counts(pairs):
    hypotheses, references = map(list, zip(*pairs, strict=True))
    expected = sacrebleu.corpus_bleu(hypotheses, [references], use_effective_order=True).score
    assert bleu(hypotheses, references) == pytest.approx(expected, abs=1e-9)
    parts = sum(bleu_stats([h], [r]) for h, r in pairs)
    assert float(bleu_value(parts)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("texts", [["Yes", "Stop it", "Go on now"], ["Yes"], ["?", "杯"], ["Put the cup away now."]])
def test_bleu_equal_short_texts_is_100(texts):
    assert bleu(texts, texts) == pytest.approx(100.0, abs=1e-9)
    assert float(bleu_value(bleu_stats(texts, texts))) == pytest.approx(100.0, abs=1e-9)


def test_bleu_short_texts_by_hand():
    # unigrams 1 of 2, bigrams 0 of 1 (smoothed to 1/2), no higher order: sqrt(1/2 * 1/2)
    assert float(bleu_value(bleu_stats(["stop now"], ["stop it"]))) == pytest.approx(50.0, abs=1e-9)


def test_bleu_signature_has_effective_order():
    metric = next(m for m in all_metrics(TOOLS) if m.name == "bleu")
    assert "bleu:nrefs:1,case:mixed,eff:yes,tok:13a,smooth:exp" in metric.signature_text
    assert "|v:3|" in metric.signature_text


def test_bleu_unequal_lists_raise():
    with pytest.raises(ValueError, match="3 hypotheses for 2 references"):
        bleu(["a", "b", "c"], ["a", "b"])
    with pytest.raises(ValueError, match="at least one"):
        bleu([], [])


def test_similarity_equal_texts_is_one():
    from prospect_eval.metrics.resources import make_scoring_resources

    texts = ["Put the red cube in the box.", "Two left.", "☕"]
    matrix = make_scoring_resources().similarity(texts, texts)
    np.testing.assert_allclose(np.diag(matrix), 1.0, atol=1e-12)
    assert "53aa51172d14" in make_scoring_resources().similarity_signature


def test_bootstrap_interval_bca_equals_scipy():
    from scipy import stats

    rng = np.random.default_rng(1)
    counts = np.stack([rng.poisson(4, 40), rng.poisson(8, 40) + 5], axis=1).astype(float)
    ours = bootstrap_interval(counts, lambda c: c[..., 0] / c[..., 1], Resampling(20000))
    theirs = stats.bootstrap(
        (counts[:, 0], counts[:, 1]), lambda a, b, axis: a.sum(axis) / b.sum(axis), paired=True, n_resamples=20000,
        method="BCa", random_state=rng,
    ).confidence_interval  # fmt: skip
    np.testing.assert_allclose(ours, (theirs.low, theirs.high), atol=0.006)


def test_bootstrap_interval_is_seeded_and_needs_two_videos():
    counts = np.random.default_rng(0).random((12, 2)) + 1
    ratio = lambda c: c[..., 0] / c[..., 1]  # noqa: E731
    assert bootstrap_interval(counts, ratio) == bootstrap_interval(counts, ratio)
    assert bootstrap_interval(counts[:1], ratio) is None
    assert bootstrap_interval(np.ones((5, 2)), ratio) is None


PERFECT = ("_f1", "_precision", "_recall", "_jaccard", "similarity", "dst_jga", "dst_head_jga", "accuracy")


def give_each_turn_a_span(episode):
    """Give each joined turn a reply span of its own; several spans on one frame need several turns."""
    if not any(event.reply_span for event in episode.events):
        return episode
    spans = {
        turn.ids[0]: (max(0.0, (turn.frame - 0.5) / episode.fps), (turn.frame + 1) / episode.fps)
        for turn in episode.utterances()
    }
    return replace(episode, events=tuple(replace(e, reply_span=spans.get(e.id)) for e in episode.events))


@pytest.mark.integration
@given(st.lists(episodes(), min_size=1, max_size=3))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_score_records_oracle_is_perfect(references):
    references = [give_each_turn_a_span(replace(e, id=f"e{k}", video=f"v{k}")) for k, e in enumerate(references)]
    records = [make_trivial_baseline("oracle", references)(e) for e in references]
    assert all(r.problems() == [] for r in records)
    for name, entry in score_records(records, TOOLS)["metrics"].items():
        if entry["value"] is None:
            continue
        if "bleu" in name:
            assert entry["value"] == pytest.approx(100.0, abs=1e-9), name
        elif any(key in name for key in PERFECT):
            assert entry["value"] == pytest.approx(1.0, abs=1e-9), name
        elif name in ("false_alarms_per_minute", "dst_illegal_per_minute"):
            assert entry["value"] == 0.0


@pytest.mark.integration
def test_score_records_oracle_with_real_resources_is_perfect(world):
    table = score_records([make_trivial_baseline("oracle", [])(e) for e in world.episodes("test")])["metrics"]
    for name in ("speaking_f1", "speaking_event_f1@1s", "matched_f1", "matched_jaccard", "similarity", "similarity_w", "dst_jga",
                 "dst_head_jga", "transition_f1@1s", "answer_accuracy@past"):  # fmt: skip
        if table[name]["value"] is not None:
            assert table[name]["value"] == pytest.approx(1.0, abs=1e-9), name
    assert table["bleu"]["value"] == pytest.approx(100.0, abs=1e-9)


@pytest.mark.integration
def test_score_records_trivial_baselines_by_formula(world):
    references = list(world.episodes("train"))
    table = score_records([make_trivial_baseline("oracle", references)(e) for e in references], TOOLS)["baselines"]
    assert set(table) == set(BASELINES)
    assert table["silent"]["speaking_f1"]["value"] == 0.0
    assert table["silent"]["matched_precision"]["value"] is None
    assert table["silent"]["matched_recall"]["value"] == 0.0
    assert table["reply_to_user"]["responsive_event_f1@1s"]["value"] == 1.0
    assert table["reply_to_user"]["proactive_event_f1@1s"]["value"] == 0.0
    still = np.mean(
        [np.mean([e.state_at(f).states == e.initial_state.states for f in range(e.end_frame)]) for e in references]
    )
    assert table["never_update"]["dst_jga"]["value"] == pytest.approx(still)
    frames, turns = sum(e.num_frames for e in references), sum(len(e.utterances()) for e in references)
    assert table["always_talk"]["speaking_f1"]["value"] == pytest.approx(2 * turns / (frames + turns))


@given(episodes())
@settings(max_examples=60, deadline=None)
def test_trivial_baselines_random_episode_makes_legal_record(reference):
    for name in BASELINES:
        assert make_trivial_baseline(name, [reference])(reference).problems() == []


def test_best_baseline_period_maximizes_f1():
    reference = Episode(
        "e", "v", 2, 0, 200, TASK, tuple(Event(f"a{t}", float(t), "assistant", "x") for t in range(8, 96, 8))
    )
    assert best_baseline_period([reference]) == 8


def test_linear_schedule_gives_equal_shares():
    record = make_trivial_baseline("linear_schedule", [])(episode(frames=40))
    assert [(t.frame, t.step, t.change) for t in record.transitions] == [
        (0, "S1", "start"), (20, "S1", "complete"), (20, "S2", "start"),
    ]  # fmt: skip


def test_metric_signatures_contain_settings():
    names = {m.name: m.signature_text for m in all_metrics(TOOLS)}
    assert names["speaking_event_f1@2s"] != names["speaking_event_f1@1s"]
    assert "sim:words" in names["matched_f1"]
    assert len(set(names)) == len(all_metrics(TOOLS))


def test_make_trivial_baseline_record_has_certain_probabilities():
    record = make_trivial_baseline_record("m", episode(frames=6), [(2, "x")], [(3, "S1", "start")])
    assert record.speaking_prob == (0, 0, 1, 0, 0, 0)
    assert record.update_prob == (0, 0, 0, 1, 0, 0)
    assert [row[0].index(1.0) for row in record.state_probs] == [0, 0, 0, 1, 1, 1]

"""Speaking, transitions, segments, retention and context by hand and compared with independent
references.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from sklearn.metrics import f1_score as sklearn_f1

from prospect_core.records import CompressionEvent
from prospect_core.timeline import Event
from prospect_eval.metrics.histogram import histogram_quantile, seconds_histogram
from prospect_eval.metrics.speaking import speaking_event_scores, speaking_frame_scores
from prospect_eval.metrics.states import index_aligned_state_accuracy, state_scores
from prospect_eval.metrics.text import chrf, chrf_stats, chrf_value
from prospect_eval.metrics.transitions import (
    count_granular_transitions,
    granular_change_accuracy,
    procedure_order_similarity,
    transition_edit_distance,
    transition_edit_score,
    transition_segmental_counts,
)
from tests.helpers.predictions import TOOLS, WORDS, episode, predict, say, score, step


def test_speaking_ap_pools_frames_of_records():
    one = predict(episode(say(3.0), id_="a", video="a", frames=20), speaking_prob=tuple(k / 20 for k in range(20)))
    two = predict(episode(say(4.0), id_="b", video="b", frames=20), speaking_prob=tuple(1 - k / 40 for k in range(20)))
    labels = [f == 6 for f in range(20)] + [f == 8 for f in range(20)]
    expected = average_precision_score(labels, [*one.speaking_prob, *two.speaking_prob])
    got = score(one, two)["speaking_ap"]
    assert got["value"] == pytest.approx(expected, abs=1e-12)
    assert got["ci95"][0] <= got["value"] <= got["ci95"][1]


@given(st.lists(st.integers(-10, 10), min_size=1, max_size=30), st.sampled_from([0.5, 0.9]))
@settings(max_examples=200, deadline=None)
def test_histogram_quantile_equals_numpy(halves, q):
    values = [h / 2 for h in halves]
    got = float(histogram_quantile(seconds_histogram(values, 5), q, 5))
    assert got == pytest.approx(np.quantile(values, q), abs=1e-9)


def test_speaking_frame_scores_equal_scikit_learn():
    rng = np.random.default_rng(0)
    truth, guess = rng.random(200) < 0.1, rng.random(200) < 0.15
    got = speaking_frame_scores(np.flatnonzero(guess).tolist(), np.flatnonzero(truth).tolist(), 200)
    assert got["f1"] == pytest.approx(sklearn_f1(truth, guess))
    assert got["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, guess))
    assert speaking_frame_scores([], [], 10) == {
        "precision": None,
        "recall": None,
        "f1": None,
        "balanced_accuracy": None,
    }
    assert speaking_event_scores([4], [], 1, 2) == {"precision": 0.0, "recall": None, "f1": 0.0}


def test_speaking_delays_misses_duplicates_by_hand():
    reference = episode(say(5.0), say(10.0), say(22.0), frames=80)
    # one early by 1 s, one late by 2 s followed by a second one, the third is missed, one far from
    # all
    record = predict(reference, [(8, "a"), (24, "b"), (26, "c"), (70, "d")])
    got = {name: entry["value"] for name, entry in score(record).items()}
    assert got["speaking_delay_median_s"] == pytest.approx(0.5)
    assert got["speaking_delay_p90_s"] == pytest.approx(np.quantile([-1, 2], 0.9))
    assert (got["speaking_early_share"], got["speaking_late_share"]) == (0.5, 0.5)
    assert got["speaking_missed_rate"] == pytest.approx(1 / 3)
    assert got["speaking_redundant_rate"] == pytest.approx(2 / 4)
    assert got["speaking_duplicate_rate"] == pytest.approx(1 / 4)
    assert got["speaking_event_area"] == pytest.approx(np.trapezoid([2 / 7, 4 / 7, 4 / 7, 6 / 7], [1, 2, 5, 10]) / 9)


@pytest.mark.integration
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_chrf_equals_sacrebleu_from_summed_counts(pairs):
    hypotheses, references = map(list, zip(*pairs, strict=True))
    expected = sacrebleu.corpus_chrf(hypotheses, [references]).score
    assert chrf(hypotheses, references) == expected
    parts = sum(chrf_stats([h], [r]) for h, r in pairs)
    assert float(chrf_value(parts)) == pytest.approx(expected, abs=1e-9)


def test_state_scores_equal_hand_and_scikit_learn():
    ours, theirs = [[0, 0], [1, 0], [2, 1], [2, 1]], [[0, 0], [1, 0], [1, 0], [2, 1]]
    got = state_scores(ours, theirs)
    assert got["jga"] == 0.75
    assert got["step_accuracy"] == 6 / 8
    assert got["relative_step_accuracy"] == pytest.approx((1 + 0 + 1) / 3)
    assert got["macro_f1"] == pytest.approx(sklearn_f1(np.ravel(theirs), np.ravel(ours), average="macro"))


def test_granular_change_accuracy_by_hand():
    reference = [(10, "S1", "start"), (20, "S1", "complete"), (40, "S2", "start")]
    predicted = [(11, "S1", "start"), (21, "S1", "reopen"), (30, "S3", "start")]
    assert count_granular_transitions(predicted, reference, 4) == (1, 1, 1, 1)
    # value precision = value recall = 1/3, location precision = location recall = 2/3
    expected = 2 / (2 * (10 / 11) / (1 / 3) + 2 * (1 / 11) / (2 / 3))
    assert float(granular_change_accuracy(np.array([1.0, 1, 1, 1]))) == pytest.approx(expected)
    assert float(granular_change_accuracy(np.array([0.0, 0, 3, 0]))) == 0
    assert np.isnan(granular_change_accuracy(np.zeros(4)))
    assert float(granular_change_accuracy(np.array([5.0, 0, 0, 0]))) == pytest.approx(1)


def neighbours(word, alphabet):
    """Yield every text that is one edit away, with its cost."""
    for k in range(len(word) + 1):
        for letter in alphabet:
            yield word[:k] + letter + word[k:], 1
    for k in range(len(word)):
        yield word[:k] + word[k + 1 :], 1
        for letter in alphabet:
            yield word[:k] + letter + word[k + 1 :], 2
    for k in range(len(word) - 1):
        yield word[:k] + word[k + 1] + word[k] + word[k + 2 :], 1


def test_transition_edit_distance_equals_shortest_path():
    for first, second in itertools.product(["", "a", "ab", "abc", "acb"], ["b", "ba", "cab", "bac"]):
        best, frontier = {first: 0}, [first]
        while frontier:
            word = frontier.pop(0)
            for other, price in neighbours(word, "abc"):
                if len(other) <= 4 and best[word] + price < best.get(other, 99):
                    best[other] = best[word] + price
                    frontier.append(other)
        assert transition_edit_distance(first, second, 2, 1) == best[second], (first, second)


def test_transition_segments_by_hand():
    reference = np.array([0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
    late = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    assert transition_edit_score(late, reference) == 1.0
    assert transition_edit_score(np.zeros(10, int), reference) == 0.0
    assert transition_edit_score(np.zeros(10, int), np.zeros(10, int)) is None
    # in_progress overlaps 2 of 5 frames, completed 3 of 4
    assert transition_segmental_counts(late, reference, 0.25) == (2, 2, 2)
    assert transition_segmental_counts(late, reference, 0.5) == (1, 2, 2)


def test_procedure_order_similarity_by_hand():
    assert procedure_order_similarity(["S1", "S2", "S3"], ["S1", "S2", "S3"]) == 1
    assert procedure_order_similarity(["S2", "S1", "S3"], ["S1", "S2", "S3"]) == pytest.approx(2 / 3)
    assert procedure_order_similarity([], ["S1"]) == 0
    assert procedure_order_similarity(["S1"], []) is None


def test_retention_metrics_by_hand():
    reference = episode(step(2.0, "S1", "start"), frames=40)
    # the tracked state is wrong on frames 4 .. 9, which are 0 .. 2.5 s after the change
    got = score(predict(reference, (), [(10, "S1", "start")]))
    assert got["dst_jga@0-5s"]["value"] == pytest.approx((4 + 4) / (4 + 10))
    assert got["dst_jga@5-15s"]["value"] == 1.0
    assert got["dst_jga@15-30s"]["value"] == 1.0
    assert got["dst_jga@30-60s"]["status"] == "undefined"
    squeeze = CompressionEvent(20, "drop_all", 100, 40, 1000, 400)
    held = predict(reference, (), [(4, "S1", "start")], compressions=(squeeze,), cache_tokens=(100,) * 21 + (60,) * 19)
    table = score(held)
    assert table["dst_jga@1c"]["n_scored"] == 1
    assert table["compression_ratio"]["value"] == pytest.approx((60 + 60) / 100)
    assert table["dst_jga_after_compression"]["value"] == 1.0


def test_content_accuracy_compares_whole_words():
    turn = Event("a", 5.0, "assistant", "Two left.", slots={"count": "two"})
    other = Event("b", 15.0, "assistant", "Three left.", slots={"count": "three"})
    reference = episode(turn, other)
    right = predict(reference, [(10, "Two left."), (30, "Three left.")])
    wrong = predict(reference, [(10, "Three left."), (30, "Three left.")])
    hedging = predict(reference, [(10, "Two or three left."), (30, "Three left.")])
    assert score(right, name="content_accuracy") == 1.0
    assert score(wrong, name="content_accuracy") == 0.5
    assert score(hedging, name="content_accuracy") == 0.5


def test_rival_timing_known_failures_hold():
    """The failure modes in the report are true."""
    reference = episode(say(5.0), say(12.0), say(18.0), frames=60)
    silent, always = predict(reference), predict(reference, [(f, "Go on.") for f in range(60)])
    got, chatter = score(silent), score(always)
    assert got["pauc_surrogate"]["value"] == pytest.approx(0.25)
    assert got["chunk_g_mean@8s"]["value"] == 0.0
    assert chatter["sw_f1"]["value"] > 3 * chatter["speaking_event_f1@2s"]["value"] > 0
    words = predict(reference, [(10, "zzz"), (24, "zzz"), (36, "zzz")])
    assert score(words)["estp_f1_surrogate"]["value"] == 1.0


def test_index_aligned_accuracy_one_of_three_updates_is_perfect():
    updates = ["S1->start", "S1->complete", "S2->start"]
    assert index_aligned_state_accuracy(updates[:1], updates)["dst_exact_match"] == 1.0
    reference = episode(step(2.0, "S1", "start"), step(6.0, "S1", "complete"), step(10.0, "S2", "start"))
    assert score(predict(reference, (), [(4, "S1", "start")]))["transition_f1@5s"]["value"] == pytest.approx(0.5)


def slot_turns(id_, frames=60):
    """An episode with two turns, each of which names a thing."""
    cup = Event("a", 5.0, "assistant", "take the cup now", slots={"object": "cup"})
    bowl = Event("b", 20.0, "assistant", "take the bowl now", slots={"object": "bowl"})
    return episode(cup, bowl, frames=frames, id_=id_, video=id_)


def test_content_accuracy_w_counts_pairs_of_low_similarity():
    right = predict(slot_turns("e1"), [(10, "take the cup now"), (40, "take the bowl now")])
    # paired in time, with a cosine below 0.5 and without a thing
    wrong = predict(slot_turns("e2"), [(10, "look over there please"), (40, "well done my friend")])
    table = score(right, wrong)
    assert table["content_accuracy"]["value"] == 0.5
    assert table["matched_jaccard"]["value"] == 0.5
    assert table["content_accuracy_w"]["value"] == 0.25


@pytest.mark.parametrize("name", ["bleu", "chrf", "meteor", "cider", "similarity", "content_accuracy"])
def test_weighted_text_metric_is_score_times_jaccard(name):
    half = predict(slot_turns("e1"), [(10, "take the cup now please"), (25, "hello"), (40, "no such thing at all")])
    full = predict(slot_turns("e2"), [(11, "take the cup now"), (40, "take the red bowl now")])
    silent = predict(slot_turns("e3"))
    table = score(half, full, silent)
    product = table[name]["value"] * table["matched_jaccard"]["value"]
    assert table[f"{name}_w"]["value"] == pytest.approx(product)


def test_score_records_parts_count_their_turns():
    from prospect_eval.scoring.score import score_records

    label = "initiative|instruction"
    turns = [replace(say(5.0), labels=label), replace(say(12.0), labels="initiative|feedback")]
    reference = replace(episode(*turns, Event("u", 16.0, "user", "And now?"), say(16.5)), user_type="talk_some")
    record = predict(reference, [(10, "Go on."), (33, "Go on.")])
    parts = score_records([record], TOOLS)["splits"]
    assert parts["label"]["instruction"]["speaking_event_recall@1s"]["value"] == 1.0
    assert parts["label"]["feedback"]["speaking_event_recall@1s"]["value"] == 0.0
    assert "speaking_event_f1@1s" not in parts["label"]["feedback"]
    assert parts["turn"]["responsive"]["speaking_event_f1@1s"]["value"] == 1.0
    assert parts["turn"]["proactive"]["speaking_event_f1@1s"]["value"] == pytest.approx(2 / 3)
    assert "user_type" not in parts


def test_metric_values_equal_score_records():
    """CIDEr's document frequencies had no reference, and a delay was treated as a metric with a
    direction.
    """
    from prospect_core.util.errors import UserError
    from prospect_eval.analysis.training_evaluator import check_metric, metric_values
    from prospect_eval.metrics.resources import make_scoring_resources
    from prospect_eval.scoring.score import score_records

    reference = episode(say(5.0, "Put the red cup away now."), say(10.0, "Wipe the blue bowl with care."))
    record = predict(reference, [(u.frame, u.text) for u in reference.utterances()])
    expected = score_records([record], make_scoring_resources())["metrics"]["cider"]["value"]
    assert metric_values([record], ["cider"])["cider"] == pytest.approx(expected)
    assert expected > 5
    assert check_metric("cider") == "higher"
    with pytest.raises(UserError):
        check_metric("speaking_delay_median_s")

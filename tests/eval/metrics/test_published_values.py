"""The published code's own inputs and outputs, case by case, if the reference data is available."""

from __future__ import annotations

import pytest

from prospect_core.data.formats.proassist import proassist_matching_window
from prospect_eval.matching.matcher import match_utterances
from prospect_eval.metrics import published
from prospect_eval.metrics.dialogue import dialogue_scores
from prospect_eval.metrics.states import index_aligned_state_accuracy
from prospect_eval.text.cider import cider, cider_treebank_tokens
from prospect_eval.text.embeddings import open_embedding_similarity
from tests.helpers.published_cases import FIXED, UPSTREAM, agree, each, expectation, sides_of, similarity_of


def published_pairs(given, keep_perfect_hits):
    """Return `find_published_match` of a matching case."""
    predictions, references = ([tuple(x) for x in given[side]] for side in ("predictions", "references"))
    return published.find_published_match(
        predictions, references, similarity_of(given), tuple(given["window_frames"]), given["num_frames"],
        given["distance_factor"], given["distance_power"], keep_perfect_hits=keep_perfect_hits,
    )  # fmt: skip


@pytest.mark.integration
@each("match")
@pytest.mark.parametrize("version", [UPSTREAM, FIXED])
def test_published_match_equals_published_pairs(case, version):
    expected = expectation(case, version)
    got = published_pairs(case["input"], keep_perfect_hits=version == FIXED)
    if "tie" not in case["id"]:
        assert got["matched"] == expected["match"]["matched"]
    agree(published.compute_published_stream_metrics([got], case["input"]["fps"]), expected["metrics"])


@pytest.mark.integration
@each("match")
def test_published_match_raises_like_published(case):
    """It raises too if its formula divides by zero; if the published solver fails, it finds no
    pair.
    """
    if "raises" not in case and "raises" not in (case.get(UPSTREAM) or {}):
        pytest.skip("the published code has a result for this case")
    try:
        assert published_pairs(case["input"], keep_perfect_hits=False)["matched"] == []
    except ZeroDivisionError:
        assert not any(case["input"]["window_frames"])


@pytest.mark.integration
@each("match")
def test_match_utterances_equals_fixed_pairs(case):
    given, expected = case["input"], expectation(case, FIXED)
    if min(given["window_frames"]) > 0:
        pytest.skip("a window that excludes the prediction's own frame: ours is always late and early")
    predictions, references = ([tuple(x) for x in given[side]] for side in ("predictions", "references"))
    got = match_utterances(
        predictions, references, similarity_of(given), tuple(given["window_seconds"]), given["fps"],
        given["distance_factor"], given["distance_power"],
    )  # fmt: skip
    good = sum(s > 0.5 for s in got.similarities)
    counts = {"correct": good, "mismatched": len(got.pairs) - good, "missed": len(got.missed),
              "redundant": len(got.redundant)}  # fmt: skip
    assert sorted(got.costs) == pytest.approx(sorted(expected["match"]["match_costs"]), abs=1e-5)
    names = {"precision": "precision", "recall": "recall", "f1": "F1", "jaccard": "jaccard_index",
             "missing_rate": "missing_rate", "redundant_rate": "redundant_rate"}  # fmt: skip
    for ours, theirs in names.items():
        value = dialogue_scores(counts)[ours]
        assert (0.0 if value is None else value) == pytest.approx(expected["metrics"][theirs], abs=1e-5)


@pytest.mark.integration
@each("recording")
@pytest.mark.parametrize("version", [UPSTREAM, FIXED])
def test_published_metrics_recording_equals_published(case, version):
    given, expected = case["input"], expectation(case, version)
    if version == UPSTREAM and "oracle" in case["id"]:
        pytest.skip("which perfect hits the published code lost depends on float32 cosines of another machine")
    sides = sides_of(given)
    window = tuple(int(side * given["fps"]) for side in given["window_seconds"])
    got = published.find_published_match(
        *sides, open_embedding_similarity(), window, given["num_frames"], keep_perfect_hits=version == FIXED
    )
    scores = published.compute_published_stream_metrics([got], given["fps"])
    said, due = map(dict, sides)
    good = [(said[p], due[r]) for (p, r), s in zip(got["matched"], got["semantic_scores"], strict=True) if s > 0.5]
    words = published.compute_published_text_metrics(*zip(*good, strict=True))
    scores |= words | {f"{name}_w": value * scores["jaccard_index"] for name, value in words.items()}
    agree(scores, expected["metrics"])
    assert cider(*map(list, zip(*good, strict=True))) == pytest.approx(expected["metrics"]["CIDEr"], abs=2e-5)


@each("aggregate")
def test_published_stream_metrics_pool_counts(case):
    given = case["input"]
    matches = [
        published.find_published_match(
            [tuple(x) for x in video["predictions"]], [tuple(x) for x in video["references"]],
            similarity_of({**given, **video, "similarity": "table"}),
            tuple(int(side * given["fps"]) for side in given["window_seconds"]), video["num_frames"],
        )
        for video in given["videos"]
    ]  # fmt: skip
    agree(published.compute_published_stream_metrics(matches, given["fps"]), case[UPSTREAM])


@each("nlg")
def test_published_text_metrics_equal_captioning_code(case):
    sides = [[pair[side] for pair in case["input"]["pairs"]] for side in ("hyp", "ref")]
    expected = case[UPSTREAM]
    agree(published.compute_published_text_metrics(*sides), {k: v for k, v in expected.items() if k[0] in "BC"})
    for texts, name in zip(sides, ("tokenized_hyp", "tokenized_ref"), strict=True):
        assert [" ".join(cider_treebank_tokens(text)) for text in texts] == expected[name]


@each("counts")
def test_published_dialogue_metrics_equal_published(case):
    agree(published.compute_published_dialogue_metrics(**case["input"]), case[UPSTREAM])


@each("dst_content")
def test_index_aligned_accuracy_equals_published(case):
    agree(index_aligned_state_accuracy(**case["input"]), case[UPSTREAM])


@each("dst_binary")
def test_published_binary_metrics_equal_published(case):
    agree(published.compute_published_binary_metrics(**case["input"]), case[UPSTREAM])


@each("dst_state_update")
def test_published_state_update_equals_published(case):
    assert published.apply_published_state_update(**case["input"]) == case[UPSTREAM]


@each("judge_parse")
def test_published_judge_reply_equals_published(case):
    assert published.parse_published_judge_reply(case["input"]["text"]) == case[UPSTREAM]


@each("dialogue_quality")
def test_published_dialogue_quality_equals_published(case):
    agree(published.compute_published_dialogue_quality(**case["input"]), case[UPSTREAM])


@each("distance_cost")
def test_published_distance_cost_equals_published(case):
    given = case["input"]
    got = published.compute_published_distance_cost(
        given["frame_distance"], given["range_frames"], given["factor"], given["power"]
    )
    assert got == pytest.approx(case[UPSTREAM], abs=1e-6)


@each("window")
def test_proassist_window_equals_published(case):
    late, early = case[UPSTREAM]["window_seconds"]
    assert proassist_matching_window(case["input"]["dataset"]) == (-late, early)

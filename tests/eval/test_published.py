"""The published code's own inputs and outputs, where the reference data is beside the checkout."""

from __future__ import annotations

import json

import numpy as np
import pytest

from prospect_core.data.origin_formats import from_prepared, window_for
from prospect_eval import compat
from prospect_eval.matching import match_utterances
from prospect_eval.metrics.cider import cider, treebank_tokens
from prospect_eval.metrics.dialogue import dialogue_scores
from prospect_eval.metrics.dst import compat_content_accuracy
from prospect_eval.semantic import open_similarity


def cases(shared_data, kind):
    return [c for c in json.loads((shared_data / "metric_cases.json").read_text())["cases"] if c["kind"] == kind]


def agree(got, expected, case):
    """METEOR is exempt: the published one is Java's."""
    for name, value in expected.items():
        if not name.startswith("METEOR"):
            assert got[name] == pytest.approx(value, abs=2e-5), (case, name)


def similarity_of(given):
    if given["similarity"] == "none":
        return None
    if given["similarity"] == "all-MiniLM-L6-v2":
        return open_similarity()
    cosines = {tuple(key.split("||")): value for key, value in given["cosine_table"].items()}
    return lambda left, right: np.array([[cosines.get((a, b), given["cosine_default"]) for b in right] for a in left])


def sides_of(given, shared_data):
    rows = [json.loads(line) for line in (shared_data / given["file"]).read_text().splitlines()]
    sides = []
    for key in ("prediction_row", "reference_row"):
        episode = from_prepared(rows[given[key]])
        sides.append([(u.frame - episode.start_frame, u.text) for u in episode.utterances()])
    return sides


@pytest.mark.parametrize("version", ["expected_upstream", "expected_fixed"])
def test_matching(shared_data, version):
    for case in cases(shared_data, "match"):
        given, expected = case["input"], case[version]
        predictions, references = ([tuple(x) for x in given[side]] for side in ("predictions", "references"))
        got = compat.published_match(
            predictions, references, similarity_of(given), tuple(given["window_frames"]), given["num_frames"],
            given["distance_factor"], given["distance_power"], keep_perfect_hits=version == "expected_fixed",
        )  # fmt: skip
        if "tie" not in case["id"]:
            assert got["matched"] == expected["match"]["matched"], case["id"]
        agree(compat.published_stream_metrics([got], given["fps"]), expected["metrics"], case["id"])


def test_our_matching_is_the_mended_one(shared_data):
    for case in cases(shared_data, "match"):
        given, expected = case["input"], case["expected_fixed"]
        if min(given["window_frames"]) > 0:
            continue  # a window that excludes the prediction's own frame: ours is always late and early
        predictions, references = ([tuple(x) for x in given[side]] for side in ("predictions", "references"))
        got = match_utterances(
            predictions, references, similarity_of(given), tuple(given["window_seconds"]), given["fps"]
        )
        good = sum(s > 0.5 for s in got.similarities)
        counts = {"correct": good, "mismatched": len(got.pairs) - good, "missed": len(got.missed),
                  "redundant": len(got.redundant)}  # fmt: skip
        assert sorted(got.costs) == pytest.approx(sorted(expected["match"]["match_costs"]), abs=1e-5), case["id"]
        names = {"precision": "precision", "recall": "recall", "f1": "F1", "jaccard": "jaccard_index",
                 "missing_rate": "missing_rate", "redundant_rate": "redundant_rate"}  # fmt: skip
        for ours, theirs in names.items():
            value = dialogue_scores(counts)[ours]
            assert (0.0 if value is None else value) == pytest.approx(expected["metrics"][theirs], abs=1e-5), case["id"]


@pytest.mark.parametrize("version", ["expected_upstream", "expected_fixed"])
def test_recordings(shared_data, version):
    for case in cases(shared_data, "recording"):
        given, expected = case["input"], case[version]
        if version == "expected_upstream" and given["prediction_row"] == given["reference_row"]:
            continue  # which perfect hits are lost hangs on the last bit of float32 cosines on that machine
        sides = sides_of(given, shared_data)
        window = tuple(int(side * given["fps"]) for side in given["window_seconds"])
        got = compat.published_match(
            *sides, open_similarity(), window, given["num_frames"], keep_perfect_hits=version == "expected_fixed"
        )
        scores = compat.published_stream_metrics([got], given["fps"])
        said, due = map(dict, sides)
        good = [(said[p], due[r]) for (p, r), s in zip(got["matched"], got["semantic_scores"], strict=True) if s > 0.5]
        words = compat.published_nlg(*zip(*good, strict=True))
        scores |= words | {f"{name}_w": value * scores["jaccard_index"] for name, value in words.items()}
        agree(scores, expected["metrics"], case["id"])
        assert cider(*map(list, zip(*good, strict=True))) == pytest.approx(expected["metrics"]["CIDEr"], abs=2e-5)


def test_pooling_over_videos(shared_data):
    for case in cases(shared_data, "aggregate"):
        given = case["input"]
        matches = [
            compat.published_match(
                [tuple(x) for x in video["predictions"]], [tuple(x) for x in video["references"]],
                similarity_of({**given, **video, "similarity": "table"}),
                tuple(int(side * given["fps"]) for side in given["window_seconds"]), video["num_frames"],
            )
            for video in given["videos"]
        ]  # fmt: skip
        agree(compat.published_stream_metrics(matches, given["fps"]), case["expected_upstream"], case["id"])


def test_captioning_scores_and_their_tokens(shared_data):
    for case in cases(shared_data, "nlg"):
        sides = [[pair[side] for pair in case["input"]["pairs"]] for side in ("hyp", "ref")]
        expected = case["expected_upstream"]
        agree(compat.published_nlg(*sides), {k: v for k, v in expected.items() if k[0] in "BC"}, case["id"])
        for texts, name in zip(sides, ("tokenized_hyp", "tokenized_ref"), strict=True):
            assert [" ".join(treebank_tokens(text)) for text in texts] == expected[name], case["id"]


def test_everything_else(shared_data):
    for case in cases(shared_data, "counts"):
        agree(compat.published_scores(**case["input"]), case["expected_upstream"], case["id"])
    for case in cases(shared_data, "dst_content"):
        agree(compat_content_accuracy(**case["input"]), case["expected_upstream"], case["id"])
    for case in cases(shared_data, "dst_binary"):
        agree(compat.binary_scores(**case["input"]), case["expected_upstream"], case["id"])
    for case in cases(shared_data, "dst_state_update"):
        assert compat.updated_state(**case["input"]) == case["expected_upstream"], case["id"]
    for case in cases(shared_data, "judge_parse"):
        assert compat.judge_scores(case["input"]["text"]) == case["expected_upstream"], case["id"]
    for case in cases(shared_data, "dialogue_quality"):
        agree(compat.dialogue_quality(**case["input"]), case["expected_upstream"], case["id"])
    for case in cases(shared_data, "distance_cost"):
        given = case["input"]
        got = compat.distance_cost(given["frame_distance"], given["range_frames"], given["factor"], given["power"])
        assert got == pytest.approx(case["expected_upstream"], abs=1e-6)
    for case in cases(shared_data, "window"):
        late, early = case["expected_upstream"]["window_seconds"]
        assert window_for(case["input"]["dataset"]) == (-late, early), case["id"]

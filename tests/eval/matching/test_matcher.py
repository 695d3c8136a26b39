"""Matching compared with brute force, cases by hand, and the published code's values."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prospect_core.data.formats.proassist import episode_from_proassist_row
from prospect_eval.matching.matcher import _near_a_reference, match_events, match_utterances
from prospect_eval.metrics.dialogue import dialogue_scores


def table(cosines, default=0.05):
    return lambda left, right: np.array([[cosines.get((a, b), default) for b in right] for a in left])


def match(predictions, references, cosines, window=(2, 4), **more):
    return match_utterances(predictions, references, table(cosines), window, 2, **more)


@given(
    st.lists(st.integers(0, 12), unique=True, max_size=5),
    st.lists(st.integers(0, 12), unique=True, max_size=5),
    st.integers(0, 4),
)
@settings(max_examples=300, deadline=None)
def test_match_events_equals_brute_force(predicted, reference, tolerance):
    pairs = match_events(predicted, reference, tolerance)
    assert len({p for p, _ in pairs}) == len({r for _, r in pairs}) == len(pairs)
    best = (0, 0)
    short, long = (predicted, reference) if len(predicted) <= len(reference) else (reference, predicted)
    for chosen in itertools.permutations(range(len(long)), len(short)):
        gaps = [abs(short[k] - long[c]) for k, c in enumerate(chosen)]
        good = [g for g in gaps if g <= tolerance]
        best = min(best, (-len(good), sum(good)))
    assert best == (-len(pairs), sum(abs(predicted[p] - reference[r]) for p, r in pairs))


@given(
    st.lists(st.integers(0, 12), unique=True, max_size=5),
    st.lists(st.integers(0, 12), unique=True, max_size=4),
    st.integers(0, 5),
    st.integers(0, 5),
)
@settings(max_examples=300, deadline=None)
def test_match_events_uneven_window_equals_brute_force(predicted, reference, early, late):
    """Compares with every assignment of references to predictions."""
    pairs = match_events(predicted, reference, early, late)
    assert len({p for p, _ in pairs}) == len({r for _, r in pairs}) == len(pairs)
    assert all(-early <= predicted[p] - reference[r] <= late for p, r in pairs)
    best = (0, 0)
    places = [*range(len(predicted)), *[None] * len(reference)]
    for chosen in itertools.permutations(places, len(reference)):
        gaps = [predicted[c] - r for c, r in zip(chosen, reference, strict=True) if c is not None]
        good = [abs(gap) for gap in gaps if -early <= gap <= late]
        best = min(best, (-len(good), sum(good)))
    assert best == (-len(pairs), sum(abs(predicted[p] - reference[r]) for p, r in pairs))


def test_match_events_uneven_window_prefers_nearest():
    assert match_events([5, 10], [10], early=19, late=12) == [(1, 0)]
    assert match_events([8, 11], [10, 30], early=2, late=1) == [(1, 0)]
    assert match_events([12], [10], early=2, late=1) == []


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_match_utterances_equals_brute_force(data):
    """Compares with every assignment of predictions to frames."""
    predicted = data.draw(st.lists(st.integers(3, 9), unique=True, max_size=3))
    reference = data.draw(st.lists(st.integers(3, 9), unique=True, max_size=3))
    cosines = {
        (f"p{p}", f"r{r}"): data.draw(st.sampled_from([0.0, 0.3, 0.7, 1.0])) for p in predicted for r in reference
    }
    got = match([(p, f"p{p}") for p in predicted], [(r, f"r{r}") for r in reference], cosines, (1, 1.5))
    late, early, width = 2, 3, 3

    def cost(p, j):
        words = 1 - cosines[f"p{p}", f"r{j}"] if j in reference else 1
        return words + 0.3 * (abs(j - p) / width) ** 1.5

    best = min(
        (
            sum(cost(p, j) for p, j in zip(predicted, columns, strict=True))
            for columns in itertools.product(*[range(p - late, p + early + 1) for p in predicted])
            if len(set(columns)) == len(columns)
        ),
        default=0.0,
    )
    if reference and predicted:
        taken = {p: reference[r] for (k, r) in got.pairs for p in [predicted[k]]}
        spent = sum(got.costs)
        silent = [predicted[k] for k in got.redundant]
        free = [j for j in range(0, 14) if j not in reference]
        alone = min(
            (
                sum(cost(p, j) for p, j in zip(silent, columns, strict=True))
                for columns in itertools.product(
                    *[[j for j in range(p - late, p + early + 1) if j in free] for p in silent]
                )
                if len(set(columns)) == len(columns)
            ),
            default=0.0,
        )
        assert spent + alone == pytest.approx(best)
        assert len(taken) + len(silent) == len(predicted)


def test_match_utterances_keeps_perfect_hit():
    """The published code loses a pair of cost exactly 0: the oracle scored 0.45 to 0.81 on real
    dialogues.
    """
    got = match([(3, "a")], [(3, "a")], {("a", "a"): 1.0})
    assert (got.pairs, got.costs, got.missed, got.redundant) == (((0, 0),), (0.0,), (), ())


@pytest.mark.parametrize(
    ("predicted", "reference", "cosine", "paired"),
    [
        (4, 3, 1.0, True),
        (3, 11, 0.9, True),
        (3, 12, 0.9, False),
        (10, 6, 0.9, True),
        (11, 6, 0.9, False),
        (6, 12, 0.05, False),
    ],
)
def test_match_utterances_window_is_late_and_early(predicted, reference, cosine, paired):
    got = match([(predicted, "p")], [(reference, "r")], {("p", "r"): cosine})
    assert bool(got.pairs) is paired


def test_match_utterances_empty_sides():
    assert match([], [(3, "a")], {}).missed == (0,)
    assert match([(3, "a")], [], {}).redundant == (0,)
    assert match([], [], {}).pairs == ()


def test_match_utterances_cosine_table_equals_function():
    predictions, references = [(3, "a"), (9, "b"), (12, "a")], [(4, "x"), (11, "y")]
    cosines = {("a", "x"): 0.9, ("a", "y"): -0.7, ("b", "x"): 0.2, ("b", "y"): 0.4}
    rows = np.array([[cosines[p, r] for _, r in references] for _, p in predictions])
    by_function = match(predictions, references, cosines)
    assert match_utterances(predictions, references, rows, (2, 4), 2) == by_function
    assert by_function.pairs == ((0, 0), (2, 1))
    # the sign of a cosine has no effect
    assert by_function.similarities == pytest.approx((0.9, 0.7))
    assert by_function.redundant == (1,)
    # without a similarity, any two utterances are equal
    assert match_utterances(predictions, references, None, (2, 4), 2).similarities == (1.0, 1.0)


@pytest.mark.parametrize(
    ("cosines", "message"),
    [
        (np.ones((2, 1)), r"similarities of shape \(2, 1\) for 2 predictions and 2 references"),
        (np.ones((1, 2)), r"similarities of shape \(1, 2\) for 2 predictions and 2 references"),
        (np.array([[0.1, 0.2], [0.1, 0.3]]), "equal predicted texts have different similarities"),
        (lambda left, right: np.ones((2, 2)), r"the similarity gave \(2, 2\) cosines for 1 x 2 texts"),
    ],
)
def test_match_utterances_wrong_cosines_raise(cosines, message):
    with pytest.raises(ValueError, match=message):
        match_utterances([(3, "a"), (5, "a")], [(4, "x"), (8, "y")], cosines, (2, 4), 2)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 60), unique=True, min_size=1, max_size=8),
    st.lists(st.integers(0, 60), unique=True, min_size=1, max_size=8),
    st.integers(0, 4),
    st.integers(0, 4),
)
def test_near_a_reference_equals_brute_force(frames, spoken, late, early):
    """Blocks by brute force: predictions with overlapping windows are in one block."""
    found = _near_a_reference(np.array(frames), np.array(spoken), late, early)
    at = sorted(frames)
    blocks = [[at[0]]]
    for before, now in itertools.pairwise(at):
        blocks[-1].append(now) if now - before <= late + early else blocks.append([now])
    near = {f for block in blocks for f in block if any(block[0] - late <= r <= block[-1] + early for r in spoken)}
    assert found.dtype == bool
    assert {f for f, is_near in zip(frames, found, strict=True) if is_near} == near


def test_match_utterances_two_on_one_frame_raises():
    with pytest.raises(ValueError, match="join them first"):
        match([(3, "a"), (3, "b")], [(3, "a")], {})


def test_match_utterances_hour_is_fast():
    rng = np.random.default_rng(0)
    frames = [sorted(rng.choice(7200, 500, replace=False).tolist()) for _ in range(2)]
    cosines = rng.uniform(0, 1, (500, 500))
    got = match_utterances(
        [(f, str(k)) for k, f in enumerate(frames[0])], [(f, str(k)) for k, f in enumerate(frames[1])],
        lambda a, b: cosines, (2, 4), 2,
    )  # fmt: skip
    assert len(got.pairs) + len(got.redundant) == 500


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((13, 19, 22, 4), (0.3611, 0.2407, 0.2889, 0.2241)),
        ((284, 6, 6, 6), (0.9595, 0.9595, 0.9595, 0.9404)),
        ((0, 0, 1, 0), (None, 0.0, 0.0, 0.0)),
        ((0, 0, 0, 0), (None, None, None, None)),
    ],
)
def test_dialogue_scores_by_hand(counts, expected):
    scores = dialogue_scores(dict(zip(("correct", "mismatched", "missed", "redundant"), counts, strict=True)))
    for name, value in zip(("precision", "recall", "f1", "jaccard"), expected, strict=True):
        assert scores[name] is None if value is None else scores[name] == pytest.approx(value, abs=5e-5)


def published_cases(shared_data, kind):
    return [c for c in json.loads((shared_data / "metric_cases.json").read_text())["cases"] if c["kind"] == kind]


def test_match_utterances_published_cases(shared_data):
    for case in published_cases(shared_data, "match"):
        given_, expected = case["input"], case["expected_fixed"]["match"]
        if min(given_["window_frames"]) > 0 or given_["similarity"] != "table":
            continue  # the published default window excludes the prediction's own frame
        cosines = {tuple(key.split("||")): value for key, value in given_["cosine_table"].items()}
        got = match_utterances(
            [tuple(p) for p in given_["predictions"]], [tuple(r) for r in given_["references"]],
            table(cosines, given_["cosine_default"]), tuple(given_["window_seconds"]), given_["fps"],
            given_["distance_factor"], given_["distance_power"], given_["num_frames"],
        )  # fmt: skip
        frames = [[given_["predictions"][p][0], given_["references"][r][0]] for p, r in got.pairs]
        assert len(frames) == len(expected["matched"]), case["id"]
        assert sum(got.costs) == pytest.approx(sum(expected["match_costs"]), abs=1e-5), case["id"]
        assert len(got.missed) == len(expected["missed"]), case["id"]
        assert len(got.redundant) == len(expected["redundant"]), case["id"]


def test_match_utterances_published_recordings(shared_data):
    from prospect_eval.metrics.resources import make_scoring_resources

    rows = [json.loads(line) for line in (shared_data / "origin" / "proassist_prepared.jsonl").read_text().splitlines()]
    done = 0
    for case in published_cases(shared_data, "recording"):
        given_, expected = case["input"], case.get("expected_fixed", case["expected_upstream"])
        if given_["file"] != "origin/proassist_prepared.jsonl" or "match" not in expected:
            continue
        sides = []
        for key in ("prediction_row", "reference_row"):
            episode = episode_from_proassist_row(rows[given_[key]])
            sides.append([(u.frame - episode.start_frame, u.text) for u in episode.utterances()])
        got = match_utterances(
            *sides, make_scoring_resources().similarity, tuple(given_["window_seconds"]), given_["fps"],
            num_frames=given_["num_frames"],
        )  # fmt: skip
        pairs = sorted([sides[0][p][0], sides[1][r][0]] for p, r in got.pairs)
        assert pairs == sorted(expected["match"]["matched"]), case["id"]
        assert sorted(sides[1][r][0] for r in got.missed) == sorted(expected["match"]["missed"]), case["id"]
        done += 1
    assert done

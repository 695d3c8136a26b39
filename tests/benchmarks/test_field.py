"""The field benchmark: comparison of values, counts of encoded frames, keys of the result."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from prospect_core.timeline import Episode, Poll, Task
from prospect_core.util.errors import DataError
from tests.helpers.field_cases import FIELD_DATA

pytestmark = pytest.mark.integration
KEYS = {
    "ovo_models_equal", "ovo_timing_cases", "streamingbench_cases", "egoproactive_cases", "omnimmi_cases", "pauc_cases",
    "omnipro_cases", "fitcoach_cases",
}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "expected", "equal"),
    [
        (1.0, 1.0 + 1e-13, True),
        (1.0, 1.0 + 1e-11, False),
        (0, 0.0, True),
        (None, 0.5, False),
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"b": 2}, {"a": 1}, False),
        ({"a": {"b": 0.5}}, {"a": {"b": 0.5}}, True),
        ([1, 0.5], [1, 0.5], True),
        ([1], [1, 0.5], False),
        ("x", "x", True),
    ],
)
def test_is_equal_compares_numbers_within_a_tolerance(found, expected, equal):
    from benchmarks.quality.published_values import is_equal

    assert is_equal(found, expected) is equal


def test_comparison_without_a_reference_is_null_with_a_reason():
    from benchmarks.quality.field import NO_REFERENCE, compare_with_published, rank_forward_constants

    found = compare_with_published(None)
    assert {key: found[key] for key in KEYS} == dict.fromkeys(KEYS)
    assert found["reasons"] == dict.fromkeys(KEYS, NO_REFERENCE)
    assert rank_forward_constants(None) == {"ovo_forward_constants": None}


def test_comparison_with_an_empty_folder_is_null_with_a_reason(tmp_path):
    from benchmarks.quality.field import compare_with_published

    found = compare_with_published(tmp_path)
    assert {key: found[key] for key in KEYS} == dict.fromkeys(KEYS)
    assert set(found["reasons"]) == KEYS


@pytest.mark.slow
@pytest.mark.skipif(not FIELD_DATA.is_dir(), reason="field is not next to this checkout")
def test_comparison_with_the_handed_values_finds_all_equal():
    from benchmarks.quality.field import compare_with_published, rank_forward_constants

    found = compare_with_published(FIELD_DATA)
    assert "reasons" not in found
    for key in KEYS:
        assert found[key]["equal"] == found[key]["total"] > 0, key
    rows = {row["constant"]: row for row in rank_forward_constants(FIELD_DATA)["ovo_forward_constants"]}
    assert rows["rec_1"]["forward"] == pytest.approx(0.49245569520304056, abs=1e-12)
    assert rows["rec_1"]["beats"] <= rows["rec_1"]["models"]


@pytest.mark.parametrize("shape", ["small", "tower"])
def test_encoded_frames_are_counted_by_hand(tmp_path, shape):
    """Polls after 3 and 6 frames: 6 frames in one pass, 3 + 6 over the clips."""
    from benchmarks.quality.field import SHAPES
    from benchmarks.quality.polling_cost import measure_polling_cost

    polls = tuple(Poll(f"p{time}", time, "Where is the cup?", ("here", "there"), ("A",)) for time in (2.0, 5.0))
    episode = Episode("e", "e.mp4", 1, 0, 6, Task("Watch."), polls=polls).validate()
    found = measure_polling_cost([episode, replace(episode, id="f")], tmp_path, SHAPES[shape])
    assert found["polls"]["one_pass"]["frames_encoded"] == 2 * 6
    assert found["polls"]["recut"]["frames_encoded"] == 2 * 9
    assert found["frames_ratio"] == 1.5
    assert found["polls_speedup"] > 0


def test_answers_of_both_ways_are_equal_and_counted(tmp_path):
    from benchmarks.quality.polling_cost import choose_episodes, invent_annotations, measure_polling_cost

    (episode,) = choose_episodes(invent_annotations(1), 1)
    short = replace(episode, end_frame=12, polls=tuple(p for p in episode.polls if p.time < 12)).validate()
    polls = (*short.polls, Poll("a", 3.0, "Where?"), Poll("b", 9.0, "Where?"))
    found = measure_polling_cost([replace(short, polls=tuple(sorted(polls, key=lambda p: p.time)))], tmp_path)
    assert found["answers_equal"] == {"equal": len(polls), "total": len(polls)}


def test_invented_annotations_give_polls_of_both_kinds():
    from benchmarks.quality.polling_cost import choose_episodes, invent_annotations

    episodes = choose_episodes(invent_annotations(4), 4)
    assert [episode.video for episode in episodes] == [f"invented/{number}.mp4" for number in range(4)]
    assert all(episode.problems() == [] for episode in episodes)
    assert {poll.kind for episode in episodes for poll in episode.polls} == {"EPM", "REC"}
    assert len(choose_episodes(invent_annotations(4), 2)) == 2


@pytest.mark.slow
def test_benchmark_ends_with_one_json_object(tmp_path, capsys):
    from benchmarks.quality.field import main

    main(["--videos", "1", "--shapes", "small", "--output", str(tmp_path / "field.json")])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {*KEYS, "reasons", "ovo_forward_constants", "polls_speedup", "frames_ratio", "answers_equal"} <= set(result)
    assert result["poll_times"] == "invented"
    stored = json.loads((tmp_path / "field.json").read_text())
    assert {"command", "environment", "frames_ratio"} <= set(stored)


def test_missing_annotations_are_a_reason_and_no_error(tmp_path):
    from benchmarks.quality.published_values import compare_ovo_models

    with pytest.raises((DataError, OSError)):
        list(compare_ovo_models(tmp_path))

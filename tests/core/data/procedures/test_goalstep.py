"""Ego4D Goal-Step: counts of the published annotations, states at every frame, and irregular entries."""

from __future__ import annotations

import json

import pytest

from prospect_core.data.dataset import Dataset
from prospect_core.data.procedures.goalstep import open_goalstep, read_goalstep
from prospect_core.data.procedures.goalstep_facts import count_goalstep_facts
from prospect_core.data.procedures.goalstep_files import find_goalstep_files, read_goalstep_videos
from prospect_core.data.stats import compute_dataset_stats
from prospect_core.data.validate import validate_dataset
from prospect_core.util.errors import DataError, UserError
from tests.helpers.procedure_files import (
    count_values,
    find_procedure_folder,
    list_differences,
    list_replayed_states,
    make_goal_segment,
    read_states_off_occurrences,
    write_goalstep_file,
    write_json_file,
)

CUT, BOIL, WASH = "Cut fruit", "Boil water", "Wash hands"


@pytest.fixture(scope="module")
def published():
    folder = find_procedure_folder("goalstep")
    return folder, json.loads((folder / "expected.json").read_text("utf-8"))


def read_all(folder, level="steps"):
    return {episode.id: episode for found in read_goalstep(folder, level).splits.values() for episode in found}


def test_goalstep_counts_equal_published_ones(published):
    folder, expected = published
    wanted = {key: value for key, value in expected.items() if key != "definitions"}
    assert count_values(wanted) > 500
    assert list_differences(read_goalstep(folder).counts, wanted) == []


def test_goalstep_episodes_keep_every_segment(published):
    folder, expected = published
    episodes = read_all(folder)
    assert set(episodes) == set(expected["videos"])
    for uid, facts in expected["videos"].items():
        episode = episodes[uid].validate()
        steps = [o for o in episode.occurrences if not o.part_of]
        links = [o for o in steps if o.continues]
        substeps = [o for o in episode.occurrences if o.part_of]
        alone = facts["continued_steps_without_an_earlier_step_of_the_category"]
        assert (len(steps), len(substeps)) == (facts["steps"], facts["substeps"])
        assert len(links) == facts["continued_steps"] - alone
        assert sum("is_continued=true" in o.labels for o in substeps) == facts["continued_substeps"]
        assert len({o.part_of for o in substeps}) == facts["steps_with_substeps"]
        assert sum(o.end - o.start for o in steps) == pytest.approx(facts["seconds_sum"], abs=1e-6)
        assert episode.end_frame >= max(o.end for o in episode.occurrences)


def test_goalstep_chains_of_occurrences_have_published_lengths(published):
    folder, expected = published
    for uid, episode in read_all(folder).items():
        before = {o.id: o.continues for o in episode.occurrences if not o.part_of}
        lengths = {}
        for name in before:
            first = name
            while before[first]:
                first = before[first]
            lengths[first] = lengths.get(first, 0) + 1
        assert sum(length > 1 for length in lengths.values()) == expected["videos"][uid]["chains"]
        assert max(lengths.values()) == expected["videos"][uid]["longest_chain"]


@pytest.mark.parametrize("level", ["steps", "substeps"])
def test_goalstep_states_by_replay_equal_states_of_occurrences(level, published):
    folder, expected = published
    rows = read_goalstep(folder, level)
    episodes = [episode for found in rows.splits.values() for episode in found]
    assert len(episodes) + len(rows.left_out) == expected["totals"]["videos"]
    for episode in episodes:
        assert list_replayed_states(episode) == read_states_off_occurrences(episode), episode.id


def test_goalstep_substeps_are_steps_of_their_own_dataset(published):
    folder, expected = published
    rows = read_goalstep(folder, "substeps")
    episodes = [episode.validate() for found in rows.splits.values() for episode in found]
    assert {episode.dataset for episode in episodes} == {rows.name} == {"goalstep_substeps"}
    assert sum(len(episode.occurrences) for episode in episodes) == expected["totals"]["substeps"]
    without = sum(facts["substeps"] == 0 for facts in expected["videos"].values())
    assert [one.why for one in rows.left_out] == ["has no substeps"] * without


def test_goalstep_opens_in_place(published):
    folder, expected = published
    dataset = Dataset.open(folder)
    assert (dataset.info.name, dataset.splits) == ("goalstep", list(find_goalstep_files(folder)))
    assert sum(info.episodes for info in dataset.info.splits.values()) == expected["totals"]["videos"]
    assert validate_dataset(dataset, videos=False) == []
    assert compute_dataset_stats(dataset, dataset.splits[0])["occurrences an episode (mean)"] > 1


def test_goalstep_task_lists_categories_alphabetically(tmp_path):
    substeps = [make_goal_segment(3.0, 4.0, "Peel"), make_goal_segment(4.0, 5.0, "Core")]
    segments = [make_goal_segment(3.0, 9.0, CUT, segments=substeps), make_goal_segment(10.0, 20.0, BOIL)]
    episode = read_all(write_goalstep_file(tmp_path, {"v1": segments}))["v1"]
    assert episode.task.goal == "Make tea with milk"
    assert [(step.id, step.name) for step in episode.task.steps] == [("S1", BOIL), ("S2", CUT)]
    assert [(step.id, step.name) for step in episode.task.substeps] == [("B1", "Core"), ("B2", "Peel")]
    assert [(o.id, o.step, o.part_of) for o in episode.occurrences] == [
        ("O1", "S2", ""),
        ("O1.1", "B2", "O1"),
        ("O1.2", "B1", "O1"),
        ("O2", "S1", ""),
    ]
    assert {event.step for event in episode.events} == {"S1", "S2"}
    assert json.loads(episode.meta["summary"]) == ["boils water"]
    assert (episode.meta["goal_start"], episode.meta["goal_end"]) == ("1.0", "100.0")


def test_goalstep_continued_step_is_joined_to_latest_of_its_category(tmp_path):
    segments = [
        make_goal_segment(50.0, 60.0, CUT, is_continued=True),
        make_goal_segment(2.0, 5.0, CUT),
        make_goal_segment(8.0, 9.0, BOIL, is_continued=True),
        make_goal_segment(20.0, 25.0, CUT),
        make_goal_segment(70.0, 80.0, CUT, is_continued=True),
    ]
    folder = write_goalstep_file(tmp_path, {"v1": segments})
    episode = read_all(folder)["v1"].validate()
    # the list is out of order: O1 at 50 s continues O4 at 20 s, O5 continues O1, and O3 has none before
    links = {o.id: o.continues for o in episode.occurrences}
    assert links == {"O2": "", "O3": "", "O4": "", "O1": "O4", "O5": "O1"}
    facts = read_goalstep(folder).counts["videos"]["v1"]
    assert (facts["chains"], facts["longest_chain"], facts["continued_steps"]) == (1, 3, 3)
    assert facts["continued_steps_without_an_earlier_step_of_the_category"] == 1
    assert not facts["listed_in_start_order"]


def test_goalstep_continued_substep_is_joined_over_steps(tmp_path):
    first = make_goal_segment(2.0, 9.0, CUT, segments=[make_goal_segment(3.0, 4.0, "Peel")])
    again = make_goal_segment(12.0, 13.0, "Peel", is_continued=True)
    segments = [first, make_goal_segment(11.0, 19.0, WASH, segments=[again])]
    episode = read_all(write_goalstep_file(tmp_path, {"v1": segments}))["v1"].validate()
    assert {o.id: (o.continues, o.part_of) for o in episode.occurrences if o.part_of} == {
        "O1.1": ("", "O1"),
        "O2.1": ("O1.1", "O2"),
    }


def test_goalstep_missing_flags_and_unknown_values_are_kept(tmp_path):
    segment = make_goal_segment(2.0, 5.0, CUT)
    bare = {key: segment[key] for key in ("start_time", "end_time", "step_category", "step_description")}
    unsure = make_goal_segment(6.0, 7.0, BOIL, is_relevant="unsure", summary=["boils"], step_index=4)
    folder = write_goalstep_file(tmp_path, {"v1": [bare, unsure]})
    episode = read_all(folder)["v1"].validate()
    assert [o.labels for o in episode.occurrences] == [
        "",
        "is_relevant=unsure; is_procedural=true; is_continued=false; summary=boils",
    ]
    facts = read_goalstep(folder).counts["totals"]
    assert facts["steps_without_is_continued_key"] == 1
    assert facts["is_relevant"] == {"unsure": 1}


def test_goalstep_segments_outside_goal_and_step_keep_their_times(tmp_path):
    inner = make_goal_segment(110.0, 131.25, "Peel")
    segments = [make_goal_segment(0, 1.0005, WASH), make_goal_segment(90.0, 120.5, CUT, segments=[inner])]
    folder = write_goalstep_file(tmp_path, {"v1": segments})
    episode = read_all(folder)["v1"].validate()
    assert (episode.start_frame, episode.end_frame) == (0, 132)
    assert [(o.start, o.end) for o in episode.occurrences] == [(0.0, 1.0005), (90.0, 120.5), (110.0, 131.25)]
    facts = read_goalstep(folder).counts["totals"]
    assert facts["steps_outside_the_goal_by_more_than_1ms"] == 2
    assert facts["substeps_outside_their_step_by_more_than_1ms"] == 1


def test_goalstep_repeated_descriptions_are_counted_in_any_letter_case(tmp_path):
    texts = [("Cut fruit", False), ("cut Fruit ", False), ("CUT FRUIT", True), ("boil", False)]
    segments = [
        make_goal_segment(float(place), place + 0.5, CUT, step_description=text, is_continued=flag)
        for place, (text, flag) in enumerate(texts)
    ]
    videos = read_goalstep_videos(write_goalstep_file(tmp_path, {"v1": segments}) / "goalstep_valid.json")
    assert count_goalstep_facts(videos)["totals"]["repeated_descriptions_not_flagged"] == 1


def test_goalstep_data_folder_has_both_splits(tmp_path):
    segments = [make_goal_segment(2.0, 5.0, CUT)]
    write_goalstep_file(tmp_path / "data", {"v1": segments}, "goalstep_train.json")
    write_goalstep_file(tmp_path / "data", {"v2": segments})
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "v2.mp4").write_bytes(b"video")
    dataset = Dataset.open(tmp_path)
    assert {split: [e.video for e in dataset.episodes(split)] for split in dataset.splits} == {
        "train": ["v2/full_scale/v1.mp4"],
        "val": ["videos/v2.mp4"],
    }


def test_open_goalstep_other_folder_gives_none(tmp_path):
    assert open_goalstep(tmp_path) is None
    with pytest.raises(DataError, match=r"holds neither goalstep_train\.json nor goalstep_valid\.json"):
        read_goalstep(tmp_path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "Expected `object`, got `array`"),
        ({"videos": [{"start_time": 0}]}, "missing required field"),
        ({"videos": [{"video_uid": "v", "start_time": 0, "end_time": "9"}]}, "Expected `float`, got `str`"),
        ({"videos": [{"video_uid": "v", "start_time": 0, "end_time": 9}] * 2}, "video v appears twice"),
        (
            {
                "videos": [
                    {"video_uid": "v", "start_time": 0, "end_time": 9, "segments": [make_goal_segment(3, 2, CUT)]}
                ]
            },
            "video v: a step runs from 3 to 2 s",
        ),
    ],
)
def test_goalstep_damaged_file_is_one_line(value, message, tmp_path):
    write_json_file(tmp_path / "goalstep_valid.json", value)
    with pytest.raises(DataError) as error:
        read_goalstep(tmp_path)
    assert message in str(error.value)
    assert str(tmp_path / "goalstep_valid.json") in str(error.value)
    assert "\n" not in str(error.value)


def test_goalstep_broken_json_is_one_line(tmp_path):
    (tmp_path / "goalstep_valid.json").write_text('{"videos": [', encoding="utf-8")
    with pytest.raises(DataError, match=r"goalstep_valid\.json: not JSON"):
        Dataset.open(tmp_path)


def test_goalstep_unknown_level_is_one_line(tmp_path):
    with pytest.raises(UserError, match="--level 'step' is unknown: use one of steps, substeps; did you mean"):
        read_goalstep(write_goalstep_file(tmp_path, {"v1": []}), "step")


def test_goalstep_videos_without_steps_are_listed(tmp_path):
    folder = write_goalstep_file(tmp_path, {"v1": [], "v2": [make_goal_segment(2.0, 5.0, CUT)]})
    rows = read_goalstep(folder)
    assert [(one.id, one.why) for one in rows.left_out] == [("v1", "has no steps")]
    assert [episode.id for episode in rows.splits["val"]] == ["v2"]

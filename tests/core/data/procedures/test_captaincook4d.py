"""CaptainCook4D: counts of the published annotations, states at every frame, and irregular entries."""

from __future__ import annotations

import json

import pytest

from prospect_core.data.dataset import Dataset
from prospect_core.data.procedures.captaincook4d import (
    make_captaincook4d_episodes,
    open_captaincook4d,
    read_captaincook4d,
)
from prospect_core.data.procedures.captaincook4d_facts import count_captaincook4d_facts
from prospect_core.data.procedures.captaincook4d_files import read_captaincook4d_annotations
from prospect_core.data.stats import compute_dataset_stats
from prospect_core.data.validate import validate_dataset
from prospect_core.timeline import Mistake
from prospect_core.util.errors import DataError, UserError
from tests.helpers.procedure_files import (
    count_values,
    find_procedure_folder,
    list_differences,
    list_replayed_states,
    make_cooking_entry,
    read_states_off_occurrences,
    write_cooking_folder,
    write_json_file,
)

BOIL, POUR = "Boil-Boil water", "pour -Pour the tea"
GRAPH = {"steps": {"0": "START", "1": BOIL, "2": POUR, "3": "END"}, "edges": [[0, 1], [1, 2], [2, 3]]}


@pytest.fixture(scope="module")
def published():
    folder = find_procedure_folder("captaincook4d")
    annotations = read_captaincook4d_annotations(folder)
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    return annotations, make_captaincook4d_episodes(annotations, folder), expected


def read_one(folder, name="1_1"):
    return make_captaincook4d_episodes(read_captaincook4d_annotations(folder), folder)[name]


def test_captaincook4d_counts_equal_published_ones(published):
    annotations, _, expected = published
    wanted = {key: value for key, value in expected.items() if key != "definitions"}
    assert count_values(wanted) > 1000
    assert list_differences(count_captaincook4d_facts(annotations), wanted) == []


def test_captaincook4d_episodes_keep_every_step_and_error(published):
    annotations, episodes, expected = published
    for name, facts in expected["recordings"].items():
        episode = episodes[name].validate()
        assert len(episode.occurrences) == facts["steps"] - facts["not_done"]
        assert len(json.loads(episode.meta.get("not_done", "[]"))) == facts["not_done"]
        assert sum(o.end - o.start for o in episode.occurrences) == pytest.approx(facts["seconds_sum"], abs=1e-6)
        assert max(o.end for o in episode.occurrences) == facts["last_end"]
        tags = [mistake.tag for mistake in episode.mistakes]
        assert {tag: tags.count(tag) for tag in sorted(set(tags))} == facts["tags"]
        assert episode.participant == str(annotations.recordings[name].person_id)


@pytest.mark.parametrize("fps", [1.0, pytest.param(2.0, marks=pytest.mark.slow)])
def test_captaincook4d_states_by_replay_equal_states_of_occurrences(fps, published):
    annotations, _, expected = published
    episodes = make_captaincook4d_episodes(annotations, annotations.root, fps)
    assert len(episodes) == expected["totals"]["recordings"]
    for name, episode in episodes.items():
        assert list_replayed_states(episode) == read_states_off_occurrences(episode), name


def test_captaincook4d_task_is_that_of_the_activity(published):
    annotations, episodes, expected = published
    tasks = {}
    for name, episode in episodes.items():
        activity = annotations.recordings[name].activity_id
        assert tasks.setdefault(activity, episode.task) == episode.task
    for facts in expected["task_graphs"].values():
        task = tasks[facts["activity_id"]]
        places = {step: place for place, step in enumerate(task.step_ids)}
        assert all(places[before] < places[after] for before, after in task.order_edges)
        assert task.order_edges


def test_captaincook4d_task_graph_mostly_holds_in_recordings_without_errors(published):
    _, episodes, _ = published
    kept = broken = 0
    for episode in (one for one in episodes.values() if one.meta["is_error"] == "false"):
        starts = {}
        for item in episode.occurrences:
            starts.setdefault(item.step, item.start)
        pairs = [(a, b) for a, b in episode.task.order_edges if a in starts and b in starts]
        broken += sum(starts[a] > starts[b] for a, b in pairs)
        kept += sum(starts[a] <= starts[b] for a, b in pairs)
    # a graph read the wrong way round would break nearly all
    assert broken < 0.05 * kept


def test_captaincook4d_opens_in_place_with_published_split_sizes(published):
    annotations, _, expected = published
    dataset = Dataset.open(annotations.root)
    sizes = {split: info.episodes for split, info in dataset.info.splits.items()}
    assert sizes == expected["splits"]["recordings_data_split_combined"]
    assert validate_dataset(dataset, videos=False) == []
    assert all("no such file" in line for line in validate_dataset(dataset))
    assert compute_dataset_stats(dataset, "train")["occurrences an episode (mean)"] > 1


@pytest.mark.parametrize("family", ["recordings", "person", "environment"])
@pytest.mark.parametrize("scope", ["combined", "normal"])
def test_captaincook4d_split_families_have_published_sizes(family, scope, published):
    annotations, _, expected = published
    rows = read_captaincook4d(annotations.root, annotations.root, family, scope)
    sizes = {split: len(episodes) for split, episodes in rows.splits.items()}
    assert sizes == expected["splits"][f"{family}_data_split_{scope}"]
    assert len(rows.left_out) == len(annotations.recordings) - sum(sizes.values())


def test_captaincook4d_empty_recipes_split_is_one_line(published):
    annotations, _, _ = published
    with pytest.raises(DataError, match=r"recipes_data_split_combined\.json: its lists of recordings are empty; use"):
        read_captaincook4d(annotations.root, annotations.root, "recipes")


def test_captaincook4d_step_not_done_has_no_occurrence(tmp_path):
    missing = {"errors": [{"tag": "Missing Step", "description": "Skipped"}], "modified_description": "Skipped"}
    entries = [
        make_cooking_entry(1, -1.0, -1.0, BOIL, **missing),
        make_cooking_entry(2, 0, 5.5, POUR),
        make_cooking_entry(3, -1.0, -1.0, "Sip-Sip"),
    ]
    episode = read_one(write_cooking_folder(tmp_path, {"1_1": entries}, graph=GRAPH))

    assert [(o.id, o.step, o.start, o.end) for o in episode.occurrences] == [("O2", "S2", 0.0, 5.5)]
    assert episode.mistakes == (Mistake("M1", "Missing Step", "S1", None, "Skipped"),)
    assert episode.task.step_ids == ("S1", "S2", "S3")
    not_done = json.loads(episode.meta["not_done"])
    assert [(one["step"], one["has_errors"], one["modified_description"]) for one in not_done] == [
        ("S1", True, "Skipped"),
        ("S3", False, None),
    ]


def test_captaincook4d_repeated_step_has_two_occurrences(tmp_path):
    entries = [make_cooking_entry(1, 2.0, 4.0, BOIL), make_cooking_entry(2, 5, 6, POUR)]
    entries += [make_cooking_entry(1, 8.0, 9.0, BOIL)]
    folder = write_cooking_folder(tmp_path, {"1_1": entries}, graph=GRAPH)
    episode = read_one(folder)
    assert episode.transitions() == [
        (2, "S1", "start"),
        (4, "S1", "complete"),
        (5, "S2", "start"),
        (6, "S2", "complete"),
        (8, "S1", "reopen"),
        (8, "S1", "complete"),
    ]
    assert count_captaincook4d_facts(read_captaincook4d_annotations(folder))["totals"]["repeated_entries"] == 1


def test_captaincook4d_entries_out_of_order_are_sorted_by_start(tmp_path):
    mistake = {"errors": [{"tag": "Order Error", "description": "late"}]}
    entries = [make_cooking_entry(2, 30.0, 31.0, POUR, **mistake), make_cooking_entry(1, 3.0, 40.0, BOIL)]
    episode = read_one(write_cooking_folder(tmp_path, {"1_1": entries}))
    assert [(o.id, o.start) for o in episode.occurrences] == [("O2", 3.0), ("O1", 30.0)]
    assert episode.mistakes[0].span == (30.0, 31.0)
    assert episode.validate()


def test_captaincook4d_end_after_the_video_is_clamped(tmp_path):
    entries = [make_cooking_entry(1, 2.0, 12.5, BOIL), make_cooking_entry(2, 11.0, 12.25, POUR)]
    episode = read_one(write_cooking_folder(tmp_path, {"1_1": entries}, seconds={"1_1": 9.6}))
    assert episode.end_frame == 10
    assert [(event.step, event.change, event.time) for event in episode.events] == [
        ("S1", "start", 2.0),
        ("S2", "start", 10.0),
        ("S2", "complete", 10.0),
        ("S1", "complete", 10.0),
    ]
    assert max(o.end for o in episode.occurrences) == 12.5
    assert episode.validate()


def test_captaincook4d_without_video_length_ends_with_last_step(tmp_path):
    episode = read_one(write_cooking_folder(tmp_path, {"1_1": [make_cooking_entry(1, 2.0, 12.5, BOIL)]}))
    assert episode.end_frame == 13


def test_captaincook4d_oddities_are_listed(tmp_path):
    twice = [{"tag": "Timing Error", "description": "early"}, {"tag": "Timing Error", "description": "late"}]
    entries = [
        make_cooking_entry(1, -1.0, -1.0, BOIL),
        make_cooking_entry(2, 1.0, 2.0, POUR, errors=[{"tag": "Missing Step", "description": "not seen"}]),
        make_cooking_entry(3, 2.0, 3.0, "Sip-Sip", modified_description="Sip-Sip loudly"),
        make_cooking_entry(4, 3.0, 4.5, "Stir-Stir", errors=twice),
    ]
    folder = write_cooking_folder(tmp_path, {"1_1": entries}, graph=GRAPH, seconds={"1_1": 4.4})
    facts = count_captaincook4d_facts(read_captaincook4d_annotations(folder))
    assert facts["oddities"] == {
        "not_done_without_has_errors": [["1_1", 1]],
        "tag_missing_step_but_done": [["1_1", 2]],
        "modified_description_without_errors": [["1_1", 3]],
        "same_tag_twice_in_a_step": [["1_1", 4]],
        "last_end_after_video_end_by_more_than_1ms": [["1_1", 4.5, 4.4]],
    }
    assert facts["totals"]["errors_by_tag"] == {"Missing Step": 1, "Timing Error": 2}
    assert facts["totals"]["steps_by_tag"] == {"Missing Step": 1, "Timing Error": 1}
    assert facts["task_graphs"]["tea"]["descriptions_in_recordings_but_not_in_graph"] == ["Sip-Sip", "Stir-Stir"]
    assert read_one(folder).occurrences[1].labels == "modified_description=Sip-Sip loudly"


def test_captaincook4d_recordings_without_split_or_steps_are_listed(tmp_path):
    entries = [make_cooking_entry(1, 1.0, 2.0, BOIL)]
    split = {"train": ["1_1", "1_9"], "val": [], "test": []}
    folder = write_cooking_folder(tmp_path, {"1_1": entries, "1_2": entries}, split=split)
    rows = read_captaincook4d(folder, folder)
    assert [(one.id, one.why) for one in rows.left_out] == [
        ("1_9", "is in the train split but has no steps in the annotations"),
        ("1_2", "is in no split over recordings (combined)"),
    ]


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("captain_cook_4d/gopro/resolution_360p", "1_1_360p.mp4"),
        ("gopro/resolution_360p", "1_1_360p.mp4"),
        ("videos", "1_1.mp4"),
    ],
)
def test_captaincook4d_videos_are_found_in_known_folders(place, name, tmp_path):
    folder = write_cooking_folder(tmp_path / "data" / "annotations", {"1_1": [make_cooking_entry(1, 0, 2, BOIL)]})
    before = Dataset.open(folder.parent)
    (folder.parent / place).mkdir(parents=True)
    (folder.parent / place / name).write_bytes(b"video")

    dataset = open_captaincook4d(folder.parent)

    assert next(dataset.episodes("train")).video == f"{place}/{name}"
    assert dataset.video(f"{place}/{name}").is_file()
    assert next(before.episodes("train")).video == "captain_cook_4d/gopro/resolution_360p/1_1_360p.mp4"


def test_captaincook4d_changed_annotations_are_read_again(tmp_path):
    folder = write_cooking_folder(tmp_path, {"1_1": [make_cooking_entry(1, 0, 2, BOIL)]})
    assert Dataset.open(folder).root == Dataset.open(folder).root
    first = Dataset.open(folder).root
    path = folder / "annotation_json" / "complete_step_annotations.json"
    path.write_text(path.read_text("utf-8").replace('"end_time": 2', '"end_time": 7.5'), encoding="utf-8")
    changed = Dataset.open(folder)
    assert changed.root != first
    assert next(changed.episodes("train")).occurrences[0].end == 7.5


def test_open_captaincook4d_other_folder_gives_none(tmp_path):
    assert open_captaincook4d(tmp_path) is None


@pytest.mark.parametrize(
    ("file", "value", "message"),
    [
        ("annotation_json/complete_step_annotations.json", [1], "Expected `object`, got `array`"),
        (
            "annotation_json/complete_step_annotations.json",
            {"1_1": {"activity_id": 1, "activity_name": "Tea", "steps": [{"step_id": 1}]}},
            "missing required field `start_time`",
        ),
        (
            "annotation_json/complete_step_annotations.json",
            {
                "1_1": {
                    "activity_id": 1,
                    "activity_name": "Tea",
                    "steps": [make_cooking_entry(1, 5.0, 2.0, BOIL, has_errors=False)],
                }
            },
            "recording 1_1: step 1 runs from 5 to 2 s",
        ),
        ("annotation_json/error_annotations.json", {}, "Expected `array`, got `object`"),
        (
            "annotation_json/error_annotations.json",
            [{"recording_id": "1_1", "is_error": True, "step_annotations": []}] * 2,
            "2 entries for 1 recordings",
        ),
        ("task_graphs/tea.json", {"steps": {"a": "START"}, "edges": []}, "node 'a' must be a number"),
        ("task_graphs/tea.json", {"steps": {"0": "START"}, "edges": [[0, 7]]}, "an edge names node 7"),
        (
            "data_splits/recordings_data_split_combined.json",
            {"train": ["1_1"], "test": ["1_1"]},
            "recording 1_1 is in train and in test",
        ),
    ],
)
def test_captaincook4d_damaged_file_is_one_line(file, value, message, tmp_path):
    folder = write_cooking_folder(tmp_path, {"1_1": [make_cooking_entry(1, 0, 2, BOIL)]})
    write_json_file(folder / file, value)
    with pytest.raises(DataError) as error:
        read_captaincook4d(folder, folder)
    assert message in str(error.value)
    assert str(folder / file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recording_id,duration(min)\n1_1,3\n", "duration(sec)"),
        ("recording_id,duration(sec)\n1_1,long\n", "could not convert"),
        ("recording_id,duration(sec)\n1_1,-4\n", "'-4' is no length"),
    ],
)
def test_captaincook4d_damaged_video_lengths_are_one_line(text, message, tmp_path):
    folder = write_cooking_folder(tmp_path, {"1_1": [make_cooking_entry(1, 0, 2, BOIL)]}, seconds={"1_1": 3.0})
    (folder / "metadata" / "video_information.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"video_information\.csv: needs recording_id and duration") as error:
        read_captaincook4d(folder, folder)
    assert message in str(error.value)


def test_captaincook4d_missing_files_are_one_line(tmp_path):
    folder = write_cooking_folder(tmp_path, {"1_1": [make_cooking_entry(1, 0, 2, BOIL)]})
    with pytest.raises(DataError, match=r"person_data_split_combined\.json: no such file; there are recordings_data"):
        read_captaincook4d(folder, folder, "person")
    with pytest.raises(UserError, match="--recordings 'all' is unknown"):
        read_captaincook4d(folder, folder, scope="all")
    (folder / "annotation_json" / "error_annotations.json").unlink()
    with pytest.raises(DataError, match=r"error_annotations\.json: No such file"):
        read_captaincook4d(folder, folder)


def test_captaincook4d_error_of_unknown_step_is_one_line(tmp_path):
    folder = write_cooking_folder(tmp_path, {"1_1": [make_cooking_entry(1, 0, 2, BOIL)]})
    step = make_cooking_entry(9, 1.0, 2.0, BOIL, errors=[{"tag": "Other", "description": ""}])
    errors = [{"recording_id": "1_1", "is_error": True, "step_annotations": [step]}]
    write_json_file(folder / "annotation_json" / "error_annotations.json", errors)
    with pytest.raises(DataError, match="mistake M1 \\('Other'\\) names step 'S9'; the task has S1"):
        Dataset.open(folder)

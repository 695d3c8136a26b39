"""Episodes of one participant or one recording are one unit of resampling."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from prospect_core.data.formats.annotation_table import read_annotation_table
from prospect_core.data.formats.proassist import (
    episode_from_proassist_row,
    episode_to_proassist_row,
    participant_from_proassist_names,
)
from prospect_core.timeline import Episode
from prospect_core.util.json_io import digest_json, dump_json, load_json
from prospect_eval.analysis.pairing import pairing_differing_keys
from prospect_eval.runs.metric_tables import metric_table_resampled_units
from prospect_eval.scoring.score import score_records
from prospect_eval.stats.clusters import Cluster, find_episode_cluster
from tests.helpers.predictions import TOOLS, episode, predict, say


def scored(episodes):
    records = [predict(e, [(4 * k, "Go on.")]) for k, e in enumerate(episodes, 1)]
    return score_records(records, TOOLS)


@pytest.fixture
def four_videos():
    return [episode(say(2.0 * k), id_=f"e{k}", video=f"v{k}") for k in range(1, 5)]


def test_intervals_participant_is_one_cluster(four_videos):
    people = [replace(e, participant=f"P{k // 2}") for k, e in enumerate(four_videos)]
    entry = scored(people)["metrics"]["speaking_event_f1@2s"]
    assert (entry["n_videos"], entry["n_scored"]) == (2, 4)
    assert "|cluster:participant|" in entry["signature"]


def test_intervals_recording_is_one_cluster(four_videos):
    cameras = [replace(e, recording="kitchen") for e in four_videos]
    result = scored(cameras)
    entry = result["metrics"]["speaking_event_f1@2s"]
    assert (entry["n_videos"], entry["ci95"]) == (1, None)
    assert "|cluster:recording|" in entry["signature"]
    assert set(result["clusters"].values()) == {"recording x/kitchen"}


def test_find_episode_cluster_precedence():
    plain = episode(say(1.0))
    assert find_episode_cluster(plain) == Cluster("video", "v")
    assert find_episode_cluster(replace(plain, recording="r")) == Cluster("recording", "x/r")
    assert find_episode_cluster(replace(plain, recording="r", participant="p")) == Cluster("participant", "x/p")


def test_metric_signature_names_mixed_clusters(four_videos):
    mixed = [replace(four_videos[0], participant="P1"), *four_videos[1:]]
    entry = scored(mixed)["metrics"]["speaking_event_f1@2s"]
    assert "|cluster:participant+video|" in entry["signature"]
    videos = scored(four_videos)["metrics"]["speaking_event_f1@2s"]
    assert pairing_differing_keys(videos["signature"], entry["signature"]) == ["cluster: video / participant+video"]


def test_episode_without_cluster_fields_keeps_digest():
    plain = replace(episode(say(1.0)), meta={"a": "b"})
    text = dump_json(plain)
    assert text.endswith('"summary":"","meta":{"a":"b"}}')
    assert "participant" not in dump_json(predict(plain))
    # sha256 of the JSON of the same episode before the fields existed
    assert digest_json(plain) == "7facd7e6037230bbda63b0923cc06b30a6865bca645e86438c103e674a49ad8c"


def test_episode_participant_and_recording_round_trip():
    named = replace(episode(say(1.0)), recording="r", participant="p")
    assert load_json(Episode, dump_json(named), "here") == named
    assert json.loads(dump_json(predict(named)))["episode"]["participant"] == "p"
    assert episode_from_proassist_row(json.loads(json.dumps(episode_to_proassist_row(named)))) == named


@pytest.mark.parametrize(
    ("dataset", "video", "person"),
    [
        ("epickitchens", "P01_101", "P01"),
        ("assembly101", "assembly_nusar-2021_action_both_9011-a01_9011_user_id_2021-02-01_153724", "9011"),
        ("ego4d", "grp-002c3b5c-ed86-4af3-99a1-4b497b7c8a86", ""),
        ("holoassist", "R007-7July-DSLR", ""),
        ("workbench", "P01_101", ""),
    ],
)
def test_participant_from_proassist_names(dataset, video, person):
    assert participant_from_proassist_names(dataset, video) == person


def test_annotation_table_names_participant_and_recording(tmp_path, world):
    clip = next(iter((world.root / "videos").iterdir()))
    table = tmp_path / "clip.tsv"
    head = f"# video: {clip}\n# goal: tea\n# participant: anna\n# recording: monday\n"
    table.write_text(f"{head}time\tkind\twhat\n0:01\tsay\tGo on.\n")
    found = read_annotation_table(table).episode
    assert (found.participant, found.recording) == ("anna", "monday")


def test_metric_table_resampled_units_in_words(four_videos):
    people = [replace(e, participant=f"P{k // 2}") for k, e in enumerate(four_videos)]
    assert metric_table_resampled_units(scored(people)["metrics"]) == "participants"
    assert (
        metric_table_resampled_units({"a": {"signature": "metric:a|cluster:participant+video"}})
        == "participants and videos"
    )
    assert metric_table_resampled_units({"a": {}}) == "videos"

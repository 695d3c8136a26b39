"""Baselines that learn from training data, and the part of the reference that each baseline uses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.timeline import Event, Step, Task
from prospect_eval.metrics import all_metrics
from prospect_eval.models.base import PredictorOptions
from prospect_eval.models.baselines.priors import (
    Priors,
    make_prior_text_chooser,
    prior_episode_facts,
    spread_frames_by_prior,
)
from prospect_eval.models.baselines.trivial import BASELINES, make_trivial_baseline
from prospect_eval.models.registry import open_registered_predictor
from prospect_eval.scoring.baseline_scores import score_baselines
from prospect_eval.scoring.score import score_records, write_score_metrics
from prospect_eval.suites.training_data import TrainingEpisodes, open_suite_training_data
from tests.helpers.predictions import TOOLS, episode, same_words, say, step

TEA = Task("tea", (Step("S1", "boil the water"), Step("S2", "pour the tea"), Step("S3", "drink")))


def lesson(first, gap, lead, words="Please", video="t"):
    """Two steps with an instruction ``lead`` seconds before each start."""
    second = first + gap
    return episode(
        say(first - lead, f"{words} boil."),
        step(first, "S1", "start"),
        step(first + 1, "S1", "complete"),
        say(second - lead, f"{words} pour."),
        step(second, "S2", "start"),
        frames=100,
        steps=TEA,
        video=video,
        id_=video,
    )


@pytest.fixture
def priors():
    """Medians of three lessons: first start 4 s, 10 s per step, 2 s from an instruction to its
    step.
    """
    lessons = [lesson(3.0, 8.0, 1.0), lesson(4.0, 10.0, 2.0), lesson(6.0, 12.0, 3.0, "Now")]
    return Priors(lessons, [], same_words)


def test_recite_steps_follows_training_pace(priors):
    record = make_trivial_baseline("recite_steps", [], priors)(episode(frames=60, steps=TEA))
    assert [(u.frame, u.text) for u in record.utterances] == [(4, "Please boil."), (24, "Please pour."), (44, "drink")]
    assert [(t.frame, t.step, t.change) for t in record.transitions] == [
        (8, "S1", "start"), (28, "S1", "complete"), (28, "S2", "start"), (48, "S2", "complete"), (48, "S3", "start"),
    ]  # fmt: skip
    assert record.problems() == []


def test_recite_steps_task_without_steps_uses_knowledge(priors):
    recipe = Task("tea", (), "Tea\n1. boil the water\n2. pour the tea")
    record = make_trivial_baseline("recite_steps", [], priors)(episode(frames=60, steps=recipe))
    assert [(u.frame, u.text) for u in record.utterances] == [(4, "Please boil."), (24, "Please pour.")]
    assert record.transitions == ()


def test_prior_text_is_most_similar_training_text():
    """Of "a b" (twice), "a b c", "x": mean word overlaps 2.667, 2.333 and 1 of 4."""
    training = [episode(say(2.0, "a b"), say(4.0, "a b"), say(6.0, "a b c"), say(8.0, "x"))]
    reference = episode(say(3.0, "one"), say(9.0, "two"))
    record = make_trivial_baseline("prior_text_at_reference_times", [], Priors(training, [], same_words))(reference)
    assert [(u.frame, u.text) for u in record.utterances] == [(6, "a b"), (18, "a b")]


def test_prior_text_chooser_prefers_typical_text():
    training = [episode(*(say(float(k), text) for k, text in enumerate(["x", "x", "a b", "a b c", "a b d"], 1)))]
    every = [prior_episode_facts(training[0])]
    counts = {"x": 2, "a b": 1, "a b c": 1, "a b d": 1}
    from collections import Counter

    # similarity to all five: x 2; "a b" 1 + 2/3 + 2/3; "a b c" 2/3 + 1 + 1/2
    assert make_prior_text_chooser(every, same_words)(Counter(counts)) == "a b"
    assert make_prior_text_chooser(every, None)(Counter(counts)) == "x"


def test_reference_text_at_prior_times_uses_quantiles():
    """Turns at 0.1125 .. 0.9125 of 40 frames; quantiles .25 and .75 of the two positions are 0.3125
    and 0.7125.
    """
    training = [episode(say(2.0), say(18.0))]
    reference = episode(say(1.0, "one"), say(2.0, "two"))
    record = make_trivial_baseline("reference_text_at_prior_times", [], Priors(training, [], None))(reference)
    assert [(u.frame, u.text) for u in record.utterances] == [(12, "one"), (28, "two")]


def test_spread_frames_are_distinct_and_inside():
    short = episode(frames=4)
    assert spread_frames_by_prior(short, 4, np.array([0.99])) == [0, 1, 2, 3]
    assert spread_frames_by_prior(short, 2, np.array([])) == [1, 3]
    assert spread_frames_by_prior(short, 0, np.array([0.5])) == []


def test_priors_no_training_uses_other_videos():
    """Texts of the same video and of the same participant are excluded."""
    mine = episode(say(2.0, "mine"), say(4.0, "mine"), video="a", id_="a")
    other = episode(say(2.0, "other"), video="b", id_="b")
    priors = Priors((), [mine, other], None)
    assert priors.of(mine).text == "other"
    assert priors.of(other).text == "mine"
    twin = replace(mine, video="c", id="c")
    people = [replace(mine, participant="p"), replace(twin, participant="p"), replace(other, participant="q")]
    assert Priors((), people, None).of(people[0]).text == "other"


def test_priors_single_video_makes_legal_records():
    alone = episode(say(2.0), step(3.0, "S1", "start"))
    for name in BASELINES:
        assert make_trivial_baseline(name, [alone])(alone).problems() == []
    assert make_trivial_baseline("recite_steps", [alone])(alone).utterances == ()


def test_baselines_declare_seen_reference():
    sees = {name: about.sees for name, about in BASELINES.items()}
    assert sees.pop("oracle") == "everything"
    assert sees.pop("prior_text_at_reference_times") == "time"
    assert sees.pop("reference_text_at_prior_times") == "text"
    assert set(sees.values()) == {"nothing"}
    assert {"recite_steps", "periodic", "linear_schedule"} <= sees.keys()


def test_metrics_json_has_training_source_of_baselines(tmp_path):
    records = [make_trivial_baseline("oracle", [])(lesson(3.0, 8.0, 1.0, video=f"v{k}")) for k in range(3)]
    alone = score_records(records, TOOLS)
    assert alone["baseline_info"]["recite_steps"]["learnt_from"].endswith("(leave-one-video-out)")
    assert alone["baseline_info"]["silent"]["learnt_from"] == ""
    taught = score_records(
        records, TOOLS, training=TrainingEpisodes("2 lessons", "d", lambda: [lesson(3.0, 8.0, 1.0)] * 2)
    )
    assert taught["baseline_info"]["recite_steps"]["learnt_from"] == "2 lessons"
    write_score_metrics(tmp_path, taught)
    counts = json.loads((tmp_path / "counts.json").read_text())["baselines"]
    assert counts["oracle"]["speaking_event_f1@2s"] == {f"v{k}": [2, 2, 2] for k in range(3)}  # the ids of the episodes
    assert set(counts) == set(BASELINES)
    assert "speaking_f1" not in counts["oracle"]


def test_score_baselines_cache_depends_on_training(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    references = [lesson(3.0, 8.0, 1.0, video=f"v{k}") for k in range(3)]
    metrics = all_metrics(TOOLS)

    def scores(training):
        return score_baselines(["d"], lambda: references, TOOLS, metrics, training)

    slow = scores(TrainingEpisodes("slow", "1", lambda: [lesson(20.0, 20.0, 1.0)]))
    quick = scores(TrainingEpisodes("quick", "2", lambda: [lesson(3.0, 8.0, 1.0)]))
    name = "transition_f1@2s"
    assert quick.tables["recite_steps"][name]["value"] > slow.tables["recite_steps"][name]["value"]

    def never():
        raise AssertionError("the scores are in the cache")

    assert scores(TrainingEpisodes("slow", "1", never)) == slow
    assert len(list((tmp_path / "prospect" / "baselines").iterdir())) == 2


def test_training_data_is_train_split(tmp_path):
    lessons = [lesson(3.0, 8.0, 1.0, video=f"v{k}") for k in range(5)]
    for e in lessons:
        (tmp_path / "d").mkdir(exist_ok=True)
        (tmp_path / "d" / e.video).write_bytes(b"")
    write_dataset(tmp_path / "d", "d", "1", 2, {"train": lessons[:3], "test": lessons[3:]})
    found = open_suite_training_data(str(tmp_path / "d"), "test")
    assert found.load() == lessons[:3]
    assert found.about == "3 episodes of the train split"
    assert open_suite_training_data(str(tmp_path / "d"), "train") == TrainingEpisodes()
    assert open_suite_training_data(str(tmp_path / "gone"), "test") == TrainingEpisodes()
    assert open_suite_training_data("", "test") == TrainingEpisodes()
    data = Dataset.open(tmp_path / "d")
    (record,) = (
        r
        for _, (r, _) in open_registered_predictor(
            "baseline:recite_steps", data, data.rows("test")[:1], PredictorOptions()
        ).predict(data.rows("test")[:1])
    )
    assert [u.frame for u in record.utterances][:2] == [4, 20]


def test_training_data_built_in_needs_no_video():
    found = open_suite_training_data("suite:workbench", "test")
    some = found.load()
    assert len(some) == 120
    assert {e.video.partition("-")[0] for e in some} == {"videos/train"}
    assert open_suite_training_data("suite:proassist", "test") == TrainingEpisodes()


def test_prior_episode_facts_ignore_user_questions():
    asked = episode(Event("u", 1.0, "user", "What now?"), say(1.5, "Boil."), step(3.0, "S1", "start"), steps=TEA)
    assert prior_episode_facts(asked).instructions == (("boil the water", "Boil."),)
    assert prior_episode_facts(asked).first_turn_s is None

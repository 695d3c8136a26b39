"""An epoch of training: newly drawn windows, in an order with little padding."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from prospect_core.data.dataset import write_dataset
from prospect_core.sequence.builder import SequenceBuilder
from prospect_core.sequence.labels import IGNORE
from prospect_core.train.config.compose import compose_config
from prospect_core.train.data.curriculum import Curriculum
from prospect_core.train.data.frame_samplers import KeyFrames, Silent
from prospect_core.train.data.sources import open_training_sources
from prospect_core.train.data.training_dataset import DSTTrainingDataset, Mixed, SamplingPlan
from prospect_core.train.data.window_sampler import WindowSampler
from prospect_core.util.errors import DataError
from prospect_core.workbench.rendering.pictures import render_blank_picture_video
from tests.helpers.commands import run_cli
from tests.helpers.training import SMALL, pictures

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def builder(tokenizer):
    return SequenceBuilder(tokenizer, 4)


def dataset(short_world, builder, seed=3, **draws):
    return DSTTrainingDataset(list(short_world.episodes("train")), builder, pictures, SamplingPlan(**draws), seed)


def test_training_dataset_redraws_each_epoch_with_seed(short_world, builder):
    draws = {"windows": WindowSampler(4, 9, progress_share=0), "frames": Silent(0.3)}
    one, twin = dataset(short_world, builder, **draws), dataset(short_world, builder, **draws)
    first = [one[k][0] for k in range(len(one))]
    random.seed(5)
    assert first == [twin[k][0] for k in range(len(twin))]
    one.set_epoch(1)
    assert first != [one[k][0] for k in range(len(one))]
    one.set_epoch(0)
    assert first == [one[k][0] for k in range(len(one))]


def test_training_dataset_padding_windows_have_no_labels(short_world, builder):
    """All processes need the same number of windows: a loader without enough repeated windows with
    their labels.
    """
    data = dataset(short_world, builder, windows=WindowSampler(2, 9), windows_per_episode=7)
    drawn = len(data)
    whole = [data[k][0] for k in range(drawn)]
    data.multiple = 16
    assert len(data) % 16 == 0
    assert drawn < len(data) < drawn + 16
    assert [data[k][0] for k in range(drawn)] == whole
    for k in range(drawn, len(data)):
        window, _ = data[k]
        assert window.ids == whole[k - drawn].ids
        assert {
            *window.lm_labels,
            *window.speaking,
            *window.update,
            *(label for states in window.states for label in states),
        } == {IGNORE}
    # also with windows grouped by length, every window is kept
    data.together = 4
    data.set_epoch(0)
    assert sorted(map(repr, (data[k][0] for k in range(drawn)))) == sorted(map(repr, whole))


def test_training_dataset_groups_windows_by_length(short_world, builder):
    """The same windows in another order: with padding to the longest of a step, a quarter of all
    tokens was padding.
    """
    windows = WindowSampler(2, 40)
    data = dataset(short_world, builder, windows=windows, windows_per_episode=21)
    count = len(data)
    assert count % 4
    drawn = [data[k][0] for k in range(count)]
    data.together = 4
    data.set_epoch(0)
    alike = [data[k][0] for k in range(count)]
    assert sorted(map(repr, alike)) == sorted(map(repr, drawn))
    assert alike != drawn

    def padding(sequences):
        steps = [[len(s.ids) for s in sequences[k : k + 4]] for k in range(0, count, 4)]
        return sum(max(step) * len(step) - sum(step) for step in steps) / sum(map(sum, steps))

    assert padding(alike) < 0.1 < 0.2 < padding(drawn)
    # an epoch that is resumed in the middle is the same
    again = dataset(short_world, builder, windows=windows, windows_per_episode=21)
    again.together = 4
    assert [again[k][0] for k in range(count - 5, count)] == alike[-5:]


def test_training_dataset_pictures_are_of_own_frames(short_world, builder):
    """In the origin every clip but a video's first was trained on pictures from hundreds of frames
    away.
    """
    data = dataset(short_world, builder, windows=WindowSampler(4, 9))
    for k in range(len(data)):
        sequence, media = data[k]
        window, _ = data.window(k)
        assert sequence.frames == list(range(window.start, window.end))
        assert np.array_equal(media, pictures(window.episode, window.start, window.end))


def test_training_dataset_alternates_dialogues_of_video(short_world, builder):
    data = dataset(short_world, builder, dialogues_per_video=1)
    assert len(data) == 2
    seen = set()
    for epoch in range(12):
        data.set_epoch(epoch)
        videos = [data.window(k)[0].episode for k in range(2)]
        assert len({e.video for e in videos}) == 2
        seen |= {e.id for e in videos}
    assert len(seen) == 6
    assert len(dataset(short_world, builder, windows_per_episode=3)) == 18


def test_curriculum_progresses_within_epoch(short_world, builder):
    """With long epochs, one share per epoch would leave most of the data unused."""
    windows = WindowSampler(2, 40, progress_share=0)
    data = dataset(short_world, builder, curriculum=Curriculum(0.2, 1.0), windows=windows, windows_per_episode=20)
    data.set_epoch(0, 0.0, 1.0)
    data.set_epoch(0)
    assert (data.progress, data.span) == (0.0, 1.0)
    drawn = [data.window(k)[0] for k in range(len(data))]
    first, last = drawn[:12], drawn[-12:]
    assert len({w.episode.id for w in first}) <= 2
    assert len({w.episode.id for w in drawn}) == 6
    assert max(w.end - w.start for w in first) < 24 < max(w.end - w.start for w in last)


def test_label_rates_equal_drawn_labels(short_world, builder):
    data = dataset(short_world, builder, windows=WindowSampler(10, 30))
    labels = [label for k in range(len(data)) for label in data[k][0].speaking if label != IGNORE]
    assert data.label_rates()["speaking"] == pytest.approx(labels.count(1) / len(labels))


def test_label_rates_without_labels_are_none(short_world, builder):
    """No label is not a rate of zero: the focal losses keep their options."""
    data = dataset(short_world, builder, frames=lambda rng, view: set())
    assert data.label_rates() == {"speaking": None, "update": None}


def test_label_rates_use_pictures_of_samplers(short_world, builder):
    data = dataset(short_world, builder, frames=KeyFrames(0.3), windows=WindowSampler(20, 30))
    assert data.label_rates()["speaking"] is not None


def test_training_dataset_no_episode_raises(builder):
    with pytest.raises(DataError, match="no episode"):
        DSTTrainingDataset([], builder, pictures, SamplingPlan())


@pytest.fixture(scope="module")
def black_world(short_world, tmp_path_factory):
    """The dialogues of short_world over other pictures with the same names of videos."""
    root = tmp_path_factory.mktemp("black")
    (root / "videos").mkdir()
    episodes = list(short_world.episodes("train"))
    for episode in episodes:
        render_blank_picture_video(root / episode.video, episode.num_frames / episode.fps)
    return write_dataset(root, "black", "1", 2, {"train": [replace(e, id=f"black-{e.id}") for e in episodes]})


def test_training_sources_use_own_pictures(short_world, black_world):
    config, _ = compose_config([f"data={short_world.root}", f"data.more=[{black_world.root}]"])
    sources = open_training_sources(config, print)
    assert [data.root for data, _ in sources] == [short_world.root, black_world.root]
    media = Mixed([(some, lambda e, a, b, k=k: np.full((b - a,), k)) for k, (_, some) in enumerate(sources)])
    for k, (_, some) in enumerate(sources):
        assert all((media(episode, 0, 3) == [k] * 3).all() for episode in some)


def test_train_command_draws_from_several_datasets(short_world, black_world, tmp_path, capsys):
    out = tmp_path / "out"
    given = (
        f"data={short_world.root}",
        f"data.more=[{black_world.root}]",
        "train.max_steps=2",
        f"output={out}",
        *SMALL,
    )
    assert run_cli("train", *given) == 0
    episodes = len(list(short_world.episodes("train")))
    assert f"{2 * episodes} episodes" in capsys.readouterr().err
    rows = [json.loads(row) for row in (out / "train_log.jsonl").read_text().splitlines()]
    assert rows[0]["epoch"] == pytest.approx(1 / -(-2 * episodes // 3))


def test_train_command_two_episodes_of_one_id_is_refused(short_world, tmp_path, capsys):
    out = tmp_path / "out"
    assert run_cli("train", f"data={short_world.root}", f"data.more=[{short_world.root}]", f"output={out}", *SMALL) == 3
    told = capsys.readouterr().err
    assert f"data.more: {short_world.root} has an episode" in told
    assert told.count("\n") == 1

"""The choice of the mistake threshold from stored probabilities."""

from __future__ import annotations

import json

import numpy as np
import pytest

from prospect_core.records import SCHEMA, EpisodeRecord, Knobs
from prospect_core.timeline import Mistake
from prospect_eval.analysis.mistake_thresholds import (
    choose_mistake_threshold,
    count_mistake_hits,
    mistake_report_frames,
)
from prospect_eval.analysis.thresholds import choose_thresholds
from tests.helpers.commands import evaluate
from tests.helpers.drawn_procedures import make_procedure, random_procedure, write_procedures

MISTAKES = [
    Mistake("m1", "Timing Error", "S1", (3.0, 6.0)),
    Mistake("m2", "Technique Error", "S2", (12.0, 15.0)),
    Mistake("m3", "Missing Step", "S3"),
]
GRID = (0.2, 0.4, 0.6, 0.8)


def record(probabilities, mistakes=MISTAKES):
    episode = make_procedure("e", [(1, 3.0, 6.0), (2, 12.0, 15.0)], 20, mistakes)
    values = np.full(20, 0.1)
    for frame, value in probabilities.items():
        values[frame] = value
    return EpisodeRecord(SCHEMA, "m", Knobs(), episode, mistake_prob=tuple(values.tolist()))


def test_mistake_report_frames_follow_threshold():
    one = record({4: 0.9, 5: 0.7, 9: 0.5, 13: 0.6})
    assert mistake_report_frames(one, 0.4) == [4, 9, 13]
    assert mistake_report_frames(one, 0.8) == [4]


def test_count_mistake_hits_by_hand():
    """A second report of one mistake is wrong, and a mistake without a time is not counted."""
    assert count_mistake_hits(record({4: 0.9, 9: 0.5, 13: 0.6}), 0.4) == (2, 3, 2)
    assert count_mistake_hits(record({3: 0.9, 6: 0.9}), 0.4) == (1, 2, 2)
    overlapping = [Mistake("m1", "A", "S1", (3.0, 9.0)), Mistake("m2", "B", "S2", (5.0, 6.0))]
    # the first report on a common frame finds the mistake that ends first
    assert count_mistake_hits(record({6: 0.9, 9: 0.9}, overlapping), 0.4) == (2, 2, 2)


def test_choose_mistake_threshold_maximizes_f1():
    # 0.2 and 0.4: two of three reports are right, F1 4/5; 0.6: both right; 0.8: one of two found, F1 2/3
    one = record({4: 0.9, 9: 0.5, 13: 0.7})
    assert choose_mistake_threshold([one], GRID) == (0.6, 1.0)
    # over both records: 4/6, 4/6, 2/3 and 2/4 of the events
    other = record({9: 0.9}, mistakes=[])
    assert choose_mistake_threshold([one, other], (0.4, 0.8)) == (0.4, pytest.approx(2 * 2 / (4 + 2)))


def test_choose_mistake_threshold_without_basis_is_none():
    assert choose_mistake_threshold([record({4: 0.9}, mistakes=MISTAKES[2:])], GRID) == (None, None)
    unknown = EpisodeRecord(SCHEMA, "m", Knobs(), random_procedure("x"))
    assert choose_mistake_threshold([unknown], GRID) == (None, None)


def test_choose_thresholds_without_dialogue_leaves_speaking():
    choice = choose_thresholds([record({4: 0.9, 13: 0.7})])
    assert (choice.speaking, choice.mistake_f1) == (None, 1.0)
    assert str(choice).startswith("speaking unchanged (no dialogue in the data), update ")
    assert f", mistake {choice.mistake:.2f} (F1 1.000)" in str(choice)


@pytest.mark.slow
@pytest.mark.integration
def test_calibrate_command_chooses_mistake_threshold(checkpoint, model, tmp_path, capsys):
    """Without dialogue in the data, the speaking threshold of the checkpoint stays."""
    model.add_mistake_head()
    model.config.speaking_threshold = 1.01
    model.save_pretrained(checkpoint)
    data = write_procedures(tmp_path / "data", {"val": [random_procedure("v")]})
    assert evaluate("calibrate", "--ckpt", checkpoint, "--data", data.root) == 0
    config = json.loads((checkpoint / "config.json").read_bytes())
    assert config["speaking_threshold"] == 1.01
    assert 0 < config["mistake_threshold"] < 1
    assert config["thresholds_data"].startswith("procedures/val/")
    assert f"mistake {config['mistake_threshold']:.2f}" in capsys.readouterr().out
    # a run names the threshold among its settings
    given = ["--ckpt", checkpoint, "--data", data.root, "--split", "val", "--output", tmp_path / "run"]
    assert evaluate("run", *given) == 0
    knobs = json.loads((tmp_path / "run" / "run.json").read_bytes())["config"]["knobs"]
    assert knobs["mistake_threshold"] == config["mistake_threshold"]

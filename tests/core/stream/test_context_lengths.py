"""Streams that exceed the lengths of training or the model's positions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prospect_core.records import Knobs, UnseenLength
from prospect_core.stream.context_lengths import StreamLengths
from prospect_core.stream.replay import replay_episode
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.train.config.compose import compose_config
from prospect_core.train.setup.final_model import note_final_model_lengths
from prospect_core.util.errors import DataError
from prospect_core.util.timer import StageTimer
from tests.helpers.commands import run_cli
from tests.helpers.small_models import small_config
from tests.helpers.streams import TASK, busy_episode, busy_runner, least, pictures
from tests.helpers.training import SMALL

pytestmark = pytest.mark.integration


def test_stream_lengths_note_first_excess(tokenizer):
    lengths = StreamLengths(small_config(tokenizer, trained_frames=3, trained_tokens=100, trained_compressions=1))
    for frame in range(7):
        lengths.note(frame, frame + 1, 90 + 5 * frame, frame // 3)
    assert lengths.unseen == (
        UnseenLength("frames", 3, 3), UnseenLength("tokens", 3, 100), UnseenLength("compressions", 6, 1),
    )  # fmt: skip
    unknown = StreamLengths(small_config(tokenizer))
    unknown.note(10**6, 10**6, 10**6, 10**6)
    assert unknown.unseen == ()


@pytest.mark.parametrize("longest", [1, 64])
def test_record_notes_lengths_beyond_training(model, tokenizer, longest):
    """The same for frames that are read one by one and in spans."""
    model.config.trained_frames, model.config.trained_tokens = 20, 10**6
    runner = busy_runner(model, tokenizer, "dst_refresh", least(model, tokenizer, "dst_refresh") + 40)
    record, _ = replay_episode(runner, busy_episode(), pictures(120), runner.knobs, "x", longest)
    assert len(record.compressions) >= 2
    first = record.compressions[0].frame
    assert first > 20
    assert record.unseen == (UnseenLength("frames", 20, 20), UnseenLength("compressions", first + 1, 0))
    assert record.problems() == []


def test_stream_beyond_positions_raises(model, tokenizer):
    model.config.text_config.max_position_embeddings = 300
    runner = VLMStreamRunner(model, tokenizer, Knobs("none", None, 1.0, 1.0))
    with pytest.raises(
        DataError, match=r"frame \d+: the context has \d+ tokens, but the model only 300 positions; give a"
    ):
        replay_episode(runner, busy_episode(), pictures(120), runner.knobs, "x")
    # with a budget the stream continues
    budget = least(model, tokenizer, "dst_refresh")
    model.config.text_config.max_position_embeddings = budget
    limited = VLMStreamRunner(model, tokenizer, Knobs("dst_refresh", budget, 1.0, 1.0))
    assert replay_episode(limited, busy_episode(), pictures(120), limited.knobs, "x")[0].compressions


def test_final_model_keeps_longest_training_lengths(tokenizer):
    config = small_config(tokenizer)
    plain, _ = compose_config(["output=x", "sampling.summary_share=0", "sampling.recent_share=0"])
    note_final_model_lengths(config, (500, 32), plain.sampling)
    assert (config.trained_tokens, config.trained_frames, config.trained_compressions) == (500, 32, 0)
    note_final_model_lengths(config, (400, 64), replace(plain.sampling, summary_share=0.1))
    assert (config.trained_tokens, config.trained_frames, config.trained_compressions) == (500, 64, 1)


def test_train_validation_beyond_positions_is_refused(short_world, tmp_path, capsys):
    out = tmp_path / "out"
    options = [f"data={short_world.root}", f"output={out}", *SMALL, "train.max_steps=1", "eval.thresholds=true"]
    assert run_cli("train", *options, "model.text.max_position_embeddings=100") == 2
    assert "frames of 4 tokens, and the model 100 positions" in capsys.readouterr().err
    assert not (out / "train_log.jsonl").exists()


def test_stage_timer_waits_for_device(model, tokenizer):
    """Otherwise the time of an asynchronous operation would count for the stage that waits for it."""
    waits = []
    runner = VLMStreamRunner(model, tokenizer, Knobs("none", None, 1.0, 1.0))
    runner.watch = StageTimer(lambda: waits.append(runner.watch._running[-1:]))
    runner.reset(TASK)
    waits.clear()
    runner.step(pictures(1)[0])
    assert ["vision"] in waits
    assert ["language model"] in waits
    quiet = VLMStreamRunner(model, tokenizer, Knobs("none", None, 1.0, 1.0))
    quiet.reset(TASK)
    assert quiet.watch.synchronise is None

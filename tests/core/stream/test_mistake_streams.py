"""Streams of a model with a mistake head: single, in spans, and batched with others."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.records import Knobs
from prospect_core.stream.batching import StreamBatcher
from prospect_core.stream.replay import replay_episode
from prospect_core.stream.runner import VLMStreamRunner
from tests.helpers.small_models import small_config
from tests.helpers.streams import Scripted, busy_episode, busy_runner, pictures

pytestmark = pytest.mark.integration
WANTED = {6: ("in_progress", "not_started"), 30: ("completed", "in_progress"), 60: ("completed", "completed")}


@pytest.fixture
def seeing(tokenizer):
    """A random model whose mistake probability varies around one half from frame to frame."""
    torch.manual_seed(5)
    model = DSTSmolVLM(small_config(tokenizer, mistake_head=True)).eval()
    with torch.no_grad():
        model.mistake_head.weight.mul_(20)
    return model


def replay(model, tokenizer, threshold=None, span=64):
    knobs = Knobs(mistake_threshold=threshold)
    runner = Scripted(model, tokenizer, knobs, WANTED, speaks={9, 31, 70})
    return replay_episode(runner, busy_episode(90), pictures(90), knobs, "x", span)[0]


def widest_gap(values):
    """Return a threshold inside the widest gap of the middle half, so that rounding moves no value across it."""
    ordered = np.sort(values)[len(values) // 4 : 3 * len(values) // 4]
    widest = np.diff(ordered).argmax()
    return float(ordered[widest : widest + 2].mean())


def test_replay_records_mistakes_with_step_in_progress(seeing, tokenizer):
    threshold = widest_gap(replay(seeing, tokenizer).mistake_prob)
    record = replay(seeing, tokenizer, threshold)
    assert record.problems() == []
    assert len(record.mistake_prob) == 90
    assert len(record.mistakes) > 3
    for report in record.mistakes:
        state = [state for frame, state in record.tracked_states() if frame <= report.frame][-1]
        started = [step for step in state.step_ids if state[step] == "in_progress"]
        assert report.step == (started[-1] if started else "")
        assert record.mistake_prob[report.frame] >= threshold
    assert {report.step for report in record.mistakes} == {"", "S1", "S2"}


def test_replay_mistakes_of_spans_equal_plain_loop(seeing, tokenizer):
    threshold = widest_gap(replay(seeing, tokenizer).mistake_prob)
    spans, plain = (replay(seeing, tokenizer, threshold, span) for span in (64, 1))
    np.testing.assert_allclose(spans.mistake_prob, plain.mistake_prob, atol=1e-4)
    assert spans.mistakes == plain.mistakes
    assert spans.transitions == plain.transitions


def test_stream_batcher_mistakes_equal_single_streams(seeing, tokenizer):
    lengths = (80, 40, 15)
    episodes = [replace(busy_episode(n), id=f"e{n}") for n in lengths]

    def job(episode, **options):
        runner = busy_runner(seeing, tokenizer, "drop_middle", 400, **options)
        return replay_episode(runner, episode, pictures(120)[: episode.num_frames], runner.knobs, "x")[0]

    alone = {episode.id: job(episode) for episode in episodes}
    assert any(record.mistakes for record in alone.values())
    assert alone["e80"].compressions
    together = StreamBatcher(seeing)
    found = together.run((partial(job, episode, reader=together) for episode in episodes), 3)
    assert {record.episode.id: record for record in found} == alone


def test_runner_uses_model_threshold_unless_given(seeing, tokenizer):
    seeing.config.mistake_threshold = 1.01
    assert replay(seeing, tokenizer).mistakes == ()
    assert replay(seeing, tokenizer, 0.0).mistakes[0].frame == 0


def test_runner_without_mistake_head_gives_none(model, tokenizer):
    runner = VLMStreamRunner(model, tokenizer, Knobs())
    runner.reset(busy_episode().task)
    output = runner.step(pictures(1)[0])
    assert (output.mistake_prob, output.mistake) == (None, None)

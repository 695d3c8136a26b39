"""The teacher-forced pass compared with one forward over the whole sequence, and the timed plain
pass.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from prospect_core.records import EpisodeLatency, TeacherForcedTurn
from prospect_core.sequence.builder import SequenceBuilder
from prospect_core.stream.kv_cache import StreamCache
from prospect_core.stream.teacher_forcing import CHUNK, run_teacher_forcing
from prospect_core.timeline import Episode, Event, Step, Task
from prospect_eval.diagnostics.latency import compute_latency_diagnostics
from prospect_eval.diagnostics.teacher_forced import score_teacher_forced, teacher_forced_fluency
from tests.helpers.commands import evaluate, one_line

pytestmark = pytest.mark.integration

TASK = Task("tidy up", (Step("S1", "put the red cube in the box"),))
EVENTS = (
    Event("a1", 1.0, "assistant", "Put the red cube in the box."),
    Event("d1", 2.0, "transition", step="S1", change="start"),
    Event("u1", 3.5, "user", "Like this?"),
    Event("a2", 4.0, "assistant", "Yes."),
    Event("a3", 10.0, "assistant", "Now we are done."),
    Event("d2", 12.0, "transition", step="S1", change="complete"),
    Event("a4", 14.5, "assistant", "Bye."),
)
EPISODE = Episode("e", "v", 2, 0, 30, TASK, EVENTS).validate()


def whole_forward(model, tokenizer, episode, frames):
    """Return (speaking probability by frame, logits by token, sequence) of one pass over
    everything.
    """
    builder = SequenceBuilder.of(model.config, tokenizer)
    sequence = builder.window(episode)
    with torch.no_grad():
        embeds = model.joint_embed(torch.tensor([sequence.ids]), frames)
        hidden = model.read(embeds)[0]
        return model.speaking_head(hidden[sequence.frame_last])[:, 0].sigmoid(), model.lm_logits(hidden), sequence


def brute_force(model, tokenizer, episode, frames, threshold):
    """Compute the definitions from whole forwards, one for each turn."""
    probs, logits, sequence = whole_forward(model, tokenizer, episode, frames)
    turns = [u.frame for u in episode.utterances()]
    starts = [k for k, (a, b) in enumerate(zip(sequence.lm_labels, [-1, *sequence.lm_labels], strict=False))
              if a >= 0 and b < 0]  # fmt: skip
    out = []
    for n, own in enumerate(turns):
        before = turns[n - 1] if n else -1
        yes = [bool(p >= threshold) for p in probs[before + 1 : own + 1]]
        if any(yes):
            diff = yes.index(True) + 1 - len(yes)
        elif own == episode.num_frames - 1:
            diff = None
        else:
            after = turns[n + 1] if n + 1 < len(turns) else episode.num_frames - 1
            bound = min(after - own, len(yes) - 1)
            silent = replace(
                episode, events=tuple(e for e in episode.events if e not in episode.utterances()[n].events)
            )
            ahead = whole_forward(model, tokenizer, silent, frames)[0][own + 1 : own + 1 + bound]
            diff = next((m for m, p in enumerate(ahead, 1) if p >= threshold), bound)
        first = starts[n]
        end = next((k for k in range(first, len(sequence.lm_labels)) if sequence.lm_labels[k] < 0), len(sequence.ids))
        rows, wanted = logits[first - 1 : end - 1], torch.tensor(sequence.lm_labels[first:end])
        right = (rows.argmax(-1) == wanted).tolist()
        prefix = right.index(False) if False in right else len(right)
        nats = float(torch.nn.functional.cross_entropy(rows, wanted))
        out.append(TeacherForcedTurn(own, len(yes), diff, yes[-1] and diff == 0, len(wanted), prefix, nats))
    return out


@pytest.mark.parametrize(("chunk", "seeds"), [(CHUNK, 3), (7, 1)])
def test_teacher_forcing_equals_whole_forward(model, tokenizer, monkeypatch, chunk, seeds):
    monkeypatch.setattr("prospect_core.stream.teacher_forcing.CHUNK", chunk)
    seen = set()
    for seed in range(seeds):
        frames = torch.randn(30, model.config.tokens_per_frame, 48, generator=torch.Generator().manual_seed(seed))
        probs, *_ = whole_forward(model, tokenizer, EPISODE, frames)
        own = [float(probs[u.frame]) - 1e-6 for u in EPISODE.utterances()]
        for threshold in [*own, float(probs.quantile(0.9)) + 1e-6, 0.0, 1.0]:
            got = run_teacher_forcing(model, tokenizer, EPISODE, frames, threshold)
            expected = brute_force(model, tokenizer, EPISODE, frames, threshold)
            assert [replace(t, nats=0) for t in got] == [replace(t, nats=0) for t in expected]
            assert [t.nats for t in got] == pytest.approx([t.nats for t in expected], abs=1e-4)
            seen |= {"none" if t.frame_diff is None else "on time" if t.on_time else np.sign(t.frame_diff) for t in got}
    assert seeds < 6 or {"none", "on time", -1, 1} <= seen


def test_stream_cache_truncate_restores_cache(model):
    ids = torch.arange(20)[None] + 10
    cache, again = StreamCache(), StreamCache()
    with torch.no_grad():
        model.read(model.joint_embed(ids), past_key_values=cache)
        before = cache.nbytes
        model.read(model.joint_embed(ids[:, :7]), past_key_values=cache)
        cache.truncate(20)
        assert (cache.length, cache.nbytes) == (20, before)
        model.read(model.joint_embed(ids), past_key_values=again)
        left = model.read(model.joint_embed(ids[:, :3]), past_key_values=cache)
        right = model.read(model.joint_embed(ids[:, :3]), past_key_values=again)
    assert torch.allclose(left, right, atol=1e-6)


def turn(decisions=4, diff=0, on_time=False, tokens=6, right=0, nats=0.0):
    return TeacherForcedTurn(9, decisions, diff, on_time, tokens, right, nats)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (turn(on_time=True, right=3), (4 + 3) / 10),
        (turn(on_time=True, right=6), 1.0),
        (turn(diff=-2, right=6), (4 - 2) / 10),
        (turn(diff=2, right=6), (4 - 1) / 10),
        # one decision, which is wrong: the turn is not on time although the distance is 0
        (turn(decisions=1, diff=0), 0.0),
        (turn(diff=None), (4 - 1) / 10),
    ],
)
def test_teacher_forced_fluency_by_hand(one, expected):
    assert teacher_forced_fluency(one) == pytest.approx(expected)


def test_score_teacher_forced_averages_turns_then_videos():
    other = replace(EPISODE, id="f", video="w")
    third = replace(EPISODE, id="g", video="x")
    turns = {
        "e": [turn(diff=-2, nats=math.log(2)), turn(diff=4, nats=math.log(4))],
        "f": [turn(diff=None, right=3)],
        "g": [],
    }
    table = score_teacher_forced([EPISODE, other, third], turns, 0.5)["metrics"]
    assert table["tf_time_diff_s"]["value"] == pytest.approx(1.5)
    assert table["tf_time_diff_s"]["n_undefined"] == 2
    assert table["tf_perplexity"]["value"] == pytest.approx((3 + 1) / 2)
    assert table["tf_token_accuracy"]["value"] == pytest.approx((0 + 0.5) / 2)
    assert all(entry["failure_mode"] for entry in table.values())


def latency(steps, firsts=(), **more):
    values = {"decoding": 1.0, "video_seconds": 10.0, "weights_bytes": 5, "cache_bytes": 7, "process_peak_bytes": 100,
              "device_peak_bytes": None} | more  # fmt: skip
    return EpisodeLatency("e", tuple(steps), tuple(firsts), **values)


def test_latency_diagnostics_pool_all_frames():
    rng = np.random.default_rng(0)
    times = rng.gamma(2, 0.02, (12, 50))
    table = compute_latency_diagnostics(
        [(f"v{n}", latency(row, row[:2], cache_bytes=n)) for n, row in enumerate(times)]
    )
    for p in (50, 95, 99):
        entry = table[f"ms_per_frame_p{p}"]
        assert entry["value"] == pytest.approx(1000 * np.quantile(times, p / 100))
        assert entry["ci95"][0] <= entry["value"] <= entry["ci95"][1]
    assert table["time_to_first_token_ms"]["value"] == pytest.approx(1000 * np.median(times[:, :2]))
    assert table["real_time_factor"]["value"] == pytest.approx((times.sum() + 12) / 120)
    assert table["cache_max_bytes"]["value"] == 11
    assert table["device_peak_bytes"]["status"] == "undefined"
    assert "CPU" in table["device_peak_bytes"]["reason"]


def test_latency_diagnostics_names_are_unique():
    from prospect_eval.metrics.context import METRICS

    assert not compute_latency_diagnostics([("v", latency([0.1]))]).keys() & {metric.name for metric in METRICS}


def test_latency_diagnostics_after_replay_are_undefined():
    table = compute_latency_diagnostics([])
    assert {entry["value"] for entry in table.values()} == {None}
    assert all("--latency" in entry["reason"] for entry in table.values())
    assert (
        compute_latency_diagnostics([("v", latency([0.1]))])["time_to_first_token_ms"]["reason"]
        == "the model never spoke"
    )


@pytest.mark.slow
def test_run_command_keeps_both_passes(checkpoint, short_world, tmp_path, capsys):
    out = tmp_path / "run"
    given = ("run", "--ckpt", checkpoint, "--data", short_world.root, "--limit", 2, "--output", out)
    assert evaluate(*given) == 0
    before = (out / "metrics.json").read_bytes()
    timings = json.loads((out / "timings.json").read_text())
    assert timings["metrics"]["ms_per_frame_p50"]["status"] == "undefined"
    assert evaluate(*given, "--teacher-forced", "--latency", 1, "--speaking-threshold", 0.5) == 2
    assert evaluate(*given, "--teacher-forced", "--latency", 1) == 0
    assert (out / "metrics.json").read_bytes() == before
    forced = json.loads((out / "teacher_forced.json").read_text())
    assert len(forced["episodes"]) == 2
    assert forced["metrics"]["tf_perplexity"]["value"] > 1
    timings = json.loads((out / "timings.json").read_text())
    assert 0 < timings["metrics"]["ms_per_frame_p50"]["value"] <= timings["metrics"]["ms_per_frame_p99"]["value"]
    assert len(timings["plain_pass"]) == 1
    assert timings["metrics"]["process_peak_bytes"]["value"] > 1e8
    assert len(timings["episodes"]) == 2
    stamp = (out / "teacher_forced.json").stat().st_size
    assert evaluate(*given, "--teacher-forced") == 0
    assert (out / "teacher_forced.json").stat().st_size == stamp
    assert json.loads((out / "timings.json").read_text())["metrics"] == timings["metrics"]
    capsys.readouterr()
    args = ("run", "--ckpt", "baseline:oracle", "--data", short_world.root, "--output", tmp_path / "b", "--latency", 1)
    assert evaluate(*args) == 2
    assert "is not a checkpoint" in one_line(capsys)

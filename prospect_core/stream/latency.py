"""Latency of a stream per frame as in live use: frames are decoded, encoded and decided one by one.

    prospect-eval run --ckpt workbench-tiny --suite workbench --limit 3 --latency 2

Times of a fast replay are never used.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterable
from functools import partial

import numpy as np
import torch

from prospect_core.records import EpisodeLatency
from prospect_core.stream.replay import replay_user_turns
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.timeline import Episode
from prospect_core.util.timer import StageTimer

#: warm-up frames: libraries initialise themselves on their first call
WARM_UP = 4


def measure_stream_latency(runner: VLMStreamRunner, episode: Episode, pictures: Iterable[np.ndarray]) -> EpisodeLatency:
    """Step through an episode picture by picture and measure times and memory.

    Args:
        runner: Runner of the stream.
        episode: The episode.
        pictures: Its pictures; iterating decodes them.
    """
    device = runner.model.device
    if device.type == "cuda":
        runner.watch = StageTimer(partial(torch.cuda.synchronize, device))
    warm_up_stream(runner, episode)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    runner.reset(episode.task, episode.initial_state, episode.fps, episode.start_frame)
    watch = StageTimer()
    decoded = watch.over("decode", pictures)
    steps = [runner.step(picture, said) for picture, said in replay_user_turns(episode, decoded)]
    weights = sum(tensor.numel() * tensor.element_size() for tensor in runner.model.parameters())
    return EpisodeLatency(
        episode.id,
        tuple(step.seconds for step in steps),
        tuple(step.first_token_seconds for step in steps if step.first_token_seconds is not None),
        watch.seconds["decode"],
        episode.num_frames / episode.fps,
        weights,
        max(step.cache_bytes or 0 for step in steps),
        stream_latency_peak_memory(),
        torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    )


def warm_up_stream(runner: VLMStreamRunner, episode: Episode) -> None:
    """Step through some black frames, because the first calls of libraries take longer."""
    black = np.zeros((runner.model.config.image_size,) * 2 + (3,), dtype=np.uint8)
    runner.reset(episode.task, episode.initial_state, episode.fps, episode.start_frame)
    for _ in range(WARM_UP):
        runner.step(black)


def stream_latency_peak_memory() -> int:
    """Return the peak memory of this process, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

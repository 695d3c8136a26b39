"""Measure replay speed relative to the plain loop, and whether the cost of a stream stays constant.

    make bench-streaming

* Replay: in each round the same test videos go through the plain loop (decode, encode and read one
  frame at a time, generate one token at a time) and through the fast replay with an empty feature
  cache, under five strategies. Ratios are of wall seconds within a round; the figure is the median
  over the rounds. Both sides decode the videos.
* Lower bound: decoding, batched vision and one teacher-forced forward pass per episode, without
  generation.
* Re-reading: the same backbone as a plain Hugging Face model that reads its whole history at every
  decision. Its threshold keeps it silent, which makes it faster than it would be in use.
* Flatness: the features of one test video, with its user turns, in a loop for at least an hour of
  stream. After two thirds of the stream, ms/frame over whole compression cycles are compared with
  those of a stream that has compressed twice, in alternation. Generated tokens cost time and differ
  between the two, so the results include their numbers.
* Decoding: pictures by timestamp compared with a bare PyAV loop over the same files, which decodes
  and scales nothing; also the scaled frames that the model gets.
* Operators: the number of operators of a 24-layer forward pass for one stream and for sixteen
  (`benchmarks.performance.operators`).
* Busy machine: seconds of a replay next to one busy process per core, relative to an idle machine
  (`benchmarks.performance.busy`).

The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil
import torch

from benchmarks.performance import operators
from benchmarks.performance.busy import busy_ratio
from benchmarks.performance.plain import write_plain
from prospect_core.data.dataset import Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.video import VideoFile
from prospect_core.features.feature_cache import encode_feature_cache_pictures
from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.records import EpisodeRecord, Knobs
from prospect_core.sequence.builder import SequenceBuilder
from prospect_core.stream import SPAN
from prospect_core.stream.replay import replay_episode
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.stream.spans import replay_in_spans
from prospect_core.stream.state_tracker import StateTracker
from prospect_core.stream.strategies.registry import BUILT_IN
from prospect_core.timeline import DialogState, Episode, Task
from prospect_core.util.errors import DataError
from prospect_eval.models.base import PredictorOptions
from prospect_eval.models.checkpoint import CheckpointModel
from prospect_eval.models.huggingface import RereadingStream, load_huggingface_model
from prospect_eval.suites.suite import PREFIX, open_suite_data

SHIPPED = "workbench-tiny"
SWEEP = ("none", "drop_middle", "keydiff", "summarize_with_dst", "dst_refresh")
LONG, FPS = 200, 2
#: least number of compressions over which an old and a young stream are compared: the cost of a
#: summary depends on its length
CYCLES = 60


def knobs_of(config: Any, name: str, budget: int) -> Knobs:
    """Return the checkpoint's thresholds with a strategy and, except for ``none``, a token budget."""
    return Knobs(name, None if name == "none" else budget, config.speaking_threshold, config.update_threshold)


class Bench:
    """The model, the videos, and one token budget that fits every strategy and task.

    Args:
        ckpt: Checkpoint name or folder.
        data: Data set of the episodes.
        episodes: Episodes to replay.
        cache: Folder that becomes the cache folder of this process.
        streams: Number of parallel streams of the fast replay.
    """

    def __init__(self, ckpt: str, data: Dataset, episodes: Sequence[Episode], cache: Path, streams: int) -> None:
        self.data, self.episodes, self.cache = data, episodes, cache
        os.environ["XDG_CACHE_HOME"] = str(cache)
        self.model, self.tokenizer = load_model_checkpoint(ckpt)
        needed = []
        for strategy in BUILT_IN:
            runner = VLMStreamRunner(
                self.model, self.tokenizer, Knobs(strategy.name, 10**6 if strategy.limited else None)
            )
            needed += [runner.least_budget(episode.task) for episode in episodes if strategy.limited]
        self.budget = max(needed)
        self.fast = {
            name: CheckpointModel(
                ckpt, data, PredictorOptions(name, None if name == "none" else self.budget, streams=streams)
            )
            for name in SWEEP
        }

    def plain_loop(self, name: str) -> tuple[float, dict[str, EpisodeRecord]]:
        """Replay one frame and one token at a time; return (seconds, records by episode id)."""
        knobs = knobs_of(self.model.config, name, self.budget)
        runner = VLMStreamRunner(self.model, self.tokenizer, knobs, draft=0)
        begin, records = time.perf_counter(), {}
        for episode in self.episodes:
            source = self.data.frame_source(episode, self.model.config.frame_format)
            frames = source.frames(episode.start_frame, episode.end_frame)
            records[episode.id] = replay_episode(runner, episode, frames, knobs, "x", longest_span=1)[0]
        return time.perf_counter() - begin, records

    def fast_replay(self, name: str, episodes: Sequence[Episode]) -> tuple[float, dict[str, EpisodeRecord]]:
        """Replay as `prospect-eval run` does, with the features on disk; return (seconds, records by id).

        Raises:
            DataError: If an episode cannot be replayed.
        """
        begin, records = time.perf_counter(), {}
        for episode, result in self.fast[name].predict(episodes):
            if isinstance(result, DataError):
                raise result
            records[episode.id] = replace(result[0], model="x")
        return time.perf_counter() - begin, records

    def forget_features(self) -> None:
        """Delete stored features so that the next replay decodes and encodes."""
        shutil.rmtree(self.cache / "prospect" / "features", ignore_errors=True)

    def bound(self) -> float:
        """Return the seconds of decoding, batched vision and one forward pass per episode."""
        builder = SequenceBuilder.of(self.model.config, self.tokenizer)
        sequences = [builder.window(episode) for episode in self.episodes]
        begin = time.perf_counter()
        with torch.no_grad():
            for episode, sequence in zip(self.episodes, sequences, strict=True):
                source = self.data.frame_source(episode, self.model.config.frame_format)
                features = encode_feature_cache_pictures(
                    self.model, source.frames(episode.start_frame, episode.end_frame)
                )
                self.model.read(self.model.joint_embed(torch.tensor([sequence.ids]), features))
        return time.perf_counter() - begin


def same(one: dict[str, EpisodeRecord], other: dict[str, EpisodeRecord]) -> bool:
    """Check that two replays agree.

    Utterances, transitions, refusals, compressions and cache sizes must be equal, and probabilities
    within 1e-4.
    """
    blank: dict[str, Any] = {"speaking_prob": (), "update_prob": (), "state_probs": ()}
    if {k: replace(r, **blank) for k, r in one.items()} != {k: replace(r, **blank) for k, r in other.items()}:
        return False
    return all(
        np.allclose(getattr(record, part), getattr(other[key], part), atol=1e-4, rtol=0)
        for key, record in one.items()
        for part in blank
    )


def replays(bench: Bench, rounds: int) -> dict[str, Any]:
    """Alternate plain and fast replays and return the figures of the replay part."""
    ratios: dict[str, list[float]] = {"speedup_vs_plain": [], "sweep_speedup_vs_plain": [], "ratio_to_bound": []}
    equal, decoded, seconds = True, [], []
    frames = VideoFile.frames

    def counted(source: VideoFile, start: int, end: int) -> Iterator[np.ndarray]:
        decoded.append(source.path)
        return frames(source, start, end)

    for number in range(rounds):
        plain = {name: bench.plain_loop(name) for name in SWEEP}
        bench.forget_features()
        with patch.object(VideoFile, "frames", counted):
            fast = {name: bench.fast_replay(name, bench.episodes) for name in SWEEP}
        bound = bench.bound()
        equal = equal and all(same(plain[name][1], fast[name][1]) for name in SWEEP)
        ratios["speedup_vs_plain"].append(plain["none"][0] / fast["none"][0])
        ratios["sweep_speedup_vs_plain"].append(sum(s for s, _ in plain.values()) / sum(s for s, _ in fast.values()))
        ratios["ratio_to_bound"].append(fast["none"][0] / bound)
        seconds.append(
            {
                "plain": {name: round(s, 2) for name, (s, _) in plain.items()},
                "fast": {name: round(s, 2) for name, (s, _) in fast.items()},
                "bound": round(bound, 2),
            }
        )
        print(f"round {number + 1}: {seconds[-1]}, equal: {equal}", flush=True)
    videos = {episode.video for episode in bench.episodes}
    compressions = {name: sum(len(r.compressions) for r in fast[name][1].values()) for name in SWEEP}
    return {
        **{key: round(statistics.median(values), 2) for key, values in ratios.items()},
        "same_predictions": equal,
        "encodes_per_video": round(len(decoded) / rounds / len(videos), 4),
        "details": {"rounds": seconds, "ratios": ratios, "compressions": compressions, "budget": bench.budget,
                    "episodes": len(bench.episodes), "videos": len(videos),
                    "frames": sum(e.num_frames for e in bench.episodes)},
    }  # fmt: skip


def reread(bench: Bench, folder: Path, rounds: int) -> dict[str, Any]:
    """Compare re-reading one long episode at every decision with the fast replay of that episode."""
    episode = min((e for e in bench.episodes if e.num_frames >= LONG), key=lambda e: e.num_frames)
    write_plain(*load_model_checkpoint(SHIPPED), folder)
    stream = RereadingStream(*load_huggingface_model(str(folder), "cpu"), threshold=1.01)
    size = bench.model.config.image_size
    ratios, seconds = [], []
    for number in range(rounds):
        begin = time.perf_counter()
        frames = bench.data.frame_source(episode, FrameFormat(size)).frames(episode.start_frame, episode.end_frame)
        replay_episode(stream, episode, frames, Knobs(), "x")
        slow = time.perf_counter() - begin
        bench.forget_features()
        quick = bench.fast_replay("none", [episode])[0]
        ratios.append(slow / quick)
        seconds.append([round(slow, 2), round(quick, 2)])
        print(f"re-reading, round {number + 1}: {slow:.1f} s against {quick:.1f} s", flush=True)
    details = {"frames": episode.num_frames, "seconds": seconds, "ratios": ratios}
    return {"speedup_vs_reread": round(statistics.median(ratios), 1), "reread": details}


def flatness(bench: Bench, hours: float) -> dict[str, Any]:
    """Compare an old stream with a young one for every strategy with a budget.

    Both streams see the features of one video in a loop.

    Args:
        bench: The model and the videos.
        hours: Length of the old stream, in hours.
    """
    episode = bench.episodes[0]
    source = bench.data.frame_source(episode, bench.model.config.frame_format)
    features = encode_feature_cache_pictures(bench.model, source.frames(episode.start_frame, episode.end_frame))
    users = {frame - episode.start_frame + 1: event.text for frame, event in episode.user_turns()}

    def stream(name: str) -> Looped:
        runner = VLMStreamRunner(bench.model, bench.tokenizer, knobs_of(bench.model.config, name, bench.budget))
        runner.reset(episode.task, episode.initial_state, episode.fps)
        return Looped(runner, episode.task, features, users, bench.budget)

    figures = {}
    for name in (strategy.name for strategy in BUILT_IN if strategy.limited):
        figures[name] = _old_and_young(partial(stream, name), int(hours * 3600 * FPS))
        print(f"flatness, {name}: {figures[name]}", flush=True)
    worst = max((f["late_over_early"] for f in figures.values()), key=lambda ratio: abs(ratio - 1))
    return {
        "late_over_early_ms": round(worst, 3),
        "memory_growth": max(f["memory_growth"] for f in figures.values()),
        "frames_over_budget": sum(f["frames_over_budget"] for f in figures.values()),
        "flatness": figures,
    }


class Looped:
    """A stream that repeats one video and runs in cycles from one compression to the next.

    Args:
        runner: Runner of the stream.
        task: Task of the video.
        features: Frame features, (frames, tokens, width).
        users: User turn by frame of the video.
        budget: Token budget.
    """

    def __init__(self, runner: VLMStreamRunner, task: Task, features: Any, users: dict[int, str], budget: int) -> None:
        self.runner, self.task, self.length, self.budget = runner, task, len(features), budget
        self.frames = self.compressions = self.over_budget = self.said = 0
        places = (k % len(features) for k in count())
        self._outputs = replay_in_spans(runner.advance, ((features[k], users.get(k)) for k in places), SPAN)

    def cycle(self) -> tuple[int, float]:
        """Run up to and including the next frame that compresses; return (frames, seconds)."""
        begin, first = time.perf_counter(), self.frames
        for output in self._outputs:
            self.frames += 1
            if self.frames % self.length == 0:
                # the video restarts, so the task restarts too
                self.runner.stream.tracker = StateTracker(DialogState.initial(self.task), self.runner.stream.fps)
            self.over_budget += (output.cache_tokens or 0) > self.budget
            self.said += output.utterance.tokens if output.utterance else 0
            if output.compression:
                self.compressions += 1
                break
        return self.frames - first, time.perf_counter() - begin


def _old_and_young(stream: Callable[[], Looped], total: int) -> dict[str, Any]:
    """Compare the last third of an old stream with a young stream that has compressed twice.

    The two streams alternate cycle by cycle, so both meet the same parts of the video and the same
    load of the machine.
    """
    process, old, young = psutil.Process(), stream(), stream()
    for each in (old, young):
        while each.compressions < 2:
            each.cycle()
    begun = process.memory_info().rss
    while old.frames < total * 2 // 3:
        old.cycle()
    # align both streams to the same part of the video, as closely as whole cycles allow
    while abs((young.frames - old.frames + young.length // 2) % young.length - young.length // 2) > 40:
        young.cycle()
    said = young.said, old.said
    late: list[tuple[int, float]] = []
    early: list[tuple[int, float]] = []
    while old.frames < total or len(late) < CYCLES:
        late.append(old.cycle())
        early.append(young.cycle())
    grown = process.memory_info().rss / begun - 1
    ms = [1000 * sum(s for _, s in cycles) / sum(n for n, _ in cycles) for cycles in (early, late)]
    return {
        "late_over_early": round(ms[1] / ms[0], 4),
        "ms_per_frame": [round(value, 3) for value in ms],
        "tokens_said": [young.said - said[0], old.said - said[1]],
        "memory_growth": round(grown, 4),
        "frames_over_budget": old.over_budget + (old.runner.stream.peak_tokens > old.budget),
        "compressions": old.compressions,
        "peak_tokens": old.runner.stream.peak_tokens,
    }


def decoding(bench: Bench, rounds: int) -> dict[str, Any]:
    """Compare decoding frames by timestamp with a bare PyAV loop over the same files."""
    files = sorted({bench.data.video(episode.video) for episode in bench.episodes})[:6]

    def pictures() -> None:
        for file in files:
            source = VideoFile(file, FPS, bench.model.config.frame_format)
            for _ in source.pictures(0, source.num_frames):
                pass

    def scaled() -> None:
        for file in files:
            source = VideoFile(file, FPS, bench.model.config.frame_format)
            for _ in source.frames(0, source.num_frames):
                pass

    ratios = []
    for _ in range(rounds):
        alone = _seconds(partial(_decode_bare, files))
        ratios.append((alone / _seconds(pictures), alone / _seconds(scaled)))
    decoded, with_scaling = (round(statistics.median(column), 3) for column in zip(*ratios, strict=True))
    return {"decode_vs_pyav": decoded, "decode_and_scale_vs_pyav": with_scaling}


def _decode_bare(files: Sequence[Path]) -> None:
    """Decode all pictures of the files with PyAV alone."""
    import av

    for file in files:
        with av.open(str(file)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for _ in container.decode(stream):
                pass


def _seconds(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    """Run the selected parts and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reread-rounds", type=int, default=3, help="Three minutes each.")
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--only", choices=("replay", "reread", "flatness", "decoding", "operators", "busy"))
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.console import quiet_transformers
    from prospect_core.util.json_io import dump_json
    from prospect_eval.runs.environment import collect_run_environment

    quiet_transformers()
    data = open_suite_data(f"{PREFIX}workbench", "test")
    long = sorted((e for e in data.episodes("test") if e.num_frames >= LONG), key=lambda e: (e.video, e.id))
    parts: dict[str, Callable[[], dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(SHIPPED, data, long[: options.episodes], Path(folder) / "cache", options.streams)
        parts["flatness"] = lambda: flatness(bench, options.hours)
        parts["decoding"] = lambda: decoding(bench, options.rounds)
        parts["replay"] = lambda: replays(bench, options.rounds)
        parts["reread"] = lambda: reread(bench, Path(folder) / "plain", options.reread_rounds)
        parts["operators"] = operators.figures
        parts["busy"] = lambda: busy_ratio(16, options.rounds)
        result: dict[str, Any] = {}
        for name, work in parts.items():
            if options.only in (None, name):
                result |= work()
    whole = {
        "command": " ".join(["python -m benchmarks.performance.streaming", *sys.argv[1:]]),
        "threads": torch.get_num_threads(),
        **result,
        "environment": collect_run_environment(),
    }
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(options.output, dump_json(whole, indent=1) + "\n")
    print(json.dumps({key: value for key, value in result.items() if not isinstance(value, dict)}))


if __name__ == "__main__":
    main()

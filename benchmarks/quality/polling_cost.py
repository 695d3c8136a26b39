"""Measure polls in one pass against a new stream for each poll: frames encoded, seconds, answers.

The episodes are those of OVO-Bench, with its poll times if its annotations are given. The videos are tiny and have the lengths
that the polls need. The model has random weights, in one of three shapes: ``small``, whose answers cost more than its frames,
``medium``, whose frames cost more than its answers, and ``tower``, whose vision tower has the width and the patches of
SmolVLM2-256M, but fewer layers and smaller pictures. Both ways
decode the video, encode each frame that they show to the model, and answer each poll.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import numpy as np
import torch
from torch import Tensor

from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.video import open_video_frames
from prospect_core.model.configuration import DSTSmolVLMConfig
from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.records import Knobs, PolledAnswer, ReplayProtocol
from prospect_core.sequence.tokenizer import train_tokenizer
from prospect_core.stream import SPAN
from prospect_core.stream.replay import replay_episode
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.timeline import Episode
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.ovo_bench.annotations import ChoiceItem, CountItem, CountPoll, OvoBenchAnnotations
from prospect_eval.suites.ovo_bench.episodes import make_ovo_bench_episodes

#: pixels of a side of the videos of the small shape
SIZE = 16
ONE_PASS = ReplayProtocol("polled", horizon="official")
RECUT = replace(ONE_PASS, polling="recut")
_TEXT = {
    "model_type": "llama",
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1 << 16,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}


@dataclass(frozen=True)
class PollingShape:
    """Shape of a random model and of its videos.

    Attributes:
        picture: Pixels of a side of the videos.
        vision: Configuration of the vision tower.
    """

    picture: int
    vision: Mapping[str, int]


SMALL = PollingShape(
    picture=SIZE,
    vision={
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    },
)
#: a frame costs about a thousandth of one of SmolVLM2-256M, so that all videos take minutes
MEDIUM = PollingShape(
    picture=64,
    vision={
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 64,
        "patch_size": 16,
    },
)
#: width, heads and patches of SmolVLM2-256M, which has 12 layers and pictures of 512 x 512
TOWER = PollingShape(
    picture=128,
    vision={
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 2,
        "num_attention_heads": 12,
        "image_size": 128,
        "patch_size": 16,
    },
)


@dataclass(frozen=True)
class UnknownLengths:
    """Lengths of videos that are not there: each ends with its last poll."""

    fps: float = 1.0

    def frames(self, video: str) -> int | None:
        """Return None: the video is missing."""
        return None


@dataclass
class PollingCost:
    """Cost of one way to poll.

    Attributes:
        seconds: Seconds of all replays.
        cpu_seconds: Seconds of the processor.
        frames: Frames that the model encoded.
        answers: Answers by poll.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    frames: int = 0
    answers: dict[str, PolledAnswer] = field(default_factory=dict)

    def add(self, other: PollingCost) -> None:
        """Add the cost of another replay."""
        self.seconds += other.seconds
        self.cpu_seconds += other.cpu_seconds
        self.frames += other.frames
        self.answers |= other.answers

    def plain(self) -> dict[str, float]:
        """Return the cost without the answers."""
        return {
            "seconds": round(self.seconds, 2),
            "cpu_seconds": round(self.cpu_seconds, 2),
            "frames_encoded": self.frames,
        }


def choose_episodes(annotations: OvoBenchAnnotations, videos: int, seed: int = 0) -> list[Episode]:
    """Choose videos at random, with all their polls."""
    episodes = make_ovo_bench_episodes(annotations, ONE_PASS, UnknownLengths()).episodes
    chosen = random.Random(seed).sample(range(len(episodes)), min(videos, len(episodes)))
    return [episodes[place] for place in sorted(chosen)]


def count_frames_ratio(annotations: OvoBenchAnnotations) -> float:
    """Count the frames of a new stream for each poll over those of one pass, at 1 frame a second, over all videos."""
    recut = one_pass = 0
    for episode in make_ovo_bench_episodes(annotations, ONE_PASS, UnknownLengths()).episodes:
        recut += sum(episode.poll_frame(poll) + 1 for poll in episode.polls)
        one_pass += episode.num_frames
    return round(recut / one_pass, 3)


def invent_annotations(videos: int, seed: int = 0) -> OvoBenchAnnotations:
    """Invent videos of one to five minutes with one to four questions and a counted activity."""
    draw = random.Random(seed)
    items: list[ChoiceItem | CountItem] = []
    for number in range(videos):
        video, length = f"invented/{number}.mp4", draw.randint(60, 300)
        for _ in range(draw.randint(1, 4)):
            items.append(_invent_choice(len(items), video, draw.randint(5, length)))
        items.append(_invent_count(len(items), video, sorted(draw.sample(range(5, length), 8))))
    return OvoBenchAnnotations(tuple(items), ReadCounts({}))


def _invent_choice(number: int, video: str, realtime: int) -> ChoiceItem:
    options = ("on the table", "in the box", "on the floor", "nowhere")
    return ChoiceItem(
        id=number,
        task="EPM",
        video=video,
        realtime=realtime,
        question="Where is the cup?",
        options=options,
        gt=0,
        answer=options[0],
    )


def _invent_count(number: int, video: str, times: Sequence[int]) -> CountItem:
    ends = tuple(float(time) for time in times)
    polls = tuple(CountPoll(time, count) for count, time in enumerate(times, 1))
    return CountItem(
        id=number,
        task="REC",
        video=video,
        activity="clapping",
        start_times=tuple(end - 1 for end in ends),
        end_times=ends,
        test_info=polls,
    )


def write_noise_video(path: Path, seconds: int, seed: int, size: int = SIZE) -> None:
    """Write a video of one square picture of noise a second; ``size`` is its side in pixels."""
    noise = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1, options={"preset": "ultrafast"})
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for _ in range(seconds):
            picture = noise.integers(0, 255, (size, size, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def make_random_model(episodes: Sequence[Episode], shape: PollingShape) -> tuple[DSTSmolVLM, Any]:
    """Make a random model of a shape, with a tokenizer trained on the polls."""
    texts = [text for episode in episodes for poll in episode.polls for text in (poll.question, *poll.choices)]
    tokenizer = train_tokenizer([text for text in texts if text], 400)
    config = DSTSmolVLMConfig(
        vision_config=dict(shape.vision),
        text_config={**_TEXT, "vocab_size": len(tokenizer)},
        state_head_size=16,
        tokens_per_frame=4,
        max_reply_tokens=8,
        max_user_tokens=16,
        trained_steps=1,
    )
    torch.manual_seed(0)
    return DSTSmolVLM(config).eval(), tokenizer


@contextmanager
def count_encoded_frames() -> Iterator[list[int]]:
    """Count the frames that models encode; the list holds one number for each call."""
    counted: list[int] = []
    encode = DSTSmolVLM.encode_frames

    def encode_and_count(model: DSTSmolVLM, pixels_N3HW: Tensor) -> Tensor:
        counted.append(pixels_N3HW.shape[0])
        return encode(model, pixels_N3HW)

    with patch.object(DSTSmolVLM, "encode_frames", encode_and_count):
        yield counted


def replay_polls(
    model: DSTSmolVLM, tokenizer: Any, episode: Episode, video: Path, protocol: ReplayProtocol
) -> PollingCost:
    """Replay one episode under a protocol and return its cost."""
    knobs = Knobs(protocol=protocol)
    shape: FrameFormat = model.config.frame_format
    source = open_video_frames(video, episode.fps, shape)
    with count_encoded_frames() as counted:
        begin, cpu = time.perf_counter(), time.process_time()
        runner = VLMStreamRunner(model, tokenizer, knobs)
        record, _ = replay_episode(runner, episode, source.frames, knobs, "random", SPAN)
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu
    return PollingCost(seconds, cpu_seconds, sum(counted), {answer.poll: answer for answer in record.answers})


def measure_polling_cost(episodes: Sequence[Episode], folder: Path, shape: PollingShape = SMALL) -> dict[str, Any]:
    """Replay episodes both ways, in turn, on one thread.

    Args:
        episodes: Episodes with polls; their videos are written to ``folder``.
        folder: A folder for the videos.
        shape: Shape of the model and of the videos.
    """
    # the products of a model of this size are too small for several threads
    torch.set_num_threads(1)
    model, tokenizer = make_random_model(episodes, shape)
    costs = {"one_pass": PollingCost(), "recut": PollingCost()}
    for number, episode in enumerate(episodes):
        video = folder / f"{number}.mp4"
        write_noise_video(video, episode.end_frame, number, shape.picture)
        for name, protocol in (("one_pass", ONE_PASS), ("recut", RECUT)):
            costs[name].add(replay_polls(model, tokenizer, episode, video, protocol))
    one_pass, recut = costs["one_pass"], costs["recut"]
    equal = sum(recut.answers[poll] == answer for poll, answer in one_pass.answers.items())
    return {
        "polls_speedup": round(recut.seconds / one_pass.seconds, 2),
        "polls_cpu_speedup": round(recut.cpu_seconds / one_pass.cpu_seconds, 2),
        "frames_ratio": round(recut.frames / one_pass.frames, 3),
        "answers_equal": {"equal": equal, "total": len(recut.answers)},
        "polls": {
            "videos": len(episodes),
            "polls": len(recut.answers),
            "one_pass": one_pass.plain(),
            "recut": recut.plain(),
        },
    }

"""Records on published benchmarks without a replay, and whole runs of a baseline on tiny videos."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prospect_core.records import SCHEMA, EpisodeRecord, Knobs, PolledAnswer, PredictedUtterance, ReplayProtocol
from prospect_core.timeline import Episode, Poll
from prospect_eval.models.baselines.trivial import make_trivial_baseline
from tests.helpers.commands import evaluate
from tests.helpers.media import write_grey


@dataclass(frozen=True)
class KnownLengths:
    """Lengths of videos (`VideoLengths`) by path; other videos are missing."""

    fps: float = 1.0
    lengths: Mapping[str, int] = field(default_factory=dict)

    def frames(self, video: str) -> int | None:
        """Frames of a video; None of one that is missing."""
        return self.lengths.get(video)


def oracle_records(episodes: Iterable[Episode], protocol: ReplayProtocol) -> list[EpisodeRecord]:
    """Records of the oracle."""
    kept = list(episodes)
    predict = make_trivial_baseline("oracle", kept)
    return [replace(predict(episode), knobs=Knobs(protocol=protocol)) for episode in kept]


def answering_record(episode: Episode, protocol: ReplayProtocol, answer: Callable[[Poll], str | None]) -> EpisodeRecord:
    """A record that answers each poll with a text; None leaves a poll without an answer."""
    given = [(poll, answer(poll)) for poll in episode.polls]
    answers = tuple(PolledAnswer(poll.id, episode.poll_frame(poll), text) for poll, text in given if text is not None)
    return EpisodeRecord(SCHEMA, "m", Knobs(protocol=protocol), episode, answers=answers)


def speaking_record(episode: Episode, protocol: ReplayProtocol, said: Mapping[int, str]) -> EpisodeRecord:
    """A record with these texts by frame."""
    utterances = tuple(PredictedUtterance(frame, text) for frame, text in sorted(said.items()))
    return EpisodeRecord(SCHEMA, "m", Knobs(protocol=protocol), episode, utterances=utterances)


def failed_record(episode: Episode, protocol: ReplayProtocol) -> EpisodeRecord:
    """A record of an episode that could not be replayed."""
    return EpisodeRecord(SCHEMA, "m", Knobs(protocol=protocol), episode, status="failed", error="broken video")


def assert_sound(episodes: Iterable[Episode]) -> None:
    """Episodes without problems, each with an id of its own."""
    kept = list(episodes)
    assert [problem for episode in kept for problem in episode.problems()] == []
    assert len({episode.id for episode in kept}) == len(kept)
    polls = [poll.id for episode in kept for poll in episode.polls]
    assert len(set(polls)) == len(polls)


def write_tiny_videos(root: Path, seconds: Mapping[str, int]) -> None:
    """Grey videos of one picture a second; the last picture stands at this second."""
    for name, last in seconds.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        write_grey(file, range(last + 1), [number * 5 % 250 for number in range(last + 1)], size=(32, 32))


def run_oracle(suite: str, root: Path, output: Path, *options: object) -> dict[str, Any]:
    """``prospect-eval run`` of the oracle, ``score`` and ``report`` of its run folder; the contents of official.json."""
    asked = ("--ckpt", "baseline:oracle", "--suite", suite, "--data", root, "--output", output)
    assert evaluate("run", *asked, *options) == 0
    first = json.loads((output / "official.json").read_text("utf-8"))
    assert evaluate("score", output) == 0
    assert evaluate("report", output) == 0
    again: dict[str, Any] = json.loads((output / "official.json").read_text("utf-8"))
    assert again == first
    return again

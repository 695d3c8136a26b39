"""Samples of OVO-Timing: the forward items of OVO-Bench with the times at which a response is right.

The benchmark's own annotation file lies on the Hugging Face hub. Its samples follow from OVO-Bench's annotations by the
rule of its table builder: the time of the clue (CRR), and two seconds after each annotated start (REC and SSR).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from prospect_core.util.errors import DataError
from prospect_core.util.json_io import read_json
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.ovo_bench.annotations import (
    ClueItem,
    CountItem,
    ForwardItem,
    read_ovo_bench_annotations,
)
from prospect_eval.suites.published_files import convert_entry, find_published_file

TASKS = ("CRR", "REC", "SSR")
#: seconds from an annotated start to the time at which a response is right (REC and SSR)
OFFSET = 2.0
_FILES = ("ovo_bench_new.json", "data/ovo_bench_new.json", "gold.json")


@dataclass(frozen=True)
class TimingSample:
    """One stream with the times at which a response is right; times are in seconds.

    Attributes:
        sample_id: The number of the OVO-Bench item.
        task: CRR, REC or SSR.
        subject: The question (CRR), the activity (REC) or the tutorial (SSR).
        gt_timestamp: Times at which a response is right.
        stream_start: Where the stream starts.
        stream_end: Where the stream ends.
        ask_time: When the question is asked; None where it is asked at the start.
        video: Path of the video; empty where the file does not name it.
        instruction: How the question is put to a model; empty where the file gives the subject alone.
        replies: Reference texts in the order of the gold times; fewer where they are not known.
    """

    sample_id: int
    task: str
    subject: str
    gt_timestamp: tuple[float, ...]
    stream_start: float
    stream_end: float
    ask_time: float | None = None
    video: str = ""
    instruction: str = ""
    replies: tuple[str, ...] = ()

    @property
    def cluster(self) -> str:
        """The unit of resampling: the video, or where it is unknown the sample."""
        return self.video or f"sample {self.sample_id}"


@dataclass(frozen=True)
class TimingAnnotations:
    """All samples, and the counts of entries read by task and left out by reason."""

    samples: tuple[TimingSample, ...]
    counts: ReadCounts

    @cached_property
    def by_id(self) -> dict[str, TimingSample]:
        """Samples by their number as text."""
        return {str(sample.sample_id): sample for sample in self.samples}


def read_timing_annotations(path: Path) -> TimingAnnotations:
    """Read OVO-Bench's annotation file, or a file of samples (an object with the list ``samples``).

    Args:
        path: The file, or a folder that holds ``ovo_bench_new.json`` or ``gold.json``.

    Raises:
        DataError: The file is missing, broken, or of another kind.
    """
    file = find_published_file(path, _FILES)
    value = read_json(file)
    if isinstance(value, list):
        annotations = read_ovo_bench_annotations(file)
        samples = [make_timing_sample(item) for item in annotations.forward]
        if not samples:
            raise DataError(f"{file}: holds no forward item of OVO-Bench")
        read = (sample.task for sample in samples)
        return TimingAnnotations(tuple(samples), ReadCounts(ReadCounts.of(read).read, annotations.counts.refused))
    if not isinstance(value, dict) or not isinstance(value.get("samples"), list):
        raise DataError(f"{file}: neither OVO-Bench's annotations nor an object with the list samples")
    return _read_samples(file, value["samples"])


def make_timing_sample(item: ForwardItem) -> TimingSample:
    """The sample of a forward item."""
    replies: tuple[str, ...]
    if isinstance(item, ClueItem):
        subject, gold, replies = item.question, [float(item.clue_time)], (item.answer,)
        instruction = f"{item.question} Answer as soon as the video shows it."
    elif isinstance(item, CountItem):
        subject, gold, replies = item.activity, _add_offset(item.start_times), ()
        instruction = f"Say something each time this begins: {item.activity}."
    else:
        subject, gold, replies = item.tutorial, _add_offset(item.start_time), item.all_steps
        instruction = f"The video shows a tutorial ({item.tutorial}). Name each step when it begins."
    ask_time = float(item.ask_time) if isinstance(item, ClueItem) else None
    start = 0.0 if ask_time is None else ask_time
    return TimingSample(
        sample_id=item.id,
        task=item.task,
        subject=subject,
        gt_timestamp=tuple(gold),
        stream_start=start,
        stream_end=max((float(poll.realtime) for poll in item.test_info), default=start),
        ask_time=ask_time,
        video=item.video,
        instruction=instruction,
        replies=replies,
    )


def _add_offset(starts: Iterable[float]) -> list[float]:
    return [start + OFFSET for start in starts]


def _read_samples(file: Path, entries: list[Any]) -> TimingAnnotations:
    samples: dict[int, TimingSample] = {}
    refused: list[str] = []
    for entry in entries:
        sample = convert_entry(entry, TimingSample)
        if isinstance(sample, str):
            refused.append(sample)
        elif sample.task not in TASKS:
            refused.append(f"the task {sample.task} is unknown")
        elif sample.sample_id in samples:
            refused.append("the sample_id is used by an earlier entry")
        else:
            samples[sample.sample_id] = sample
    if not samples:
        reasons = "; ".join(sorted(set(refused))) or "the list is empty"
        raise DataError(f"{file}: holds no sample of OVO-Timing ({reasons})")
    return TimingAnnotations(
        tuple(samples.values()), ReadCounts.of((sample.task for sample in samples.values()), refused)
    )

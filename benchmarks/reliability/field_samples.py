"""Samples of the annotations of published benchmarks, in their published form, with tiny videos of the lengths that they need.

The annotations are entries of the published files where a reference folder has them. Of EgoProactive that folder has one session,
whose first chunks the sample repeats for several videos. Of ProactiveVideoQA it has questions in the published form, made for its scorer. The
multiple-choice questions of StreamingBench are invented.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from benchmarks.quality.polling_cost import UnknownLengths, write_noise_video
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import dump_json, read_json
from prospect_eval.suites.benchmark import open_benchmark
from prospect_eval.suites.suite import open_suite

#: shortest generated video in seconds; also used where the annotations need no time
SHORTEST_S = 12
#: the sample is drawn from the videos with the shortest lengths, this many times the size of the sample
DRAWN_FROM = 3
#: chunks of the sessions of EgoProactive
CHUNKS = 3
PUBLISHED, PUBLISHED_FORM, REPEATED, INVENTED = "published", "published form", "published, cut and repeated", "invented"


@dataclass(frozen=True)
class AnnotationFiles:
    """Annotation files of a benchmark.

    Attributes:
        source: ``published``, ``published form``, ``published, cut and repeated`` or ``invented``.
        files: Entries of each file, by the file's path in the benchmark's folder.
    """

    source: str
    files: Mapping[str, Sequence[Any]]

    def keep(self, videos: set[str]) -> AnnotationFiles:
        """Return the entries on these videos."""
        kept = {
            name: [entry for entry in entries if name_entry_video(entry) in videos]
            for name, entries in self.files.items()
        }
        return AnnotationFiles(self.source, {name: entries for name, entries in kept.items() if entries})

    def write(self, root: Path) -> None:
        """Write the files below a folder; ``.jsonl`` files hold one entry a line."""
        for name, entries in self.files.items():
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            lines = "\n".join(dump_json(entry) for entry in entries)
            file.write_text(lines + "\n" if file.suffix == ".jsonl" else dump_json(list(entries)), "utf-8")


@dataclass(frozen=True)
class BenchmarkSample:
    """A sample of a benchmark on disk.

    Attributes:
        suite: Name of the suite.
        root: Folder of annotations and videos.
        source: Source of the annotations, as in `AnnotationFiles`.
        videos: Seconds of each video, by its path in ``root``.
    """

    suite: str
    root: Path
    source: str
    videos: Mapping[str, int]


def name_entry_video(entry: Any) -> str:
    """Return the path of the video of an annotation entry; a list of entries has that of its first entry."""
    first = entry[0] if isinstance(entry, list) else entry
    return str(PurePosixPath(first.get("video_path") or first["video"]))


def _read_list(file: Path) -> list[Any]:
    value = read_json(file)
    if not isinstance(value, list):
        raise DataError(f"{file}: holds no list; give the folder of published files")
    return value


def _open_ovo_bench(reference: Path) -> AnnotationFiles:
    name = "data/ovo_bench_new.json"
    return AnnotationFiles(PUBLISHED, {name: _read_list(reference / "ovo_bench" / name)})


def _open_streamingbench(reference: Path) -> AnnotationFiles:
    """Return the first entry of each video, because the later ones need minutes of video."""
    first: dict[str, Any] = {}
    for entry in _read_list(reference / "streamingbench_po/data/questions_proactive.json"):
        first.setdefault(name_entry_video(entry), entry)
    return AnnotationFiles(PUBLISHED, {"questions_proactive.json": list(first.values())})


def _open_omnimmi(reference: Path) -> AnnotationFiles:
    names = ("proactive_alerting.json", "proactive_turntaking.json", "dynamic_state_grounding.json")
    return AnnotationFiles(PUBLISHED, {name: _read_list(reference / "omnimmi/data" / name) for name in names})


def _open_egoproactive(reference: Path, videos: int = 24) -> AnnotationFiles:
    """Return the first chunks of the one published session, once for each video."""
    session = read_json(reference / "egoproactive/gold_row.json")
    cut = {key: session[key][:CHUNKS] for key in ("video_intervals", "answers", "dialog")}
    cut["duration_in_sec"] = cut["video_intervals"][-1][1]
    rows = [{**session, **cut, "video_path": f"session_{number}.mp4"} for number in range(videos)]
    return AnnotationFiles(REPEATED, {"sessions.jsonl": rows})


def _open_proactivevideoqa(reference: Path) -> AnnotationFiles:
    """Return the questions of all cases, with ids and videos of their own."""
    rows = []
    for number, case in enumerate(read_json(reference / "proactivevideoqa/cases.json")["cases"]):
        for place, row in enumerate(case["gold"]):
            name = f"case_{number}_{place}"
            rows.append({**row, "question_id": name, "video": f"{name}.mp4"})
    return AnnotationFiles(PUBLISHED_FORM, {"anno.json": rows})


def invent_choice_files(videos: int = 12, seed: int = 0) -> AnnotationFiles:
    """Invent multiple-choice questions of StreamingBench: videos with two questions, and sequences of two questions."""
    draw = random.Random(seed)
    singles, sequences = [], []
    for number in range(videos):
        times = sorted(draw.sample(range(5, 40), 2))
        questions = [_invent_question(time, draw.choice("ABCD")) for time in times]
        video = f"./videos/sample_{number}.mp4"
        if number % 2:
            sequences.append([{"video_path": video, "questions": [question]} for question in questions])
        else:
            singles.append({"video_path": video, "questions": questions})
    return AnnotationFiles(INVENTED, {"questions_real.json": singles, "questions_sqa.json": sequences})


def _invent_question(time: int, answer: str) -> dict[str, Any]:
    return {
        "task_type": "Object Perception",
        "question": f"Which object is in view after {time} seconds?",
        "time_stamp": f"00:00:{time:02d}",
        "options": ["A. a cup", "B. a knife", "C. a bowl", "D. none"],
        "answer": answer,
    }


#: suite -> function that opens its annotations in a folder of published files
ANNOTATIONS: dict[str, Callable[[Path], AnnotationFiles]] = {
    "ovo_bench": _open_ovo_bench,
    "ovo_timing": _open_ovo_bench,
    "streamingbench": _open_streamingbench,
    "streamingbench_choices": lambda reference: invent_choice_files(),
    "egoproactive": _open_egoproactive,
    "omnimmi": _open_omnimmi,
    "proactivevideoqa": _open_proactivevideoqa,
}
#: suites whose sample needs no published files
WITHOUT_REFERENCE = frozenset({"streamingbench_choices"})


def write_benchmark_sample(suite: str, annotations: AnnotationFiles, root: Path, videos: int) -> BenchmarkSample:
    """Write a sample of the annotations and noise videos of the needed lengths.

    Args:
        suite: Name of the suite.
        annotations: The annotations to draw from.
        root: An empty folder.
        videos: Videos of each annotation file; drawn at random from its shortest ones. Metrics of one file
            alone then have enough videos for a gate.

    Raises:
        DataError: The annotations are invalid or give no episode.
    """
    annotations.write(root)
    needed = _find_needed_seconds(suite, root)
    draw = random.Random(0)
    chosen: set[str] = set()
    for entries in annotations.files.values():
        known = {video for video in map(name_entry_video, entries) if video in needed and video not in chosen}
        shortest = sorted(known, key=lambda video: (needed[video], video))[: DRAWN_FROM * videos]
        chosen.update(draw.sample(shortest, min(videos, len(shortest))))
    for name in annotations.files:
        (root / name).unlink()
    annotations.keep(chosen).write(root)
    lengths = {video: max(SHORTEST_S, int(needed[video]) + 2) for video in sorted(chosen)}
    for number, (video, seconds) in enumerate(lengths.items()):
        write_noise_video(root / video, seconds, number)
    return BenchmarkSample(suite, root, annotations.source, lengths)


def _find_needed_seconds(suite: str, root: Path) -> dict[str, float]:
    """Return the end of the last episode of each video under all protocols of the suite, in seconds."""
    opened, benchmark = open_suite(suite), open_benchmark(suite)
    replay = benchmark.replay
    if replay is None:
        raise DataError(f"--suite {suite}: models cannot be run on this benchmark")
    annotations = benchmark.read_annotations(root)
    needed: dict[str, float] = {}
    for protocol in opened.protocols.values():
        for episode in replay.make_episodes(annotations, protocol, UnknownLengths(opened.fps)).episodes:
            video = str(PurePosixPath(episode.video))
            needed[video] = max(needed.get(video, 0.0), episode.end_frame / opened.fps)
    return needed

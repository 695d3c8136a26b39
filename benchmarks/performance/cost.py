"""Estimate the cost of an hour of video by stage from a run's timings, and project it to large data sets.

    python -m benchmarks.performance.cost runs/mine-proassist-none --output cost.md

Decoding and encoding happen once per video, so their cost is per hour of video. The other stages
happen once per dialogue, so their cost is per hour of dialogue. Use a run that started without
stored features, in one process with one thread (OMP_NUM_THREADS=1): its seconds are then seconds of
one core.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prospect_eval.runs.folder import read_run_folder_records, read_run_folder_timings, run_folder_record_path

#: stages that run once per video, for any number of dialogues
PER_VIDEO = ("decode", "vision")
#: (name, hours of video, dialogues per video): the number of videos and dialogues that ProAssist
#: publishes for each split, and a large corpus
WORKLOADS = (
    ("ProAssist test", 42.0, 1020 / 340),
    ("ProAssist train", 396.0, 28098 / 3255),
    ("1,000,000 hours, one dialogue each", 1e6, 1.0),
)
#: time within which a workload has to finish, in hours
DEADLINE_H = 24.0


@dataclass(frozen=True)
class Profile:
    """Cost per hour of a measured run.

    Attributes:
        video_hours: Hours of video in the run.
        dialogue_hours: Hours of dialogue in the run.
        per_video: Seconds per hour of video, by stage.
        per_dialogue: Seconds per hour of dialogue, by stage.
        record_bytes: Bytes of prediction records per hour of dialogue.
        feature_bytes: Bytes of stored features per hour of video.
        cache_peak_bytes: Largest KV cache of any stream, in bytes.
        growth: Seconds per hour of dialogue in the shorter half of the episodes and in the longer
            half.
    """

    video_hours: float
    dialogue_hours: float
    per_video: dict[str, float]
    per_dialogue: dict[str, float]
    record_bytes: float
    feature_bytes: float
    cache_peak_bytes: int
    growth: tuple[float, float]


def profile(folder: Path, feature_bytes_per_frame: int) -> Profile:
    """Compute the cost profile of a run folder.

    Args:
        folder: Run folder with timings.
        feature_bytes_per_frame: Bytes of the stored features of one frame.
    """
    records = [record for record in read_run_folder_records(folder)[1] if record.status == "ok"]
    timings = read_run_folder_timings(folder)["episodes"]
    ends: dict[str, float] = {}
    hours: dict[str, float] = {}
    stages: dict[str, float] = {}
    frames = 0.0
    for record in records:
        episode = record.episode
        ends[episode.video] = max(ends.get(episode.video, 0.0), episode.end_frame / episode.fps)
        hours[episode.id] = episode.num_frames / episode.fps / 3600
        for stage, seconds in timings[episode.id]["stages"].items():
            stages[stage] = stages.get(stage, 0.0) + seconds
        frames = max(frames, episode.fps * 3600)
    video, dialogue = sum(ends.values()) / 3600, sum(hours.values())
    written = sum(run_folder_record_path(folder, record.episode.id).stat().st_size for record in records)

    def share(ids: list[str]) -> float:
        spent: float = sum(s for i in ids for k, s in timings[i]["stages"].items() if k not in PER_VIDEO)
        return spent / sum(hours[i] for i in ids)

    ordered = sorted(hours, key=hours.__getitem__)
    middle = max(1, len(ordered) // 2)
    return Profile(
        round(video, 3),
        round(dialogue, 3),
        {stage: round(stages.get(stage, 0.0) / video, 2) for stage in PER_VIDEO},
        {stage: round(s / dialogue, 2) for stage, s in sorted(stages.items()) if stage not in PER_VIDEO},
        round(written / dialogue),
        round(frames * feature_bytes_per_frame),
        max((max(record.cache_bytes, default=0) for record in records), default=0),
        (round(share(ordered[:middle]), 2), round(share(ordered[middle:] or ordered), 2)),
    )


def project(found: Profile, deadline_h: float = DEADLINE_H) -> list[dict[str, Any]]:
    """Project the profile to each workload.

    Args:
        found: Measured profile.
        deadline_h: Time within which the workload has to finish, in hours.

    Returns:
        For each workload: worker hours, the number of workers that meet the deadline, and gigabytes
        of records and features. A worker is one core or one card, depending on the measured run.
    """
    out = []
    for name, hours, dialogues in WORKLOADS:
        seconds = hours * sum(found.per_video.values()) + hours * dialogues * sum(found.per_dialogue.values())
        out.append(
            {
                "workload": name,
                "video_hours": hours,
                "dialogue_hours": round(hours * dialogues, 1),
                "worker_hours": round(seconds / 3600, 2),
                "workers": math.ceil(seconds / 3600 / deadline_h),
                "record_gb": round(hours * dialogues * found.record_bytes / 1e9, 3),
                "feature_gb": round(hours * found.feature_bytes / 1e9, 3),
            }
        )
    return out


def page(found: Profile, source: str) -> str:
    """Format the profile and its projections as Markdown."""
    lines = [
        f"Measured: {source}; {found.video_hours:g} hours of video, {found.dialogue_hours:g} hours of dialogue.",
        "",
        "| an hour | stage | seconds of one worker |",
        "|---|---|---|",
        *(f"| of video | {stage} | {s:g} |" for stage, s in found.per_video.items()),
        *(f"| of dialogue | {stage} | {s:g} |" for stage, s in found.per_dialogue.items()),
        "",
        f"Bytes: {found.record_bytes / 1e6:.2f} MB of records an hour of dialogue, {found.feature_bytes / 1e6:.1f} MB of stored"
        f" features an hour of video; at most {found.cache_peak_bytes / 1e6:.1f} MB of keys and values a stream. Reading costs"
        f" {found.growth[0]:g} s an hour in the shorter half of the episodes, {found.growth[1]:g} s in the longer half.",
        "",
        f"| workload | hours of video | of dialogue | worker hours | workers, to be done in {DEADLINE_H:g} h | records, GB |"
        " features, GB |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {w['workload']} | {w['video_hours']:,g} | {w['dialogue_hours']:,g} | {w['worker_hours']:,g} |"
            f" {w['workers']:,} | {w['record_gb']:,g} | {w['feature_gb']:,g} |"
            for w in project(found)
        ),
        "",
        "Assumed: the model, hardware, picture size and rate of the measured run; dialogues as long as their videos; workers that"
        " slow each other down as little as measured below; no strategy for contexts beyond the measured ones. A worker is one"
        " core where the run was one process with one thread, one card where it was replayed on one.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the page and one JSON object; write the page to ``--output``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--feature-bytes", type=int, default=4 * 4 * 192, help="Of a frame: 4 x tokens x width.")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    found = profile(options.run, options.feature_bytes)
    text = page(found, f"`{options.run}`")
    if options.output:
        options.output.write_text(text)
    print(text)
    print(json.dumps({"per_video": found.per_video, "per_dialogue": found.per_dialogue, "workloads": project(found)}))


if __name__ == "__main__":
    main()

"""Measure the workbench's test split: difficulty for limited observers, balance, speed, reproducibility.

    make bench-world          # or: python -m benchmarks.quality.world --output reports/workbench

The benchmark evaluates trivial speakers and trackers, limited observers and majority answers. It
times generation and repeats it with the same seed and with another one. The last line of output is
one JSON object. ``--output`` also gets the figures with their provenance, and the dataset card with
its pictures (`world_card.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from prospect_core.data.dataset import Dataset
from prospect_core.data.stats import compute_dataset_stats
from prospect_core.records import EpisodeRecord
from prospect_core.timeline import Episode, Event
from prospect_core.util.file_digest import digest_file
from prospect_core.workbench.generate import generate_workbench
from prospect_core.workbench.world.levels import SPLITS
from prospect_eval.metrics import all_metrics
from prospect_eval.metrics.base import Scored
from prospect_eval.metrics.resources import make_scoring_resources
from prospect_eval.models.baselines.limited_observers import LIMITED_OBSERVERS, limited_observer
from prospect_eval.models.baselines.trivial import (
    PERIODS_S,
    Speak,
    Track,
    always_talk_baseline,
    linear_schedule_baseline,
    make_trivial_baseline_record,
    never_update_baseline,
    oracle_baseline_speech,
    oracle_baseline_transitions,
    periodic_baseline,
    rate_matched_random_baseline,
    reply_to_user_baseline,
    silent_baseline,
)
from prospect_eval.runs.environment import collect_run_environment

SEED, OTHER_SEED = 0, 1
ANSWERS = ("answer_accuracy@present", "answer_accuracy@past", "answer_accuracy@remainder")


def measure(
    names: Sequence[str], episodes: Sequence[Episode], predict: Callable[[Episode], EpisodeRecord]
) -> dict[str, dict[str, Any]]:
    """Return {metric: {value, ci95}} of a predictor over episodes, with intervals over videos."""
    resources = make_scoring_resources()
    scored = Scored.over(map(predict, episodes), resources)
    wanted = [metric for metric in all_metrics(resources) if metric.name in names]
    tables = {metric.name: metric.compute(scored) for metric in wanted}
    return {name: {"value": t["value"], "ci95": t["ci95"]} for name, t in tables.items()}


def speakers(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Score every speaker that ignores the video: proactive F1 within 1 s, and ``periodic`` at every rate."""
    speak: dict[str, Speak] = {
        "silent": silent_baseline,
        "always_talk": always_talk_baseline,
        "rate_matched_random": rate_matched_random_baseline,
    }
    speak |= {"reply_to_user": reply_to_user_baseline, **{f"periodic_{s}s": periodic_baseline(s) for s in PERIODS_S}}
    names = ["proactive_event_f1@1s", "speaking_event_f1@2s"]
    return {name: measure(names, episodes, partial(_speaks, name, f)) for name, f in speak.items()}


def trackers(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Score joint goal accuracy of the trackers that ignore the video."""
    track: dict[str, Track] = {"never_update": never_update_baseline, "linear_schedule": linear_schedule_baseline}
    return {name: measure(["dst_jga"], episodes, partial(_tracks, name, f)) for name, f in track.items()}


def _speaks(name: str, speak: Speak, episode: Episode) -> EpisodeRecord:
    return make_trivial_baseline_record(name, episode, speak(episode), [])


def _tracks(name: str, track: Track, episode: Episode) -> EpisodeRecord:
    return make_trivial_baseline_record(name, episode, [], track(episode))


def oracle(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Score the reference against itself: 1.0 in every metric."""
    names = ["proactive_event_f1@1s", "dst_jga", *ANSWERS]
    return measure(
        names,
        episodes,
        lambda e: make_trivial_baseline_record("oracle", e, oracle_baseline_speech(e), oracle_baseline_transitions(e)),
    )


def limited_observers(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Score the limited observers.

    ``best_jga`` is the better of ``dst_head_jga`` (the observer alone) and ``dst_jga`` (with a
    record of earlier changes).
    """
    out = {
        name: measure(["dst_jga", "dst_head_jga", *ANSWERS], episodes, limited_observer(name))
        for name in LIMITED_OBSERVERS
    }
    for table in out.values():
        table["best_jga"] = max(table["dst_jga"], table["dst_head_jga"], key=lambda entry: entry["value"])
    return out


def questions(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Analyse the questions: share of each kind, balance of yes and no, and gain of majority answers.

    The gain is the accuracy of always giving the most frequent answer, minus chance. Chance is one
    over the number of answers; for "which was first" the answers are first and second mentioned.
    """
    asked = [event for episode in episodes for _, event in episode.user_turns() if event.question]
    kinds = Counter(event.question for event in asked)
    yes = Counter(event.accepted[0] for event in asked if event.accepted[0] in ("yes", "no"))
    out: dict[str, Any] = {
        "questions": len(asked),
        "share": {kind: count / len(asked) for kind, count in sorted(kinds.items())},
        "yes_share": yes["yes"] / sum(yes.values()),
        "majority": {},
    }
    for kind in sorted(kinds):
        mine = [event for event in asked if event.question == kind]
        classes: dict[str, Counter[str]] = {}
        for event in mine:
            form, answer = _answer_class(event)
            classes.setdefault(form, Counter())[answer] += 1
        majority = sum(max(counts.values()) for counts in classes.values()) / len(mine)
        chance = sum(sum(counts.values()) / len(counts) for counts in classes.values()) / len(mine)
        out["majority"][kind] = {"accuracy": majority, "chance": chance, "over_chance": majority - chance}
    return out


def _answer_class(event: Event) -> tuple[str, str]:
    if event.question != "past" or event.accepted[0] in ("yes", "no"):
        return "", event.accepted[0]
    first = event.text.index(event.accepted[0]) < event.text.index(" or ")
    return "which first", "mentioned first" if first else "mentioned second"


def repeated(folder: Path, first: Dataset) -> dict[str, Any]:
    """Compare a repetition with the same seed, and a set of another seed, with the first set.

    The same seed must give the same bytes of annotations and videos; another seed must share no
    video. The repetition uses one process, so videos finish in another order.
    """
    videos = len(first.info.videos)
    again = generate_workbench(folder / "again", SEED, {"test": videos}, workers=1)
    other = generate_workbench(folder / "other", OTHER_SEED, {"test": videos})

    def digests(dataset: Dataset) -> set[str]:
        return {digest_file(dataset.root / video) for video in dataset.info.videos}

    return {
        "same_annotation": (first.root / "test.jsonl").read_bytes() == (again.root / "test.jsonl").read_bytes(),
        "same_videos": all(digest_file(first.root / v) == digest_file(again.root / v) for v in first.info.videos),
        "videos_shared_with_other_seed": len(digests(first) & digests(other)),
    }


def round_trip(folder: Path, dataset: Dataset) -> bool:
    """Check that the data set is equal after export to ProAssist's format and import, by the commands."""
    prospect = [sys.executable, "-m", "prospect_core.cli", "data"]
    for command in (["export", str(dataset.root), "--output", str(folder / "rows")],
                    ["import", str(folder / "rows"), "--output", str(folder / "back")]):  # fmt: skip
        subprocess.run([*prospect, *command], check=True, stdout=subprocess.DEVNULL)
    back = Dataset.open(folder / "back")
    return all(list(back.episodes(s)) == list(dataset.episodes(s)) for s in dataset.splits)


def main() -> None:
    """Run all parts and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="also write world.json, the card and its pictures there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begin = time.perf_counter()
        dataset = generate_workbench(folder / "test", SEED, {"test": SPLITS["test"].videos})
        generate_s = time.perf_counter() - begin
        episodes = list(dataset.episodes("test"))
        found: dict[str, Any] = {"statistics": compute_dataset_stats(dataset, "test")}
        for key, look in {
            "speakers": lambda: speakers(episodes),
            "trackers": lambda: trackers(episodes),
            "oracle": lambda: oracle(episodes),
            "limited_observers": lambda: limited_observers(episodes),
            "questions": lambda: questions(episodes),
            "repeated": lambda: repeated(folder, dataset),
            "proassist_round_trip_equal": lambda: round_trip(folder, dataset),
        }.items():
            begin = time.perf_counter()
            found[key] = look()
            print(f"{key} ({time.perf_counter() - begin:.0f} s): {json.dumps(found[key])}", flush=True)
        result = {
            "trivial_speaker_f1": max(t["proactive_event_f1@1s"]["value"] or 0 for t in found["speakers"].values()),
            "linear_jga": found["trackers"]["linear_schedule"]["dst_jga"]["value"],
            "observer_frame_jga": found["limited_observers"]["observer_frame"]["best_jga"]["value"],
            "observer_10s_jga": found["limited_observers"]["observer_10s"]["best_jga"]["value"],
            "observer_all_jga": found["limited_observers"]["observer_all"]["best_jga"]["value"],
            "past_majority_over_chance": found["questions"]["majority"]["past"]["over_chance"],
            "generate_test_s": generate_s,
        }
        if options.output:
            from world_card import write_card

            options.output.mkdir(parents=True, exist_ok=True)
            body = {**result, "details": found, "command": "make bench-world", "processes": os.cpu_count(),
                    "environment": collect_run_environment()}  # fmt: skip
            (options.output / "world.json").write_text(json.dumps(body, indent=1) + "\n")
            write_card(options.output, body, dataset)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

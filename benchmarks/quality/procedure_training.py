"""Train a tiny model on generated videos under CaptainCook4D's annotation, and compare it with never-update.

The videos show which steps are in progress as colours (`benchmarks.quality.procedure_videos`), so the result says that reading,
training, replay and scoring work together on real annotation. It says nothing about vision.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.quality.procedure_videos import write_procedure_video
from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.timeline import Episode

#: training recordings, of which every n-th of the published split is taken, and scored ones
RECORDINGS, SCORED = 24, 8
#: a model that learns on two CPU cores within minutes
MODEL = (
    "model.mistake_head=true",
    "model.vision.hidden_size=48",
    "model.vision.intermediate_size=96",
    "model.vision.layers=1",
    "model.vision.heads=2",
    "model.text.hidden_size=128",
    "model.text.heads=2",
    "model.text.kv_heads=2",
    "model.text.local_heads=1",
    "model.text.layers=3",
    "model.text.intermediate_size=256",
    "model.text.max_position_embeddings=16384",
    "optimiser=muon",
    "sampling=all",
    "train.batch_size=6",
)
SCORES = ("dst_jga", "dst_head_jga", "transition_f1@5s", "transition_f1@30s", "mistake_f1", "mistake_average_precision")


def choose_recordings(episodes: Sequence[Episode], number: int) -> list[Episode]:
    """Choose evenly spread episodes."""
    return [episodes[k * len(episodes) // number] for k in range(min(number, len(episodes)))]


def write_training_data(root: Path, folder: Path) -> Dataset:
    """Write a dataset of training and validation recordings with generated videos.

    Args:
        root: Folder of CaptainCook4D's annotations.
        folder: Folder of the dataset.
    """
    source = Dataset.open(root)
    chosen = {
        "train": choose_recordings(list(source.episodes("train")), RECORDINGS),
        "val": choose_recordings(list(source.episodes("val")), SCORED // 2),
    }
    (folder / "videos").mkdir(parents=True)
    splits = {}
    for split, episodes in chosen.items():
        splits[split] = [replace(episode, video=f"videos/{episode.id}.mp4") for episode in episodes]
        for episode in splits[split]:
            write_procedure_video(episode, folder / episode.video)
    return write_dataset(folder, "captaincook4d", "1", source.info.fps, splits, "generated videos", source.info.meta)


def train_on_procedures(root: Path, minutes: float) -> dict[str, Any]:
    """Train for some minutes, and score the model and never-update on training recordings.

    Args:
        root: Folder of CaptainCook4D's annotations.
        minutes: Minutes of training.

    Returns:
        Values of `SCORES` of both, ``beats_never_update`` by joint goal accuracy, and seconds.
    """
    with tempfile.TemporaryDirectory() as scratch:
        begin = time.perf_counter()
        data = write_training_data(root, Path(scratch) / "data")
        made = time.perf_counter()
        model = Path(scratch) / "model"
        _run("prospect", "train", f"data={data.root}", f"output={model}", f"train.minutes={minutes}", *MODEL)
        trained = time.perf_counter()
        scores = {
            name: _score(ckpt, data, Path(scratch) / f"{name}-scores")
            for name, ckpt in (("model", str(model)), ("never_update", "baseline:never_update"))
        }
        steps = len((model / "train_log.jsonl").read_text().splitlines())
    return {
        "recordings": RECORDINGS,
        "scored": SCORED,
        "beats_never_update": scores["model"]["dst_jga"]["value"] > scores["never_update"]["dst_jga"]["value"],
        **scores,
        "log_rows": steps,
        "videos_s": round(made - begin, 1),
        "train_s": round(trained - made, 1),
        "score_s": round(time.perf_counter() - trained, 1),
    }


def _score(ckpt: str, data: Dataset, folder: Path) -> dict[str, Any]:
    given = ("--data", str(data.root), "--split", "train", "--limit", str(SCORED), "--output", str(folder))
    _run("prospect-eval", "run", "--ckpt", ckpt, *given)
    metrics = json.loads((folder / "metrics.json").read_bytes())["metrics"]
    return {name: {key: metrics[name][key] for key in ("value", "ci95")} for name in SCORES if name in metrics}


def _run(command: str, *arguments: str) -> None:
    program = Path(sys.executable).parent / command
    subprocess.run([str(program), *arguments], check=True, stdout=sys.stderr)

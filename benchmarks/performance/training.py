"""Measure training: prefix sharing, trainer overhead, memory and exact resume.

    make bench-training
    python -m benchmarks.performance.training --output reports/training/training.json

Both sides of a ratio run in alternation in the same session; the figure is the median over the
rounds. On a machine with a GPU, `benchmarks/performance/throughput.py` adds the SmolVLM2 shapes.
The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from transformers import LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

from prospect_core.data.dataset import Dataset
from prospect_core.features.feature_cache import FeatureCache, feature_cache_vision_digest
from prospect_core.features.picture_cache import PictureCache
from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.sequence.builder import SequenceBuilder
from prospect_core.train.config.compose import compose_config
from prospect_core.train.data.collator import DSTDataCollator
from prospect_core.train.data.frame_samplers import CombinedSampler, Silent, Speaking, Transitions
from prospect_core.train.data.training_dataset import DSTTrainingDataset, SamplingPlan, split_training_dataset_samples
from prospect_core.train.data.window_sampler import WindowSampler
from prospect_core.train.objectives.loss_weighting import make_loss_weighting
from prospect_core.train.objectives.losses import (
    OBJECTIVES,
    FocalOptions,
    count_supervised_losses,
    loss_sums,
    next_token_targets,
)
from prospect_core.train.setup.model_factory import freeze_model_factory_parts, make_model
from prospect_core.train.trainer import MODEL_INPUTS, DSTTrainer
from prospect_core.util.console import quiet_transformers
from prospect_core.workbench.generate import generate_workbench

BATCH = 8


def prepare(folder: Path, frozen: bool) -> tuple[DSTSmolVLM, Any, Dataset, Any]:
    """Make a tiny model, its sequence builder, a small workbench and its frames.

    Args:
        folder: Folder of the data and the feature cache.
        frozen: Whether the vision tower is frozen; its frames are then features, otherwise
            pictures.

    Returns:
        (model, builder, data set, feature or picture cache).
    """
    root = folder / "set"
    data = Dataset.open(root) if root.exists() else generate_workbench(root, 1, {"train": 8, "val": 1})
    episodes = list(data.episodes("train"))
    options = compose_config([f"model.vision_tower={'frozen' if frozen else 'train'}"])[0].model
    torch.manual_seed(0)
    model, tokenizer = make_model(options, None, episodes)
    freeze_model_factory_parts(model, options)
    if not frozen:
        return model, SequenceBuilder(tokenizer, 4), data, PictureCache(data, model.config.frame_format)
    cache = FeatureCache(data, folder / "features", feature_cache_vision_digest(model), model.config.frame_format)
    cache.prepare(model, episodes)
    return model, SequenceBuilder(tokenizer, 4), data, cache


def prefix_sharing(folder: Path, frozen: bool, windows: int) -> dict[str, Any]:
    """Compare one forward pass per window with one per sample: speed-up and difference of gradients.

    Args:
        folder: Working folder.
        frozen: Whether the vision tower is frozen.
        windows: Number of windows after one warm-up window.
    """
    model, builder, data, media = prepare(folder, frozen)
    draws = SamplingPlan(
        WindowSampler(72, 96, progress_share=0),
        CombinedSampler((Transitions(), Speaking(), Silent(0.4))),
        max_tokens=2048,
    )
    dataset = DSTTrainingDataset(list(data.episodes("train")), builder, media, draws)
    collate = DSTDataCollator(model.config.pad_token_id)

    def learn(items: list[Any], counts: torch.Tensor) -> None:
        for item in items:
            batch = collate([item])
            speaks, _ = next_token_targets(batch["labels"])
            output = model(**{k: batch[k] for k in MODEL_INPUTS if k in batch}, speaks_BT=speaks)
            (loss_sums(output, batch, FocalOptions(), FocalOptions()) / counts).sum().backward()

    speedups, supervised, differences = [], [], []
    for index in range(windows + 1):
        item = dataset[index]
        samples = split_training_dataset_samples(*item)
        counts = count_supervised_losses(collate([item])).clamp(min=1)
        seconds, gradients = [], []
        for items in ([item], samples):
            model.zero_grad()
            begin = time.perf_counter()
            learn(items, counts)
            seconds.append(time.perf_counter() - begin)
            gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
        if index == 0:
            continue  # warm-up
        shared, alone = gradients
        scale = max(float(g.abs().max()) for g in alone.values())
        differences.append(max(float((shared[n] - alone[n]).abs().max()) for n in shared) / scale)
        speedups.append(seconds[1] / seconds[0])
        supervised.append(len(samples))
    assert min(supervised) >= 32, supervised
    return {
        "speedup": round(median(speedups), 2),
        "speedups": [round(s, 2) for s in speedups],
        "supervised_frames": supervised,
        "largest_gradient_difference": max(differences),
    }


class Steps(TrainerCallback):
    """Trainer callback that measures seconds per step.

    Args:
        skip: Number of warm-up steps before the first measured one.
    """

    def __init__(self, skip: int = 3) -> None:
        self.skip, self.ends = skip, list[float]()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the time at which a step ends."""
        self.ends.append(time.perf_counter())

    @property
    def seconds_a_step(self) -> float:
        """Mean seconds per step after the warm-up steps."""
        return (self.ends[-1] - self.ends[self.skip - 1]) / (len(self.ends) - self.skip)


def arguments(folder: Path, steps: int) -> TrainingArguments:
    """Return the training arguments that both trainers share."""
    return TrainingArguments(
        output_dir=str(folder / "trainer"),
        per_device_train_batch_size=BATCH,
        max_steps=steps,
        logging_steps=10,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=True,
        dataloader_pin_memory=False,
        learning_rate=1e-3,
        seed=0,
    )


def ours(folder: Path, steps: int, windows: int) -> tuple[Steps, DSTTrainingDataset]:
    """Train with `DSTTrainer` on the default sampling; windows are drawn during training.

    Args:
        folder: Working folder.
        steps: Training steps.
        windows: Least number of windows in the dataset.

    Returns:
        (step times, dataset).
    """
    model, builder, data, media = prepare(folder, True)
    frames = CombinedSampler((Transitions(), Speaking(), Silent(0.1)))
    episodes = list(data.episodes("train"))
    draws = SamplingPlan(WindowSampler(), frames, windows_per_episode=-(-windows // len(episodes)))
    dataset = DSTTrainingDataset(episodes, builder, media, draws)
    watch = Steps()
    trainer = DSTTrainer(
        model=model,
        args=arguments(folder, steps),
        train_dataset=dataset,
        data_collator=DSTDataCollator(model.config.pad_token_id),
        weighting=make_loss_weighting("fixed", dict.fromkeys(OBJECTIVES, 1.0)),
        speaking=FocalOptions(),
        update=FocalOptions(),
        callbacks=[watch],
    )
    trainer.remove_callback(_printer())
    trainer.train()
    return watch, dataset


def plain(folder: Path, steps: int, sequences: list[list[int]], text_config: Any, pad: int) -> Steps:
    """Train a plain language model of the same shape on the same token batches, with loss on every token.

    Args:
        folder: Working folder.
        steps: Training steps.
        sequences: Token ids of each sequence.
        text_config: Configuration of the language model.
        pad: Padding token id.
    """

    def collate(rows: list[list[int]]) -> dict[str, torch.Tensor]:
        longest = max(map(len, rows))
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
        labels = torch.tensor([row + [-100] * (longest - len(row)) for row in rows])
        return {"input_ids": ids, "labels": labels}

    torch.manual_seed(0)
    watch = Steps()
    trainer = Trainer(
        model=LlamaForCausalLM(text_config),
        args=arguments(folder, steps),
        train_dataset=sequences,
        data_collator=collate,
        callbacks=[watch],
    )
    trainer.remove_callback(_printer())
    trainer.train()
    return watch


def overhead(folder: Path, rounds: int, steps: int) -> dict[str, Any]:
    """Compare seconds per step of `DSTTrainer` with the plain trainer, in alternation on the same tokens.

    Args:
        folder: Working folder.
        rounds: Number of trainings on each side.
        steps: Steps per training.
    """
    model, _, _, _ = prepare(folder, True)
    config = model.config.text_config
    config.tie_word_embeddings = True
    mine, theirs = [], []
    windows = steps * BATCH
    _, dataset = ours(folder, 5, windows)
    sequences = [dataset[k][0].ids for k in range(len(dataset))]
    for _ in range(rounds):
        mine.append(ours(folder, steps, windows)[0].seconds_a_step)
        theirs.append(plain(folder, steps, sequences, config, model.config.pad_token_id).seconds_a_step)
    ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
    return {
        "overhead": round(median(ratios) - 1, 4),
        "ratios": [round(r, 4) for r in ratios],
        "seconds_a_step": round(median(mine), 4),
        "plain_seconds_a_step": round(median(theirs), 4),
        "tokens_a_step": round(BATCH * float(np.mean([len(s) for s in sequences]))),
    }


def memory(folder: Path) -> dict[str, Any]:
    """Compare resident memory after step 200 with step 20 of a default training, from its log.

    Training returns free memory to the system every ten steps. The result also holds the peak,
    which depends on the largest batch.
    """
    out = folder / "memory"
    options = ["train.max_steps=200", "train.log_every=10", "eval.thresholds=false", f"data={folder / 'set'}"]
    subprocess.run(
        [sys.executable, "-m", "prospect_core.cli", "train", *options, f"output={out}"],
        check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    rows = map(json.loads, (out / "train_log.jsonl").read_text().splitlines())
    at = {row["step"]: (row["memory_mb"], row["peak_memory_mb"]) for row in rows}
    shown = {step: at[step] for step in (20, 50, 100, 150, 200)}
    return {"growth": round(at[200][0] / at[20][0] - 1, 4), "mb_and_peak_mb_at_step": shown}


def resume(folder: Path) -> dict[str, Any]:
    """Check that 20 losses after SIGKILL and resume equal those of an uninterrupted run, bit for bit."""
    options = ["train.max_steps=60", "train.save_every=10", "train.log_every=1", "eval.thresholds=false",
               f"data={folder / 'set'}"]  # fmt: skip
    command = [sys.executable, "-m", "prospect_core.cli", "train", *options]
    whole, killed = folder / "whole", folder / "killed"
    subprocess.run([*command, f"output={whole}"], check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    process = subprocess.Popen([*command, f"output={killed}"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    log = killed / "train_log.jsonl"
    while not (log.exists() and log.read_text().count("\n") >= 34):
        assert process.poll() is None, "the training ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = log.read_text().count("\n")
    done = subprocess.run([*command, f"output={killed}"], check=True, capture_output=True, text=True)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("going on from step")]
    start = int(line.split()[4])
    rows = [
        {
            r["step"]: [r[n] for n in OBJECTIVES]
            for r in map(json.loads, (f / "train_log.jsonl").read_text().splitlines())
        }
        for f in (whole, killed)
    ]
    wanted = range(start + 1, start + 21)
    same = all(rows[0][step] == rows[1][step] for step in wanted)
    weights = (whole / "model.safetensors").read_bytes() == (killed / "model.safetensors").read_bytes()
    return {"bitwise": same and weights, "killed_after_step": reached, "resumed_from_step": start}


def _printer() -> Any:
    from transformers import PrinterCallback

    return PrinterCallback


def main() -> None:
    """Run all parts and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="also write the figures with their provenance there")
    options = parser.parse_args()
    quiet_transformers()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: dict[str, Any] = {}
        for key, measure in {
            "prefix_sharing_features": lambda: prefix_sharing(folder, True, 12),
            "prefix_sharing_pictures": lambda: prefix_sharing(folder, False, 4),
            "overhead": lambda: overhead(folder, 5, 30),
            "memory": lambda: memory(folder),
            "resume": lambda: resume(folder),
        }.items():
            begin = time.perf_counter()
            found[key] = measure()
            print(f"{key} ({time.perf_counter() - begin:.0f} s): {json.dumps(found[key])}", flush=True)
    result: dict[str, Any] = {
        "prefix_sharing_speedup": min(found[f"prefix_sharing_{k}"]["speedup"] for k in ("features", "pictures")),
        "trainer_overhead": found["overhead"]["overhead"],
        "memory_growth": found["memory"]["growth"],
        "resume_bitwise": found["resume"]["bitwise"],
    }
    if torch.cuda.is_available():
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.performance.throughput"], check=True, stdout=subprocess.PIPE, text=True
        )
        result["gpu"] = json.loads(done.stdout.splitlines()[-1])
    if options.output:
        from prospect_eval.runs.environment import collect_run_environment

        options.output.parent.mkdir(parents=True, exist_ok=True)
        body = {**result, "details": found, "command": "make bench-training", "threads": torch.get_num_threads(),
                "environment": collect_run_environment()}  # fmt: skip
        options.output.write_text(json.dumps(body, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""Measure a training step and a streamed minute at a published SmolVLM2 shape, in float32 and bfloat16.

    make bench-published
    python -m benchmarks.performance.published_shape --model smolvlm2_500m --dtypes float32

The weights are random. Each precision runs in a separate process, which isolates its peak memory. A
training step is forward, backward and AdamW over one window; bfloat16 means mixed precision. The
streamed minute is 120 frames at 2 frames/s with one step per frame, from features of 64 tokens (81
for 2.2B); the vision tower is timed separately. In bfloat16 all weights except the decision heads
are bfloat16. The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from benchmarks.performance.throughput import batch_of, clock
from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.records import Knobs
from prospect_core.sequence.tokenizer import train_tokenizer
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.timeline import Step, Task
from prospect_core.train.config.compose import compose_config
from prospect_core.train.objectives.losses import FocalOptions, count_supervised_losses, loss_sums, next_token_targets
from prospect_core.train.setup.model_factory import make_random_model_config
from prospect_core.train.trainer import MODEL_INPUTS
from prospect_core.util.console import quiet_transformers

FRAMES, FPS = 120, 2
TASK = Task("put the cubes into the box", tuple(Step(f"S{k}", f"put cube {k} into the box") for k in range(1, 7)))


def measure(name: str, dtype: str, length: int) -> dict[str, Any]:
    """Measure one shape in one precision in this process.

    Args:
        name: Name of a `model=` preset.
        dtype: ``float32`` or ``bfloat16``.
        length: Tokens of the training window.

    Returns:
        Seconds, memory in GB and sizes.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = compose_config([f"model={name}", "model.weights=null", "model.tokens_per_frame=0"])[0].model
    tokenizer = train_tokenizer(["put the red cube in the box"], 300)
    torch.manual_seed(0)
    with torch.device(device):
        model = DSTSmolVLM(make_random_model_config(options, tokenizer))
    step_s = _training_step(model.train(), dtype, length, device)
    after_training = _peak_gb(device)
    model.eval().compute_in(getattr(torch, dtype))
    vision_s = _vision_seconds(model, device)
    minute_s = _streamed_minute(model, tokenizer, device)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens_per_frame": model.config.tokens_per_frame,
        "training_tokens": length,
        "training_step_s": round(step_s, 2),
        "training_peak_gb": after_training,
        "vision_s_per_frame": round(vision_s, 3),
        "streamed_minute_s": round(minute_s, 2),
        "peak_gb": _peak_gb(device),
    }


def _training_step(model: DSTSmolVLM, dtype: str, length: int, device: str) -> float:
    """Return the seconds of the second of two training steps."""
    model.model.vision_model.requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    batch = batch_of(model, 1, length, device)
    speaks, _ = next_token_targets(batch["labels"])
    counts = count_supervised_losses(batch).clamp(min=1)
    seconds = 0.0
    for _ in range(2):
        begin = clock(device)
        with torch.autocast(device, torch.bfloat16) if dtype == "bfloat16" else nullcontext():
            output = model(**{k: batch[k] for k in MODEL_INPUTS if k in batch}, speaks_BT=speaks)
            loss = (loss_sums(output, batch, FocalOptions(), FocalOptions()) / counts).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds = clock(device) - begin
    return seconds


@torch.no_grad()
def _vision_seconds(model: DSTSmolVLM, device: str) -> float:
    """Return the seconds per frame of the vision tower over two frames, after one warm-up frame."""
    size = model.config.image_size
    pixels = torch.zeros(1, 3, size, size, device=device)
    model.encode_frames(pixels)
    begin = clock(device)
    for _ in range(2):
        model.encode_frames(pixels)
    return (clock(device) - begin) / 2


def _streamed_minute(model: DSTSmolVLM, tokenizer: Any, device: str) -> float:
    """Return the seconds of 120 silent steps from features."""
    width = model.config.text_config.hidden_size
    features = torch.randn(FRAMES, model.config.tokens_per_frame, width, device=device).to(model.dtype)
    runner = VLMStreamRunner(model, tokenizer, Knobs(speaking_threshold=1.01, update_threshold=1.01))
    runner.reset(TASK, fps=FPS)
    begin = clock(device)
    for frame in features:
        runner.step(frame)
    return clock(device) - begin


def _peak_gb(device: str) -> float:
    """Return the peak memory of the GPU, or of the process, in GB."""
    if device == "cuda":
        return round(torch.cuda.max_memory_allocated() / 1e9, 2)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)


def main() -> None:
    """Measure each precision in a separate process and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smolvlm2_256m")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--length", type=int, default=1024, help="Tokens of the training step.")
    parser.add_argument("--here", help="Measure this precision in this process.")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    quiet_transformers()
    if options.here:
        print(json.dumps(measure(options.model, options.here, options.length)))
        return
    result: dict[str, Any] = {"model": options.model}
    for dtype in options.dtypes:
        command = [sys.executable, "-m", "benchmarks.performance.published_shape", "--model", options.model, "--here", dtype,
                   "--length", str(options.length)]  # fmt: skip
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        result[dtype] = json.loads(done.stdout.splitlines()[-1])
        print(f"{dtype}: {json.dumps(result[dtype])}", flush=True)
    if options.output:
        from prospect_core.util.atomic import write_atomic
        from prospect_core.util.json_io import dump_json
        from prospect_eval.runs.environment import collect_run_environment

        options.output.parent.mkdir(parents=True, exist_ok=True)
        body = {
            "command": " ".join(["python -m benchmarks.performance.published_shape", *sys.argv[1:]]),
            **result,
            "environment": collect_run_environment(),
        }
        write_atomic(options.output, dump_json(body, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

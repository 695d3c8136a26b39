"""Measure training throughput (tokens/s) and model FLOP utilisation at the SmolVLM2 shapes.

    python -m benchmarks.performance.throughput --models smolvlm2_256m smolvlm2_500m smolvlm2_2.2b --output reports/training/gpu.json
    python -m benchmarks.performance.throughput --models tiny --steps 3          # works on a CPU too

The model has random weights of the published shape, bfloat16 mixed precision, frames as stored
features (4 tokens each), and AdamW. The vision tower is timed as a separate forward pass. The last
line of output is one JSON object.

The FLOPs of a step are computed, not measured:

* 6 per parameter and token for the matrices of the text model.
* 12 per layer, hidden unit and squared length for attention (the full square, as in PaLM).
* 6 per parameter of the LM head, on supervised tokens only.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.sequence.labels import IGNORE
from prospect_core.sequence.tokenizer import train_tokenizer
from prospect_core.train.config.compose import compose_config
from prospect_core.train.objectives.losses import FocalOptions, count_supervised_losses, loss_sums, next_token_targets
from prospect_core.train.setup.model_factory import freeze_model_factory_parts, make_random_model_config
from prospect_core.train.trainer import MODEL_INPUTS
from prospect_core.util.console import quiet_transformers

#: dense bfloat16 FLOP/s, from the vendors' data sheets
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "A10G": 70e12}
REAL = ("smolvlm2_256m", "smolvlm2_500m", "smolvlm2_2.2b")


def batch_of(model: DSTSmolVLM, rows: int, length: int, device: str) -> dict[str, torch.Tensor]:
    """Make a batch with a stream's layout: a prompt, then frames with a reply of 24 tokens at every 20th.

    Args:
        model: Model that defines the token ids and sizes.
        rows: Rows of the batch.
        length: Tokens per row.
        device: Target device.

    Returns:
        Model inputs with labels on all frames.
    """
    config, per_frame = model.config, model.config.tokens_per_frame
    ids = torch.randint(8, 250, (rows, length))
    labels = torch.full_like(ids, IGNORE)
    at, frames, number = 160, [], 0
    while at + per_frame + 24 <= length:
        ids[:, at : at + per_frame] = config.image_token_id
        at += per_frame
        frames.append(at - 1)
        number += 1
        if number % 20 == 0:
            labels[:, at : at + 24] = ids[:, at : at + 24]
            at += 24
    ids[:, at:] = 9
    index = torch.tensor(frames).expand(rows, -1)
    markers = torch.arange(20, 140, 20).expand(rows, -1)
    hidden = config.text_config.hidden_size
    out = {
        "input_ids": ids,
        "labels": labels,
        "frame_embeds": torch.randn(rows * len(frames), per_frame, hidden),
        "frame_index": index,
        "marker_index": markers,
        "speaking_labels": (torch.rand(index.shape) < 0.05).long(),
        "update_labels": (torch.rand(index.shape) < 0.05).long(),
        "state_labels": torch.randint(0, 3, (*index.shape, markers.shape[1])),
    }
    return {k: v.to(device) for k, v in out.items()}


def flops(model: DSTSmolVLM, rows: int, length: int, spoken: int) -> float:
    """Compute the FLOPs of a training step, forward and backward, by the module's formula.

    Args:
        model: The model.
        rows: Rows of the batch.
        length: Tokens per row.
        spoken: Supervised tokens of the LM head in the batch.
    """
    text = model.model.text_model
    table = text.get_input_embeddings().weight.numel()
    matrices = sum(p.numel() for p in text.parameters()) - table
    shape = model.config.text_config
    attention = 12 * shape.num_hidden_layers * shape.hidden_size * length**2
    counted: float = rows * (6.0 * matrices * length + attention) + 6.0 * table * spoken
    return counted


def measure(name: str, rows: int, length: int, steps: int, device: str, checkpointing: bool) -> dict[str, Any]:
    """Measure one shape: the median seconds of a training step after two warm-up steps, and its rates.

    Args:
        name: Name of a `model=` preset.
        rows: Rows of the batch.
        length: Tokens per row.
        steps: Timed steps.
        device: ``cpu`` or ``cuda``.
        checkpointing: Whether to use gradient checkpointing.
    """
    options = compose_config([f"model={name}", "model.weights=null", "model.vision_tower=frozen"])[0].model
    tokenizer = train_tokenizer(["put the red cube in the box"], 300)
    torch.manual_seed(0)
    with torch.device(device):
        model = DSTSmolVLM(make_random_model_config(options, tokenizer)).train()
    freeze_model_factory_parts(model, options)
    if checkpointing:
        model.gradient_checkpointing_enable()
    learning = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=1e-5, fused=device == "cuda")
    batch = batch_of(model, rows, length, device)
    speaks, _ = next_token_targets(batch["labels"])
    counts = count_supervised_losses(batch).clamp(min=1)
    seconds = []
    for _ in range(steps + 2):
        begin = clock(device)
        with torch.autocast(device, torch.bfloat16):
            output = model(**{k: batch[k] for k in MODEL_INPUTS if k in batch}, speaks_BT=speaks)
            loss = (loss_sums(output, batch, FocalOptions(), FocalOptions()) / counts).sum()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        seconds.append(clock(device) - begin)
    step = sorted(seconds[2:])[len(seconds[2:]) // 2]
    spent = flops(model, rows, length, int(speaks.sum()))
    peak = device_peak(device)
    result = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "learning": sum(p.numel() for p in learning),
        "rows": rows,
        "tokens_a_row": length,
        "frames_a_row": batch["frame_index"].shape[1],
        "seconds_a_step": round(step, 5),
        "tokens_per_s": round(rows * length / step),
        "tflops_per_s": round(spent / step / 1e12, 3),
        "mfu": None if peak is None else round(spent / step / peak, 4),
        "vision_frames_per_s": round(vision_rate(model, device), 1),
    }
    if device == "cuda":
        result["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
        torch.cuda.reset_peak_memory_stats()
    return result


def vision_rate(model: DSTSmolVLM, device: str) -> float:
    """Return frames/s through vision tower, connector and pooling."""
    count = 32 if device == "cuda" else 2
    size = model.config.image_size
    pixels = torch.randn(count, 3, size, size, device=device)
    with torch.no_grad(), torch.autocast(device, torch.bfloat16):
        model.encode_frames(pixels)
        begin = clock(device)
        for _ in range(3):
            model.encode_frames(pixels)
    return 3 * count / (clock(device) - begin)


def clock(device: str) -> float:
    """Return a time in seconds after the device has finished its queued work."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def device_peak(device: str) -> float | None:
    """Return the device's dense bfloat16 FLOP/s; None if `PEAK` does not list the device."""
    if device != "cuda":
        return None
    name = torch.cuda.get_device_name()
    return next((value for key, value in PEAK.items() if key in name), None)


def main() -> None:
    """Measure each model and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(REAL))
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--checkpointing", action="store_true", help="trade compute for memory, as run=gpu does")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    quiet_transformers()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    result: dict[str, Any] = {"device": torch.cuda.get_device_name() if device == "cuda" else "cpu", "models": {}}
    for name in options.models:
        result["models"][name] = measure(
            name, options.rows, options.length, options.steps, device, options.checkpointing
        )
        print(f"{name}: {json.dumps(result['models'][name])}", flush=True)
    if options.output:
        from prospect_eval.runs.environment import collect_run_environment

        options.output.parent.mkdir(parents=True, exist_ok=True)
        body = {**result, "command": f"python -m benchmarks.performance.throughput --models {' '.join(options.models)}",
                "environment": collect_run_environment()}  # fmt: skip
        options.output.write_text(json.dumps(body, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

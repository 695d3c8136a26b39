"""Estimate the memory of a training by formula, before anything is allocated."""

from __future__ import annotations

from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.train.config.schema import Config
from prospect_core.train.setup.trainer_arguments import MUON

#: numbers that a layer stores per token for the backward pass, in units of its width: inputs,
#: queries, keys, values, output of attention, and the feed-forward layer (about 12 with an
#: intermediate size of 2.7 to 4)
PER_LAYER = 20


def estimate_training_memory(model: DSTSmolVLM, config: Config) -> dict[str, int]:
    """Estimate bytes of weights, gradients, optimizer and activations of one process.

    Weights and optimizer states are float32. Activations are those of the largest batch that the
    options allow, in the precision of the training. With gradient checkpointing, one input per
    layer is stored and one layer is recomputed at a time.
    """
    learning = [p.numel() for p in model.parameters() if p.requires_grad]
    states = 1 if config.train.optimiser == MUON else 2 if "adam" in config.train.optimiser else 1
    return {
        "weights": 4 * sum(p.numel() for p in model.parameters()),
        "gradients": 4 * sum(learning),
        "optimiser": 4 * states * sum(learning),
        "activations": _activation_bytes(model, config),
    }


def _activation_bytes(model: DSTSmolVLM, config: Config) -> int:
    number = 2 if config.train.precision == "bfloat16" else 4
    longest = config.sampling.max_tokens or model.config.max_context
    frame_tokens = model.config.tokens_per_frame
    # prompts and words are about as many tokens as four per frame, plus 200
    window = min(longest, config.sampling.max_frames * (frame_tokens + 4) + 200)
    tokens = config.train.batch_tokens or config.train.batch_size * window
    text, vision = model.config.text_config, model.config.vision_config
    total: int = _of_layers(tokens, text.num_hidden_layers, text.hidden_size, config) * number
    # logits of supervised tokens (about a tenth of all) in float32, and their gradients
    total += 2 * 4 * tokens // 10 * text.vocab_size
    if any(p.requires_grad for p in model.model.vision_model.parameters()):
        patches = (vision.image_size // vision.patch_size) ** 2
        frames = tokens // (frame_tokens + 4)
        total += _of_layers(frames * patches, vision.num_hidden_layers, vision.hidden_size, config) * number
    return total


def _of_layers(tokens: int, layers: int, width: int, config: Config) -> int:
    kept = layers + PER_LAYER if config.train.gradient_checkpointing else layers * PER_LAYER
    return tokens * width * kept

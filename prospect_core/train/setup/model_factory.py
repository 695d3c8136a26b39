"""Model factory: make the initial model, freeze parts of it, and set up PEFT.

    prospect train model=smolvlm2_256m model.backbone=lora

LoRA (optional package ``peft``) adapts the text model's linear layers. It is merged into them after
training, so `prospect train` always writes an ordinary checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from prospect_core.data.dataset import Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.model.configuration import DSTSmolVLMConfig
from prospect_core.model.initialization import initialize_model_weights
from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.model.published import TOKENS_PER_FRAME, load_published_model
from prospect_core.sequence.layout import ROLE, layout_step_line
from prospect_core.sequence.tokenizer import SpecialIds, train_tokenizer
from prospect_core.timeline import DialogState, Episode
from prospect_core.train.config.schema import Lora, ModelOptions
from prospect_core.train.config.trainer_option_errors import translate_trainer_option_errors
from prospect_core.train.setup.connector_fit import fit_connector
from prospect_core.util.errors import UserError

LORA_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make_model(
    options: ModelOptions,
    init: str | None,
    episodes: Iterable[Episode],
    videos: Callable[[int, FrameFormat], Iterable[np.ndarray]] = lambda count, shape: (),
    tell: Callable[[str], None] = lambda line: None,
) -> tuple[DSTSmolVLM, Any]:
    """Make the initial model of a training.

    Args:
        options: Options of the model.
        init: Checkpoint to start from, if any.
        episodes: Texts for a new tokenizer.
        videos: Returns the pictures of a number of videos in a format, for a connector fit.
        tell: Prints a line for the user.

    Returns:
        (model in training mode, tokenizer): from a checkpoint, from published weights, or with
        random weights and a new tokenizer.

    Raises:
        UserError: If options contradict each other or the weights.
        DataError: If weights cannot be loaded.
    """
    if init:
        model, tokenizer = load_model_checkpoint(init, option="init")
        with translate_trainer_option_errors("model"):
            model.set_attn_implementation(options.attention)
        if options.tokens_per_frame is not None:
            # pooling has no weights; this call refuses a number that the vision tower
            # does not provide
            changed = {**model.config.to_dict(), "tokens_per_frame": options.tokens_per_frame}
            with translate_trainer_option_errors("model"):
                model.config.tokens_per_frame = DSTSmolVLMConfig.from_dict(changed).tokens_per_frame
    elif options.weights:
        with translate_trainer_option_errors("model"):
            model, tokenizer = load_published_model(
                options.weights,
                _tokens_per_frame(options),
                options.state_head_size,
                options.max_context,
                options.attention,
            )
    else:
        tokenizer = train_tokenizer(_texts(chain(episodes, _others(options.texts or ()))), options.vocab_size)
        config = make_random_model_config(options, tokenizer)
        with translate_trainer_option_errors("model"):
            model = DSTSmolVLM(config)
        initialize_model_weights(model, options.text.local_heads)
    if options.tower:
        seeing = load_model_checkpoint(options.tower, option="model.tower")[0]
        model.config.framing = seeing.config.framing
        if options.fit_tower:
            _fit(model, seeing, videos(options.fit_tower, model.config.frame_format), tell)
        model = make_model_with_tower(model, seeing)
    if options.mistake_head:
        model.add_mistake_head()
    model.config.framing = options.framing or model.config.framing
    for limit in ("max_reply_tokens", "max_user_tokens", "max_summary_tokens"):
        if (tokens := getattr(options, limit)) is not None:
            setattr(model.config, limit, tokens)
    if options.ablated_inputs is not None:
        model.config.ablated_inputs = sorted(options.ablated_inputs)
    return model.train(), tokenizer


def make_model_with_tower(model: DSTSmolVLM, seeing: DSTSmolVLM) -> DSTSmolVLM:
    """Return the model with vision tower and connector of another one.

    SmolVLM was made in the same way from a vision and a text model that were trained separately.
    The text model must then learn the new tokens, unless a connector fit has matched them.

    Raises:
        UserError: If the widths differ.
    """
    config, other = model.config.to_dict(), seeing.config
    width, wanted = model.config.text_config.hidden_size, other.text_config.hidden_size
    if width != wanted:
        raise UserError(
            f"model.tower: its frames are {wanted} wide, the text model's embeddings {width}; they must be equal"
        )
    config |= {"vision_config": other.vision_config.to_dict()}
    config |= {"scale_factor": other.scale_factor, "stem_width": other.stem_width, "framing": other.framing}
    with translate_trainer_option_errors("model"):
        joined = DSTSmolVLM(DSTSmolVLMConfig.from_dict(config))
    joined.set_attn_implementation(model.config._attn_implementation)
    seen = ("model.vision_model.", "model.connector.")
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(seen)}
    theirs = {name: tensor for name, tensor in seeing.state_dict().items() if name.startswith(seen)}
    joined.load_state_dict(own | theirs, strict=True)
    return joined


def _fit(own: DSTSmolVLM, seeing: DSTSmolVLM, videos: Iterable[np.ndarray], tell: Callable[[str], None]) -> None:
    shapes = [
        (m.config.tokens_per_frame, m.config.frame_format, m.config.text_config.hidden_size) for m in (own, seeing)
    ]
    if shapes[0] != shapes[1]:
        raise UserError(
            "model.fit_tower: both towers must have the same tokens per frame, picture size and width, not"
            f" {shapes[0]} and {shapes[1]}; remove the option"
        )
    met = fit_connector(seeing, own, videos)
    if met is not None:
        tell(f"model.tower: connector fitted; it explains {met:.2f} of the variance on held-out videos")


def make_random_model_config(options: ModelOptions, tokenizer: Any) -> DSTSmolVLMConfig:
    """Make the configuration of a model with random weights for a tokenizer.

    Raises:
        UserError: If the sizes are inconsistent.
    """
    ids = SpecialIds.of(tokenizer)
    vision, text = options.vision, options.text
    for part, shape in (("vision", vision), ("text", text)):
        if shape.hidden_size % shape.heads:
            raise UserError(
                f"model.{part}.heads={shape.heads} does not divide model.{part}.hidden_size={shape.hidden_size}"
            )
    if text.local_heads > text.kv_heads:
        raise UserError(f"model.text.local_heads={text.local_heads}: there are {text.kv_heads} key heads a layer")
    if text.heads % text.kv_heads:
        raise UserError(f"model.text.kv_heads={text.kv_heads} does not divide model.text.heads={text.heads}")
    rows = text.vocab_size or len(tokenizer)
    if rows < len(tokenizer):
        raise UserError(f"model.text.vocab_size={rows}: the tokenizer has {len(tokenizer)} entries; give at least that")
    with translate_trainer_option_errors("model"):
        config = DSTSmolVLMConfig(
            vision_config={
                "hidden_size": vision.hidden_size,
                "intermediate_size": vision.intermediate_size,
                "num_hidden_layers": vision.layers,
                "num_attention_heads": vision.heads,
                "image_size": vision.image_size,
                "patch_size": vision.patch_size,
                "initializer_range": vision.initializer_range,
            },
            text_config={
                "model_type": "llama",
                "vocab_size": rows,
                "hidden_size": text.hidden_size,
                "intermediate_size": text.intermediate_size,
                "num_hidden_layers": text.layers,
                "num_attention_heads": text.heads,
                "num_key_value_heads": text.kv_heads,
                "attention_bias": text.local_heads > 0,
                "max_position_embeddings": text.max_position_embeddings,
                "initializer_range": text.initializer_range,
                "rope_parameters": {"rope_type": "default", "rope_theta": text.rope_theta},
                "pad_token_id": ids.pad,
                "bos_token_id": None,
                "eos_token_id": ids.eos,
            },
            scale_factor=vision.scale_factor,
            stem_width=vision.stem_width,
            framing=options.framing or "squash",
            tokens_per_frame=_tokens_per_frame(options),
            image_token_id=ids.image,
            pad_token_id=ids.pad,
            eos_token_id=ids.eos,
            state_head_size=options.state_head_size,
            max_context=options.max_context,
            tie_word_embeddings=text.tied,
        )
    config._attn_implementation = options.attention
    return config


def freeze_model_factory_parts(model: DSTSmolVLM, options: ModelOptions) -> None:
    """Freeze the parts that do not learn, and add LoRA adapters if configured."""
    if options.backbone == "frozen":
        model.model.requires_grad_(False)
        if model.lm_head is not None:
            model.lm_head.requires_grad_(False)
    elif options.vision_tower == "frozen":
        model.model.vision_model.requires_grad_(False)
        model.model.connector.requires_grad_(False)
    if options.backbone == "lora":
        add_model_lora(model, options.lora)


def factory_vision_is_frozen(model: DSTSmolVLM) -> bool:
    """Check whether features of frames stay constant during training."""
    parts = (model.model.vision_model, model.model.connector)
    return not any(p.requires_grad for part in parts for p in part.parameters())


def add_model_lora(model: DSTSmolVLM, options: Lora) -> None:
    """Add adapters to the text model's linear layers; embeddings, LM head and decision heads learn fully.

    Raises:
        UserError: If peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UserError("model.backbone=lora needs the package peft: pip install 'prospect-suite[lora]'") from error
    text = model.model.text_model
    text.requires_grad_(False)
    # peft declares an integer, but only divides it by the rank
    alpha: Any = options.alpha
    config = LoraConfig(
        r=options.rank,
        lora_alpha=alpha,
        lora_dropout=options.dropout,
        target_modules=LORA_TARGETS,
    )
    inject_adapter_in_model(config, text)
    # our special tokens are new, so their rows must be learned
    text.get_input_embeddings().requires_grad_(True)


def merge_model_lora(model: DSTSmolVLM) -> None:
    """Merge the adapters into their layers; a model without adapters does not change."""
    try:
        from peft.tuners.tuners_utils import BaseTunerLayer
    except ImportError:
        return
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                child.merge()
                setattr(parent, name, child.get_base_layer())
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def _tokens_per_frame(options: ModelOptions) -> int:
    return TOKENS_PER_FRAME if options.tokens_per_frame is None else options.tokens_per_frame


def _others(folders: Iterable[str]) -> Iterable[Episode]:
    for folder in folders:
        data = Dataset.open(Path(folder))
        yield from (episode for split in data.splits for episode in data.episodes(split))


def _texts(episodes: Iterable[Episode]) -> Iterable[str]:
    """Yield the training texts of a new tokenizer: contents of prompts, updates, turns and summaries."""
    yield from (ROLE, "Goal: ", "Summary: User: Assistant:")
    for episode in episodes:
        for number, step in enumerate(episode.task.steps, 1):
            # as the number-th completed step
            others = tuple((f"{step.id}-{n}", 0.0) for n in range(1, number))
            done = DialogState((step.id,), ("completed",), (*others, (step.id, 9.0 * number)))
            for state in (DialogState((step.id,), ("not_started",)), DialogState((step.id,), ("in_progress",)), done):
                yield layout_step_line(step.id, step.name, state)
            yield f"{step.id}->start; {step.id}->complete; {step.id}->reopen"
        yield from (text for event in episode.events for text in (event.text, event.progress) if text)

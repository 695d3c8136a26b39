"""Compose and check the configuration of `prospect train` with Hydra.

    prospect train --cfg model=smolvlm2_256m loss=uncertainty

`prospect_core.train.config.schema` declares every key with its type, range, default and meaning.
The YAML files under ``conf`` hold presets. An error is one line and suggests the nearest existing
key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from prospect_core.train.config.schema import Config
from prospect_core.util.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from pydantic import TypeAdapter

#: keys whose value is a path or a name, which is used unparsed
PATHS = ("data.path", "output", "init", "model.weights", "model.tower", "train.deepspeed")
GROUPS = ("model", "data", "sampling", "loss", "optimiser", "run")


def compose_config(overrides: Sequence[str] = ()) -> tuple[Config, str]:
    """Compose the configuration of a command line.

    Args:
        overrides: Options as KEY=VALUE.

    Returns:
        (configuration, its YAML text).

    Raises:
        UserError: If a key or value is wrong.
    """
    from hydra import compose, initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from pydantic import ValidationError

    rewritten = [_path(given) for given in overrides]
    try:
        _register_defaults()
        with initialize_config_module("prospect_core.train.conf", version_base="1.3"):
            tree = compose("train", rewritten)
        plain = OmegaConf.to_container(tree, resolve=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UserError(_reason(error, rewritten)) from error
    try:
        config = _schema().validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"] if part in first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        what = key if isinstance(first["input"], dict | list) else f"{key}={first['input']}"
        raise UserError(f"{what}: {first['msg'][0].lower()}{first['msg'][1:]}{more}") from error
    _check(config)
    return config, OmegaConf.to_yaml(tree, resolve=True)


@cache
def _register_defaults() -> None:
    """Register the defaults of the schema with Hydra, which merges the presets into them."""
    from hydra.core.config_store import ConfigStore

    defaults = json.loads(json.dumps(asdict(Config())))
    ConfigStore.instance().store(name="schema", node=defaults)


@cache
def _schema() -> TypeAdapter[Config]:
    """Return the validator of types and ranges, which takes longer to build than to use."""
    from pydantic import TypeAdapter

    return TypeAdapter(Config)


def compose_sweep_commands(overrides: Sequence[str]) -> list[list[str]]:
    """Expand a Hydra sweep: ``a=1,2 b=3`` is ``a=1 b=3`` and ``a=2 b=3``.

    Raises:
        UserError: If an option cannot be parsed.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    # commas separate the values of a sweep, in paths too
    rewritten = [_key_value(given) if "," in given else _path(given) for given in overrides]
    try:
        parsed = OverridesParser.create().parse_overrides(rewritten)
        choices = [
            [f"{p.key_or_group}={value}" for value in p.sweep_string_iterator()] if p.is_sweep_override() else [given]
            for p, given in zip(parsed, overrides, strict=True)
        ]
    except (HydraException, ValueError) as error:
        raise UserError(_reason(error, rewritten)) from error
    return [list(line) for line in product(*choices)]


def composable_config_keys(kind: Any = Config, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of the configuration."""
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if name not in {f.name for f in fields(kind)}:
            continue
        yield prefix + name
        for part in (hint, *get_args(hint)):
            if isinstance(part, type) and is_dataclass(part):
                yield from composable_config_keys(part, f"{prefix}{name}.")


def _path(override: str) -> str:
    """Quote paths, so that any path is accepted; expand ``data=PATH`` to ``data.path=PATH``."""
    key, _, value = _key_value(override).partition("=")
    if key == "data" and value not in composable_group_options("data"):
        key = "data.path"
    if key not in PATHS or value == "null" or value[:1] in ('"', "'"):
        return f"{key}={value}"
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}="{quoted}"'


def _key_value(override: str) -> str:
    """Return the override if it has the form KEY=VALUE."""
    if override[:1] in ("+", "~") or override.startswith("hydra"):
        raise UserError(f"{override!r}: give KEY=VALUE; KEY=null switches an optional part off")
    if "=" not in override:
        raise UserError(f"{override!r} is not KEY=VALUE; `prospect train --cfg` lists the keys")
    return override


def _reason(error: Exception, overrides: Sequence[str]) -> str:
    """Explain which override is wrong on one line, with the nearest key or the options of a group."""
    text = " ".join(str(error.__cause__ or error).split())
    keys = [*GROUPS, *composable_config_keys()]
    for given in overrides:
        key, _, value = given.partition("=")
        if key not in keys:
            return f"{key!r} is not a key of `prospect train`{did_you_mean(key, keys)}; --cfg lists all keys"
        if key in GROUPS and value not in composable_group_options(key):
            names = composable_group_options(key)
            return f"{key}={value}: use one of {', '.join(names)}{did_you_mean(value, names)}"
    return f"{text[:300]} (`prospect train --cfg` lists the keys)"


def composable_group_options(group: str) -> list[str]:
    """Return the names of a group's presets."""
    from importlib.resources import files

    folder = files("prospect_core.train.conf") / group
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def _check(config: Config) -> None:
    """Check rules that concern several keys."""
    sampling = config.sampling
    if sampling.min_frames > sampling.max_frames:
        raise UserError(
            f"sampling.min_frames={sampling.min_frames} is above sampling.max_frames={sampling.max_frames}; lower it"
        )
    if sampling.blank_share + sampling.summary_share > 1:
        raise UserError("sampling.blank_share and sampling.summary_share add up to more than 1; lower one of them")
    frames = sampling.frames
    shares = (
        frames.key_frames and frames.key_frames.share,
        frames.silent and frames.silent.rate,
        frames.complexity and frames.complexity.rate,
    )
    if not any((frames.every, frames.transitions, frames.speaking, frames.regular, *shares)):
        raise UserError("sampling.frames: no sampler is on, so no frame would have a loss; use sampling=all")
    if config.eval.patience is not None and config.eval.every is None:
        raise UserError(f"eval.patience={config.eval.patience} needs evaluations; give eval.every=STEPS too")


def report_idle_compose_options(config: Config, given: Sequence[str]) -> list[str]:
    """Return a line for each command-line option without effect in this configuration."""
    keys = {o.lstrip("+").partition("=")[0] for o in given}
    frozen_vision = config.model.vision_tower == "frozen" or config.model.backbone == "frozen"
    frames = config.sampling.frames
    rules = [
        (config.train.minutes is not None, ("train.max_steps",), "train.minutes limits the training"),
        (not frozen_vision, ("data.features",), "the vision tower is trained, so features cannot be stored"),
        (frozen_vision and config.data.features, ("data.picture_cache_mb",), "stored features are read instead of pictures"),
        (config.model.backbone != "lora", ("model.lora", "train.rates.adapters"), f"model.backbone is {config.model.backbone}"),
        (config.model.backbone == "frozen", ("loss.response",), "a frozen backbone cannot learn replies"),
        (config.model.tower is None, ("model.fit_tower",), "model.tower is null"),
        (config.model.tower is not None, ("model.vision",), "model.tower fixes the shape of the vision tower"),
        (config.sampling.patch_captions, ("sampling.context_noise",), "windows with sampling.patch_captions hold prompts and frames only"),
        ("past" in (config.model.ablated_inputs or ()), ("sampling.min_frames", "sampling.max_frames"),
         "a model without the past trains on windows of one frame"),
        (config.model.backbone == "frozen", ("model.vision_tower",), "a frozen backbone freezes the vision tower"),
        (config.init is not None or config.model.weights is not None,
         ("model.vision", "model.text", "model.vocab_size", "model.texts"), "the weights fix the shape"),
        (config.init is not None, ("model.weights", "model.state_head_size", "model.max_context"),
         "init gives the model"),
        (config.loss.dynamic, ("loss.speaking.gamma", "loss.speaking.alpha", "loss.update.gamma",
         "loss.update.alpha", "loss.mistake.gamma", "loss.mistake.alpha"), "loss.dynamic sets them from the label rate"),
        (not config.model.mistake_head and config.init is None, ("loss.mistake",), "model.mistake_head is false"),
        (frames.every, tuple(f"sampling.frames.{n}" for n in ("transitions", "speaking", "key_frames", "regular",
         "silent", "complexity")), "sampling.frames.every selects all frames"),
        (config.sampling.recent_share == 0, ("sampling.recent_utterances",), "sampling.recent_share is 0"),
        (config.eval.every is None, ("eval.metric",), "eval.every is null, so no evaluation runs"),
        (config.train.batch_tokens is not None, ("train.batch_size",), "train.batch_tokens sets the size of a batch"),
        (bool(config.train.fsdp or config.train.deepspeed), ("train.rates",), "sharded parameters have one learning rate"),
        (config.eval.every is not None, ("train.save_every",), "eval.every sets when checkpoints are written"),
        (not config.train.optimiser.startswith(("adamw", "muon")), ("train.beta1", "train.beta2"),
         f"{config.train.optimiser} has no betas"),
        (config.eval.every is None and not config.eval.thresholds, ("eval.split", "eval.episodes", "eval.evaluator"),
         "eval.every is null and eval.thresholds is false"),
    ]  # fmt: skip
    return [
        f"{key} has no effect: {why}"
        for holds, idle, why in rules
        if holds
        for key in sorted(keys)
        if any(key == name or key.startswith(f"{name}.") for name in idle)
    ]

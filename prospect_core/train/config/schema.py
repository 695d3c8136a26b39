"""What `prospect train` can be told: types and ranges of every key.

    python -c "from prospect_core.train.config.schema import Config; help(Config)"

What each key means, and its default, stand in the YAML files under ``conf``; `prospect_core.train.config.compose` puts them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from prospect_core.data.frame_format import Framing

Share = Annotated[float, Ge(0), Le(1)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Count = Annotated[int, Ge(1)]
Below1 = Annotated[float, Ge(0), Lt(1)]
_STRICT = {"extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True)
class Lora:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    rank: Count
    alpha: Positive
    dropout: Share


@dataclass(frozen=True)
class VisionShape:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    image_size: Count
    patch_size: Count
    scale_factor: Count
    stem_width: Annotated[int, Ge(0)]
    hidden_size: Count
    intermediate_size: Count
    layers: Count
    heads: Count
    initializer_range: Positive


@dataclass(frozen=True)
class TextShape:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    vocab_size: Count | None
    hidden_size: Count
    intermediate_size: Count
    layers: Count
    heads: Count
    kv_heads: Count
    local_heads: Annotated[int, Ge(0)]
    rope_theta: Positive
    initializer_range: Positive
    max_position_embeddings: Count
    tied: bool


@dataclass(frozen=True)
class ModelOptions:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    weights: str | None
    framing: Framing | None
    tokens_per_frame: Annotated[int, Ge(0)] | None
    vocab_size: Annotated[int, Ge(264)]
    texts: tuple[str, ...] | None
    tower: str | None
    fit_tower: Annotated[int, Ge(0)]
    state_head_size: Count
    max_context: Count
    max_reply_tokens: Count | None
    max_user_tokens: Count | None
    max_summary_tokens: Count | None
    ablated_inputs: tuple[Literal["pictures", "steps", "state", "past"], ...] | None
    attention: str
    backbone: Literal["full", "lora", "frozen"]
    vision_tower: Literal["train", "frozen"]
    lora: Lora
    vision: VisionShape
    text: TextShape


@dataclass(frozen=True)
class DataOptions:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    path: str
    more: tuple[str, ...] | None
    split: str
    dialogues_per_video: Count | None
    windows_per_episode: Count
    features: bool
    store: str | None
    picture_cache_mb: Annotated[int, Ge(0)]
    workers: Annotated[int, Ge(0)]


@dataclass(frozen=True)
class Around:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    before_s: NotNegative
    after_s: NotNegative


@dataclass(frozen=True)
class KeyFrameOptions:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    share: Share


@dataclass(frozen=True)
class RegularOptions:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    every_s: Positive


@dataclass(frozen=True)
class SilentOptions:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    rate: Share


@dataclass(frozen=True)
class ComplexityOptions:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    rate: Share
    floor: Positive


@dataclass(frozen=True)
class FrameOptions:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    every: bool
    transitions: Around | None
    speaking: Around | None
    key_frames: KeyFrameOptions | None
    regular: RegularOptions | None
    silent: SilentOptions | None
    complexity: ComplexityOptions | None
    balance: Positive | None


@dataclass(frozen=True)
class CurriculumOptions:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    start: Annotated[float, Gt(0), Le(1)]
    until: Annotated[float, Gt(0), Le(1)]


@dataclass(frozen=True)
class ContextNoiseOptions:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    missed: Share
    late: Share
    wrong: Share
    early: Share
    unsaid: Share


@dataclass(frozen=True)
class SamplingOptions:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    min_frames: Count
    max_frames: Count
    max_tokens: Count | None
    event_share: Share
    blank_share: Share
    summary_share: Share
    recent_share: Share
    recent_utterances: Annotated[int, Ge(0)]
    progress_share: Share
    patch_captions: bool
    context_noise: ContextNoiseOptions
    frames: FrameOptions
    curriculum: CurriculumOptions | None


@dataclass(frozen=True)
class FocalLoss:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    weight: NotNegative
    gamma: NotNegative
    alpha: Share


@dataclass(frozen=True)
class PlainLoss:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    weight: NotNegative


@dataclass(frozen=True)
class LossOptions:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    weighting: Literal["fixed", "uncertainty", "gradnorm"]
    dynamic: bool
    speaking: FocalLoss
    update: FocalLoss
    state: PlainLoss
    response: PlainLoss


@dataclass(frozen=True)
class Rates:
    """Multiples of the learning rate: of the decision heads, the rows of new tokens, vision tower and connector, and LoRA
    adapters."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    heads: Positive
    rows: Positive
    vision: Positive
    adapters: Positive


@dataclass(frozen=True)
class TrainOptions:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    optimiser: str
    learning_rate: Positive
    rates: Rates
    weight_decay: NotNegative
    beta1: Below1
    beta2: Below1
    warmup: Below1
    grad_clip: NotNegative
    batch_size: Count
    batch_tokens: Count | None
    accumulation: Count
    max_steps: Count
    minutes: Positive | None
    precision: Literal["float32", "tf32", "bfloat16"]
    gradient_checkpointing: bool
    save_every: Count
    log_every: Count
    tensorboard: bool
    fsdp: str | None
    deepspeed: str | None
    seed: Annotated[int, Ge(0), Lt(2**32)]


@dataclass(frozen=True)
class EvalOptions:
    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    split: str
    episodes: Count | None
    every: Count | None
    metric: str
    patience: Count | None
    thresholds: bool
    evaluator: str


@dataclass(frozen=True)
class Config:
    """Everything that `prospect train` can be told, resolved."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT
    model: ModelOptions
    data: DataOptions
    sampling: SamplingOptions
    loss: LossOptions
    train: TrainOptions
    init: str | None
    output: str
    eval: EvalOptions

"""Configuration schema of `prospect train`: every key with its type, range, default and meaning.

Components with options (`NoiseRates`, `Curriculum`, the frame samplers) declare their own keys. The
YAML files under ``conf`` hold presets that differ from these defaults;
`prospect_core.train.config.compose` merges both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Lt

from prospect_core.data.frame_format import Framing
from prospect_core.sequence.context_noise import NoiseRates
from prospect_core.train.data.curriculum import Curriculum
from prospect_core.train.data.frame_samplers import Complexity, KeyFrames, Regular, Silent, Speaking, Transitions
from prospect_core.util.ranges import STRICT, Below1, Count, CountOrZero, NotNegative, Positive, Share


@dataclass(frozen=True)
class Lora:
    """LoRA adapters on the text model."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    rank: Count = 16
    """Rank of the adapters."""
    alpha: Positive = 32
    """Scale of the adapters: their output is multiplied by alpha / rank."""
    dropout: Share = 0.05
    """Dropout before the adapters."""


@dataclass(frozen=True)
class VisionShape:
    """Shape of a vision tower with random weights."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    image_size: Count = 64
    """Side of a frame in pixels."""
    patch_size: Count = 8
    """Side of a patch in pixels."""
    scale_factor: Count = 2
    """Pixel shuffle: a square of patches with this side becomes one token."""
    stem_width: CountOrZero = 0
    """Channels of the first convolution of a convolutional stem; 0 for one convolution, as in
    SmolVLM2."""
    hidden_size: Count = 96
    """Width."""
    intermediate_size: Count = 384
    """Width of the feed-forward layers."""
    layers: Count = 3
    """Number of layers."""
    heads: Count = 4
    """Attention heads."""
    initializer_range: Positive = 0.08
    """Standard deviation of random weights."""


@dataclass(frozen=True)
class TextShape:
    """Shape of a text model with random weights."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    vocab_size: Count | None = None
    """Rows of the embedding table; null for the number of the tokenizer's entries."""
    hidden_size: Count = 192
    """Width."""
    intermediate_size: Count = 448
    """Width of the feed-forward layers."""
    layers: Count = 5
    """Number of layers."""
    heads: Count = 3
    """Attention heads with 64 dimensions each, as in SmolVLM2; smaller ones learn to copy from
    the prompt much later."""
    kv_heads: Count = 3
    """Heads of keys and values."""
    local_heads: CountOrZero = 3
    """Heads of the first layers that start by attending 1, 2, 3 tokens back, which binds words
    to their line."""
    rope_theta: Positive = 10000.0
    """Base of the rotary position embedding."""
    initializer_range: Positive = 0.08
    """Standard deviation of random weights."""
    max_position_embeddings: Count = 8192
    """Maximum number of positions of a context."""
    tied: bool = True
    """Whether embedding and LM head share one table."""


@dataclass(frozen=True)
class ModelOptions:
    """The model."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    weights: str | None = None
    """Published weights to start from: a hub name or a folder; null for random weights of the
    shapes below."""
    framing: Framing | None = None
    """How a picture becomes a square: squash, letterbox or crop; null for that of ``init``,
    otherwise squash."""
    tokens_per_frame: CountOrZero | None = None
    """A square number up to the vision tower's own, or 0 for that number; null for that of
    ``init``, otherwise 4."""
    vocab_size: Annotated[int, Ge(264)] = 1024
    """Entries of the tokenizer, which is trained on the data if there are no published weights."""
    texts: tuple[str, ...] | None = None
    """Further datasets whose words the tokenizer covers: [FOLDER, ...]."""
    tower: str | None = None
    """A checkpoint whose vision tower and connector replace those of ``init``."""
    fit_tower: CountOrZero = 0
    """Videos on which the connector is fitted to reproduce the original one's outputs; 0 for no
    fit."""
    state_head_size: Count = 128
    """Width of the state head."""
    mistake_head: bool = False
    """Whether the model gets a head for mistakes of the filmed person, a fifth objective; that of
    ``init`` is kept in any case."""
    ablated_inputs: tuple[Literal["pictures", "steps", "state", "past"], ...] | None = None
    """Ablated inputs, to measure their contribution: [pictures], [steps], [state], [past]."""
    max_context: Count = 2048
    """Maximum tokens of a context."""
    max_reply_tokens: Count | None = None
    """Maximum tokens of a reply; null for that of ``init``, otherwise 48."""
    max_user_tokens: Count | None = None
    """Maximum tokens of a user turn, which is cut there; null for that of ``init``, otherwise
    64."""
    max_summary_tokens: Count | None = None
    """Maximum tokens of a progress summary; null for that of ``init``, otherwise 160."""
    attention: str = "sdpa"
    """Attention implementation: sdpa, eager or flash_attention_2."""
    backbone: Literal["full", "lora", "frozen"] = "full"
    """Trainable part of the text model; with frozen only the decision heads learn."""
    vision_tower: Literal["train", "frozen"] = "train"
    """Whether the vision tower learns; always frozen with a frozen backbone."""
    lora: Lora = field(default_factory=Lora)
    vision: VisionShape = field(default_factory=VisionShape)
    text: TextShape = field(default_factory=TextShape)


@dataclass(frozen=True)
class DataOptions:
    """The training data."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    path: str = "workbench"
    """A dataset folder, a ProAssist tree, or ``workbench`` for the built-in data; ``data=PATH``
    is a short form."""
    more: tuple[str, ...] | None = None
    """Further dataset folders to learn from at the same time: [FOLDER, ...]."""
    split: str = "train"
    """The split to learn from."""
    dialogues_per_video: Count | None = None
    """Maximum number of episodes of one video in an epoch; null for all."""
    windows_per_episode: Count = 1
    """Number of windows that an epoch draws from each episode."""
    features: bool = True
    """With a frozen vision tower: encode every video once and store the features on disk."""
    store: str | None = None
    """Store that `prospect data features` or `frames` has written: a folder, or an address such
    as s3://..."""
    picture_cache_mb: CountOrZero = 1024
    """Memory limit for decoded pictures of each dataset, in MB."""
    workers: CountOrZero = 0
    """Number of processes that prepare batches."""


@dataclass(frozen=True)
class FrameOptions:
    """Supervised frames, chosen by composable samplers; null switches a sampler off."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    every: bool = False
    """Whether all frames are supervised; the other samplers then have no effect."""
    transitions: Transitions | None = field(default_factory=Transitions)
    speaking: Speaking | None = field(default_factory=Speaking)
    key_frames: KeyFrames | None = field(default_factory=KeyFrames)
    regular: Regular | None = field(default_factory=Regular)
    silent: Silent | None = field(default_factory=Silent)
    complexity: Complexity | None = None
    balance: Positive | None = None
    """Maximum number of frames without an event per frame with one; null for no limit."""


@dataclass(frozen=True)
class SamplingOptions:
    """Sampling of training windows."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    min_frames: Count = 8
    """Minimum frames of a window."""
    max_frames: Count = 32
    """Maximum frames of a window."""
    max_tokens: Count | None = None
    """Maximum tokens of a window; null for the model's max_context."""
    event_share: Share = 0.7
    """Share of windows that are drawn around an event."""
    blank_share: Share = 0.1
    """Share of windows whose prompt leaves states blank."""
    summary_share: Share = 0.1
    """Share of windows whose prompt shows a progress summary, half of them with blank states."""
    recent_share: Share = 0.3
    """Share of windows whose prompt shows the last utterances."""
    recent_utterances: CountOrZero = 2
    """Number of last utterances in such a prompt."""
    progress_share: Share = 0.1
    """Share of windows that end with a request for a progress summary."""
    patch_captions: bool = False
    """Whether image slots learn captions of picture patches."""
    context_noise: NoiseRates = field(default_factory=NoiseRates)
    frames: FrameOptions = field(default_factory=FrameOptions)
    curriculum: Curriculum | None = None


@dataclass(frozen=True)
class FocalLoss:
    """Focal loss of a binary decision."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    weight: NotNegative = 10.0
    """Weight of the objective."""
    gamma: NotNegative = 1.0
    """Focusing power; 0 for plain cross-entropy."""
    alpha: Share = 0.75
    """Weight of the positives; 0.5 for equal weights."""


@dataclass(frozen=True)
class PlainLoss:
    """Cross-entropy loss."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    weight: NotNegative = 1.0
    """Weight of the objective."""


@dataclass(frozen=True)
class LossOptions:
    """Losses of the objectives."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    weighting: Literal["fixed", "uncertainty", "gradnorm"] = "fixed"
    """Fixed weights, or weights that are learned from the given ones."""
    dynamic: bool = False
    """Whether gamma and alpha of the focal losses follow the label rate of each epoch."""
    speaking: FocalLoss = field(default_factory=FocalLoss)
    update: FocalLoss = field(default_factory=FocalLoss)
    state: PlainLoss = field(default_factory=PlainLoss)
    response: PlainLoss = field(default_factory=PlainLoss)
    mistake: FocalLoss = field(default_factory=FocalLoss)


@dataclass(frozen=True)
class Rates:
    """Factors of the learning rate."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    heads: Positive = 1.0
    """Factor for the decision heads."""
    rows: Positive = 1.0
    """Factor for the rows of new tokens in the embedding table and the LM head."""
    vision: Positive = 1.0
    """Factor for the vision tower and the connector."""
    adapters: Positive = 1.0
    """Factor for LoRA adapters."""


@dataclass(frozen=True)
class TrainOptions:
    """Optimizer and run."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    optimiser: str = "adamw_torch"
    """muon, or any name that transformers accepts."""
    learning_rate: Positive = 1.0e-3
    """Learning rate after the warm-up; it then follows a cosine to zero."""
    rates: Rates = field(default_factory=Rates)
    weight_decay: NotNegative = 0.05
    """Weight decay."""
    beta1: Below1 = 0.9
    """First beta of AdamW, momentum of Muon."""
    beta2: Below1 = 0.98
    """Second beta of AdamW."""
    warmup: Below1 = 0.05
    """Share of the training during which the learning rate rises."""
    grad_clip: NotNegative = 1.0
    """Maximum norm of the gradient; 0 for no limit."""
    batch_size: Count = 8
    """Windows per forward pass, in each process."""
    batch_tokens: Count | None = None
    """Tokens per forward pass including padding, in each process; replaces batch_size by the
    number of windows that fit."""
    accumulation: Count = 1
    """Forward passes per optimizer step."""
    max_steps: Count = 2000
    """Optimizer steps."""
    minutes: Positive | None = None
    """Minutes after which training ends; null for max_steps."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """bfloat16: mixed precision; tf32: float32 storage with faster products on newer NVIDIA
    GPUs."""
    gradient_checkpointing: bool = False
    """Whether to recompute activations: less memory for about a third more time."""
    save_every: Count = 200
    """Steps between two checkpoints from which an interrupted training resumes."""
    log_every: Count = 10
    """Steps between two lines of the log."""
    tensorboard: bool = False
    """Whether to write event files to OUTPUT/tensorboard."""
    fsdp: str | None = None
    """Value for transformers, such as "full_shard auto_wrap"."""
    deepspeed: str | None = None
    """Path of a DeepSpeed configuration."""
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0
    """Random seed."""


@dataclass(frozen=True)
class EvalOptions:
    """Closed-loop replay of validation episodes with the runner and the metrics of the evaluation."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    split: str = "val"
    """The split to replay."""
    episodes: Count | None = 12
    """Number of episodes, spread over the split; null for all."""
    every: Count | None = None
    """Steps between two evaluations; null for none during training."""
    metric: str = "speaking_event_f1@2s"
    """Metric that selects the best checkpoint."""
    patience: Count | None = None
    """Evaluations without improvement after which training ends with the best checkpoint; null
    for no limit."""
    thresholds: bool = True
    """Whether the thresholds are chosen on the split after training and stored in the
    checkpoint."""
    evaluator: str = "prospect_eval"
    """Installed evaluator that computes the metric."""


@dataclass(frozen=True)
class Config:
    """All options of `prospect train`, resolved."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    model: ModelOptions = field(default_factory=ModelOptions)
    data: DataOptions = field(default_factory=DataOptions)
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    train: TrainOptions = field(default_factory=TrainOptions)
    init: str | None = None
    """A checkpoint to continue from; null for model.weights, or random weights."""
    output: str = "runs/train"
    """Folder of the checkpoint."""
    eval: EvalOptions = field(default_factory=EvalOptions)

"""The configuration of `prospect train`: every key once, with its type, range, default and meaning.

    python -c "from prospect_core.train.config.schema import Config; print(Config().sampling)"

Components whose options are configured (`NoiseRates`, `Curriculum`, the frame samplers) declare their own keys. The YAML files
under ``conf`` hold presets that differ from these defaults; `prospect_core.train.config.compose` puts both together.
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
    """Dropout in front of the adapters."""


@dataclass(frozen=True)
class VisionShape:
    """The shape of a vision tower with random weights."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    image_size: Count = 64
    """Side of a frame in pixels."""
    patch_size: Count = 8
    """Side of a patch in pixels."""
    scale_factor: Count = 2
    """Pixel shuffle: a square of patches with this side becomes one token."""
    stem_width: CountOrZero = 0
    """Channels of the first of several small convolutions that make the patches; 0 for one convolution, as in SmolVLM2."""
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
    """The shape of a text model with random weights."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    vocab_size: Count | None = None
    """Rows of the embedding table; null for as many as the tokenizer has entries."""
    hidden_size: Count = 192
    """Width."""
    intermediate_size: Count = 448
    """Width of the feed-forward layers."""
    layers: Count = 5
    """Number of layers."""
    heads: Count = 3
    """Attention heads; 64 dimensions each, as in SmolVLM2: smaller ones learn to copy from the prompt far later."""
    kv_heads: Count = 3
    """Heads of keys and values."""
    local_heads: CountOrZero = 3
    """Heads of the first two layers that start by reading the tokens 1, 2, 3 before, which binds words to their line."""
    rope_theta: Positive = 10000.0
    """Base of the rotary position embedding."""
    initializer_range: Positive = 0.08
    """Standard deviation of random weights."""
    max_position_embeddings: Count = 8192
    """Most positions of a context."""
    tied: bool = True
    """Whether one table serves for reading and for writing."""


@dataclass(frozen=True)
class ModelOptions:
    """The model."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    weights: str | None = None
    """Published weights to start from: a hub name or a folder; null for random weights of the shapes below."""
    framing: Framing | None = None
    """How a picture becomes a square: squash, letterbox or crop; null for that of ``init``, else squash."""
    tokens_per_frame: CountOrZero | None = None
    """A square number up to the tower's own, or 0 for that one; null for that of ``init``, else 4."""
    vocab_size: Annotated[int, Ge(264)] = 1024
    """Entries of the tokenizer, which is trained on the data where there are no published weights."""
    texts: tuple[str, ...] | None = None
    """More datasets whose words the tokenizer knows: [FOLDER, ...]."""
    tower: str | None = None
    """A checkpoint whose vision tower and connector replace those of ``init``."""
    fit_tower: CountOrZero = 0
    """Videos on which that connector is fitted to give what the own one gives; 0 to take it as it is."""
    state_head_size: Count = 128
    """Width of the state head."""
    ablated_inputs: tuple[Literal["pictures", "steps", "state", "past"], ...] | None = None
    """Inputs that the model does without, to measure what they contribute: [pictures], [steps], [state], [past]."""
    max_context: Count = 2048
    """Most tokens of a context."""
    max_reply_tokens: Count | None = None
    """Most tokens of a reply; null for that of ``init``, else 48."""
    max_user_tokens: Count | None = None
    """Most tokens of a user turn, the rest is cut; null for that of ``init``, else 64."""
    max_summary_tokens: Count | None = None
    """Most tokens of a progress summary; null for that of ``init``, else 160."""
    attention: str = "sdpa"
    """Attention implementation: sdpa, eager or flash_attention_2."""
    backbone: Literal["full", "lora", "frozen"] = "full"
    """What of the text model learns; with frozen only the three decision heads learn."""
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
    """A dataset folder, a ProAssist tree, or ``workbench`` for the built-in data; ``data=PATH`` is short for it."""
    more: tuple[str, ...] | None = None
    """More dataset folders to learn from at the same time: [FOLDER, ...]."""
    split: str = "train"
    """The split to learn from."""
    dialogues_per_video: Count | None = None
    """Episodes of one video that an epoch takes; null for all."""
    windows_per_episode: Count = 1
    """Windows that an epoch draws from each episode."""
    features: bool = True
    """With a frozen vision tower: encode every video once and keep the features on disk."""
    store: str | None = None
    """Where `prospect data features` or `frames` has put its output: a folder, or s3://... and the like."""
    picture_cache_mb: CountOrZero = 1024
    """Decoded pictures of each dataset that are kept in memory, in MB."""
    workers: CountOrZero = 0
    """Processes that prepare batches."""


@dataclass(frozen=True)
class FrameOptions:
    """Which frames carry loss: samplers that add up; null leaves one out."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    every: bool = False
    """All frames; the other samplers then add nothing."""
    transitions: Transitions | None = field(default_factory=Transitions)
    speaking: Speaking | None = field(default_factory=Speaking)
    key_frames: KeyFrames | None = field(default_factory=KeyFrames)
    regular: Regular | None = field(default_factory=Regular)
    silent: Silent | None = field(default_factory=Silent)
    complexity: Complexity | None = None
    balance: Positive | None = None
    """Most frames without an event for every frame with one; null for no limit."""


@dataclass(frozen=True)
class SamplingOptions:
    """Training windows."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    min_frames: Count = 8
    """Fewest frames of a window."""
    max_frames: Count = 32
    """Most frames of a window."""
    max_tokens: Count | None = None
    """Most tokens of a window; null for the model's max_context."""
    event_share: Share = 0.7
    """Share of windows that are drawn around an event."""
    blank_share: Share = 0.1
    """Share of windows whose prompt leaves states blank."""
    summary_share: Share = 0.1
    """Share of windows whose prompt shows a progress summary, half of them with blank states."""
    recent_share: Share = 0.3
    """Share of windows whose prompt shows the last utterances."""
    recent_utterances: CountOrZero = 2
    """How many of the last utterances it shows."""
    progress_share: Share = 0.1
    """Share of windows that end by asking for a progress summary."""
    patch_captions: bool = False
    """Whether captions of the places of a picture are learnt by its image slots."""
    context_noise: NoiseRates = field(default_factory=NoiseRates)
    frames: FrameOptions = field(default_factory=FrameOptions)
    curriculum: Curriculum | None = None


@dataclass(frozen=True)
class FocalLoss:
    """A focal loss on binary decisions."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    weight: NotNegative = 10.0
    """Weight of the objective."""
    gamma: NotNegative = 1.0
    """Focusing power; 0 for plain cross-entropy."""
    alpha: Share = 0.75
    """Weight of the positives; 0.5 for equal weights."""


@dataclass(frozen=True)
class PlainLoss:
    """A cross-entropy loss."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    weight: NotNegative = 1.0
    """Weight of the objective."""


@dataclass(frozen=True)
class LossOptions:
    """The four objectives."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    weighting: Literal["fixed", "uncertainty", "gradnorm"] = "fixed"
    """Fixed weights, or weights that are learned from the given ones on."""
    dynamic: bool = False
    """Whether gamma and alpha of both focal losses follow the label rate of each epoch."""
    speaking: FocalLoss = field(default_factory=FocalLoss)
    update: FocalLoss = field(default_factory=FocalLoss)
    state: PlainLoss = field(default_factory=PlainLoss)
    response: PlainLoss = field(default_factory=PlainLoss)


@dataclass(frozen=True)
class Rates:
    """Multiples of the learning rate."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    heads: Positive = 1.0
    """Of the decision heads."""
    rows: Positive = 1.0
    """Of the rows of new tokens in the embedding table and the LM head."""
    vision: Positive = 1.0
    """Of the vision tower and the connector."""
    adapters: Positive = 1.0
    """Of LoRA adapters."""


@dataclass(frozen=True)
class TrainOptions:
    """Optimizer and run."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    optimiser: str = "adamw_torch"
    """muon, or any name that transformers knows."""
    learning_rate: Positive = 1.0e-3
    """Learning rate after the warm-up; a cosine takes it down to zero."""
    rates: Rates = field(default_factory=Rates)
    weight_decay: NotNegative = 0.05
    """Weight decay."""
    beta1: Below1 = 0.9
    """First beta of AdamW, momentum of Muon."""
    beta2: Below1 = 0.98
    """Second beta of AdamW."""
    warmup: Below1 = 0.05
    """Share of the training in which the learning rate rises."""
    grad_clip: NotNegative = 1.0
    """Largest norm of the gradient; 0 for no limit."""
    batch_size: Count = 8
    """Windows of a forward pass, in each process."""
    batch_tokens: Count | None = None
    """Tokens of a forward pass with padding, in each process: as many windows as fit, in place of batch_size."""
    accumulation: Count = 1
    """Forward passes of an optimizer step."""
    max_steps: Count = 2000
    """Optimizer steps."""
    minutes: Positive | None = None
    """Minutes after which training ends; null for max_steps."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """bfloat16: mixed precision; tf32: float32 in storage, faster products on newer NVIDIA cards."""
    gradient_checkpointing: bool = False
    """Less memory for a third more time."""
    save_every: Count = 200
    """Steps between two checkpoints that an interrupted training continues from."""
    log_every: Count = 10
    """Steps between two lines of the log."""
    tensorboard: bool = False
    """Event files under OUTPUT/tensorboard."""
    fsdp: str | None = None
    """As transformers takes it, e.g. "full_shard auto_wrap"."""
    deepspeed: str | None = None
    """Path of a DeepSpeed configuration."""
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0
    """Random seed."""


@dataclass(frozen=True)
class EvalOptions:
    """A closed-loop replay of validation episodes, by the runner and the metrics that evaluation uses."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    split: str = "val"
    """The split to replay."""
    episodes: Count | None = 12
    """Episodes, spread over the split; null for all."""
    every: Count | None = None
    """Steps between two evaluations; null for none while training."""
    metric: str = "speaking_event_f1@2s"
    """The metric that decides which checkpoint is the best."""
    patience: Count | None = None
    """Evaluations without a better one after which training ends and the best is taken; null for no limit."""
    thresholds: bool = True
    """Whether both thresholds are chosen on the split after training, and stored in the checkpoint."""
    evaluator: str = "prospect_eval"
    """The installed evaluator that computes the metric."""


@dataclass(frozen=True)
class Config:
    """Everything that `prospect train` can be told, resolved."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    model: ModelOptions = field(default_factory=ModelOptions)
    data: DataOptions = field(default_factory=DataOptions)
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    train: TrainOptions = field(default_factory=TrainOptions)
    init: str | None = None
    """A checkpoint to continue from; null for model.weights, or random weights."""
    output: str = "runs/train"
    """The folder of the checkpoint."""
    eval: EvalOptions = field(default_factory=EvalOptions)

"""PROSPECT core: the model, its training and the stream runner of proactive video assistants.

Importing this package loads neither torch nor transformers; each exported class loads them on first
use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "DSTSmolVLM": "prospect_core.model.modeling",
    "DSTSmolVLMConfig": "prospect_core.model.configuration",
    "DSTTrainingDataset": "prospect_core.train.data.training_dataset",
    "DSTDataCollator": "prospect_core.train.data.collator",
    "DSTTrainer": "prospect_core.train.trainer",
    "VLMStreamRunner": "prospect_core.stream.runner",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

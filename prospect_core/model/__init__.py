"""The model; importing this package registers it with transformers' Auto classes."""

from prospect_core.model.configuration import DSTSmolVLMConfig
from prospect_core.model.modeling import CheckpointError, DSTSmolVLM

__all__ = ["CheckpointError", "DSTSmolVLM", "DSTSmolVLMConfig"]

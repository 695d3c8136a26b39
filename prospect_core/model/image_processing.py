"""Frames as normalized tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

#: a black pixel as the model sees it
BLACK = -1.0


def process_images_to_pixels(frames: np.ndarray) -> Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float32 in -1..1, so that a black frame is not zero."""
    return normalize_image_pixels(torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2))


def normalize_image_pixels(pixels: Tensor) -> Tensor:
    """Pixels 0..255 of any shape as float32 in -1..1, on the device where they are."""
    return pixels.float().div_(127.5).add_(BLACK)

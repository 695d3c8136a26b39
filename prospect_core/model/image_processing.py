"""Convert frames to normalized tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

#: normalized value of a black pixel
BLACK = -1.0


def process_images_to_pixels(frames: np.ndarray) -> Tensor:
    """Convert (N, H, W, 3) uint8 to (N, 3, H, W) float32 in -1..1; a black frame is not zero."""
    return normalize_image_pixels(torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2))


def normalize_image_pixels(pixels: Tensor) -> Tensor:
    """Convert pixels 0..255 of any shape to float32 in -1..1 on the same device."""
    return pixels.float().div_(127.5).add_(BLACK)

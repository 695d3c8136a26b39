"""torchvision beside a torch that is built for other hardware.

The torchvision of the package index is built for GPUs. Beside a torch for CPUs its compiled operators cannot be loaded, and
its import fails for want of two names. Hugging Face's processors use none: they scale and normalise in Python.
"""

from __future__ import annotations


def make_importable() -> None:
    """Declare the operators that the import of torchvision asks for, unless they can be loaded."""
    import torch

    if torch.version.cuda is not None or hasattr(torch.ops.torchvision, "nms"):
        return
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

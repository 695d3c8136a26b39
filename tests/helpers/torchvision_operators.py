"""Make torchvision importable next to a torch build for other hardware.

The torchvision of the package index is built for GPUs. Next to a torch build for CPUs its compiled
operators cannot be loaded, and its import fails because two names are missing. Hugging Face's
processors use none of them: they scale and normalise in Python.
"""

from __future__ import annotations


def make_importable() -> None:
    """Declare the operators that the import of torchvision needs, unless they can be loaded."""
    import torch

    if torch.version.cuda is not None or hasattr(torch.ops.torchvision, "nms"):
        return
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

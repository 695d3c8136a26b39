"""Fit the connector of another vision tower to a text model.

    prospect train init=runs/both model.tower=runs/2-held model.fit_tower=400 data=data/steps

A text model that has learned to read the tokens of one tower cannot read those of another one: they
represent the same content in other directions. The connector is one linear map. Least squares on
the pictures of some videos find the map whose tokens come closest to those of the text model's own
tower.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from prospect_core.model.image_processing import normalize_image_pixels
from prospect_core.model.modeling import DSTSmolVLM

#: ridge term relative to the mean square of the inputs; keeps the solution small for correlated
#: inputs
RIDGE = 1e-4
#: every HELD_OUT-th video measures the quality of the fit instead
HELD_OUT = 10


@torch.no_grad()
def fit_connector(seeing: DSTSmolVLM, own: DSTSmolVLM, videos: Iterable[np.ndarray]) -> float | None:
    """Fit the connector of ``seeing`` in place.

    Args:
        seeing: Model whose connector changes.
        own: Model whose tokens are the target; both must have the same number of tokens per frame.
        videos: Pictures (F, size, size, 3) uint8 of each video.

    Returns:
        Explained share of the target tokens' variance, at most 1, on held-out videos; None without
        any.
    """
    squares, products, held_out = torch.zeros(()), torch.zeros(()), []
    for number, pictures in enumerate(videos, 1):
        pixels = normalize_image_pixels(torch.from_numpy(pictures).permute(0, 3, 1, 2))
        inputs, wanted = _inputs(seeing, pixels), own.encode_frames(pixels).flatten(0, 1).double()
        if number % HELD_OUT == 0:
            held_out.append((inputs, wanted))
            continue
        squares = squares + inputs.T @ inputs
        products = products + inputs.T @ wanted
    ridge = RIDGE * squares.diagonal().mean() * torch.eye(len(squares), dtype=torch.double)
    weight_IO = torch.linalg.solve(squares + ridge, products)
    seeing.model.connector.modality_projection.proj.weight.copy_(weight_IO.T)
    if not held_out:
        return None
    inputs, wanted = torch.cat([x for x, _ in held_out]), torch.cat([y for _, y in held_out])
    missed = (inputs @ weight_IO - wanted).square().sum()
    return float(1 - missed / (wanted - wanted.mean(0)).square().sum())


def _inputs(model: DSTSmolVLM, pixels_N3HW: Tensor) -> Tensor:
    """Return the inputs of the connector's map for each token of a frame (N x I, width).

    Pooling before the map gives the same result as after it.
    """
    patches = model.model.vision_model(pixel_values=pixels_N3HW).last_hidden_state
    connector = model.model.connector
    shuffled_NGW = connector.pixel_shuffle(patches, connector.scale_factor)
    frames, count, width = shuffled_NGW.shape
    side, target = round(count**0.5), round(model.config.tokens_per_frame**0.5)
    grid = shuffled_NGW.transpose(1, 2).reshape(frames, width, side, side)
    return functional.adaptive_avg_pool2d(grid, target).flatten(2).transpose(1, 2).flatten(0, 1).double()

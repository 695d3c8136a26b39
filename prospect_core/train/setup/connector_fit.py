"""A tower that learnt elsewhere, fitted so that a text model finds in its frames what it is used to find.

    prospect train init=runs/both model.tower=runs/2-held model.fit_tower=400 data=data/steps

A text model that has learnt to read one tower's tokens understands nothing of another one's: they mean the same in other directions.
The connector is one linear map, so the best one is found at once, by least squares on the pictures of some videos: each token is to
be what the text model's own tower gives there.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from prospect_core.model.image_processing import normalize_image_pixels
from prospect_core.model.modeling import DSTSmolVLM

#: of the mean square of the inputs, added to each of them: keeps the solution small where they hang together
RIDGE = 1e-4
#: one video in so many is not fitted, but tells how well the others are
HELD_OUT = 10


@torch.no_grad()
def fit_connector(seeing: DSTSmolVLM, own: DSTSmolVLM, videos: Iterable[np.ndarray]) -> float | None:
    """Change ``seeing``'s connector in place; ``videos`` are pictures (F, size, size, 3) uint8.

    Both must give equally many tokens a frame. Returns the share (up to 1) of the own tokens' variance that is met, on videos
    that were left out; None where there were none.
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
    """What the connector's map is given for each token of a frame (N x I, width): pooling may as well come first."""
    patches = model.model.vision_model(pixel_values=pixels_N3HW).last_hidden_state
    connector = model.model.connector
    shuffled_NGW = connector.pixel_shuffle(patches, connector.scale_factor)
    frames, count, width = shuffled_NGW.shape
    side, target = round(count**0.5), round(model.config.tokens_per_frame**0.5)
    grid = shuffled_NGW.transpose(1, 2).reshape(frames, width, side, side)
    return functional.adaptive_avg_pool2d(grid, target).flatten(2).transpose(1, 2).flatten(0, 1).double()

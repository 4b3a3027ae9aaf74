"""Random crops and mirrored images, drawn for each sample of each run anew.

A sample is padded by ``crop`` pixels on each side with the mean colour (0 of normalised images), a
window of the image's size is cut out at a uniform place, and it is mirrored with probability 1/2.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


class Crops(NamedTuple):
    """How images are varied.

    Attributes:
        shape: Channels, rows, columns of an image.
        crop: Most pixels by which it is moved, up, down and sideways.
        flip: Whether it may be mirrored.
    """

    shape: tuple[int, int, int]
    crop: int
    flip: bool


def varied(
    inputs: Float[Tensor, "run batch feature"],
    crops: Crops,
    generators: Sequence[np.random.Generator],
) -> Float[Tensor, "run batch feature"]:
    """Return images moved and mirrored; the generator of a run draws for its own images."""
    count, span = inputs.shape[1], 2 * crops.crop + 1
    places = np.stack([rng.integers(0, span, (count, 2)) for rng in generators])
    mirrored = np.stack([rng.integers(0, 2, count) for rng in generators]) * crops.flip
    images = inputs.reshape(-1, *crops.shape)
    _, rows, columns = crops.shape
    top, left = torch.from_numpy(places.reshape(-1, 2)).to(images.device).unbind(1)
    flips = torch.from_numpy(mirrored.reshape(-1).astype(bool)).to(images.device)
    row = top[:, None] + torch.arange(rows, device=images.device)
    column = left[:, None] + torch.arange(columns, device=images.device)
    column = torch.where(flips[:, None], column.flip(1), column)
    padded = F.pad(images, (crops.crop,) * 4).movedim(1, -1)
    each = torch.arange(len(images), device=images.device)[:, None, None]
    found = padded[each, row[:, :, None], column[:, None, :]]
    return found.movedim(-1, 1).reshape(inputs.shape)

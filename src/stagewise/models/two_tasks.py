"""A network for two tasks of which a chosen fraction of the parameters serves both.

    h = ((1 + s u) W x + b)^2 * m_t,   logits = V h

with x the one-hot operands, t the task, s = 1 or -1 for the first or second task, and m_t the mask
of the hidden units that serve task t, a buffer. Squares let so small a network learn the rule from
few numbers, where rectified units learn the answers by heart (Gromov 2023, arXiv:2301.02679).
Everything belongs to a hidden unit: its row of W,
its entries of u and b, its column of V. So the fraction of a task's parameters that the other task
uses as well is the fraction of its units that it shares, exactly, and where no unit is shared the
two tasks have disjoint parameters.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from stagewise.errors import ConfigError


class TwoTaskNet(nn.Module):
    """Each task has ``width`` units, of which ``shared`` serve the other one too.

    The first task has units 0 to width - 1, the second as many from width - shared on. There are
    2 width units whatever is shared, so that all fractions have tensors of one shape; those left
    over serve no task.

    Args:
        modulus: p: 2 p inputs, p classes.
        width: Hidden units of each task.
        shared: Units of both tasks, 0 to width.

    Raises:
        ConfigError: ``shared`` is out of range.
    """

    def __init__(self, modulus: int, width: int, shared: int) -> None:
        """Make the parameters, zero; ``random_start`` draws them."""
        super().__init__()
        if not 0 <= shared <= width:
            raise ConfigError(f"{shared} shared units of {width}; allowed are 0 to {width}")
        units = 2 * width
        self.inward = nn.Parameter(torch.zeros(units, 2 * modulus))
        self.gain = nn.Parameter(torch.zeros(units))
        self.bias = nn.Parameter(torch.zeros(units))
        self.readout = nn.Parameter(torch.zeros(modulus, units))
        unit = torch.arange(units)
        second = (unit >= width - shared) & (unit < 2 * width - shared)
        self.register_buffer("mask", torch.stack([unit < width, second]).float())

    def forward(self, inputs: Float[Tensor, "*sample input"]) -> Float[Tensor, "*sample answer"]:
        """Return the logits; the last two inputs are the one-hot task."""
        task = inputs[..., -2:]
        sign = task[..., :1] - task[..., 1:]
        hidden = (1 + sign * self.gain) * (inputs[..., :-2] @ self.inward.mT) + self.bias
        return (hidden.square() * (task @ self.mask)) @ self.readout.mT


def shared_units(width: int, fraction: float) -> int:
    """Return how many units are shared.

    Raises:
        ConfigError: The fraction of the width is no whole number of units.
    """
    count = round(fraction * width)
    if not 0 <= fraction <= 1 or not math.isclose(count, fraction * width, abs_tol=1e-9):
        raise ConfigError(
            f"a fraction of {fraction} of {width} units; take one from 0 to 1 that gives a whole "
            "number of units"
        )
    return count


def random_start(
    modulus: int, width: int, generators: Sequence[np.random.Generator]
) -> Float[Tensor, "run parameter"]:
    """Normal weights, float32: W of variance 1/2 (two inputs are 1), V of 1/width; u and b are 0.

    The same numbers whatever is shared. The order is that of the module's parameters.
    """
    units, rows = 2 * width, []
    for rng in generators:
        inward = rng.normal(0, math.sqrt(0.5), 2 * modulus * units)
        readout = rng.normal(0, 1 / math.sqrt(width), modulus * units)
        rows.append(np.concatenate([inward, np.zeros(2 * units), readout]))
    return torch.from_numpy(np.stack(rows).astype(np.float32))

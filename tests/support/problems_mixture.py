"""The one-dimensional double well: its distribution, its losses' moments, a chain's memory.

Barrier and step are such that chains change phase within tens of steps.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import softmax

from stagewise.models.double_well import DoubleWellLoss
from stagewise.sampling.potential import Potential
from stagewise.theory.mixture import DoubleWell

WELL = DoubleWell(n_beta=10.0, localization=1.0, barrier=0.1, tilt=0.6)
CONTROLS = (-1.0, 0.0, 0.5)
#: Nodes that resolve a step's noise, and more steps than any chain needs.
COARSE, MANY = 301, 2**14


def well_potential(controls: tuple[float, ...] = CONTROLS) -> Potential:
    """The sampler's potential of the double well, one checkpoint per control."""
    loss = DoubleWellLoss(
        torch.tensor(controls, dtype=torch.float64),
        barrier=WELL.barrier,
        slopes=WELL.slopes,
        tilt=WELL.tilt,
        offsets=None,
        weights=None,
    )
    centre = torch.zeros(len(controls), 1, dtype=torch.float64)
    return Potential(loss, centre, WELL.n_beta, WELL.localization)


def grid(points: int = 2001) -> np.ndarray:
    """Even nodes on which sums over the density are exact to rounding."""
    reach = WELL.reach()
    return np.linspace(-reach, reach, points)


def density(control: float, nodes: np.ndarray) -> np.ndarray:
    """The exact law's probability of every node."""
    return softmax(-WELL.potential(nodes, control))


def distribution(control: float, at: np.ndarray) -> np.ndarray:
    """The exact distribution function, by cumulative trapezoids and linear interpolation."""
    nodes = grid(20_001)
    mass = density(control, nodes)
    return np.interp(at, nodes, np.cumsum(mass) - mass / 2)


@cache
def steps_to_forget(step_size: float, adjusted: bool, tolerance: float) -> int:
    """Steps after which a chain from w* = 0 is as good as stationary at every control.

    The chain's distribution on a grid is iterated until it is within ``tolerance`` of its limit in
    total variation.
    """
    return max(_steps(control, step_size, adjusted, tolerance) for control in CONTROLS)


def _steps(control: float, step_size: float, adjusted: bool, tolerance: float) -> int:
    nodes = grid(COARSE)
    move = _proposal(control, step_size, nodes)
    if adjusted:
        move = _adjusted(move, density(control, nodes))
    now, limit = np.zeros(nodes.size), _limit(move)
    now[nodes.size // 2] = 1
    for step in range(1, MANY):
        now = move @ now
        if np.abs(now - limit).sum() < 2 * tolerance:
            return step
    raise AssertionError("the chain does not forget its start")


def _limit(move: np.ndarray) -> np.ndarray:
    """Where a chain that starts at w* = 0 ends."""
    return np.linalg.matrix_power(move, MANY)[:, len(move) // 2]


def _proposal(control: float, step_size: float, nodes: np.ndarray) -> np.ndarray:
    """Langevin's transition matrix (to, from)."""
    mean = nodes - step_size / 2 * WELL.potential_gradient(nodes, control)
    return softmax(-((nodes[:, None] - mean) ** 2) / (2 * step_size), axis=0)


def _adjusted(proposal: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The same with Metropolis's rejections, for the law ``weight``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = weight[:, None] * proposal.T / (weight[None, :] * proposal)
    move = proposal * np.minimum(1, np.nan_to_num(ratio, nan=0.0, posinf=1.0))
    np.fill_diagonal(move, 0)
    return move + np.diag(1 - move.sum(axis=0))


class ProductMoments(NamedTuple):
    """Mean, deviation and skewness of (l_i - E l_i)(l_j - E l_j), each (sample, sample)."""

    mean: np.ndarray
    deviation: np.ndarray
    skewness: np.ndarray


@cache
def exact_products(control: float) -> ProductMoments:
    """Under exp(-U)."""
    nodes = grid()
    return _products(control, nodes, density(control, nodes))


@cache
def sgld_products(control: float, step_size: float) -> ProductMoments:
    """Under the stationary law of SGLD itself."""
    nodes = grid(COARSE)
    return _products(control, nodes, _limit(_proposal(control, step_size, nodes)))


def _products(control: float, nodes: np.ndarray, weight: np.ndarray) -> ProductMoments:
    losses = WELL.losses(nodes, control)
    centred = losses - weight @ losses
    products = centred[:, :, None] * centred[:, None, :]
    mean = np.tensordot(weight, products, 1)
    deviation = np.sqrt(np.tensordot(weight, (products - mean) ** 2, 1))
    skewness = np.tensordot(weight, (products - mean) ** 3, 1) / deviation**3
    return ProductMoments(mean, deviation, skewness)

"""Influence on a whole training run: its derivative with respect to an item's loss weight.

Run p descends L^(p) = (1/n) sum_i (1 + eta_p [i = p]) l_i. Its losses at step t are functions of
eta_p, and the influence of p on j is d l_j(t) / d eta_p at eta_p = 0: negative where more of p
would have lowered the loss of j. It is computed in forward mode through the discrete steps, exact
for the run that is made (learning rate included), and enters both the input-output correlations
and the inputs' own.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad

from stagewise.training.linear_net import constant_weights, item_losses, train


def trajectory_influence(
    W1: Float[Tensor, "run hidden item"],
    W2: Float[Tensor, "run feature hidden"],
    Y: Float[Tensor, "feature item"],
    *,
    learning_rate: float,
    record_steps: Sequence[int],
) -> Float[Tensor, "run checkpoint item item"]:
    """influence[r, t, p, j] = d l_j(t) / d eta_p for run r started at (W1, W2).

    Forward mode through the training loop itself, every (run, p) with its own copy of the state.
    """
    items = Y.shape[1]
    one_item = torch.eye(items, dtype=Y.dtype).repeat(len(W1), 1)
    with forward_ad.dual_level():
        weights = forward_ad.make_dual(torch.ones_like(one_item), one_item)
        losses = _losses(W1, W2, Y, weights, learning_rate=learning_rate, record_steps=record_steps)
        tangent = forward_ad.unpack_dual(losses).tangent
    return tangent.unflatten(0, (len(W1), items)).transpose(1, 2)


def finite_difference(
    W1: Float[Tensor, "run hidden item"],
    W2: Float[Tensor, "run feature hidden"],
    Y: Float[Tensor, "feature item"],
    *,
    learning_rate: float,
    record_steps: Sequence[int],
    change: float = 1e-5,
) -> Float[Tensor, "run checkpoint item item"]:
    """The same derivative by central differences: two retrainings per (run, item), eta = +-change.

    Truncation is of order change^2 and rounding of order 1e-16/change, each times how strongly the
    run amplifies small differences.
    """
    items = Y.shape[1]
    losses = partial(_losses, W1, W2, Y, learning_rate=learning_rate, record_steps=record_steps)
    tilt = change * torch.eye(items, dtype=Y.dtype).repeat(len(W1), 1)
    slope = (losses(1 + tilt) - losses(1 - tilt)) / (2 * change)
    return slope.unflatten(0, (len(W1), items)).transpose(1, 2)


def relative_error(
    value: Float[np.ndarray, "*run checkpoint item item"],
    reference: Float[np.ndarray, "*run checkpoint item item"],
) -> float:
    """Largest over (run, p, j) of max_t |value - reference| / max_t |reference|."""
    scale = np.maximum(np.abs(reference).max(axis=-3), np.finfo(float).tiny)
    return float((np.abs(value - reference).max(axis=-3) / scale).max())


def _losses(
    W1: Float[Tensor, "run hidden item"],
    W2: Float[Tensor, "run feature hidden"],
    Y: Float[Tensor, "feature item"],
    weights: Float[Tensor, "run*item item"],
    *,
    learning_rate: float,
    record_steps: Sequence[int],
) -> Float[Tensor, "run*item checkpoint item"]:
    """Losses at the recorded steps of one run for every (run, item), with weights of its own."""
    first, second = (layer.repeat_interleave(Y.shape[1], 0) for layer in (W1, W2))
    run = train(
        first,
        second,
        Y,
        constant_weights(weights),
        learning_rate=learning_rate,
        record_steps=record_steps,
    )
    return item_losses(*run, Y)

"""Full-batch gradient descent of two-layer linear nets, many runs as one batch.

Items are one-hot, so yhat_i = W2 W1 e_i, l_i = 1/2 |y_i - yhat_i|^2, and a run descends

    L = (1/n) sum_i c_i(t) l_i.

The divisor n is kept whatever the weights c are: leaving item p out is c_p = 0 and nothing else.
One run's numbers do not depend on what runs beside it, down to the last bit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


class Recorded(NamedTuple):
    """States of a batch of runs after the recorded numbers of steps."""

    W1: Float[Tensor, "run checkpoint hidden item"]
    W2: Float[Tensor, "run checkpoint feature hidden"]


class WeightSchedule(NamedTuple):
    """Loss weights that are constant between steps: ``weights[k]`` from step ``starts[k]`` on.

    ``starts`` ascends; the last weights hold to the end.
    """

    starts: tuple[int, ...]
    weights: Float[Tensor, "segment run item"]

    def weight_at(self, step: int) -> Float[Tensor, "run item"]:
        """The weights that step number ``step`` (the first is 0) descends with."""
        segment = sum(start <= step for start in self.starts) - 1
        if segment < 0:
            raise ValueError(f"no weights before step {self.starts[0]}; step is {step}")
        return self.weights[segment]


def constant_weights(weights: Float[Tensor, "run item"]) -> WeightSchedule:
    """The same weights during the whole run."""
    return WeightSchedule((0,), weights[None])


def gradient_step(
    W1: Float[Tensor, "run hidden item"],
    W2: Float[Tensor, "run feature hidden"],
    Y: Float[Tensor, "feature item"],
    weights: Float[Tensor, "run item"],
    learning_rate: float,
) -> tuple[Float[Tensor, "run hidden item"], Float[Tensor, "run feature hidden"]]:
    """One step of gradient descent on L = (1/n) sum_i weights_i l_i.

    With R = (W2 W1 - Y) diag(weights) / n: W1 <- W1 - lr W2^T R and W2 <- W2 - lr R W1^T.
    """
    scale = weights * (learning_rate / Y.shape[1])
    residual = (torch.bmm(W2, W1) - Y) * scale[:, None, :]
    return W1 - torch.bmm(W2.mT, residual), W2 - torch.bmm(residual, W1.mT)


def train(
    W1: Float[Tensor, "run hidden item"],
    W2: Float[Tensor, "run feature hidden"],
    Y: Float[Tensor, "feature item"],
    schedule: WeightSchedule,
    *,
    learning_rate: float,
    record_steps: Sequence[int],
    first_step: int = 0,
) -> Recorded:
    """Trains every run of the batch and records its weights.

    A pure function of its tensors, so that forward mode can go through the whole run.

    Args:
        W1: First layers after ``first_step`` steps.
        W2: Second layers after ``first_step`` steps.
        Y: Targets of all runs.
        schedule: Loss weight of every item, run and step.
        learning_rate: Step length of gradient descent; tau = n / learning_rate steps.
        record_steps: Numbers of steps, strictly ascending, from ``first_step`` on, after which
            the state is kept; the run ends at the last.
        first_step: Number of steps that the given state has behind it: a run resumed from a
            recorded state is the run that was never interrupted, to the bit.

    Raises:
        ValueError: ``record_steps`` does not ascend, or begins before ``first_step``.
    """
    if list(record_steps) != sorted(set(record_steps)) or min(record_steps) < first_step:
        raise ValueError(f"record_steps must ascend from {first_step}; they are {record_steps}")
    recorded, begin = [], first_step
    for stop in record_steps:
        for step in range(begin, stop):
            W1, W2 = gradient_step(W1, W2, Y, schedule.weight_at(step), learning_rate)
        recorded.append((W1, W2))
        begin = stop
    return Recorded(*(torch.stack(layer, dim=1) for layer in zip(*recorded, strict=True)))


def item_losses(
    W1: Float[Tensor, "*batch hidden item"],
    W2: Float[Tensor, "*batch feature hidden"],
    Y: Float[Tensor, "feature item"],
) -> Float[Tensor, "*batch item"]:
    """l_i = 1/2 |y_i - W2 W1 e_i|^2 of every item, in nats (unit noise)."""
    return 0.5 * (W2 @ W1 - Y).square().sum(dim=-2)


def mode_strengths(
    W1: Float[Tensor, "*batch hidden item"],
    W2: Float[Tensor, "*batch feature hidden"],
    U: Float[Tensor, "feature mode"],
    Vt: Float[Tensor, "mode item"],
) -> Float[Tensor, "*batch mode"]:
    """u_k^T W2 W1 v_k of every mode k."""
    return ((U.mT @ W2) * (W1 @ Vt.mT).mT).sum(dim=-1)


def growing_strengths(
    W1: Float[Tensor, "*batch hidden item"],
    W2: Float[Tensor, "*batch feature hidden"],
    U: Float[Tensor, "feature mode"],
    Vt: Float[Tensor, "mode item"],
) -> Float[Tensor, "*batch mode"]:
    """|W1 v_k + W2^T u_k|^2 / 4, the part of a small initial state that grows into mode k.

    From small weights both layers first follow d(W1 v_k) = s_k W2^T u_k and its mirror image: their
    mean grows, their half difference dies out. For balanced aligned weights this *is* u_k^T W v_k;
    for Gaussian ones it is what a_k(0) of the closed form has to be (u_k^T W v_k may be negative).
    """
    both = (W1 @ Vt.mT).mT + U.mT @ W2
    return both.square().sum(dim=-1) / 4


def gaussian_init(
    features: int, items: int, hidden: int, scale: float, generators: Sequence[np.random.Generator]
) -> tuple[Float[Tensor, "run hidden item"], Float[Tensor, "run feature hidden"]]:
    """Independent N(0, scale^2) weights, one run for each generator, W1 drawn before W2."""
    shapes = ((hidden, items), (features, hidden))
    drawn = [[rng.normal(0.0, scale, shape) for shape in shapes] for rng in generators]
    first, second = (torch.from_numpy(np.stack(layer)) for layer in zip(*drawn, strict=True))
    return first, second

"""Retraining of a convex classifier to the minimum, deterministic, many sets of samples at once.

Run k minimises F_k(w) = (1/n) Σ_i c_ki l_i(w) + (λ/2)|w|², the divisor n kept. Where the weights c
are those of all samples but for a few, the curvature M of the full problem at its minimum is nearly
that of F_k, so that

    w ← w - M^-1 ∇F_k(w)

converges linearly, by about the share of the weight that is gone in each iteration.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from stagewise.errors import ConfigError, DivergenceError
from stagewise.models.classifier import ClassifierLoss

#: Runs whose losses of all samples are held at once.
CHUNK = 50


class Minimum(NamedTuple):
    """Minima, and what is left of their gradients.

    Attributes:
        weights: w of each run.
        residual: Largest norm of a gradient.
    """

    weights: Float[Tensor, "run parameter"]
    residual: float


def newton(
    loss: ClassifierLoss,
    curvature: Callable[[ClassifierLoss, Tensor], Tensor],
    weight_decay: float,
    *,
    tolerance: float = 1e-11,
    iterations: int = 100,
) -> Float[Tensor, " parameter"]:
    """Return the minimum of L_n + (λ/2)|w|² by Newton's method from zero weights.

    A step that does not lower what is minimised is halved.

    Args:
        loss: Convex in the weights, in float64.
        curvature: Hessian of the mean loss at w, without the weight decay's.
        weight_decay: λ > 0, nats per squared unit of weight.
        tolerance: Norm of the gradient, nats per unit of weight, at which it is done.
        iterations: Most iterations.

    Raises:
        ConfigError: λ is not positive, or the loss is not in float64.
        DivergenceError: It has not converged.
    """
    _check(loss, weight_decay)
    w = loss.inputs.new_zeros(loss.parameter_count)

    def descended(w: Tensor) -> tuple[float, Tensor]:
        mean, gradient = loss.mean_and_gradient(w[None, None], None)
        return float(mean) + weight_decay / 2 * float(w @ w), gradient[0, 0] + weight_decay * w

    value, gradient = descended(w)
    for _ in range(iterations):
        if float(gradient.norm()) < tolerance:
            return w
        damped = curvature(loss, w)
        damped.diagonal().add_(weight_decay)
        step = torch.linalg.solve(damped, gradient)
        for _ in range(30):
            lower, slope = descended(w - step)
            if lower <= value + 1e-14:
                break
            step = step / 2
        w, value, gradient = w - step, lower, slope
    raise DivergenceError(
        f"after {iterations} iterations the gradient's norm is {float(gradient.norm()):.1e}, not "
        f"below {tolerance:.1e}; raise weight_decay ({weight_decay})"
    )


def minimise(
    loss: ClassifierLoss,
    start: Float[Tensor, " parameter"],
    weights: Float[Tensor, "run sample"],
    matrix: Float[Tensor, "parameter parameter"],
    weight_decay: float,
    *,
    tolerance: float = 1e-10,
    iterations: int = 200,
) -> Minimum:
    """Return the minimum of every run.

    Args:
        loss: Convex in the weights, in float64.
        start: Where all runs begin.
        weights: c of every sample in each run.
        matrix: Hessian of the mean loss, without the weight decay's, near the minima.
        weight_decay: λ > 0, nats per squared unit of weight.
        tolerance: Norm of the gradient, nats per unit of weight, at which a run is done.
        iterations: Most iterations.

    Raises:
        ConfigError: λ is not positive, or the loss is not in float64.
        DivergenceError: A run has not converged.
    """
    _check(loss, weight_decay)
    damped = matrix + weight_decay * torch.eye(len(matrix), dtype=matrix.dtype)
    factor = torch.linalg.cholesky(damped)
    found, worst = [], 0.0
    for part in weights.split(CHUNK):
        w = start.repeat(len(part), 1)
        for _ in range(iterations):
            gradient = _gradient(loss, w, part).add_(w, alpha=weight_decay)
            residual = float(gradient.norm(dim=1).max())
            if residual < tolerance:
                break
            w -= torch.cholesky_solve(gradient.mT, factor).mT
        else:
            raise DivergenceError(
                f"after {iterations} iterations a gradient's norm is {residual:.1e}, not below "
                f"{tolerance:.1e}; leave fewer samples out, or raise weight_decay"
            )
        found.append(w)
        worst = max(worst, residual)
    return Minimum(torch.cat(found), worst)


def _check(loss: ClassifierLoss, weight_decay: float) -> None:
    if weight_decay <= 0 or loss.inputs.dtype != torch.float64:
        raise ConfigError(
            f"weight_decay {weight_decay} and inputs of {loss.inputs.dtype}; the minimum is unique "
            "with a positive weight_decay, and needs float64"
        )


def _gradient(loss: ClassifierLoss, w: Tensor, weights: Tensor) -> Tensor:
    everything = torch.arange(loss.sample_count).expand(len(w), -1)
    return loss.mean_and_gradient(w[None], everything, weights)[1][0]

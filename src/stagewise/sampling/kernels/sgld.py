"""Stochastic gradient Langevin dynamics.

    w' = w - (e/2) grad U(w) + sqrt(e) xi,   xi ~ N(0, I)

e is the step size, U a potential whose gradient may be a minibatch's. Stable while e times the
largest curvature of U is below 4; on a quadratic of curvature h the chain's variance is
1/(h (1 - e h / 4)), not 1/h.

Source: Welling & Teh 2011 (ICML), "Bayesian learning via stochastic gradient Langevin dynamics".
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stagewise.sampling.potential import Potential, number
from stagewise.sampling.streams import Noise


class State(NamedTuple):
    """What the next step needs: the position (checkpoint, chain, parameter)."""

    position: Tensor


class Info(NamedTuple):
    """What a person wants: the batch's mean loss at the old position (checkpoint, chain)."""

    mean_loss: Tensor


def drift_scale(step_size: float) -> float:
    """Return e/2, the factor of grad U."""
    return 0.5 * step_size


def noise_scale(step_size: float) -> float:
    """Return sqrt(e), the factor of the standard normal noise."""
    return math.sqrt(step_size)


@dataclass(frozen=True)
class Kernel:
    """SGLD of one step size.

    Attributes:
        step_size: e > 0, in squared units of weight.
    """

    name: ClassVar[str] = "sgld"
    uses_uniform: ClassVar[bool] = False

    step_size: float

    def __post_init__(self) -> None:
        """Check the settings."""
        number(self.step_size, "step_size")

    def init(
        self, potential: Potential, position: Float[Tensor, "checkpoint chain parameter"]
    ) -> State:
        """Start a chain at ``position``."""
        return State(position)

    def step(
        self,
        potential: Potential,
        state: State,
        batch: Int[Tensor, "chain batch"] | None,
        noise: Noise,
    ) -> tuple[State, Info]:
        """Return the next state; the old one is left as it was."""
        w = state.position
        mean, raw = potential.loss_gradient(w, batch)
        gradient = potential.assemble(raw, w, batch)
        moved = torch.add(w, gradient, alpha=-drift_scale(self.step_size), out=gradient)
        return State(moved.add_(noise.normal, alpha=noise_scale(self.step_size))), Info(mean)

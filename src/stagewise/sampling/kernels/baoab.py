"""Underdamped Langevin dynamics, split as B A O A B: no bias in position on a quadratic.

With the time step h, h^2 = e/2, and c = 1 - f:

    v <- v - (h/2) grad U(w),  w <- w + (h/2) v,  v <- c v + sqrt(1 - c^2) xi,
    w <- w + (h/2) v,          v <- v - (h/2) grad U(w),      xi ~ N(0, I)

The last gradient is the next step's first, so that a step costs one. e and f are those of the
underdamped kernel: at the same e and f both move alike, to first order. On a quadratic potential
with full gradients the law of w is exactly exp(-U), at any stable step: e times the largest
curvature of U below 8. Minibatch noise heats the velocity by about (h^2/(1 - c^2)) of its variance,
so that little friction wants control variates, the recentred potential or full gradients.

Source: Leimkuhler & Matthews 2013, arXiv:1203.5428 (the splitting and its exactness).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stagewise.errors import ConfigError
from stagewise.sampling.potential import Potential, number
from stagewise.sampling.streams import Noise


class State(NamedTuple):
    """What the next step needs: position, velocity, and grad U at the position.

    Each is (checkpoint, chain, parameter); masses are one.
    """

    position: Tensor
    velocity: Tensor
    gradient: Tensor


class Info(NamedTuple):
    """What a person wants: the batch's mean loss at the new position (checkpoint, chain)."""

    mean_loss: Tensor


def drift_scale(step_size: float) -> float:
    """Return h/2, the factor of grad U in each kick and of v in each drift."""
    return 0.5 * math.sqrt(0.5 * step_size)


def noise_scale(friction: float) -> float:
    """Return sqrt(1 - c^2), the factor of the standard normal noise; c = 1 - f."""
    return math.sqrt(friction * (2.0 - friction))


@dataclass(frozen=True)
class Kernel:
    """BAOAB of one step size and friction.

    Attributes:
        step_size: e > 0, in squared units of weight; the time step is sqrt(e/2).
        friction: f in (0, 1]; 1 draws a new velocity at every step.
    """

    name: ClassVar[str] = "baoab"
    uses_uniform: ClassVar[bool] = False

    step_size: float
    friction: float

    def __post_init__(self) -> None:
        """Check the settings."""
        number(self.step_size, "step_size")
        if number(self.friction, "friction") > 1.0:
            raise ConfigError(f"friction is {self.friction}; it must be in (0, 1]")

    def init(
        self, potential: Potential, position: Float[Tensor, "checkpoint chain parameter"]
    ) -> State:
        """Start a chain at ``position``, at rest; one full gradient."""
        gradient = potential.starting_gradient(position)
        return State(position, torch.zeros_like(position), gradient)

    def step(
        self,
        potential: Potential,
        state: State,
        batch: Int[Tensor, "chain batch"] | None,
        noise: Noise,
    ) -> tuple[State, Info]:
        """Return the next state; the old one is left as it was."""
        half = drift_scale(self.step_size)
        velocity = torch.add(state.velocity, state.gradient, alpha=-half)
        w = torch.add(state.position, velocity, alpha=half)
        velocity.mul_(1.0 - self.friction).add_(noise.normal, alpha=noise_scale(self.friction))
        w.add_(velocity, alpha=half)
        mean, raw = potential.loss_gradient(w, batch)
        gradient = potential.assemble(raw, w, batch)
        return State(w, velocity.add_(gradient, alpha=-half), gradient), Info(mean)

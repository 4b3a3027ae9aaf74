"""Underdamped Langevin dynamics (SGLD with momentum).

    v' = (1 - f) v - (e/2) grad U(w) + sqrt(f e) xi,   w' = w + v',   xi ~ N(0, I)

e is the step size and f in (0, 1] the friction; f = 1 is SGLD. With eta = e/2 the noise is
sqrt(2 f eta). Stable while e times the largest curvature of U is below 4 (f = 1), and below
4 (2 - f) in general; a flat direction relaxes 1/f times faster than under SGLD.

Source: Chen, Fox & Guestrin 2014, arXiv:1402.4102 (stochastic gradient Hamiltonian Monte Carlo).
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
    """What the next step needs: position and velocity (checkpoint, chain, parameter)."""

    position: Tensor
    velocity: Tensor


class Info(NamedTuple):
    """What a person wants: the batch's mean loss at the old position (checkpoint, chain)."""

    mean_loss: Tensor


def drift_scale(step_size: float) -> float:
    """Return eta = e/2, the factor of grad U."""
    return 0.5 * step_size


def noise_scale(step_size: float, friction: float) -> float:
    """Return sqrt(2 f eta) = sqrt(f e), the factor of the standard normal noise."""
    return math.sqrt(friction * step_size)


@dataclass(frozen=True)
class Kernel:
    """Underdamped Langevin of one step size and friction.

    Attributes:
        step_size: e > 0, in squared units of weight.
        friction: f in (0, 1].
    """

    name: ClassVar[str] = "underdamped"
    uses_uniform: ClassVar[bool] = False

    step_size: float
    friction: float

    def __post_init__(self) -> None:
        """Check the settings."""
        number(self.step_size, "step_size")
        if number(self.friction, "friction") > 1.0:
            raise ConfigError(f"friction is {self.friction}; it must be in (0, 1], 1 is SGLD")

    def init(
        self, potential: Potential, position: Float[Tensor, "checkpoint chain parameter"]
    ) -> State:
        """Start a chain at ``position``, at rest."""
        return State(position, torch.zeros_like(position))

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
        velocity = gradient.mul_(-drift_scale(self.step_size))
        velocity.add_(noise.normal, alpha=noise_scale(self.step_size, self.friction))
        velocity.add_(state.velocity, alpha=1.0 - self.friction)
        return State(w + velocity, velocity), Info(mean)

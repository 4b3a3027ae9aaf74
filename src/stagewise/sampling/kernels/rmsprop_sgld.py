"""SGLD preconditioned by the running second moment of the loss gradient (RMSProp-SGLD).

    V' = r V + (1 - r) g^2   (V_0 = 0, g the raw minibatch-mean loss gradient),
    G  = 1 / (sqrt(V') + c),
    w' = w - (e/2) G grad U(w) + sqrt(e G) xi,   xi ~ N(0, I)

elementwise; V is updated before it is used. A V that keeps moving changes the law, because its
divergence term is left out here as in published code. So V adapts for ``adapt_steps`` steps
(burn-in, by default) and is then frozen, each chain its own: exact up to discretisation. With
``adapt_steps`` None it never stops. The localization is preconditioned too, the law is unchanged.
Stable while e times the largest curvature of sqrt(G) U'' sqrt(G) is below 4; G <= 1/c.

Source: Li, Chen, Carlson & Carin 2016, arXiv:1512.07666 (preconditioned SGLD).
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
    """What the next step needs: position, V (checkpoint, chain, parameter) and steps taken."""

    position: Tensor
    second_moment: Tensor
    steps: int


class Info(NamedTuple):
    """What a person wants: the batch's mean loss at the old position (checkpoint, chain)."""

    mean_loss: Tensor


def drift_scale(step_size: float) -> float:
    """Return e/2, the factor of G grad U."""
    return 0.5 * step_size


def noise_scale(step_size: float) -> float:
    """Return sqrt(e), the factor of sqrt(G) times the standard normal noise."""
    return math.sqrt(step_size)


def moved_average(second_moment: Tensor, gradient: Tensor, decay: float) -> Tensor:
    """Return r V + (1 - r) g^2."""
    return (decay * second_moment).addcmul_(gradient, gradient, value=1.0 - decay)


def preconditioner(second_moment: Tensor, floor: float) -> Tensor:
    """Return G = 1 / (sqrt(V) + c)."""
    return second_moment.sqrt().add_(floor).reciprocal_()


@dataclass(frozen=True)
class Kernel:
    """RMSProp-SGLD of one step size.

    Attributes:
        step_size: e > 0.
        adapt_steps: Steps after which V is frozen (the burn-in); None adapts for ever.
        decay: r in [0, 1).
        floor: c > 0, in units of the gradient.
    """

    name: ClassVar[str] = "rmsprop_sgld"
    uses_uniform: ClassVar[bool] = False

    step_size: float
    adapt_steps: int | None
    decay: float = 0.99
    floor: float = 0.1

    def __post_init__(self) -> None:
        """Check the settings."""
        number(self.step_size, "step_size")
        number(self.floor, "floor")
        if not 0.0 <= number(self.decay, "decay", positive=False) < 1.0:
            raise ConfigError(f"decay is {self.decay}; it must be in [0, 1)")
        if self.adapt_steps is not None and self.adapt_steps < 1:
            raise ConfigError(
                f"adapt_steps is {self.adapt_steps}; V starts at 0 and needs at least one step of "
                "burn-in to adapt, or None to adapt for ever"
            )

    def init(
        self, potential: Potential, position: Float[Tensor, "checkpoint chain parameter"]
    ) -> State:
        """Start a chain at ``position`` with V = 0."""
        return State(position, torch.zeros_like(position), 0)

    def step(
        self,
        potential: Potential,
        state: State,
        batch: Int[Tensor, "chain batch"] | None,
        noise: Noise,
    ) -> tuple[State, Info]:
        """Return the next state; the old one is left as it was."""
        w, moment = state.position, state.second_moment
        mean, raw = potential.loss_gradient(w, batch)
        if self.adapt_steps is None or state.steps < self.adapt_steps:
            moment = moved_average(moment, raw, self.decay)
        scale = preconditioner(moment, self.floor)
        moved = potential.assemble(raw, w, batch).mul_(scale).mul_(-drift_scale(self.step_size))
        moved.addcmul_(scale.sqrt_(), noise.normal, value=noise_scale(self.step_size)).add_(w)
        return State(moved, moment, state.steps + 1), Info(mean)

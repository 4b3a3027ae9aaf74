"""The Metropolis-adjusted Langevin algorithm: exact for exp(-U), no discretisation error.

    y = w - (e/2) grad U(w) + sqrt(e) xi,   xi ~ N(0, I),
    log a = U(w) - U(y) + log q(w | y) - log q(y | w),
    log q(y | w) = -|y - w + (e/2) grad U(w)|^2 / (2 e),

and w' = y if log u < log a, else w' = w. Each replica accepts or rejects for itself. Full gradients
only: with a minibatch the test would be of another potential at every step. A proposal that isn't
finite is rejected. Any e leaves the law exact; too large an e (times the curvature) accepts
nothing. The reference for the other kernels on small nets.

Source: Roberts & Tweedie 1996 (Bernoulli 2), "Exponential convergence of Langevin distributions and
their discrete approximations".
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from stagewise.errors import ConfigError
from stagewise.sampling.potential import Potential, number
from stagewise.sampling.streams import Noise


class State(NamedTuple):
    """What the next step needs: position, grad U there, and U(w) - U(w*) (checkpoint, chain)."""

    position: Tensor
    gradient: Tensor
    excess: Tensor


class Info(NamedTuple):
    """What a person wants: the acceptance probability and what was done (checkpoint, chain)."""

    acceptance: Tensor
    accepted: Tensor


def drift_scale(step_size: float) -> float:
    """Return e/2, the factor of grad U."""
    return 0.5 * step_size


def noise_scale(step_size: float) -> float:
    """Return sqrt(e), the factor of the standard normal noise."""
    return math.sqrt(step_size)


def log_density(to: Tensor, gradient: Tensor, start: Tensor, step_size: float) -> Tensor:
    """Return log q(to | start) up to a constant, float64 (checkpoint, chain)."""
    residual = torch.add(to - start, gradient, alpha=drift_scale(step_size))
    return residual.square().sum(-1).double().mul_(-0.5 / step_size)


def log_acceptance(old: State, new: State, step_size: float) -> Float64[Tensor, "checkpoint chain"]:
    """Return log a of the move from ``old`` to ``new``; -inf where the proposal isn't finite."""
    back = log_density(old.position, new.gradient, new.position, step_size)
    forth = log_density(new.position, old.gradient, old.position, step_size)
    log_a = old.excess - new.excess + back - forth
    return log_a.nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)


@dataclass(frozen=True)
class Kernel:
    """MALA of one step size.

    Attributes:
        step_size: e > 0, in squared units of weight.
    """

    name: ClassVar[str] = "mala"
    uses_uniform: ClassVar[bool] = True

    step_size: float

    def __post_init__(self) -> None:
        """Check the settings."""
        number(self.step_size, "step_size")

    def init(
        self, potential: Potential, position: Float[Tensor, "checkpoint chain parameter"]
    ) -> State:
        """Start a chain at ``position``."""
        gradient = potential.starting_gradient(position)
        return State(position, gradient, potential.excess(position))

    def step(
        self,
        potential: Potential,
        state: State,
        batch: Int[Tensor, "chain batch"] | None,
        noise: Noise,
    ) -> tuple[State, Info]:
        """Return the next state; the old one is left as it was.

        Raises:
            ConfigError: If there is a batch or no uniform number.
        """
        if batch is not None or noise.uniform is None:
            raise ConfigError("MALA needs the full gradient and a uniform number; no batch_size")
        proposal = torch.add(
            state.position, state.gradient, alpha=-drift_scale(self.step_size)
        ).add_(noise.normal, alpha=noise_scale(self.step_size))
        new = self.init(potential, proposal)
        log_a = log_acceptance(state, new, self.step_size)
        accepted = noise.uniform.log() < log_a
        kept = State(*(_choose(accepted, *pair) for pair in zip(new, state, strict=True)))
        return kept, Info(log_a.clamp(max=0.0).exp(), accepted)


def _choose(accepted: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(accepted if new.ndim == 2 else accepted[..., None], new, old)

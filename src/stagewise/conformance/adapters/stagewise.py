"""This project's own sampler: the parts that ``stagewise.sample_losses`` is made of."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from stagewise import __version__
from stagewise.conformance.problem import CONTINUUM, Law, Problem
from stagewise.conformance.sampler import NotApplicable
from stagewise.models.module import ModuleLoss
from stagewise.sampling.kernels.by_name import WITH_FRICTION, Name, make
from stagewise.sampling.potential import Potential
from stagewise.sampling.records import Schedule
from stagewise.sampling.runner import run
from stagewise.sampling.streams import NoiseStreams

#: Stationary law of each kernel's full-gradient chain; preconditioned SGLD's depends on what it
#: adapted to, and nobody knows it beforehand.
_LAWS = {"sgld": "sgld", "underdamped": "underdamped", "baoab": "baoab", "mala": "exact"}
#: A preconditioner 1 / (sqrt(V) + c) is at most 1 / c = 10: this share of the step keeps every
#: direction at most as coarse as under plain SGLD.
RMSPROP_SHARE = 0.1


class StagewiseSampler:
    """One kernel, on the plain potential.

    Args:
        kernel: Its name.
        friction: Of the kernels with momentum.
    """

    version = __version__

    def __init__(self, kernel: Name, friction: float) -> None:
        """Choose the kernel."""
        self.name = f"stagewise_{kernel}"
        self._kernel: Name = kernel
        self._friction = friction if kernel in WITH_FRICTION else None
        self.settings: dict[str, Any] = {}
        self.law = CONTINUUM
        if kernel in _LAWS:
            self.law = Law(_LAWS[kernel], self._friction or 1.0)

    def sample(self, problem: Problem, seed: int) -> Float[np.ndarray, "chain draw sample"]:
        """Run the chains and return the losses."""
        given = problem.settings
        if self._kernel == "mala" and given.batch_size is not None:
            raise NotApplicable("MALA needs full gradients")
        share = RMSPROP_SHARE if self._kernel == "rmsprop_sgld" else 1.0
        step_size = share * given.step_size
        self.settings = {
            "kernel": self._kernel,
            "n_beta": given.n_beta,
            "localization": given.localization,
            "step_size": step_size,
            "chains": given.chains,
            "burn_in": given.burn_in,
            "draws": given.draws,
            "spacing": given.spacing,
            "batch_size": given.batch_size,
            **({} if self._friction is None else {"friction": self._friction}),
        }
        loss = ModuleLoss(
            problem.module(),
            _as_they_are,
            problem.data,
            torch.zeros(problem.sample_count),
            vectorize=True,
        )
        streams = NoiseStreams(
            seed,
            "conformance",
            given.chains,
            loss.parameter_count,
            batch_size=given.batch_size,
            sample_count=loss.sample_count,
        )
        adapting = given.burn_in if self._kernel == "rmsprop_sgld" else None
        result = run(
            make(self._kernel, step_size, friction=self._friction, adapt_steps=adapting),
            Potential(loss, loss.centre, given.n_beta, given.localization),
            streams,
            Schedule(given.burn_in, given.draws, given.spacing),
        )
        assert result.excess_loss is not None  # no sink took them
        return result.excess_loss[0] + result.loss_ref[0]


def _as_they_are(losses: Tensor, _: Tensor) -> Tensor:
    """The module's output is the losses already."""
    return losses

"""posteriors (normal-computing): SGLD, SGHMC and BAOA.

Its documentation (posteriors.sgmcmc) writes, for the temperature T = 1 and its default beta = 0,

    sgld    w' = w + lr grad log p + N(0, 2 lr)
    sghmc   w' = w + lr m,  m' = m + lr grad log p - lr alpha m + N(0, 2 alpha lr)
    baoa    m += lr grad log p, w += lr/2 m, m = e^(-alpha lr) m + N(0, 1 - e^(-2 alpha lr)),
            w += lr/2 m

with sigma = 1. So with log p = -U: lr = epsilon / 2 for sgld, lr = sqrt(epsilon / 2) for the other
two, alpha = f / lr for sghmc and -log(1 - f) / lr for baoa make the same steps as here. ``beta`` is
an estimate of gradient noise to subtract; its default, none, is kept. Dividing log p and the
temperature both by nbeta, as the documentation recommends, changes no step.
"""

import importlib
import math
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from stagewise.conformance.adapters.installed import version_of
from stagewise.conformance.problem import Law, Problem

Method = Literal["sgld", "sghmc", "baoa"]


class PosteriorsSampler:
    """One method of ``posteriors.sgmcmc``; all chains are one parameter tensor (chain, parameter).

    Args:
        method: Its name.
        friction: f, of "sghmc" and "baoa".
    """

    def __init__(self, method: Method, friction: float) -> None:
        """Look the library up."""
        self.name, self._method, self._friction = f"posteriors_{method}", method, friction
        self.version = version_of("posteriors")
        self.settings: dict[str, Any] = {}
        # BAOA's positions are those of BAOAB.
        self.law = {
            "sgld": Law("sgld"),
            "sghmc": Law("explicit_momentum", friction),
            "baoa": Law("baoab"),
        }[method]

    def sample(self, problem: Problem, seed: int) -> Float[np.ndarray, "chain draw sample"]:
        """Run the chains and return the losses."""
        sgmcmc = importlib.import_module("posteriors.sgmcmc")
        given, centre = problem.settings, problem.checkpoint
        batches = torch.Generator().manual_seed(seed + 1)
        log_posterior = _log_posterior(problem)
        self.settings = self._settings(given.step_size)
        transform = getattr(sgmcmc, self._method).build(log_posterior, **self.settings)
        recorded = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # it draws from torch's global generator
            state = transform.init(centre.repeat(given.chains, 1))
            for step in range(1, given.burn_in + given.draws * given.spacing + 1):
                state, _ = transform.update(state, _batch(problem, batches))
                if step > given.burn_in and (step - given.burn_in) % given.spacing == 0:
                    recorded.append(torch.vmap(problem.losses)(state.params))
        return torch.stack(recorded, dim=1).numpy()

    def _settings(self, step_size: float) -> dict[str, float]:
        if self._method == "sgld":
            return {"lr": step_size / 2, "beta": 0.0, "temperature": 1.0}
        lr = math.sqrt(step_size / 2)
        if self._method == "sghmc":
            momentum = {"alpha": self._friction / lr, "beta": 0.0}
        else:
            momentum = {"alpha": -math.log1p(-self._friction) / lr}
        return {"lr": lr, **momentum, "sigma": 1.0, "temperature": 1.0}


def _log_posterior(problem: Problem) -> Any:
    """-U summed over chains, whose gradient is each chain's own."""
    n_beta, gamma = problem.settings.n_beta, problem.settings.localization

    def log_posterior(w: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        if batch is None:
            losses = torch.vmap(problem.losses)(w)
        else:
            losses = torch.vmap(problem.loss)(w, problem.data[batch])
        pull = (w - problem.checkpoint).square().sum()
        return -n_beta * losses.mean(-1).sum() - gamma / 2 * pull, torch.tensor([])

    return log_posterior


def _batch(problem: Problem, generator: torch.Generator) -> Tensor | None:
    """Each chain's own samples, drawn with replacement."""
    size = problem.settings.batch_size
    if size is None:
        return None
    shape = (problem.settings.chains, size)
    return torch.randint(problem.sample_count, shape, generator=generator)

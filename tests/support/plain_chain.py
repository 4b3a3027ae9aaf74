"""Another implementation of SGLD, as short as it gets, with the bugs that a suite must see."""

import math

import numpy as np
import torch

from stagewise.conformance.problem import Law, Problem

#: A planted bug by name, and what it is.
BUGS = {
    "noise_too_large": "noise sqrt(2 e)",
    "drift_too_large": "drift e, not e/2",
    "localization_dropped": "gamma left out",
    "localization_toward_zero": "gamma pulls toward 0",
    "beta_for_n_beta": "b where n b belongs",
    "sum_for_mean": "gradient of the sum of losses",
    "observed_on_batch": "losses of the batch, not of the fixed samples",
    "noise_shared": "all chains have the same noise",
    "no_localization_half": "gamma, not gamma / 2, of the squared distance",
}


class PlainChain:
    """SGLD on all chains at once; ``bug`` plants one of ``BUGS``."""

    version = "0"
    law = Law("sgld")

    def __init__(self, bug: str | None = None) -> None:
        assert bug is None or bug in BUGS
        self.name, self._bug = bug or "correct", bug

    def sample(self, problem: Problem, seed: int) -> np.ndarray:
        given, centre = problem.settings, problem.checkpoint
        rng = torch.Generator().manual_seed(seed)
        gradient = torch.vmap(torch.func.grad(lambda w, rows: problem.loss(w, rows).mean()))
        w, kept = centre.repeat(given.chains, 1), []
        for step in range(1, given.burn_in + given.draws * given.spacing + 1):
            batch = self._batch(problem, rng)
            force = self._force(problem, w, gradient(w, problem.data[batch]))
            noise = torch.randn(w.shape, generator=rng)
            if self._bug == "noise_shared":
                noise = noise[:1].expand_as(noise)
            drift = given.step_size / (1 if self._bug == "drift_too_large" else 2)
            spread = math.sqrt(given.step_size * (2 if self._bug == "noise_too_large" else 1))
            w = w - drift * force + spread * noise
            if step > given.burn_in and (step - given.burn_in) % given.spacing == 0:
                kept.append(self._observe(problem, w, batch))
        return torch.stack(kept, dim=1).numpy()

    def _batch(self, problem: Problem, rng: torch.Generator) -> torch.Tensor:
        given, count = problem.settings, problem.sample_count
        if given.batch_size is None:
            return torch.arange(count).expand(given.chains, -1)
        return torch.randint(count, (given.chains, given.batch_size), generator=rng)

    def _force(self, problem: Problem, w: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        given, count = problem.settings, problem.sample_count
        n_beta, gamma, centre = given.n_beta, given.localization, problem.checkpoint
        n_beta /= count if self._bug == "beta_for_n_beta" else 1
        n_beta *= count if self._bug == "sum_for_mean" else 1
        gamma *= {"localization_dropped": 0, "no_localization_half": 2}.get(self._bug or "", 1)
        centre = torch.zeros_like(centre) if self._bug == "localization_toward_zero" else centre
        return n_beta * slope + gamma * (w - centre)

    def _observe(self, problem: Problem, w: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        losses = torch.vmap(problem.losses)(w)
        if self._bug != "observed_on_batch":
            return losses
        columns = torch.arange(problem.sample_count) % batch.shape[1]
        return losses.gather(1, batch[:, columns])

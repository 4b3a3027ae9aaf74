"""Quadratic losses with any Hessians, so that a spectrum may be chosen."""

import numpy as np
import torch
from torch import Tensor

from stagewise.models.per_sample import PerSampleLoss
from support.problems import SEED


class QuadraticLoss(PerSampleLoss):
    """l_i(w) = g_i . w + w' A_i w / 2, seen from w* = 0."""

    def __init__(self, gradients: np.ndarray, hessians: np.ndarray) -> None:
        self.gradients, self.hessians = torch.as_tensor(gradients), torch.as_tensor(hessians)
        self.centre = torch.zeros(1, self.parameter_count, dtype=torch.float64)

    @property
    def sample_count(self) -> int:
        return self.gradients.shape[0]

    @property
    def parameter_count(self) -> int:
        return self.gradients.shape[1]

    def losses(self, w: Tensor, samples: Tensor | None = None) -> Tensor:
        curved = torch.einsum("kcp,ipq,kcq->kci", w, self.hessians, w)
        losses = w @ self.gradients.T + 0.5 * curved
        return losses if samples is None else losses[..., samples]

    def mean_and_gradient(self, w: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        assert batch is None
        gradient = self.gradients.mean(0) + w @ self.hessians.mean(0)
        return self.losses(w).mean(-1), gradient


def with_spectrum(eigenvalues: list[float] | np.ndarray, samples: int = 8) -> QuadraticLoss:
    """Losses whose mean Hessian has these eigenvalues in a random basis; each its own gradient."""
    rng = np.random.default_rng(SEED)
    size = len(eigenvalues)
    basis = np.linalg.qr(rng.normal(size=(size, size)))[0]
    hessian = (basis * np.asarray(eigenvalues)) @ basis.T
    return QuadraticLoss(rng.normal(size=(samples, size)), np.stack([hessian] * samples))

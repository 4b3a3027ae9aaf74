"""Losses drawn from their exact law without a sampler, and the exact spread of their products."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from stagewise.storage import trace as trace_file
from stagewise.theory.quadratic_model import QuadraticModel
from stagewise.theory.spectrum import GaussianLaw


class Forms(NamedTuple):
    """Quadratic losses in standard coordinates: l_i = constant_i + b_i . z + z . B_i z / 2.

    z is standard normal. Attributes: constant (sample,), linear (sample, parameter), curved
    (sample, parameter, parameter).
    """

    constant: np.ndarray
    linear: np.ndarray
    curved: np.ndarray

    def at(self, z: np.ndarray) -> np.ndarray:
        """Losses (..., sample) at z (..., parameter)."""
        curved = np.einsum("...p,spq,...q->...s", z, self.curved, z, optimize=True)
        return self.constant + z @ self.linear.T + 0.5 * curved

    @property
    def mean(self) -> np.ndarray:
        return self.constant + 0.5 * np.einsum("spp->s", self.curved)

    @property
    def covariance(self) -> np.ndarray:
        """b_i . b_j + tr(B_i B_j) / 2."""
        rows = self.curved.reshape(len(self.curved), -1)
        return self.linear @ self.linear.T + 0.5 * rows @ rows.T

    @property
    def fourth_cumulant(self) -> np.ndarray:
        """The joint cumulant of l_i, l_i, l_j, l_j (sample, sample).

        The r-th cumulant of quadratics is the sum, over the r! orders of its factors, of
        tr(B..B)/(2r) and of b B..B b / 2; an order of iijj has neighbours or alternates.
        """
        pairs = np.einsum("spq,tqr->stpr", self.curved, self.curved)  # B_s B_t
        squares = np.einsum("sspr->spr", pairs)
        seen = np.einsum("spq,tq->stp", self.curved, self.linear)  # B_s b_t
        own = np.einsum("ssp->sp", seen)
        traces = 2 * np.einsum("spr,trp->st", squares, squares)
        traces += np.einsum("stpr,strp->st", pairs, pairs)
        crossed = np.einsum("sp,stpr,tr->st", self.linear, pairs.swapaxes(0, 1), self.linear)
        lengths = np.einsum("stp,stp->st", seen, seen)
        return traces + 4 * own @ own.T + 4 * crossed + 2 * lengths + 2 * lengths.T

    @property
    def product_variance(self) -> np.ndarray:
        """Var[(l_i - E l_i)(l_j - E l_j)], by cumulants."""
        spread = np.outer(self.covariance.diagonal(), self.covariance.diagonal())
        return self.fourth_cumulant + spread + self.covariance**2

    def estimate_variance(self, chains: int) -> np.ndarray:
        """Variance of the covariance over independent chains of one draw, divisor C - 1."""
        spread = np.outer(self.covariance.diagonal(), self.covariance.diagonal())
        return self.fourth_cumulant / chains + (spread + self.covariance**2) / (chains - 1)


def forms_of(model: QuadraticModel, law: GaussianLaw) -> Forms:
    """The losses' forms under d ~ N(mean, covariance), excess over the checkpoint."""
    root = np.linalg.cholesky(law.covariance)
    shifted = model.gradients + model.hessians @ law.mean
    constant = 0.5 * (model.gradients + shifted) @ law.mean
    return Forms(constant, shifted @ root, root.T @ model.hessians @ root)


def skewness_of_products(forms: Forms, rng: np.random.Generator) -> np.ndarray:
    """Skewness of (l_i - E l_i)(l_j - E l_j), from draws of the exact law."""
    losses = forms.at(rng.standard_normal((40_000, forms.linear.shape[1]))) - forms.mean
    products = losses[:, :, None] * losses[:, None, :] - forms.covariance
    return (products**3).mean(axis=0) / forms.product_variance**1.5


def drawn_losses(
    forms: Forms, rng: np.random.Generator, shape: tuple[int, int, int], memory: float
) -> np.ndarray:
    """Losses (replicate, chain, draw, sample), float32; z is AR(1) along draws and stationary."""
    fresh = rng.standard_normal((*shape, forms.linear.shape[1]))
    z = fresh.copy()
    for draw in range(1, shape[2]):
        z[:, :, draw] = memory * z[:, :, draw - 1] + np.sqrt(1 - memory**2) * fresh[:, :, draw]
    return forms.at(z).astype(np.float32)


def trace_of(losses: np.ndarray, n_beta: float = 1.0) -> xr.Dataset:
    """A trace whose checkpoints are independent replicates."""
    lead, sample_count = losses.shape[:3], losses.shape[3]
    attrs = dict.fromkeys(trace_file.TRACE.attrs, 0) | {"n_beta": n_beta, "n": sample_count}
    return trace_file.from_arrays(
        excess_loss=losses,
        loss_ref=np.zeros((lead[0], sample_count)),
        train_loss=losses.mean(axis=-1),
        potential=np.zeros(lead),
        distance=np.zeros(lead),
        status=np.zeros(lead[:2], np.int8),
        diverged_step=np.full(lead[:2], -1, np.int32),
        sample=[f"s{place}" for place in range(sample_count)],
        attrs=attrs,
    )

"""Bugs of estimators, planted into the real code."""

from typing import Any

import numpy as np
import pytest

from stagewise.estimators import covariance as of_covariance
from stagewise.estimators import diagnostics, influence, kernels, local_learning
from stagewise.estimators.covariance import CentredChains, Estimate, Products
from support.mutants import planted, replaced

replaced(
    "influence_sign_flipped",
    "influence is the covariance, not minus it",
    influence,
    "_influence",
    lambda samples, queries, centring: influence.covariance(
        samples if queries is None else queries, samples, centring=centring
    ),
)
replaced(
    "missing_centring",
    "products are of losses that are not centred",
    CentredChains,
    "block",
    lambda self, chain: self.losses[..., chain, :, :].astype(np.float64),
)
replaced(
    "centred_within_chains",
    "losses are centred within each short chain, which loses slow modes",
    of_covariance,
    "resolve_centring",
    lambda *choice: "within",
)


@planted("the covariance across chains is divided by C, not C - 1")
def divisor_c(patch: pytest.MonkeyPatch) -> None:
    original = Products.__init__

    def init(self: Products, *arguments: Any) -> None:
        original(self, *arguments)
        self.scale *= (self.x.chains - 1) / self.x.chains

    patch.setattr(Products, "__init__", init)


def _with_error(patch: pytest.MonkeyPatch, change: Any) -> None:
    original = of_covariance.covariance

    def covariance(x: Any, y: Any = None, centring: Any = "auto") -> Estimate:
        value, se = original(x, y, centring)
        return Estimate(value, change(x, x if y is None else y, se))

    for module in (influence, kernels):
        patch.setattr(module, "covariance", covariance)


@planted("the error takes the draws of a chain for independent")
def error_of_independent_draws(patch: pytest.MonkeyPatch) -> None:
    def error(x: np.ndarray, y: np.ndarray, _: np.ndarray) -> np.ndarray:
        centred = [one - one.mean(axis=-3, keepdims=True) for one in (x, y)]
        products = centred[0][..., :, None] * centred[1][..., None, :]
        return products.std(axis=(-4, -3)) / np.sqrt(x.shape[-3] * x.shape[-2])

    _with_error(patch, error)


@planted("the error is of twice its size")
def error_doubled(patch: pytest.MonkeyPatch) -> None:
    _with_error(patch, lambda x, y, se: 2 * se)


@planted("the null forgets that centring across chains ties them together")
def null_uncorrected(patch: pytest.MonkeyPatch) -> None:
    original = diagnostics.null_covariance

    def null(x: np.ndarray, y: Any, centring: Any, shift: int) -> Estimate:
        value, se = original(x, y, centring, shift)
        return Estimate(value - of_covariance.covariance(x, y, centring).value / x.shape[-3], se)

    patch.setattr(diagnostics, "null_covariance", null)


@planted("the null pairs every chain with itself")
def null_of_own_chain(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        diagnostics,
        "null_covariance",
        lambda x, y, centring, shift: of_covariance.covariance(x, y, centring),
    )


@planted("the drift takes the noise of the chains' mean for its movement")
def drift_keeps_noise(patch: pytest.MonkeyPatch) -> None:
    original = diagnostics.drift_covariance

    def drift(x: np.ndarray) -> Any:
        found = original(x)
        noise = of_covariance.covariance(x, None, "within").value / x.shape[-3]
        return found._replace(value=found.value + noise)

    patch.setattr(diagnostics, "drift_covariance", drift)


def _with_mean_loss(patch: pytest.MonkeyPatch, factor: Any) -> None:
    original = local_learning.mean_loss

    def mean_loss(losses: np.ndarray) -> Estimate:
        return Estimate(*(factor(losses) * array for array in original(losses)))

    patch.setattr(local_learning, "mean_loss", mean_loss)


@planted("the local learning coefficient is a mean loss without n b")
def llc_without_n_beta(patch: pytest.MonkeyPatch) -> None:
    original = local_learning.llc
    patch.setattr(
        local_learning, "llc", lambda trace, *rest: original(trace.assign_attrs(n_beta=1), *rest)
    )


@planted("the local learning coefficient is of the sum of losses")
def llc_of_sum(patch: pytest.MonkeyPatch) -> None:
    _with_mean_loss(patch, lambda losses: losses.shape[-1])

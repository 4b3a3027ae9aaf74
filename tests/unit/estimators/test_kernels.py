"""The loss kernel is a kernel: symmetric, positive semidefinite, zero between separate tasks."""

import numpy as np
import pytest

from stagewise.estimators.kernels import loss_kernel
from support.traces import autoregressive, make_trace


@pytest.mark.parametrize("chains", [4, 16])
def test_it_is_symmetric_and_positive_semidefinite_of_low_rank(chains: int) -> None:
    """Catches a lost square root or products of differently centred losses.

    Twelve losses of rank three have nine eigenvalues zero, where any of it shows as a negative one.
    """
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(12, 3))
    kernel = loss_kernel(make_trace(autoregressive(rng, (2,), chains, 20, 2.0, mix=mix)))
    for name in ("covariance", "correlation"):
        matrix = kernel[name].values
        np.testing.assert_allclose(matrix, np.swapaxes(matrix, -1, -2), rtol=1e-12)
        values = np.linalg.eigvalsh(matrix)
        assert values.min() > -1e-6 * values.max()  # losses are stored as float32
    assert kernel["covariance"].dims == ("checkpoint", "sample", "partner")


def test_losses_of_separate_parameters_are_uncorrelated_up_to_noise() -> None:
    """Catches centring across losses, which couples tasks.

    36 entries, |z| < 6.4: the quantile of t with 63 degrees of freedom at 1e-6 for all.
    """
    rng = np.random.default_rng(1)
    tasks = [autoregressive(rng, (), 64, 50, 2.0, mix=rng.normal(size=(6, 2))) for _ in range(2)]
    kernel = loss_kernel(make_trace(np.concatenate(tasks, axis=-1)))
    for name in ("covariance", "correlation"):
        z = (kernel[name] / kernel[f"{name}_se"].where(kernel[f"{name}_se"] > 0)).values
        assert np.abs(z[:6, 6:]).max() < 6.4
        assert np.nanmax(np.abs(z[:6, :6])) > 20


def test_the_correlation_is_the_covariance_over_both_deviations() -> None:
    x = np.random.default_rng(2).normal(size=(8, 9, 3))
    kernel = loss_kernel(make_trace(x))
    scale = np.sqrt(np.diag(kernel["covariance"]))
    expected = kernel["covariance"].values / np.outer(scale, scale)
    np.testing.assert_allclose(kernel["correlation"], expected, rtol=1e-10)

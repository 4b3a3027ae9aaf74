"""Moments of minibatch SGLD against simulated linear regression and the full-gradient law."""

import numpy as np
import pytest

from stagewise.theory.minibatch import minibatch_sgld_law
from stagewise.theory.quadratic import sgld_law

N_BETA, GAMMA, EPSILON = 20.0, 2.0, 0.04


def regression() -> tuple[np.ndarray, np.ndarray]:
    """Features (6, 2) and residuals (6,) at the checkpoint; gradient -x r, Hessian x x^T."""
    rng = np.random.default_rng(31)
    return rng.standard_normal((6, 2)), rng.standard_normal(6)


def derivatives() -> tuple[np.ndarray, np.ndarray]:
    x, residual = regression()
    return -x * residual[:, None], x[:, :, None] * x[:, None, :]


def simulate(chains: int, steps: int, batch_size: int) -> np.ndarray:
    """Positions d of independent chains after ``steps`` steps from 0."""
    x, residual = regression()
    rng = np.random.default_rng(32)
    d = np.zeros((chains, 2))
    for _ in range(steps):
        index = rng.integers(6, size=(chains, batch_size))
        gradient = np.zeros_like(d)
        for column in index.T:
            error = (x[column] * d).sum(axis=1) - residual[column]
            gradient += error[:, None] * x[column] / batch_size
        d += -EPSILON / 2 * (N_BETA * gradient + GAMMA * d)
        d += np.sqrt(EPSILON) * rng.standard_normal(d.shape)
    return d


def constant_noise_law(point: np.ndarray, batch_size: int) -> np.ndarray:
    """The wrong covariance: gradient noise held at its value at ``point``."""
    gradients, hessians = derivatives()
    curvature = N_BETA * hessians.mean(axis=0) + GAMMA * np.eye(2)
    contraction = np.eye(2) - EPSILON / 2 * curvature
    spread = np.cov((gradients + hessians @ point).T, bias=True)
    noise = EPSILON * np.eye(2) + (EPSILON * N_BETA / 2) ** 2 / batch_size * spread
    covariance = np.zeros((2, 2))
    for _ in range(2000):
        covariance = contraction @ covariance @ contraction.T + noise
    return covariance


def test_moments_agree_with_simulated_regression() -> None:
    gradients, hessians = derivatives()
    law = minibatch_sgld_law(gradients, hessians, 2, N_BETA, GAMMA, EPSILON)
    d = simulate(chains=30_000, steps=150, batch_size=2)
    slowest = EPSILON / 2 * (N_BETA * np.linalg.eigvalsh(hessians.mean(axis=0))[0] + GAMMA)
    assert (1 - slowest) ** 150 < 1e-5
    mean_z = (d.mean(axis=0) - law.mean) / (d.std(axis=0) / np.sqrt(len(d)))
    products = (d - law.mean)[:, :, None] * (d - law.mean)[:, None, :]
    error = products.std(axis=0) / np.sqrt(len(d))
    # 5 numbers at |z| < 5.3: a false-fail rate of 6e-7.
    assert np.abs(mean_z).max() < 5.3
    assert np.abs((products.mean(axis=0) - law.covariance) / error).max() < 5.3
    # What the test can see: noise frozen at the mean, or at the checkpoint.
    for point in (law.mean, np.zeros(2)):
        wrong = constant_noise_law(point, 2)
        assert np.abs((products.mean(axis=0) - wrong) / error).max() > 8


def test_moments_are_a_fixed_point_of_one_step() -> None:
    rng = np.random.default_rng(33)
    gradients = rng.standard_normal((5, 4))
    square = rng.standard_normal((5, 4, 4))
    hessians = (square + square.swapaxes(1, 2)) / 2 + 2 * np.eye(4)
    law = minibatch_sgld_law(gradients, hessians, 3, N_BETA, 10.0, 0.005)
    mean_hessian = hessians.mean(axis=0)
    contraction = np.eye(4) - 0.0025 * (N_BETA * mean_hessian + 10 * np.eye(4))
    spread = np.cov((gradients + hessians @ law.mean).T, bias=True)
    deviation = hessians - mean_hessian
    spread = spread + (deviation @ law.covariance @ deviation).mean(axis=0)
    stepped = (
        contraction @ law.covariance @ contraction.T
        + 0.005 * np.eye(4)
        + (0.0025 * N_BETA) ** 2 / 3 * spread
    )
    np.testing.assert_allclose(stepped, law.covariance, rtol=1e-10, atol=1e-13)


def test_a_huge_batch_is_the_full_gradient() -> None:
    gradients, hessians = derivatives()
    law = minibatch_sgld_law(gradients, hessians, 10**12, N_BETA, GAMMA, EPSILON)
    full = sgld_law(gradients.mean(axis=0), hessians.mean(axis=0), N_BETA, GAMMA, EPSILON)
    np.testing.assert_allclose(law.mean, full.mean, rtol=1e-12)
    np.testing.assert_allclose(law.covariance, full.covariance, rtol=1e-9)


def test_no_stationary_covariance_is_an_error_with_the_remedy() -> None:
    gradients, hessians = derivatives()
    with pytest.raises(ValueError, match="batch_size = 1, step_size = 0.1: .* lower step_size"):
        minibatch_sgld_law(gradients, hessians, 1, N_BETA, GAMMA, 0.1)


def test_an_empty_batch_is_an_error() -> None:
    with pytest.raises(ValueError, match="batch_size = 0"):
        minibatch_sgld_law(*derivatives(), 0, N_BETA, GAMMA, EPSILON)

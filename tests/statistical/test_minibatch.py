"""SGLD with minibatches, plain, with control variates and recentred, on linear regression.

The law isn't Gaussian: spreads are taken from its exact fourth moments. Declared: each test fails
wrongly with probability 1e-6 at most. With probability 1 - 1e-3 it catches a variance off by a
factor 1.25 in one mode, and a mean off by 0.2 standard deviations. One draw per chain.
"""

from functools import cache
from typing import Literal, get_args

import numpy as np
import pytest

from stagewise.sampling.kernels import sgld
from stagewise.sampling.potential import Kind
from stagewise.sampling.records import Schedule
from stagewise.theory.minibatch import minibatch_sgld_law
from support.problems import (
    REGRESSION_STEPS,
    Settings,
    displacements,
    regression,
    regression_potential,
    sample,
)
from support.problems_minibatch import Moments, loss_moments, minibatch_moments, standardised
from support.rejection import rejects
from support.statistics import (
    Evidence,
    gaussian_entries,
    normal_p,
    replicates_for_mean,
    replicates_for_variance,
    skewed_p,
)

#: Gradient noise makes up three quarters of the noise: (e n_beta / 2)^2 / m against e.
SETTINGS = Settings(n_beta=40.0, localization=10.0, step_size=0.03)
BATCH = 4
#: The skewness of a squared normal; other quadratics in Gaussians have less.
MOST_SKEWNESS = np.sqrt(8)


Gradient = Literal["plain", "control_variate", "recentred"]
GRADIENTS = get_args(Gradient)


def slopes_of(gradient: Gradient) -> np.ndarray:
    """Every sample's gradient at the checkpoint as the chain sees it, (sample, parameter)."""
    slopes = regression().gradients
    if gradient == "plain":
        return slopes
    # The control variate takes each sample's own slope away and gives all the mean of them.
    mean = slopes.mean(axis=0) if gradient == "control_variate" else 0.0
    return np.broadcast_to(mean, slopes.shape)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_recursion_and_fixed_point_agree(gradient: Gradient) -> None:
    """Two derivations of the same second moments."""
    problem, slopes = regression(), slopes_of(gradient)
    found = minibatch_moments(problem, SETTINGS, BATCH, 300, slopes)
    law = minibatch_sgld_law(slopes, problem.hessians, BATCH, *SETTINGS)
    np.testing.assert_allclose(found.mean, law.mean, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.covariance, law.covariance, rtol=1e-9, atol=1e-12)


def test_control_variates_leave_the_mean_and_narrow_the_spread() -> None:
    """Of a given batch's gradient at a given point; the law differs by its minibatch noise only."""
    plain, controlled = moments("plain"), moments("control_variate")
    np.testing.assert_allclose(plain.mean, controlled.mean, rtol=1e-9, atol=1e-12)
    gap = np.linalg.eigvalsh(plain.covariance - controlled.covariance)
    assert gap.min() > 0


@cache
def moments(gradient: Gradient) -> Moments:
    return minibatch_moments(regression(), SETTINGS, BATCH, REGRESSION_STEPS, slopes_of(gradient))


def judge_minibatch(gradient: Gradient) -> None:
    problem = regression()
    exact = moments(gradient)
    whiten, product_variance = standardised(exact)
    size = problem.centre.size
    excess = product_variance.diagonal().max() / 2  # over a Gaussian's
    chains = int(excess * replicates_for_variance(1.25, gaussian_entries(size)))
    kind: Kind = "recentred" if gradient == "recentred" else "plain"
    potential = regression_potential(problem, SETTINGS, kind, gradient == "control_variate")
    kernel = sgld.Kernel(SETTINGS.step_size)
    drawn = displacements(kernel, potential, chains, REGRESSION_STEPS, "minibatch", BATCH)[0]
    y = drawn @ whiten[:, :size].T + whiten[:, size]
    products = (y.T @ y / chains - np.eye(size)) / np.sqrt(product_variance / chains)
    evidence = Evidence()
    evidence.add("mean", normal_p(np.sqrt(chains) * y.mean(axis=0)))
    upper = np.triu_indices(size)
    evidence.add("products", skewed_p(products, MOST_SKEWNESS, chains)[upper])
    evidence.judge()


@rejects(
    "batches_shared_by_chains",
    "batches_without_replacement",
    "batches_of_one_sample",
    "noise_shared_by_chains",
    "sum_for_mean",
    "sgld_noise_too_large",
)
def test_plain_law() -> None:
    judge_minibatch("plain")


@rejects("control_variate_forgets_mean", "control_variate_dropped", "sgld_noise_too_large")
def test_law_with_control_variates() -> None:
    judge_minibatch("control_variate")


@rejects("recentring_on_other_batch", "recentring_dropped", "sgld_noise_too_large")
def test_recentred_law() -> None:
    judge_minibatch("recentred")


@rejects("observed_on_batch", "sample_ids_shuffled", "batches_shared_by_chains")
def test_mean_loss_of_every_fixed_sample() -> None:
    problem = regression()
    exact = moments("plain")
    mean, covariance = loss_moments(problem, exact)
    chains = replicates_for_mean(0.2, len(mean))
    potential = regression_potential(problem, SETTINGS)
    schedule = Schedule(REGRESSION_STEPS - 1, 1)
    kernel = sgld.Kernel(SETTINGS.step_size)
    result = sample(kernel, potential, chains, schedule, "minibatch losses", BATCH)
    found = result.excess_loss[0, :, 0].mean(axis=0, dtype=np.float64)
    z = (found - mean) / np.sqrt(covariance.diagonal() / chains)
    evidence = Evidence()
    evidence.add("loss", skewed_p(z, MOST_SKEWNESS, chains))
    evidence.judge()

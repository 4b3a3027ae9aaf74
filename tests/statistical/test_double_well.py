"""Two phases in one dimension: positions and covariances of losses, MALA's and SGLD's own.

Declared: each test fails wrongly with probability 1e-6 at most. With probability 1 - 1e-3 it
catches a distribution function off by 0.05 (MALA) or a mass of a phase off by 0.1 (SGLD), and a
covariance of losses off by 0.3 standard deviations of the product. One draw per chain; chains are
run until their distribution is within 1e-4 of its limit.
"""

import numpy as np

from stagewise.estimators.covariance import covariance
from stagewise.sampling.kernels import mala, sgld
from stagewise.sampling.kernels.by_name import Kernel
from stagewise.sampling.records import Schedule
from stagewise.theory.mixture import exact_covariance, sgld_covariance
from support.problems import sample
from support.problems_mixture import (
    CONTROLS,
    WELL,
    ProductMoments,
    distribution,
    exact_products,
    sgld_products,
    steps_to_forget,
    well_potential,
)
from support.rejection import rejects
from support.statistics import (
    Evidence,
    distribution_p,
    fraction_p,
    replicates_for_distance,
    replicates_for_fraction,
    replicates_for_mean,
    skewed_p,
)

#: Where SGLD would inflate variances by three quarters, and where the wells are fine for it.
LARGE, SMALL = 0.2, 0.02
FORGOTTEN = 1e-4
UPPER = np.triu_indices(WELL.sample_count)
ENTRIES = len(CONTROLS) * (1 + len(UPPER[0]))


def drawn(kernel: Kernel, chains: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions (checkpoint, chain) and losses (checkpoint, chain, draw, sample)."""
    result = sample(kernel, well_potential(), chains, Schedule(steps - 1, 1), "double well")
    assert result.query_excess_loss is not None
    return result.query_excess_loss[:, :, 0, 0].astype(np.float64), result.excess_loss


def add_covariance(evidence: Evidence, losses: np.ndarray, exact: ProductMoments) -> None:
    chains = len(losses)
    found = covariance(losses, centring="across").value
    z = np.sqrt(chains) * (found - exact.mean) / exact.deviation
    evidence.add("covariance", skewed_p(z, exact.skewness, chains)[UPPER])


@rejects("mala_accepts_always", "mala_forgets_proposal", "value_beta_for_n_beta")
def test_mala_samples_both_phases() -> None:
    chains = max(replicates_for_distance(0.05, ENTRIES), replicates_for_mean(0.3, ENTRIES))
    steps = steps_to_forget(LARGE, adjusted=True, tolerance=FORGOTTEN)
    positions, losses = drawn(mala.Kernel(LARGE), chains, steps)
    evidence = Evidence()
    for place, control in enumerate(CONTROLS):
        exact = exact_products(control)
        np.testing.assert_allclose(exact.mean, exact_covariance(control, WELL).total, rtol=1e-9)
        p = distribution_p(positions[place], lambda w, control=control: distribution(control, w))
        evidence.add("position", p)
        add_covariance(evidence, losses[place], exact)
    evidence.judge()


@rejects("sgld_noise_too_large", "sgld_drift_too_large", "beta_for_n_beta", "sample_ids_shuffled")
def test_sgld_samples_its_own_law() -> None:
    chains = max(replicates_for_fraction(0.5, 0.4, ENTRIES), replicates_for_mean(0.3, ENTRIES))
    steps = steps_to_forget(SMALL, adjusted=False, tolerance=FORGOTTEN)
    positions, losses = drawn(sgld.Kernel(SMALL), chains, steps)
    evidence = Evidence()
    for place, control in enumerate(CONTROLS):
        law, exact = sgld_covariance(control, SMALL, WELL), sgld_products(control, SMALL)
        np.testing.assert_allclose(exact.mean, law.total, rtol=1e-6)
        right = int((positions[place] > 0).sum())
        bounds = law.mass - FORGOTTEN, law.mass + FORGOTTEN
        evidence.add("mass", fraction_p(right, chains, *bounds))
        add_covariance(evidence, losses[place], exact)
    evidence.judge()

"""MALA samples exp(-U) itself: no discretisation bias at steps where SGLD's would be large.

Declared: the test fails wrongly with probability 1e-6 at most. With probability 1 - 1e-3 it
catches a variance off by a factor 1.25 or 0.8 in one mode, and a mean off by 0.2 standard
deviations. One draw per chain.
"""

import numpy as np

from stagewise.sampling.kernels import mala
from stagewise.theory.spectrum import GaussianLaw
from support.problems import (
    REGRESSION,
    REGRESSION_STEPS,
    displacements,
    regression,
    regression_potential,
)
from support.rejection import rejects
from support.statistics import Evidence, add_gaussian, replicates_for_gaussian


@rejects(
    "mala_accepts_always",
    "mala_forgets_proposal",
    "mala_noise_too_large",
    "value_localization_doubled",
    "value_beta_for_n_beta",
    "noise_shared_by_chains",
)
def test_quadratic_law_without_discretisation() -> None:
    problem = regression()
    model = problem.model
    size = problem.centre.size
    curvature = REGRESSION.n_beta * model.mean_hessian + REGRESSION.localization * np.eye(size)
    mean = -np.linalg.solve(curvature, REGRESSION.n_beta * model.mean_gradient)
    law = GaussianLaw(mean, np.linalg.inv(curvature))
    chains = replicates_for_gaussian(size)
    # Rejections slow it down: twice SGLD's steps suffice at an acceptance of a half or more.
    steps = 2 * REGRESSION_STEPS
    kernel = mala.Kernel(REGRESSION.step_size)
    drawn = displacements(kernel, regression_potential(problem), chains, steps, "mala")
    evidence = Evidence()
    add_gaussian(evidence, "d", drawn[0], *law)
    evidence.judge()

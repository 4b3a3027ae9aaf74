"""Underdamped Langevin's law at several frictions.

Declared: each test fails wrongly with probability 1e-6 at most. With probability 1 - 1e-3 it
catches a variance off by a factor 1.25 or 0.8 in one mode, and a mean off by 0.2 standard
deviations. One draw per chain.
"""

import pytest

from stagewise.sampling.kernels import underdamped
from stagewise.sampling.potential import Kind
from stagewise.theory.quadratic import GaussianLaw, recentred_law, underdamped_law
from support.problems import (
    REGRESSION,
    REGRESSION_STEPS,
    displacements,
    regression,
    regression_potential,
)
from support.rejection import rejects
from support.statistics import Evidence, add_gaussian, replicates_for_gaussian

#: Underdamped modes decay by sqrt(1 - f) a step: by e^-10 or more in so many steps.
STEPS = {0.1: 3 * REGRESSION_STEPS, 0.3: REGRESSION_STEPS, 1.0: REGRESSION_STEPS}


@pytest.mark.parametrize("friction", [0.1, 0.3, 1.0])
@rejects("momentum_noise_too_small", "underdamped_drift_too_large", "localization_dropped")
def test_stationary_law(friction: float) -> None:
    problem = regression()
    model = problem.model
    judge_underdamped(
        friction,
        "plain",
        underdamped_law(model.mean_gradient, model.mean_hessian, *REGRESSION, friction),
    )


@rejects("momentum_keeps_friction", "recentring_dropped")
def test_stationary_law_of_the_recentred_potential() -> None:
    law = recentred_law(regression().model.mean_hessian, *REGRESSION, 0.3)
    judge_underdamped(0.3, "recentred", law)


def judge_underdamped(friction: float, kind: Kind, law: GaussianLaw) -> None:
    potential = regression_potential(regression(), kind=kind)
    kernel = underdamped.Kernel(REGRESSION.step_size, friction)
    chains = replicates_for_gaussian(law.mean.size)
    drawn = displacements(kernel, potential, chains, STEPS[friction], "underdamped")
    evidence = Evidence()
    add_gaussian(evidence, "d", drawn[0], *law)
    evidence.judge()

"""BAOAB's law, which has no discretisation error on a quadratic, at steps where others have.

Declared: each test fails wrongly with probability 1e-6 at most. With probability 1 - 1e-3 it
catches a variance off by a factor 1.25 or 0.8 in one mode, and a mean off by 0.2 standard
deviations. One draw per chain. The step is three times that of the underdamped tests: there the
sharpest mode of a scheme with SGLD's error would be wide by a factor 1/(1 - 0.09 * 40 / 4) = 10.
"""

import pytest

from stagewise.sampling.kernels import baoab
from stagewise.sampling.potential import Kind
from stagewise.theory.quadratic import GaussianLaw, baoab_law
from support.problems import (
    REGRESSION,
    REGRESSION_STEPS,
    displacements,
    regression,
    regression_potential,
)
from support.rejection import rejects
from support.statistics import Evidence, add_gaussian, replicates_for_gaussian

STEP = 3 * REGRESSION.step_size


@pytest.mark.parametrize("friction", [0.1, 0.4, 1.0])
@rejects("baoab_noise_too_small", "baoab_kicks_once", "localization_doubled")
def test_stationary_law(friction: float) -> None:
    model = regression().model
    setting = (*REGRESSION[:2], STEP)
    judge(friction, "plain", baoab_law(model.mean_gradient, model.mean_hessian, *setting))


@rejects("localization_dropped", "recentring_dropped")
def test_stationary_law_of_the_recentred_potential() -> None:
    model = regression().model
    setting = (*REGRESSION[:2], STEP)
    judge(0.4, "recentred", baoab_law(0 * model.mean_gradient, model.mean_hessian, *setting))


def judge(friction: float, kind: Kind, law: GaussianLaw) -> None:
    potential = regression_potential(regression(), kind=kind)
    kernel = baoab.Kernel(STEP, friction)
    chains = replicates_for_gaussian(law.mean.size)
    drawn = displacements(kernel, potential, chains, 3 * REGRESSION_STEPS, "baoab")
    evidence = Evidence()
    add_gaussian(evidence, "d", drawn[0], *law)
    evidence.judge()

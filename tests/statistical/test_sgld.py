"""SGLD's law: stationary with its discretisation, at a finite time, and without data.

Declared: each test fails wrongly with probability 1e-6 at most. With probability 1 - 1e-3 it
catches a variance off by a factor 1.25 or 0.8 in one mode, and a mean off by 0.2 standard
deviations. One draw per chain, so that replicates are independent and tails exact.
"""

import numpy as np
import pytest

from stagewise.sampling.kernels import sgld
from stagewise.sampling.potential import Potential
from stagewise.theory.quadratic import GaussianLaw, recentred_law, sgld_law, sgld_law_at
from support.problems import (
    EARLY,
    LATE,
    MIDDLE,
    REGRESSION,
    REGRESSION_STEPS,
    TOY,
    RegressionLoss,
    Settings,
    displacements,
    potential_of,
    regression,
    regression_potential,
    toy,
)
from support.rejection import rejects
from support.statistics import Evidence, add_gaussian, replicates_for_gaussian


def judge_sgld(
    potential: Potential, settings: Settings, steps: int, *laws: GaussianLaw, name: str
) -> None:
    """Compares SGLD's positions after so many steps with the law of each checkpoint."""
    chains = replicates_for_gaussian(potential.loss.parameter_count, len(laws))
    drawn = displacements(sgld.Kernel(settings.step_size), potential, chains, steps, name)
    evidence = Evidence()
    for displacement, law in zip(drawn, laws, strict=True):
        add_gaussian(evidence, name, displacement, *law)
    evidence.judge()


@rejects(
    "sgld_noise_too_large",
    "sgld_drift_too_large",
    "localization_dropped",
    "localization_toward_zero",
    "localization_doubled",
    "beta_for_n_beta",
    "sum_for_mean",
    "noise_shared_by_chains",
    "noise_shared_by_coordinates",
    "noise_used_twice",
)
def test_stationary_law_off_a_minimum() -> None:
    problem = regression()
    model = problem.model
    law = sgld_law(model.mean_gradient, model.mean_hessian, *REGRESSION)
    potential = regression_potential(problem)
    judge_sgld(potential, REGRESSION, REGRESSION_STEPS, law, name="sgld")


@rejects("recentring_dropped", "localization_toward_zero", "beta_for_n_beta")
def test_recentred_law_has_no_mean_shift() -> None:
    problem = regression()
    law = recentred_law(problem.model.mean_hessian, *REGRESSION)
    assert not law.mean.any()
    potential = regression_potential(problem, kind="recentred")
    judge_sgld(potential, REGRESSION, REGRESSION_STEPS, law, name="recentred")


@rejects("localization_dropped", "localization_toward_zero", "sgld_noise_too_large")
def test_prior_law_without_data() -> None:
    settings = Settings(n_beta=0.0, localization=10.0, step_size=0.1)
    problem = regression()
    size = problem.centre.size
    variance = 1 / (10.0 * (1 - 0.1 * 10.0 / 4))
    law = GaussianLaw(np.zeros(size), variance * np.eye(size))
    judge_sgld(regression_potential(problem, settings), settings, 40, law, name="prior")


@rejects("quadratic_net_sums_losses", "localization_dropped", "sgld_drift_too_large")
def test_finite_time_law_where_none_is_stationary() -> None:
    net = toy().at(EARLY)
    model = net.model(0)
    assert not model.is_local(TOY.n_beta, TOY.localization)
    law = sgld_law_at(model.mean_gradient, model.mean_hessian, *TOY, 25)
    judge_sgld(potential_of(net.loss, net.loss.centre, TOY), TOY, 25, law, name="early")


@pytest.mark.parametrize("checkpoint", [MIDDLE, LATE])
@rejects("quadratic_net_sums_losses")
def test_stationary_law_of_the_toy(checkpoint: int) -> None:
    net = toy().at(checkpoint)
    model = net.model(0)
    law = sgld_law(model.mean_gradient, model.mean_hessian, *TOY)
    potential = potential_of(net.loss, net.loss.centre, TOY)
    # Curvatures start at 16, so that the slowest mode has relaxed by (1 - 0.16)^64.
    judge_sgld(potential, TOY, 64, law, name="toy")


@rejects("checkpoints_swapped")
def test_each_checkpoint_has_its_own_law() -> None:
    problem = regression()
    other = problem._replace(centre=-problem.centre)
    laws = [
        sgld_law(one.model.mean_gradient, one.model.mean_hessian, *REGRESSION)
        for one in (problem, other)
    ]
    centres = np.stack([problem.centre, other.centre])
    potential = potential_of(RegressionLoss(problem), centres, REGRESSION)
    judge_sgld(potential, REGRESSION, REGRESSION_STEPS, *laws, name="sgld")

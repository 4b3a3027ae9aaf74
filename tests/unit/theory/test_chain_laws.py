"""Laws of discrete chains: explicit momentum by Lyapunov, even potentials on a plane by grid."""

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from stagewise.theory.mixture import DoubleWell, sgld_covariance
from stagewise.theory.momentum import explicit_momentum_variance
from stagewise.theory.plane_chain import even_sgld_moments


@pytest.mark.parametrize("friction", [0.2, 0.7, 1.0])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.15])
def test_explicit_momentum_solves_its_lyapunov_equation(friction: float, share: float) -> None:
    curvature, step = 5.0, 2 * share / 5.0
    h = np.sqrt(step / 2)
    move = np.array([[1.0, h], [-h * curvature, 1.0 - friction]])
    solved = solve_discrete_lyapunov(move, np.diag([0.0, 2 * friction]))[0, 0]
    found = explicit_momentum_variance(np.array([curvature]), step, friction)
    assert found[0] == pytest.approx(solved, rel=1e-10)


def test_explicit_momentum_needs_friction_above_its_step() -> None:
    with pytest.raises(ValueError, match="diverges"):
        explicit_momentum_variance(np.array([10.0]), 0.1, 0.4)


def test_the_plane_chain_of_a_gaussian_is_that_of_its_closed_form() -> None:
    curvature, step = np.array([1.0, 3.0]), 0.3
    found = even_sgld_moments(
        lambda w: 0.5 * np.square(w) @ curvature,
        lambda w: w * curvature,
        lambda w: np.square(w),
        7.0,
        step,
    )
    variance = 1 / (curvature * (1 - step * curvature / 4))
    np.testing.assert_allclose(found.mean, variance, rtol=1e-5)
    np.testing.assert_allclose(np.diag(found.covariance), 2 * variance**2, rtol=1e-5)
    assert abs(found.covariance[0, 1]) < 1e-4


def test_the_plane_chain_agrees_with_the_null_vector_in_one_dimension() -> None:
    """The double well without tilt beside an independent Gaussian coordinate."""
    well, step = DoubleWell(n_beta=4.0, localization=1.0, barrier=0.3), 0.05
    found = even_sgld_moments(
        lambda w: well.potential(w[:, 0], 0.0) + 0.5 * w[:, 1] ** 2,
        lambda w: np.stack([well.potential_gradient(w[:, 0], 0.0), w[:, 1]], axis=1),
        lambda w: well.barrier * (np.square(w[:, :1]) - 1) ** 2,
        6.0,
        step,
    )
    flat = DoubleWell(n_beta=4.0, localization=1.0, barrier=0.3, slopes=(0.0,), tilt=0.0)
    exact = sgld_covariance(0.0, step, flat).total[0, 0]
    # the default slopes sum to zero: at control 0 the potential is the same
    assert found.covariance[0, 0] == pytest.approx(exact, rel=1e-4)


def test_a_chain_that_does_not_settle_is_named() -> None:
    with pytest.raises(ValueError, match="not settled"):
        even_sgld_moments(
            lambda w: 0.5 * np.square(w).sum(1),
            lambda w: 4.0 * w,  # not the gradient of that potential: far to go
            lambda w: w**2,
            6.0,
            0.05,
            most=3,
        )

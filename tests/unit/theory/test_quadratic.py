"""Laws of Langevin chains on quadratics: by hand, by Lyapunov equation, in their limits."""

import jaxtyping
import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from stagewise.theory.quadratic import (
    GaussianLaw,
    damped_influence,
    gradient_similarity,
    llc_quadratic,
    prior_covariance,
    quadratic_loss_covariance,
    recentred_law,
    sgld_law,
    sgld_law_at,
    smallest_eigenvalue,
    underdamped_law,
)
from stagewise.theory.spectrum import spectrum_of

N_BETA, GAMMA, EPSILON = 30.0, 20.0, 0.01


def losses(samples: int = 4, parameters: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Gradients and indefinite Hessians."""
    rng = np.random.default_rng(11)
    square = rng.standard_normal((samples, parameters, parameters))
    return rng.standard_normal((samples, parameters)), (square + square.swapaxes(1, 2)) / 4


def positive_hessian(parameters: int = 5) -> np.ndarray:
    square = np.random.default_rng(12).standard_normal((parameters, parameters))
    return square @ square.T / parameters


def test_sgld_law_by_hand() -> None:
    # m = 3 * 2 + 4 = 10, epsilon m / 4 = 1/4: variance 1 / (10 * 3/4); mean -3 * 5 / 10.
    law = sgld_law(np.array([5.0]), np.array([[2.0]]), 3.0, 4.0, 0.1)
    np.testing.assert_allclose(law.covariance, [[2 / 15]], rtol=1e-14)
    np.testing.assert_allclose(law.mean, [-1.5], rtol=1e-14)


def test_sgld_law_solves_the_lyapunov_equation_of_the_chain() -> None:
    hessian = positive_hessian()
    gradient = losses()[0][0]
    curvature = N_BETA * hessian + GAMMA * np.eye(5)
    contraction = np.eye(5) - EPSILON / 2 * curvature
    law = sgld_law(gradient, hessian, N_BETA, GAMMA, EPSILON)
    np.testing.assert_allclose(
        law.covariance, solve_discrete_lyapunov(contraction, EPSILON * np.eye(5)), rtol=1e-11
    )
    stepped = contraction @ law.mean - EPSILON / 2 * N_BETA * gradient
    np.testing.assert_allclose(stepped, law.mean, rtol=1e-12)


def test_sgld_law_is_the_inverse_curvature_as_the_step_shrinks() -> None:
    hessian = positive_hessian()
    inverse = np.linalg.inv(N_BETA * hessian + GAMMA * np.eye(5))
    law = sgld_law(np.zeros(5), hessian, N_BETA, GAMMA, 1e-12)
    np.testing.assert_allclose(law.covariance, inverse, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("friction", [0.02, 0.1, 0.5, 1.0])
def test_underdamped_law_solves_the_lyapunov_equation_of_velocity_and_position(
    friction: float,
) -> None:
    hessian, eta = positive_hessian(), EPSILON / 2
    curvature = N_BETA * hessian + GAMMA * np.eye(5)
    kick = (1 - friction) * np.eye(5)
    transition = np.block([[kick, -eta * curvature], [kick, np.eye(5) - eta * curvature]])
    noise = 2 * friction * eta * np.kron(np.ones((2, 2)), np.eye(5))
    joint = solve_discrete_lyapunov(transition, noise)
    law = underdamped_law(losses()[0][0], hessian, N_BETA, GAMMA, EPSILON, friction)
    np.testing.assert_allclose(law.covariance, joint[5:, 5:], rtol=1e-9, atol=1e-13)
    # The velocity terms of the docstring.
    velocity = EPSILON * curvature @ law.covariance / (2 - friction)
    np.testing.assert_allclose(joint[:5, :5], velocity, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(joint[:5, 5:], velocity / 2, rtol=1e-9, atol=1e-13)


def test_underdamped_law_without_momentum_is_the_sgld_law() -> None:
    gradient, hessian = losses()[0][0], positive_hessian()
    first = underdamped_law(gradient, hessian, N_BETA, GAMMA, EPSILON, 1.0)
    second = sgld_law(gradient, hessian, N_BETA, GAMMA, EPSILON)
    np.testing.assert_array_equal(first.covariance, second.covariance)
    np.testing.assert_array_equal(first.mean, second.mean)


def test_recentred_law_has_no_mean_shift() -> None:
    gradient, hessian = losses()[0][0], positive_hessian()
    law = recentred_law(hessian, N_BETA, GAMMA, EPSILON, 0.3)
    plain = underdamped_law(gradient, hessian, N_BETA, GAMMA, EPSILON, 0.3)
    np.testing.assert_array_equal(law.mean, 0)
    np.testing.assert_allclose(law.covariance, plain.covariance, rtol=1e-14)


@pytest.mark.parametrize("steps", [0, 1, 2, 37, 400])
@pytest.mark.parametrize("localization", [0.5, 20.0, 250.0])
def test_finite_time_law_is_the_recursion(steps: int, localization: float) -> None:
    # gamma = 0.5 leaves directions of negative curvature, 250 makes the chain overshoot (k < 0).
    gradients, hessians = losses()
    gradient, hessian = gradients.mean(axis=0), hessians.mean(axis=0)
    curvature = N_BETA * hessian + localization * np.eye(5)
    contraction = np.eye(5) - EPSILON / 2 * curvature
    mean, covariance = np.zeros(5), np.zeros((5, 5))
    for _ in range(steps):
        mean = contraction @ mean - EPSILON / 2 * N_BETA * gradient
        covariance = contraction @ covariance @ contraction.T + EPSILON * np.eye(5)
    law = sgld_law_at(gradient, hessian, N_BETA, localization, EPSILON, steps)
    np.testing.assert_allclose(law.mean, mean, rtol=1e-9, atol=1e-12)
    size = np.abs(covariance).max()
    np.testing.assert_allclose(law.covariance, covariance, rtol=1e-9, atol=1e-12 * size)


def test_finite_time_law_by_hand() -> None:
    # m = 4, k = 0.8: two steps give mean -(0.1 / 2) 6 (1 + 0.8), variance 0.1 (1 + 0.64).
    law = sgld_law_at(np.array([3.0]), np.array([[1.0]]), 2.0, 2.0, 0.1, 2)
    np.testing.assert_allclose(law.mean, [-0.54], rtol=1e-14)
    np.testing.assert_allclose(law.covariance, [[0.164]], rtol=1e-14)


def test_finite_time_law_of_a_flat_direction_is_a_random_walk() -> None:
    law = sgld_law_at(np.array([3.0]), np.array([[-1.0]]), 2.0, 2.0, 0.1, 50)
    np.testing.assert_allclose(law.covariance, [[5.0]], rtol=1e-14)
    np.testing.assert_allclose(law.mean, [-0.05 * 6 * 50], rtol=1e-14)


def test_finite_time_law_becomes_the_stationary_one() -> None:
    gradient, hessian = losses()[0][0], positive_hessian()
    late = sgld_law_at(gradient, hessian, N_BETA, GAMMA, EPSILON, 100_000)
    law = sgld_law(gradient, hessian, N_BETA, GAMMA, EPSILON)
    np.testing.assert_allclose(late.covariance, law.covariance, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(late.mean, law.mean, rtol=1e-12)


def test_a_known_spectrum_changes_nothing() -> None:
    gradient, hessian = losses()[0][0], positive_hessian()
    spectrum = spectrum_of(hessian)
    given = sgld_law(gradient, hessian, N_BETA, GAMMA, EPSILON, spectrum=spectrum)
    own = sgld_law(gradient, hessian, N_BETA, GAMMA, EPSILON)
    np.testing.assert_array_equal(given.covariance, own.covariance)


def test_loss_covariance_by_hand() -> None:
    # d ~ N(2, 3); l_1 = d + d^2 / 2, l_2 = -d + d^2: g' = 3 and 3; 3*3*3 + 1/2 (1)(3)(2)(3).
    law = GaussianLaw(np.array([2.0]), np.array([[3.0]]))
    value = quadratic_loss_covariance(np.array([[1.0], [-1.0]]), np.array([[[1.0]], [[2.0]]]), law)
    np.testing.assert_allclose(value, [[31.5, 36.0], [36.0, 45.0]], rtol=1e-14)


def test_loss_covariance_agrees_with_draws_from_the_law() -> None:
    gradients, hessians = losses()
    rng = np.random.default_rng(13)
    law = GaussianLaw(0.5 * rng.standard_normal(5), positive_hessian())
    draws = rng.multivariate_normal(law.mean, law.covariance, size=200_000, method="cholesky")
    values = draws @ gradients.T + 0.5 * np.einsum("sp,ipq,sq->si", draws, hessians, draws)
    products = values - values.mean(axis=0)
    products = products[:, :, None] * products[:, None, :]
    error = products.std(axis=0) / np.sqrt(len(draws))
    z = (products.mean(axis=0) - quadratic_loss_covariance(gradients, hessians, law)) / error
    # 10 entries at |z| < 5.5: a false-fail rate of 4e-7.
    assert np.abs(z).max() < 5.5


def test_loss_covariance_is_gradient_similarity_as_localization_grows() -> None:
    gradients, hessians = losses()
    gamma = 1e7
    law = sgld_law(gradients.mean(axis=0), hessians.mean(axis=0), N_BETA, gamma, 1e-12)
    covariance = quadratic_loss_covariance(gradients, hessians, law)
    similarity = gradient_similarity(gradients, gamma)
    np.testing.assert_allclose(-covariance * gamma, similarity * gamma, atol=1e-4)
    damped = damped_influence(gradients, hessians.mean(axis=0), N_BETA, gamma)
    np.testing.assert_allclose(damped * gamma, similarity * gamma, atol=1e-4)


def test_loss_covariance_is_the_damped_influence_at_low_temperature() -> None:
    # n_beta and gamma grow together: the second-order term falls faster, at a minimum of L.
    gradients, hessians = losses()
    hessians = hessians + 2 * np.eye(5)
    gradients = gradients - gradients.mean(axis=0)
    scale = 1e8
    law = sgld_law(np.zeros(5), hessians.mean(axis=0), scale, scale / 5, 1e-14)
    covariance = quadratic_loss_covariance(gradients, hessians, law)
    damped = damped_influence(gradients, hessians.mean(axis=0), scale, scale / 5)
    np.testing.assert_allclose(-covariance * scale, damped * scale, atol=1e-5)


def test_prior_covariance_is_the_law_without_data() -> None:
    gradients, hessians = losses()
    law = sgld_law(gradients.mean(axis=0), hessians.mean(axis=0), 0.0, GAMMA, 1e-13)
    np.testing.assert_allclose(
        prior_covariance(gradients, hessians, GAMMA),
        quadratic_loss_covariance(gradients, hessians, law),
        rtol=1e-10,
        atol=1e-14,
    )


def test_influence_of_a_query_is_negative_where_gradients_agree() -> None:
    gradients, query = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[3.0, 0.0]])
    np.testing.assert_allclose(gradient_similarity(gradients, 2.0, query), [[-1.5], [0.0]])
    damped = damped_influence(gradients, np.diag([1.0, 4.0]), 2.0, 1.0, query)
    np.testing.assert_allclose(damped, [[-1.0], [0.0]], atol=1e-16)


def test_smallest_eigenvalue() -> None:
    assert smallest_eigenvalue(np.array([[0.0, 2.0], [2.0, 0.0]])) == pytest.approx(-2.0)


def test_llc_by_hand_and_in_its_limit() -> None:
    # 1/2 (20/24 + 40/44); as n_beta grows half the number of parameters.
    eigenvalues = np.array([2.0, 4.0])
    assert llc_quadratic(eigenvalues, 10.0, 4.0) == pytest.approx((20 / 24 + 40 / 44) / 2)
    assert llc_quadratic(eigenvalues, 1e12, 4.0) == pytest.approx(1.0)
    assert llc_quadratic(eigenvalues, 0.0, 4.0) == 0.0
    inflated = (20 / 24 / (1 - 0.06) + 40 / 44 / (1 - 0.11)) / 2
    assert llc_quadratic(eigenvalues, 10.0, 4.0, step_size=0.01) == pytest.approx(inflated)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: sgld_law(np.ones(2), np.diag([1.0, -2.0]), 10.0, 5.0, 0.01),
            r"= -15: .* raise localization by more than 15",
        ),
        (
            lambda: sgld_law(np.ones(1), np.eye(1), 10.0, 10.0, 0.2),
            r"= 4: it must be below 4 .* step_size < 0.2",
        ),
        (
            lambda: underdamped_law(np.ones(1), np.eye(1), 10.0, 10.0, 0.4, 0.1),
            r"= 8: it must be below 7.6 .* step_size < 0.38",
        ),
        (
            lambda: underdamped_law(np.ones(1), np.eye(1), 10.0, 10.0, 0.1, 1.5),
            r"friction = 1.5: .* \(0, 1\]",
        ),
        (lambda: sgld_law(np.ones(1), np.eye(1), -1.0, 1.0, 0.1), "n_beta = -1: .* at least 0"),
        (lambda: sgld_law(np.ones(1), np.eye(1), 1.0, 0.0, 0.1), "localization = 0: .* above 0"),
        (lambda: sgld_law(np.ones(1), np.eye(1), 1.0, 1.0, -0.1), "step_size = -0.1"),
        (lambda: sgld_law(np.ones(2), np.triu(np.ones((2, 2))), 1.0, 1.0, 0.1), "symmetric"),
        (lambda: sgld_law_at(np.ones(1), np.eye(1), 1.0, 1.0, 0.1, -1), "steps = -1"),
        (
            lambda: sgld_law_at(np.ones(1), -np.eye(1), 100.0, 1.0, 0.1, 10_000),
            "overflows within steps = 10000: .* fewer steps",
        ),
        (lambda: llc_quadratic(np.array([-1.0]), 10.0, 5.0), "raise localization by more than 5"),
        (
            lambda: damped_influence(np.ones((1, 1)), -np.eye(1), 10.0, 5.0),
            "raise localization by more than 5",
        ),
        (lambda: gradient_similarity(np.ones((1, 1)), np.inf), "localization = inf"),
        (
            lambda: prior_covariance(np.ones((2, 3)), np.ones((2, 3, 4)), 1.0),
            r"must be \(n, P\) and \(n, P, P\)",
        ),
        (lambda: smallest_eigenvalue(np.ones((2, 3))), "must be square"),
    ],
)
def test_wrong_arguments_are_named(call, message: str) -> None:
    # Without the suite's own check of array shapes, as a user runs it.
    jaxtyping.config.update("jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        call()

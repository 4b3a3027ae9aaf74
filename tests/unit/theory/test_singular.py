"""Finite learning coefficients against other ways of computing them."""

import numpy as np
import pytest
from scipy.integrate import quad

from stagewise.theory.singular import (
    box_moments,
    normal_crossing_llc,
    normal_crossing_rlct,
    reduced_rank_llc,
    reduced_rank_output,
    reduced_rank_rlct,
)


def by_one_integral(power: int, n_beta: float, gamma: float) -> float:
    """w_1^2 w_2^(2 k): given w_2 the other weight is Gaussian, which leaves one integral."""

    def density(w: float) -> float:
        return np.exp(-gamma * w**2 / 2) / np.sqrt(2 * n_beta * w ** (2 * power) + gamma)

    def weighted(w: float) -> float:
        crossing = w ** (2 * power)
        return density(w) * n_beta * crossing / (2 * n_beta * crossing + gamma)

    (value, _), (mass, _) = (quad(f, 0, np.inf, epsabs=1e-13) for f in (weighted, density))
    return value / mass


@pytest.mark.parametrize("powers", [(1, 1), (1, 2), (2, 1)])
@pytest.mark.parametrize(("n_beta", "gamma"), [(0.1, 1.0), (1.0, 1.0), (0.5, 2.0)])
def test_normal_crossing_agrees_with_another_rule(
    powers: tuple[int, int], n_beta: float, gamma: float
) -> None:
    found = normal_crossing_llc(powers, n_beta, gamma)
    assert found.value == pytest.approx(by_one_integral(max(powers), n_beta, gamma), rel=1e-8)
    assert found.error < 1e-5 * found.value


def test_an_even_crossing_is_reduced_rank_regression_of_one_unit() -> None:
    """1/2 v (b a)^2 with v = 2: there one weight is integrated in closed form."""
    crossing = normal_crossing_llc((1, 1), 3.0, 0.7)
    regression = reduced_rank_llc(np.array([2.0]), 1, 1, 3.0, 0.7)
    assert crossing.value == pytest.approx(regression.value, rel=1e-10)


@pytest.mark.parametrize(("outputs", "hidden"), [(1, 1), (3, 1), (2, 2), (3, 2)])
def test_reduced_rank_agrees_with_draws_from_the_prior(outputs: int, hidden: int) -> None:
    """Importance sampling from N(0, I/gamma); within five of its standard errors."""
    variances, n_beta, gamma = np.array([1.0, 0.4]), 4.0, 1.5
    rng = np.random.default_rng(3)
    count = 400_000
    second = rng.standard_normal((count, outputs, hidden)) / np.sqrt(gamma)
    first = rng.standard_normal((count, hidden, 2)) / np.sqrt(gamma)
    squares = np.square(second @ first).sum(axis=1)
    weight = np.exp(-n_beta / 2 * squares @ variances)
    mean = weight @ squares / weight.sum()
    error = np.sqrt((weight**2) @ (squares - mean) ** 2) / weight.sum()
    found = reduced_rank_output(variances, outputs, hidden, n_beta, gamma)
    assert np.abs(found - mean).max() < 5 * error.max()
    assert (error / mean).max() < 0.01


def test_the_finite_value_rises_from_zero_towards_its_limit() -> None:
    limit = reduced_rank_rlct(2, 2, 2).threshold
    values = [reduced_rank_llc(np.ones(2), 2, 2, nb, 1.0).value for nb in (0.0, 1.0, 1e2, 1e4)]
    assert values == sorted(values)
    assert values[0] == 0
    assert 0.9 * limit < values[-1] < limit


@pytest.mark.parametrize(
    ("inputs", "outputs", "hidden", "rank", "threshold", "multiplicity"),
    [
        (1, 1, 1, 0, 0.5, 2),  # the crossing of two lines
        (2, 2, 1, 0, 1.0, 2),  # |a|^2 |b|^2: two spheres of radius zero
        (3, 2, 1, 0, 1.0, 1),  # the smaller of 3/2 and 2/2
        (2, 2, 2, 2, 2.0, 1),  # full rank: regular, half the number of independent weights
        (5, 1, 1, 0, 0.5, 1),
    ],
)
def test_known_thresholds(
    inputs: int, outputs: int, hidden: int, rank: int, threshold: float, multiplicity: int
) -> None:
    assert reduced_rank_rlct(inputs, outputs, hidden, rank) == (threshold, multiplicity)


def test_thresholds_of_crossings() -> None:
    assert normal_crossing_rlct((1, 1)) == (0.5, 2)
    assert normal_crossing_rlct((1, 2)) == (0.25, 1)


def test_box_moments_of_a_shifted_gaussian() -> None:
    precision = np.array([[2.0, 0.5], [0.5, 1.0]])
    shift = np.array([0.3, -1.0])

    def potential(w: np.ndarray) -> np.ndarray:
        return 0.5 * np.einsum("np,pq,nq->n", w - shift, precision, w - shift)

    found = box_moments(potential, lambda w: w, shift.tolist(), [9.0, 9.0], 121)
    np.testing.assert_allclose(found.mean, shift, atol=1e-10)
    np.testing.assert_allclose(found.covariance, np.linalg.inv(precision), atol=1e-10)


@pytest.mark.parametrize(
    "call",
    [
        lambda: normal_crossing_llc((0, 1), 1.0, 1.0),
        lambda: normal_crossing_llc((1, 1), 1.0, 0.0),
        lambda: reduced_rank_llc(np.ones(2), 1, 2, 1.0, 1.0),
        lambda: reduced_rank_llc(np.ones(2), 3, 3, 1.0, 1.0),
        lambda: reduced_rank_rlct(2, 2, 1, 2),
        lambda: box_moments(lambda w: w[:, 0], lambda w: w, [0.0], [1.0, 1.0], 5),
    ],
)
def test_what_is_out_of_range_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match="must|at least"):
        call()

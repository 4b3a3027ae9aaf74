"""Modes of the linear network against hand values, limits and direct integration of the flow."""

import jaxtyping
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from stagewise.theory.modes import (
    aligned_balanced_init,
    matrix_solution,
    mode_slope,
    mode_strength,
    random_balanced_init,
    svd_modes,
    transition_step,
)

TAU = 800.0


def balanced_tree() -> np.ndarray:
    """Items are the 8 leaves, features the 15 nodes above and at them."""
    return np.vstack([np.repeat(np.eye(2**depth), 8 >> depth, axis=1) for depth in range(4)])


def deficient_target() -> np.ndarray:
    """Rank 2 in 5 x 4: two pairs of items that no feature tells apart."""
    return np.repeat(np.random.default_rng(3).standard_normal((5, 2)), 2, axis=1)


def integrate_flow(
    w1: np.ndarray, w2: np.ndarray, target: np.ndarray, steps: np.ndarray
) -> np.ndarray:
    """QQ^T at the steps by DOP853 on the weights themselves."""

    def flow(_: float, flat: np.ndarray) -> np.ndarray:
        first, second = flat[: w1.size].reshape(w1.shape), flat[w1.size :].reshape(w2.shape)
        error = target - second @ first
        return np.concatenate([(second.T @ error).ravel(), (error @ first.T).ravel()]) / TAU

    solution = solve_ivp(
        flow,
        (0, steps[-1]),
        np.concatenate([w1.ravel(), w2.ravel()]),
        method="DOP853",
        t_eval=steps,
        rtol=1e-11,
        atol=1e-13,
    )
    products = []
    for flat in solution.y.T:
        first, second = flat[: w1.size].reshape(w1.shape), flat[w1.size :].reshape(w2.shape)
        q = np.vstack([first.T, second])
        products.append(q @ q.T)
    return np.array(products)


def test_the_balanced_tree_has_the_known_modes() -> None:
    left, strengths, right = svd_modes(balanced_tree())
    np.testing.assert_allclose(strengths**2, [15, 7, 3, 3, 1, 1, 1, 1], atol=1e-12)
    assert left.shape == (15, 15)
    assert right.shape == (8, 8)
    np.testing.assert_allclose((left[:, :8] * strengths) @ right, balanced_tree(), atol=1e-12)


def test_zero_modes_are_cut() -> None:
    assert svd_modes(deficient_target()).strengths.shape == (2,)


def test_mode_strength_by_hand() -> None:
    # e^(2 s t / tau) = 2: a = 2 s / (2 - 1 + s / a0).
    assert mode_strength(np.log(2) / 2, 1.0, 0.5, 1.0) == pytest.approx(2 / 3, abs=1e-15)
    assert mode_strength(np.log(2) / 6 * 10, 3.0, 0.1, 10.0) == pytest.approx(6 / 31, abs=1e-15)


def test_mode_strength_limits() -> None:
    assert mode_strength(0, 2.0, 0.3, TAU) == pytest.approx(0.3, abs=1e-16)
    assert mode_strength(1e9, 2.0, 1e-12, TAU) == pytest.approx(2.0, abs=1e-14)
    assert mode_strength(1e9, 2.0, 0.0, TAU) == 0.0
    assert mode_strength(3 * TAU, 0.0, 0.5, TAU) == pytest.approx(0.5 / (1 + 3), abs=1e-16)
    assert mode_strength(3 * TAU, 1e-9, 0.5, TAU) == pytest.approx(0.125, abs=1e-8)


def test_mode_strength_solves_its_differential_equation() -> None:
    steps = np.linspace(0, 4 * TAU, 9)
    flow = solve_ivp(
        lambda _, a: 2 * a * (1.7 - a) / TAU, (0, steps[-1]), [1e-3], t_eval=steps, rtol=1e-11,
        atol=1e-14, method="DOP853",
    )  # fmt: skip
    np.testing.assert_allclose(mode_strength(steps, 1.7, 1e-3, TAU), flow.y[0], atol=1e-9)


def test_mode_slope_is_the_derivative() -> None:
    s = np.array([1e-6, 0.01, 0.05, 0.2, 1.0, 1.7, 3.9])[:, None]
    steps = np.array([0.0, 1.0, 100.0, 400.0, 900.0, 3000.0, 20000.0])
    width = 1e-4 * s
    rise = mode_strength(steps, s + width, 0.02, TAU) - mode_strength(steps, s - width, 0.02, TAU)
    slope = mode_slope(steps, s, 0.02, TAU)
    np.testing.assert_allclose(slope, rise / (2 * width), rtol=2e-5, atol=1e-6)
    assert mode_slope(1e9, 2.0, 0.3, TAU) == pytest.approx(1.0, abs=1e-14)


def test_mode_slope_is_smooth_where_the_series_takes_over() -> None:
    # x = 2 step s / tau passes 0.1 here.
    s = 0.1 * TAU / 2 * np.array([1 - 1e-9, 1 + 1e-9])
    below, above = mode_slope(1.0, s, 0.5, TAU)
    assert abs(above / below - 1) < 1e-9


def test_transition_step_inverts_the_strength() -> None:
    s = np.array([0.5, 1.0, 3.9])
    for fraction in (0.1, 0.5, 0.99):
        steps = transition_step(s, 1e-4, TAU, fraction)
        np.testing.assert_allclose(mode_strength(steps, s, 1e-4, TAU), fraction * s, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mode_strength(-1, 1.0, 0.1, TAU), "step = -1: .* at least 0"),
        (lambda: mode_strength(1, -2.0, 0.1, TAU), "singular value = -2: .* at least 0"),
        (lambda: mode_slope(1, 1.0, 0.1, 0.0), "tau = 0: .* above 0"),
        (lambda: mode_slope(1, 1.0, np.nan, 1.0), "initial mode strength = nan"),
        (lambda: transition_step(1.0, 0.6, TAU), "already past 0.5 .* start smaller"),
        (lambda: transition_step(1.0, 0.1, TAU, 1.0), "fraction = 1.0: .* between 0 and 1"),
        (lambda: svd_modes(np.zeros((2, 3))), "finite, non-zero"),
        (lambda: aligned_balanced_init(np.eye(3), 2, 0.1), "hidden = 2: .* hidden >= 3"),
        (lambda: aligned_balanced_init(np.eye(3), 3, -0.1), "initial mode strength = -0.1"),
        (lambda: matrix_solution(np.ones((5, 2)), np.eye(3), 1.0, TAU), r"\(6, hidden\)"),
        (
            lambda: matrix_solution(np.eye(6)[:, :3] * 2.0, np.eye(3), 1.0, TAU),
            "random_balanced_init",
        ),
        (
            lambda: random_balanced_init((3, 3), 4, 0.0, np.random.default_rng(0)),
            "scale = 0: .* above 0",
        ),
    ],
)
def test_wrong_arguments_are_named(call, message: str) -> None:
    # Without the suite's own check of array shapes, as a user runs it.
    jaxtyping.config.update("jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("hidden", [3, 8, 16])
def test_inits_are_balanced(hidden: int) -> None:
    rng = np.random.default_rng(1)
    w1, w2 = random_balanced_init((15, 8), hidden, 0.1, rng)
    assert w1.shape == (hidden, 8)
    assert w2.shape == (15, hidden)
    np.testing.assert_allclose(w1 @ w1.T, w2.T @ w2, atol=1e-15)
    if hidden >= 8:
        w1, w2 = aligned_balanced_init(balanced_tree(), hidden, 1e-3)
        np.testing.assert_allclose(w1 @ w1.T, w2.T @ w2, atol=1e-18)
        left, _, right = svd_modes(balanced_tree())
        np.testing.assert_allclose(left.T @ w2 @ w1 @ right.T, 1e-3 * np.eye(15, 8), atol=1e-17)


def test_random_balanced_init_has_the_size_of_a_gaussian_one() -> None:
    rng = np.random.default_rng(2)
    entries = np.array(
        [np.matmul(*random_balanced_init((15, 8), 16, 0.1, rng)[::-1]) for _ in range(400)]
    )
    # 48,000 independent entries: the standard error of the variance is 0.65%.
    assert entries.var() == pytest.approx(0.1**4 * 16, rel=0.03)


@pytest.mark.parametrize("target", [balanced_tree(), deficient_target()], ids=["tree", "rank 2"])
@pytest.mark.parametrize("hidden", [2, 16])
def test_matrix_solution_agrees_with_integration_of_the_flow(
    target: np.ndarray, hidden: int
) -> None:
    w1, w2 = random_balanced_init(target.shape, hidden, 0.05, np.random.default_rng(4))
    steps = np.linspace(0, 6 * TAU, 13)
    exact = matrix_solution(np.vstack([w1.T, w2]), target, steps, TAU)
    np.testing.assert_allclose(exact, integrate_flow(w1, w2, target, steps), atol=1e-8)


def test_matrix_solution_of_an_aligned_start_is_the_closed_form() -> None:
    target = balanced_tree()
    w1, w2 = aligned_balanced_init(target, 16, 1e-6)
    left, strengths, right = svd_modes(target)
    steps = np.array([3000.0, 0.0, 50.0, 1e5, 12000.0])
    learned = matrix_solution(np.vstack([w1.T, w2]), target, steps, TAU)[:, 8:, :8]
    measured = np.einsum("fk,tfi,ki->tk", left[:, :8], learned, right)
    predicted = mode_strength(steps[:, None], strengths, 1e-6, TAU)
    np.testing.assert_allclose(measured, predicted, atol=1e-11)


def test_matrix_solution_keeps_its_digits_at_long_times() -> None:
    target = balanced_tree()
    w1, w2 = random_balanced_init(target.shape, 16, 1e-3, np.random.default_rng(5))
    learned = matrix_solution(np.vstack([w1.T, w2]), target, 2e5, TAU)
    assert learned.shape == (23, 23)
    np.testing.assert_allclose(learned[8:, :8], target, atol=1e-12)


def test_matrix_solution_is_a_semigroup() -> None:
    target = balanced_tree()
    w1, w2 = random_balanced_init(target.shape, 4, 0.3, np.random.default_rng(6))
    start = np.vstack([w1.T, w2])
    middle = matrix_solution(start, target, 700.0, TAU)
    values, vectors = np.linalg.eigh(middle)
    factor = vectors[:, -4:] * np.sqrt(values[-4:])
    np.testing.assert_allclose(
        matrix_solution(factor, target, 600.0, TAU),
        matrix_solution(start, target, 1300.0, TAU),
        atol=1e-9,
    )

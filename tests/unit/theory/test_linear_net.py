"""Derivatives and influences of the linear network against automatic and finite differences."""

import jaxtyping
import numpy as np
import pytest
import torch

from stagewise.theory.linear_net import (
    loss_derivatives,
    published_map_derivative,
    published_trajectory_influence,
    strong_localization_covariance,
)
from stagewise.theory.modes import (
    matrix_solution,
    mode_slope,
    mode_strength,
    random_balanced_init,
    svd_modes,
)

TAU = 800.0
A0 = 1e-3


def balanced_tree() -> np.ndarray:
    return np.vstack([np.repeat(np.eye(2**depth), 8 >> depth, axis=1) for depth in range(4)])


TARGETS = {
    "balanced tree": balanced_tree(),
    "distinct": np.random.default_rng(0).standard_normal((5, 4)),
    "more items than features": np.random.default_rng(1).standard_normal((3, 5)),
    "duplicate items": np.repeat(np.random.default_rng(2).standard_normal((5, 2)), 2, axis=1),
}


def random_net(features: int, hidden: int, items: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    return (
        rng.standard_normal((hidden, items)),
        rng.standard_normal((features, hidden)),
        rng.standard_normal((features, items)),
    )


def own_flow(target: np.ndarray, rank: int, step: float) -> np.ndarray:
    """W(t) of the aligned start on the given target, its ``rank`` leading modes at A0."""
    left, strengths, right = np.linalg.svd(target, full_matrices=False)
    strength = mode_strength(step, strengths[:rank], A0, TAU)
    return (left[:, :rank] * strength) @ right[:rank]


@pytest.mark.parametrize("shape", [(5, 3, 4), (3, 4, 3), (1, 2, 5)])
def test_loss_derivatives_agree_with_automatic_differentiation(shape) -> None:
    w1, w2, target = random_net(*shape)
    goal = torch.from_numpy(target)

    def losses(flat: torch.Tensor) -> torch.Tensor:
        first, second = flat[: w1.size].reshape(w1.shape), flat[w1.size :].reshape(w2.shape)
        return 0.5 * ((second @ first - goal) ** 2).sum(dim=0)

    flat = torch.from_numpy(np.concatenate([w1.ravel(), w2.ravel()]))
    loss, gradient, hessian = loss_derivatives(w1, w2, target)
    np.testing.assert_allclose(loss, losses(flat), rtol=1e-14)
    np.testing.assert_allclose(gradient, torch.func.jacrev(losses)(flat), atol=1e-13)
    np.testing.assert_allclose(hessian, torch.func.hessian(losses)(flat), atol=1e-13)


def test_strong_localization_covariance_is_the_product_of_gradients() -> None:
    w1, w2, target = random_net(5, 3, 4)
    _, gradient, _ = loss_derivatives(w1, w2, target)
    np.testing.assert_allclose(
        strong_localization_covariance(w1, w2, target, 30.0), gradient @ gradient.T / 30, atol=1e-13
    )


def test_strong_localization_covariance_by_hand() -> None:
    # yhat = (2, 4), y = (1, 1): r = (-1, -3); h = (1, 2); W2^T r = (-2, -6).
    value = strong_localization_covariance(
        np.array([[1.0, 2.0]]), np.array([[2.0]]), np.array([[1.0, 1.0]]), 2.0
    )
    np.testing.assert_allclose(value, np.array([[1 + 4, 6], [6, 36 + 36]]) / 2, rtol=1e-15)


def test_gradient_descent_follows_the_flow_with_tau_items_over_learning_rate() -> None:
    target, rate = TARGETS["distinct"], 4e-3
    w1, w2 = random_balanced_init(target.shape, 4, 0.3, np.random.default_rng(8))
    exact = matrix_solution(np.vstack([w1.T, w2]), target, 1000.0, 4 / rate)[4:, :4]
    for _ in range(1000):
        _, gradient, _ = loss_derivatives(w1, w2, target)
        change = rate * gradient.mean(axis=0)
        w1 = w1 - change[: w1.size].reshape(w1.shape)
        w2 = w2 - change[w1.size :].reshape(w2.shape)
    # Euler steps of s / tau = 3e-3 leave an error of that order; tau off by 1% would show.
    assert np.abs(exact).max() > 0.5
    np.testing.assert_allclose(w2 @ w1, exact, atol=3e-3)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("step", [0.0, 500.0, 1400.0, 2600.0, 30000.0])
def test_published_influence_agrees_with_finite_differences(name: str, step: float) -> None:
    target = TARGETS[name]
    rank, width = svd_modes(target).strengths.size, 1e-5
    expected = np.empty((target.shape[1],) * 2)
    for p in range(target.shape[1]):
        losses = []
        for sign in (1, -1):
            weight = np.ones(target.shape[1])
            weight[p] += sign * width
            learned = own_flow(target * weight, rank, step)
            losses.append(0.5 * ((target - learned) ** 2).sum(axis=0))
        expected[p] = (losses[0] - losses[1]) / (2 * width)
    value = published_trajectory_influence(target, A0, TAU, step)
    np.testing.assert_allclose(value, expected, atol=1e-7)


@pytest.mark.parametrize("name", ["balanced tree", "distinct", "more items than features"])
def test_map_derivative_agrees_with_finite_differences_of_any_change(name: str) -> None:
    target, width = TARGETS[name], 1e-5
    change = np.random.default_rng(5).standard_normal((2, *target.shape))
    rank = min(target.shape)
    for step in (700.0, 1800.0):
        expected = [
            (own_flow(target + width * c, rank, step) - own_flow(target - width * c, rank, step))
            / (2 * width)
            for c in change
        ]
        value = published_map_derivative(target, change, A0, TAU, step)
        np.testing.assert_allclose(value, expected, atol=1e-7)


def test_map_derivative_is_the_published_formula() -> None:
    target, step = TARGETS["distinct"], 900.0
    left, s, right = svd_modes(target)
    s = np.append(s, 0.0)
    g = np.append(mode_strength(step, s[:4], A0, TAU), 0.0)
    change = np.random.default_rng(6).standard_normal(target.shape)
    e = np.zeros((5, 5))
    e[:, :4] = left.T @ change @ right.T
    expected = np.empty((5, 4))
    for j in range(5):
        for k in range(4):
            upper = (s[k] * e[j, k] + s[j] * e[k, j]) * g[k]
            lower = g[j] * (s[j] * e[j, k] + s[k] * e[k, j])
            expected[j, k] = (
                mode_slope(step, s[j], A0, TAU) * e[j, j]
                if j == k
                else (upper - lower) / (s[k] ** 2 - s[j] ** 2)
            )
    value = published_map_derivative(target, change, A0, TAU, step)
    np.testing.assert_allclose(left.T @ value @ right.T, expected, atol=1e-10)


def test_influence_at_the_end_of_training_keeps_only_the_shared_target() -> None:
    # Learned exactly, r = 0: no first-order change of any loss.
    value = published_trajectory_influence(balanced_tree(), A0, TAU, 1e6)
    np.testing.assert_allclose(value, 0, atol=1e-12)


def test_an_item_helps_itself_while_it_is_learned() -> None:
    value = published_trajectory_influence(balanced_tree(), A0, TAU, 1000.0)
    assert (np.diag(value) < 0).all()
    np.testing.assert_allclose(np.diag(value), value[0, 0], rtol=1e-10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: published_trajectory_influence(np.eye(2), 0.0, TAU, 1.0), "strength = 0"),
        (lambda: published_trajectory_influence(np.eye(2), A0, TAU, -1.0), "step = -1"),
        (
            lambda: published_map_derivative(np.eye(2), np.ones((3, 2)), A0, TAU, 1.0),
            "must end in the shape",
        ),
        (
            lambda: loss_derivatives(np.ones((2, 3)), np.ones((4, 2)), np.ones((4, 5))),
            r"\(hidden, item\), \(feature, hidden\) and \(feature, item\)",
        ),
        (
            lambda: strong_localization_covariance(np.eye(2), np.eye(2), np.eye(2), 0.0),
            "localization = 0: .* above 0",
        ),
    ],
)
def test_wrong_arguments_are_named(call, message: str) -> None:
    # Without the suite's own check of array shapes, as a user runs it.
    jaxtyping.config.update("jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        call()

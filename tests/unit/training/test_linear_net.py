import numpy as np
import pytest
import torch

from stagewise.data.trees import from_branching
from stagewise.theory.modes import aligned_balanced_init, mode_strength, svd_modes
from stagewise.training.linear_net import (
    WeightSchedule,
    constant_weights,
    gaussian_init,
    gradient_step,
    growing_strengths,
    item_losses,
    mode_strengths,
    train,
)

Y = torch.from_numpy(from_branching([2, 2]).feature_matrix([1, 1, 1]))
FEATURES, ITEMS = Y.shape


def start(runs: int, scale: float = 0.5, hidden: int = 5):
    return gaussian_init(
        FEATURES, ITEMS, hidden, scale, [np.random.default_rng(seed) for seed in range(runs)]
    )


def test_step_is_gradient_descent_on_the_weighted_mean_loss():
    W1, W2 = start(3)
    weights = torch.from_numpy(np.random.default_rng(9).uniform(0, 2, (3, ITEMS)))
    first, second = W1.clone().requires_grad_(), W2.clone().requires_grad_()
    loss = (weights * item_losses(first, second, Y)).sum(dim=1) / ITEMS
    loss.sum().backward()
    stepped = gradient_step(W1, W2, Y, weights, 0.3)
    torch.testing.assert_close(stepped[0], W1 - 0.3 * first.grad, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(stepped[1], W2 - 0.3 * second.grad, rtol=1e-13, atol=1e-14)


def test_losses_are_half_squared_errors():
    W1, W2 = start(2)
    by_hand = [
        [0.5 * float(((Y[:, i] - W2[r] @ W1[r][:, i]) ** 2).sum()) for i in range(ITEMS)]
        for r in range(2)
    ]
    np.testing.assert_allclose(item_losses(W1, W2, Y), by_hand, rtol=1e-13)


def test_recorded_states_are_those_after_so_many_steps():
    W1, W2 = start(2)
    weights = torch.ones(2, ITEMS, dtype=Y.dtype)
    run = train(W1, W2, Y, constant_weights(weights), learning_rate=0.1, record_steps=[0, 1, 4])
    assert torch.equal(run.W1[:, 0], W1)
    states = [(W1, W2)]
    for _ in range(4):
        states.append(gradient_step(*states[-1], Y, weights, 0.1))
    for k, step in enumerate([0, 1, 4]):
        assert torch.equal(run.W1[:, k], states[step][0])
        assert torch.equal(run.W2[:, k], states[step][1])


def test_schedule_changes_weights_at_its_starts():
    weights = torch.arange(3, dtype=Y.dtype)[:, None, None].expand(3, 1, ITEMS)
    schedule = WeightSchedule((0, 2, 5), weights)
    found = [float(schedule.weight_at(step)[0, 0]) for step in range(7)]
    assert found == [0, 0, 1, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="no weights before step 2"):
        WeightSchedule((2, 5), weights[:2]).weight_at(1)


@pytest.mark.parametrize(("steps", "first"), [([0, 2, 2], 0), ([3, 1], 0), ([0, 4], 2)])
def test_record_steps_must_ascend(steps, first):
    everything = constant_weights(torch.ones(1, ITEMS, dtype=Y.dtype))
    with pytest.raises(ValueError, match="must ascend"):
        train(*start(1), Y, everything, learning_rate=0.1, record_steps=steps, first_step=first)


def test_aligned_balanced_modes_follow_the_closed_form_to_first_order_in_the_learning_rate():
    left, s, right = svd_modes(Y.numpy())
    U, Vt = torch.from_numpy(left[:, : s.size]), torch.from_numpy(right[: s.size])
    W1, W2 = (torch.from_numpy(layer)[None] for layer in aligned_balanced_init(Y.numpy(), 6, 1e-3))
    assert np.allclose(growing_strengths(W1, W2, U, Vt), 1e-3)
    assert np.allclose(mode_strengths(W1, W2, U, Vt), 1e-3)
    errors = []
    for learning_rate in (0.04, 0.02):
        tau = ITEMS / learning_rate
        steps = [round(t) for t in np.linspace(0, 8 * tau, 81)]
        everything = constant_weights(torch.ones(1, ITEMS, dtype=Y.dtype))
        run = train(W1, W2, Y, everything, learning_rate=learning_rate, record_steps=steps)
        strength = mode_strengths(*run, U, Vt)[0].numpy()
        exact = mode_strength(np.array(steps)[:, None], s, 1e-3, tau)
        errors.append(float((np.abs(strength - exact) / s).max()))
    assert errors[0] < 0.03
    # Halving the learning rate halves the error of an Euler method.
    assert errors[1] == pytest.approx(errors[0] / 2, rel=0.05)


def test_gaussian_init_is_a_run_per_generator_with_the_scale_asked_for():
    W1, W2 = gaussian_init(40, 30, 20, 0.25, [np.random.default_rng(seed) for seed in (3, 4)])
    assert (W1.shape, W2.shape, W1.dtype) == ((2, 20, 30), (2, 40, 20), torch.float64)
    again = gaussian_init(40, 30, 20, 0.25, [np.random.default_rng(4)])
    assert torch.equal(again[0][0], W1[1])
    assert torch.equal(again[1][0], W2[1])
    values = torch.cat([W1.flatten(), W2.flatten()]).numpy()
    # 2800 independent values: five standard errors of a standard deviation, sigma / sqrt(2 n).
    assert abs(values.std() - 0.25) < 5 * 0.25 / np.sqrt(2 * values.size)

import numpy as np
import pytest
import torch

from stagewise.data.trees import from_branching, from_nested
from stagewise.training.linear_net import gaussian_init
from stagewise.training.published import published_finite_difference, published_influence
from stagewise.training.tangent import finite_difference, relative_error, trajectory_influence

TREES = {
    "balanced": from_branching([2, 2]),
    "unbalanced": from_nested([["a", "b", "c"], ["d", "e"], "f"]),
}
GRID = {"learning_rate": 0.1, "record_steps": [0, 20, 60, 100, 150, 220, 300]}


@pytest.fixture(params=TREES)
def problem(request):
    tree = TREES[request.param]
    Y = torch.from_numpy(tree.feature_matrix([1] * (max(tree.depth) + 1)))
    rngs = [np.random.default_rng(seed) for seed in range(2)]
    return *gaussian_init(*Y.shape, 7, 0.05, rngs), Y


def test_tangent_is_the_derivative_of_the_run(problem):
    tangent = trajectory_influence(*problem, **GRID).numpy()
    difference = finite_difference(*problem, **GRID).numpy()
    items = problem[2].shape[1]
    assert tangent.shape == (2, 7, items, items)
    assert relative_error(tangent, difference) < 1e-7


def test_finite_differences_converge_at_second_order(problem):
    tangent = trajectory_influence(*problem, **GRID).numpy()
    coarse, fine = (
        relative_error(finite_difference(*problem, **GRID, change=change).numpy(), tangent)
        for change in (2e-2, 1e-2)
    )
    assert coarse / fine == pytest.approx(4, rel=0.05)


def test_sample_is_the_first_axis_and_query_the_second(problem):
    # One step from the start: d l_j / d eta_p = -(lr/n) grad l_p . grad l_j.
    W1, W2, Y = problem
    found = trajectory_influence(W1, W2, Y, learning_rate=1e-6, record_steps=[1])[:, 0]
    residual, items = Y - W2 @ W1, Y.shape[1]
    back = W2.mT @ residual
    shared = (residual.mT @ residual) * (W1.mT @ W1) + torch.diag_embed(back.square().sum(1))
    torch.testing.assert_close(found, -1e-6 / items * shared, rtol=1e-3, atol=0)


def test_an_item_helps_itself_and_no_influence_is_left_at_the_solution(problem):
    grid = {"learning_rate": 0.5, "record_steps": [0, 10, 600]}
    tangent = trajectory_influence(*problem, **grid)
    own = tangent.diagonal(dim1=-2, dim2=-1)
    assert (own[:, 0] == 0).all()
    assert (own[:, 1] < 0).all()
    assert tangent[:, 2].abs().max() < 1e-6


def test_published_form_is_the_derivative_of_its_own_flow_and_not_of_the_run(problem):
    W1, W2, Y = problem
    a0, tau, steps = 7 * 0.05**2 / 2, Y.shape[1] / 0.1, GRID["record_steps"]
    published = published_influence(Y.numpy(), a0, tau, steps)
    difference = published_finite_difference(Y.numpy(), a0, tau, steps)
    assert relative_error(published, difference) < 1e-6
    run = trajectory_influence(W1, W2, Y, **GRID).numpy().mean(axis=0)
    assert relative_error(published, run) > 0.2


def test_relative_error_is_judged_pair_by_pair():
    reference = np.ones((1, 3, 2, 2)) * np.array([[1.0, 100.0], [100.0, 1.0]])
    value = reference.copy()
    value[0, 1, 0, 0] += 0.01
    assert relative_error(value, reference) == pytest.approx(0.01)
    assert relative_error(np.zeros((1, 2, 1, 1)), np.zeros((1, 2, 1, 1))) == 0

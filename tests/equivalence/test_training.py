"""A run's numbers depend on nothing but the run: not on its batch, nor on interruptions."""

import numpy as np
import pytest
import torch

from stagewise.data.trees import from_branching, from_nested
from stagewise.training.ablation import leave_one_out, window_ablation
from stagewise.training.linear_net import (
    WeightSchedule,
    constant_weights,
    gaussian_init,
    item_losses,
    train,
)
from stagewise.training.tangent import trajectory_influence

TREES = {
    "eight leaves": (from_branching([2, 2, 2]), 16),
    # Odd sizes, so that the matrices of a batch do not lie at aligned addresses.
    "five leaves": (from_nested([["a", "b"], ["c", ["d", "e"]]]), 7),
}


@pytest.fixture(params=TREES)
def problem(request):
    tree, hidden = TREES[request.param]
    Y = torch.from_numpy(tree.feature_matrix([1] * (max(tree.depth) + 1)))
    rngs = [np.random.default_rng(seed) for seed in range(11)]
    return *gaussian_init(*Y.shape, hidden, 0.05, rngs), Y


def varied_schedule(runs: int, items: int) -> WeightSchedule:
    rng = np.random.default_rng(5)
    return WeightSchedule((0, 13, 31), torch.from_numpy(rng.uniform(0, 2, (3, runs, items))))


@pytest.mark.parametrize("chosen", [[0], [4], [10], [0, 1], [3, 7, 9]])
def test_run_alone_is_run_in_a_batch(problem, chosen):
    W1, W2, Y = problem
    schedule = varied_schedule(len(W1), Y.shape[1])
    grid = {"learning_rate": 0.2, "record_steps": [0, 10, 40, 120]}
    batch = train(W1, W2, Y, schedule, **grid)
    part = WeightSchedule(schedule.starts, schedule.weights[:, chosen])
    alone = train(W1[chosen], W2[chosen], Y, part, **grid)
    assert torch.equal(alone.W1, batch.W1[chosen])
    assert torch.equal(alone.W2, batch.W2[chosen])


def test_resumed_run_is_the_run_that_was_never_interrupted(problem):
    W1, W2, Y = problem
    schedule = varied_schedule(len(W1), Y.shape[1])
    whole = train(W1, W2, Y, schedule, learning_rate=0.2, record_steps=[20, 50])
    state = whole.W1[:, 0], whole.W2[:, 0]
    resumed = train(*state, Y, schedule, learning_rate=0.2, record_steps=[50], first_step=20)
    assert torch.equal(resumed.W1[:, 0], whole.W1[:, 1])
    assert torch.equal(resumed.W2[:, 0], whole.W2[:, 1])


def test_record_steps_do_not_change_the_run(problem):
    W1, W2, Y = problem
    schedule = varied_schedule(len(W1), Y.shape[1])
    often = train(W1, W2, Y, schedule, learning_rate=0.2, record_steps=[0, 7, 13, 29, 60])
    once = train(W1, W2, Y, schedule, learning_rate=0.2, record_steps=[60])
    assert torch.equal(often.W1[:, -1], once.W1[:, 0])


def test_seeds_together_are_seeds_one_by_one(problem):
    W1, W2, Y = problem
    grid = {"learning_rate": 0.2, "record_steps": [30, 90]}
    influence = trajectory_influence(W1, W2, Y, **grid)
    without = leave_one_out(W1, W2, Y, **grid)
    windows = window_ablation(W1, W2, Y, [(10, 50), (40, 80)], **grid)
    one = W1[6:7], W2[6:7], Y
    assert torch.equal(trajectory_influence(*one, **grid), influence[6:7])
    assert torch.equal(leave_one_out(*one, **grid), without[6:7])
    alone = window_ablation(*one, [(40, 80)], **grid)
    for found, expected in zip(alone, windows, strict=True):
        assert torch.equal(found[:, 0], expected[6:7, 1])


def test_windows_from_their_branch_are_the_runs_from_the_beginning(problem):
    W1, W2, Y = problem
    items, grid = Y.shape[1], {"learning_rate": 0.2, "record_steps": [30, 90]}
    windows = [(10, 50), (45, 80)]
    found = window_ablation(W1, W2, Y, windows, **grid)
    ones = torch.ones(len(W1), items, dtype=Y.dtype)
    full = train(W1, W2, Y, constant_weights(ones), learning_rate=0.2, record_steps=[50, 80, 90])
    for w, (start, end) in enumerate(windows):
        for item in range(items):
            dropped = ones.clone()
            dropped[:, item] = 0
            schedule = WeightSchedule((0, start, end), torch.stack([ones, dropped, ones]))
            run = train(W1, W2, Y, schedule, learning_rate=0.2, record_steps=[50, 80, 90])
            change = item_losses(*run, Y) - item_losses(*full, Y)
            assert torch.equal(found.at_end[:, w, item], change[:, w])
            assert torch.equal(found.at_final[:, w, item], change[:, 2])


def test_permuted_items_have_permuted_influence(problem):
    W1, W2, Y = problem
    order = torch.from_numpy(np.random.default_rng(2).permutation(Y.shape[1]))
    grid = {"learning_rate": 0.2, "record_steps": [30, 90]}
    influence = trajectory_influence(W1, W2, Y, **grid)
    permuted = trajectory_influence(W1[..., order], W2, Y[:, order], **grid)
    expected = influence[:, :, order][..., order]
    torch.testing.assert_close(permuted, expected, rtol=1e-9, atol=1e-13)

import numpy as np
import pytest
import torch

from stagewise.data.trees import from_branching
from stagewise.errors import ConfigError
from stagewise.training.ablation import equal_windows, leave_one_out, window_ablation
from stagewise.training.linear_net import constant_weights, gaussian_init, item_losses, train

Y = torch.from_numpy(from_branching([2, 2]).feature_matrix([1, 1, 1]))
ITEMS = Y.shape[1]
START = gaussian_init(*Y.shape, 5, 0.05, [np.random.default_rng(seed) for seed in range(2)])
GRID = {"learning_rate": 0.1, "record_steps": list(range(0, 301, 20))}
LAST = GRID["record_steps"][-1]


def by_autograd(item: int, divisor: float) -> torch.Tensor:
    """Losses of a run of seed 0 without the item, written as one would write it down first."""
    W1, W2 = (layer[0].clone().requires_grad_() for layer in START)
    found = []
    for step in range(LAST + 1):
        losses = 0.5 * (W2 @ W1 - Y).square().sum(dim=0)
        if step in GRID["record_steps"]:
            found.append(losses.detach())
        kept = torch.cat([losses[:item], losses[item + 1 :]])
        gradients = torch.autograd.grad(kept.sum() / divisor, (W1, W2))
        W1, W2 = (
            (layer - 0.1 * gradient).detach().requires_grad_()
            for layer, gradient in zip((W1, W2), gradients, strict=True)
        )
    return torch.stack(found)


@pytest.fixture(scope="module")
def full() -> torch.Tensor:
    everything = constant_weights(torch.ones(2, ITEMS, dtype=Y.dtype))
    return item_losses(*train(*START, Y, everything, **GRID), Y)


@pytest.fixture(scope="module")
def without() -> torch.Tensor:
    return leave_one_out(*START, Y, **GRID)


def test_leave_one_out_keeps_the_divisor(without):
    torch.testing.assert_close(without[0, :, 2], by_autograd(2, ITEMS), rtol=1e-9, atol=1e-12)


def test_the_divisor_of_one_item_less_is_another_run(without):
    # The planted bug: n - 1 retrains faster. It must be seen far above the tolerance used above.
    assert (without[0, :, 2] - by_autograd(2, ITEMS - 1)).abs().max() > 0.05


def test_an_item_left_out_is_not_learned_and_the_others_are(without):
    final = without[:, -1]
    own = torch.eye(ITEMS, dtype=torch.bool)
    assert (final[:, own] > 0.2).all()
    assert (final[:, ~own] < 0.1).all()


def test_window_of_the_whole_run_is_leave_one_out(full, without):
    found = window_ablation(*START, Y, [(0, LAST)], **GRID)
    expected = without[:, -1] - full[:, -1, None]
    assert torch.equal(found.at_end[:, 0], expected)
    assert torch.equal(found.at_final[:, 0], expected)
    assert torch.equal(found.peak[:, 0], expected)
    assert (found.peak_step == LAST).all()


def test_empty_window_is_the_full_run():
    found = window_ablation(*START, Y, [(0, 0), (75, 75), (LAST, LAST)], **GRID)
    assert all((values == 0).all() for values in (found.at_end, found.at_final, found.peak))


def test_window_from_its_branch_is_the_run_from_the_beginning(full):
    start, end = 70, 150  # neither the start is a checkpoint nor the whole run away
    found = window_ablation(*START, Y, [(start, end)], learning_rate=0.1, record_steps=[0, LAST])
    weights = torch.ones(2, ITEMS, dtype=Y.dtype)
    weights[:, 1] = 0
    run = train(*START, Y, constant_weights(weights * 0 + 1), learning_rate=0.1, record_steps=[70])
    run = train(
        run.W1[:, 0],
        run.W2[:, 0],
        Y,
        constant_weights(weights),
        learning_rate=0.1,
        record_steps=[end],
        first_step=start,
    )
    at_end = item_losses(run.W1[:, 0], run.W2[:, 0], Y)
    everything = constant_weights(torch.ones(2, ITEMS, dtype=Y.dtype))
    reference = train(*START, Y, everything, learning_rate=0.1, record_steps=[end])
    expected = at_end - item_losses(reference.W1[:, 0], reference.W2[:, 0], Y)
    assert torch.equal(found.at_end[:, 0, 1], expected)


def test_dropping_an_item_hurts_that_item(full):
    found = window_ablation(*START, Y, [(20, 60), (60, 100)], **GRID)
    assert (found.at_end.diagonal(dim1=-2, dim2=-1) > 0).all()


def test_peak_is_the_largest_change_from_the_end_of_the_window_on(full):
    window = (0, 40)  # before the transitions, so that the delay shows only later
    found = window_ablation(*START, Y, [window], **GRID)
    step = found.peak_step[:, 0]
    assert (found.peak.abs() >= found.at_end.abs()).all()
    assert (found.peak.abs() >= found.at_final.abs()).all()
    assert (step >= 40).all()
    assert (step.diagonal(dim1=-2, dim2=-1) > 40).any()


def test_windows_are_equal_overlapping_and_cover_the_run():
    start, end = equal_windows(5, 40, 100)
    assert start.tolist() == [0, 15, 30, 45, 60]
    assert end.tolist() == [40, 55, 70, 85, 100]


@pytest.mark.parametrize(("count", "width", "steps"), [(3, 101, 100), (5, 98, 100), (2, 0, 10)])
def test_windows_that_do_not_fit_are_refused_with_the_remedy(count, width, steps):
    with pytest.raises(ConfigError, match=r"do not fit.*lower windows\.width or count"):
        equal_windows(count, width, steps)

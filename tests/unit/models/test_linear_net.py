import jaxtyping
import pytest
import torch
from torch import Tensor

from stagewise.errors import ConfigError
from stagewise.models.linear_net import LinearNetLoss, QuadraticLinearNetLoss

ITEMS, FEATURES, HIDDEN = 5, 4, 3
P = HIDDEN * (ITEMS + FEATURES)


@pytest.fixture
def targets() -> Tensor:
    return torch.randn(FEATURES, ITEMS, generator=torch.Generator().manual_seed(1)).double()


@pytest.fixture
def positions() -> Tensor:
    return torch.randn(2, 3, P, generator=torch.Generator().manual_seed(2)).double()


@pytest.fixture
def quadratic(targets: Tensor) -> QuadraticLinearNetLoss:
    rng = torch.Generator().manual_seed(3)
    first = torch.randn(2, HIDDEN, ITEMS, generator=rng).double()
    return QuadraticLinearNetLoss(
        targets, first, torch.randn(2, FEATURES, HIDDEN, generator=rng).double()
    )


def one_loss(w: Tensor, targets: Tensor) -> Tensor:
    """The definition, for one position: 1/2 |W2 W1 e_i - y_i|^2 of each item."""
    first, second = w[: HIDDEN * ITEMS].view(HIDDEN, ITEMS), w[HIDDEN * ITEMS :]
    return 0.5 * (second.view(FEATURES, HIDDEN) @ first - targets).square().sum(0)


def over_replicas(function: object) -> object:
    return torch.vmap(torch.vmap(function))


def test_losses_are_their_definition(targets: Tensor, positions: Tensor) -> None:
    loss = LinearNetLoss(targets, HIDDEN)
    expected = over_replicas(lambda w: one_loss(w, targets))(positions)
    torch.testing.assert_close(loss.losses(positions), expected, rtol=1e-14, atol=1e-14)
    assert (loss.sample_count, loss.parameter_count) == (ITEMS, P)


def test_samples_are_recorded_in_the_order_asked(targets: Tensor, positions: Tensor) -> None:
    loss = LinearNetLoss(targets, HIDDEN)
    chosen = torch.tensor([3, 0, 4])
    expected = loss.losses(positions)[..., chosen]
    torch.testing.assert_close(loss.losses(positions, chosen), expected, rtol=1e-14, atol=0)


def test_gradient_is_that_of_the_mean(targets: Tensor, positions: Tensor) -> None:
    mean, gradient = LinearNetLoss(targets, HIDDEN).mean_and_gradient(positions, None)
    definition = torch.func.grad_and_value(lambda w: one_loss(w, targets).mean())
    expected_gradient, expected = over_replicas(definition)(positions)
    torch.testing.assert_close(mean, expected, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-13, atol=1e-13)


def test_minibatches_are_each_chains_own_and_count_repeats(
    targets: Tensor, positions: Tensor
) -> None:
    batch = torch.tensor([[0, 0], [1, 4], [2, 2]])
    mean, gradient = LinearNetLoss(targets, HIDDEN).mean_and_gradient(positions, batch)
    for c in range(2):
        for k in range(3):
            chosen = batch[k]
            expected = torch.func.grad(lambda w, j=chosen: one_loss(w, targets)[j].mean())
            torch.testing.assert_close(gradient[c, k], expected(positions[c, k]))
            torch.testing.assert_close(
                mean[c, k], one_loss(positions[c, k], targets)[chosen].mean()
            )


def test_float32_excess_keeps_its_digits_far_from_zero_loss(targets: Tensor) -> None:
    # Residuals of about 100 and displacements of 1e-3: the naive difference loses four digits.
    loss = LinearNetLoss(100.0 * targets, HIDDEN)
    rng = torch.Generator().manual_seed(4)
    centre = torch.randn(1, P, generator=rng)
    w = centre[:, None] + 1e-3 * torch.randn(1, 50, P, generator=rng)
    exact = loss.losses(w.double()) - loss.losses(centre[:, None].double())
    naive = (loss.losses(w) - loss.losses(centre[:, None])).double()
    found = loss.excess_function(centre)(w).double()
    assert (found - exact).abs().max() < 0.05 * (naive - exact).abs().max()


def test_reference_is_float64(targets: Tensor) -> None:
    loss, centre = LinearNetLoss(targets, HIDDEN), torch.ones(2, P)
    expected = one_loss(centre[0].double(), targets)
    torch.testing.assert_close(loss.reference(centre)[1], expected, rtol=1e-14, atol=0)


def test_quadratic_is_the_second_order_expansion(
    quadratic: QuadraticLinearNetLoss, targets: Tensor, positions: Tensor
) -> None:
    found = quadratic.losses(positions)
    for c, centre in enumerate(quadratic.centre):
        slope = torch.func.jacrev(one_loss)(centre, targets)
        bend = torch.func.hessian(one_loss)(centre, targets)
        for k in range(3):
            d = positions[c, k] - centre
            expected = one_loss(centre, targets) + slope @ d + 0.5 * bend @ d @ d
            torch.testing.assert_close(found[c, k], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("batch", [None, torch.tensor([[0, 3], [1, 1], [2, 4]])])
def test_quadratics_gradient_is_that_of_its_own_mean(
    quadratic: QuadraticLinearNetLoss, positions: Tensor, batch: Tensor | None
) -> None:
    def mean(w: Tensor) -> Tensor:
        losses = quadratic.losses(w)
        if batch is None:
            return losses.mean(-1)
        return torch.stack([losses[:, k, batch[k]].mean(-1) for k in range(3)], dim=1)

    expected = torch.func.grad(lambda w: mean(w).sum())(positions)
    value, gradient = quadratic.mean_and_gradient(positions, batch)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(value, mean(positions), rtol=1e-12, atol=1e-12)


def test_quadratic_agrees_with_the_net_to_third_order(
    quadratic: QuadraticLinearNetLoss, targets: Tensor
) -> None:
    net, centre = LinearNetLoss(targets, HIDDEN), quadratic.centre
    direction = torch.randn(2, 1, P, generator=torch.Generator().manual_seed(5)).double()
    gaps = []
    for size in (1e-2, 1e-3):
        w = centre[:, None] + size * direction
        gaps.append((net.losses(w) - quadratic.losses(w)).abs().max())
    assert 800 < gaps[0] / gaps[1] < 1200


def test_quadratics_excess_is_its_loss_less_its_reference(
    quadratic: QuadraticLinearNetLoss, positions: Tensor
) -> None:
    for centre in (quadratic.centre, quadratic.centre + 0.1):
        excess = quadratic.excess_function(centre, torch.tensor([4, 1]))(positions)
        expected = (quadratic.losses(positions) - quadratic.losses(centre[:, None]))[..., [4, 1]]
        torch.testing.assert_close(excess, expected, rtol=1e-11, atol=1e-11)


def test_select_takes_the_checkpoints_own_expansion(
    quadratic: QuadraticLinearNetLoss, positions: Tensor
) -> None:
    part = quadratic.select(slice(1, 2)).losses(positions[1:])
    torch.testing.assert_close(part, quadratic.losses(positions)[1:], rtol=1e-14, atol=0)


def test_shapes_that_do_not_fit_are_named(targets: Tensor, positions: Tensor) -> None:
    with pytest.raises(ConfigError, match=r"checkpoint, chain, 27"):
        LinearNetLoss(targets, HIDDEN).losses(positions[..., 1:])
    jaxtyping.config.update("jaxtyping_disable", True)  # which would find it first, for this test
    with pytest.raises(ConfigError, match="don't fit"):
        QuadraticLinearNetLoss(targets, torch.zeros(2, 3, 5), torch.zeros(1, 4, 3))
    with pytest.raises(ConfigError, match="at least one hidden unit"):
        LinearNetLoss(targets, 0)

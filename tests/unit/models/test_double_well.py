import numpy as np
import pytest
import torch

from stagewise.errors import ConfigError
from stagewise.models.double_well import DoubleWellLoss

SLOPES, WEIGHTS = (0.2, -0.3), (0.5, 0.3, 0.2)
CONTROL = torch.tensor([-1.0, 0.0, 0.5])


@pytest.fixture
def loss() -> DoubleWellLoss:
    return DoubleWellLoss(
        CONTROL, barrier=0.7, slopes=SLOPES, tilt=1.5, offsets=(0.1, 0.2, 0.3), weights=WEIGHTS
    )


def test_losses_are_their_definition(loss: DoubleWellLoss) -> None:
    w = torch.linspace(-2, 2, 5).double().expand(3, 5)[..., None]
    found = loss.losses(w)
    for c, control in enumerate(CONTROL.tolist()):
        for k, x in enumerate(np.linspace(-2, 2, 5)):
            slopes = (*SLOPES, 1.5 * control)
            expected = [0.7 * (x**2 - 1) ** 2 + s * x + 0.1 * (i + 1) for i, s in enumerate(slopes)]
            np.testing.assert_allclose(found[c, k], expected, rtol=1e-13)
    assert torch.equal(loss.losses(w, torch.tensor([2, 0])), found[..., [2, 0]])


def test_gradient_is_that_of_the_weighted_mean(loss: DoubleWellLoss) -> None:
    w = torch.randn(3, 4, 1, generator=torch.Generator().manual_seed(0)).double()
    expected = torch.func.grad(lambda x: loss.mean(loss.losses(x)).sum())(w)
    mean, gradient = loss.mean_and_gradient(w, None)
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(mean, loss.losses(w) @ torch.tensor(WEIGHTS).double())


def test_minibatch_gradients_average_to_the_full_one(loss: DoubleWellLoss) -> None:
    w = torch.full((3, 3, 1), 0.4, dtype=torch.float64)
    mean, gradient = loss.mean_and_gradient(w, torch.arange(3)[:, None])
    full_mean, full = loss.mean_and_gradient(w, None)
    torch.testing.assert_close(gradient.mean(1), full[:, 0])
    torch.testing.assert_close(mean.mean(1), full_mean[:, 0])


def test_select_takes_the_checkpoints_control(loss: DoubleWellLoss) -> None:
    w = torch.full((3, 2, 1), 0.4, dtype=torch.float64)
    assert torch.equal(loss.select(slice(1, 3)).losses(w[1:]), loss.losses(w)[1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [({"offsets": (0.0,)}, "1 offsets"), ({"weights": (1.0, 1.0, 1.0)}, "weights sum to 3")],
)
def test_settings_that_do_not_fit_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DoubleWellLoss(CONTROL, barrier=1.0, slopes=SLOPES, tilt=1.0, **change)


def test_positions_of_another_shape_are_refused(loss: DoubleWellLoss) -> None:
    with pytest.raises(ConfigError, match=r"needs \(3, chain, 1\)"):
        loss.losses(torch.zeros(2, 4, 1))

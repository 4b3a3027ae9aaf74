import jaxtyping
import pytest
import torch
from torch import Tensor

from stagewise.errors import ConfigError
from stagewise.models.linear_net import LinearNetLoss
from stagewise.sampling.potential import Potential

N_BETA, GAMMA = 30.0, 7.0
BATCH = torch.tensor([[0, 1, 1], [3, 2, 0]])


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.fixture
def loss() -> LinearNetLoss:
    return LinearNetLoss(seeded(3, 4, seed=1), 2)


@pytest.fixture
def centre() -> Tensor:
    return seeded(3, 14, seed=2)


@pytest.fixture
def w(centre: Tensor) -> Tensor:
    return centre[:, None] + 0.3 * seeded(3, 2, 14, seed=3)


def mean_loss(loss: LinearNetLoss, w: Tensor, batch: Tensor | None) -> Tensor:
    losses = loss.losses(w)
    if batch is None:
        return losses.mean(-1)
    return torch.stack([losses[:, k, batch[k]].mean(-1) for k in range(2)], dim=1)


def definition(
    kind: str, loss: LinearNetLoss, centre: Tensor, w: Tensor, batch: Tensor | None
) -> Tensor:
    """U(w) from the formula, L_n replaced by the batch mean."""
    at_centre = centre[:, None].expand_as(w)
    d = w - at_centre
    value = mean_loss(loss, w, batch)
    if kind == "recentred":
        slope = torch.func.grad(lambda x: mean_loss(loss, x, batch).sum())(at_centre)
        value = value - (slope * d).sum(-1)
    return N_BETA * value + 0.5 * GAMMA * d.square().sum(-1)


@pytest.mark.parametrize("batch", [None, BATCH])
@pytest.mark.parametrize("kind", ["plain", "recentred"])
def test_gradient_is_that_of_the_definition(
    kind: str, batch: Tensor | None, loss: LinearNetLoss, centre: Tensor, w: Tensor
) -> None:
    potential = Potential(loss, centre, N_BETA, GAMMA, kind)
    expected = torch.func.grad(lambda x: definition(kind, loss, centre, x, batch).sum())(w)
    torch.testing.assert_close(potential.gradient(w, batch), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["plain", "recentred"])
def test_value_is_the_definition(kind: str, loss: LinearNetLoss, centre: Tensor, w: Tensor) -> None:
    potential = Potential(loss, centre, N_BETA, GAMMA, kind)
    expected = definition(kind, loss, centre, w, None)
    torch.testing.assert_close(potential.value(w), expected, rtol=1e-12, atol=1e-12)
    base = definition(kind, loss, centre, centre[:, None], None)
    torch.testing.assert_close(potential.excess(w), expected - base, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("batch", [None, BATCH])
def test_recentred_is_stationary_at_every_checkpoint(
    batch: Tensor | None, loss: LinearNetLoss, centre: Tensor
) -> None:
    at_centre = centre[:, None].repeat(1, 2, 1)
    recentred = Potential(loss, centre, N_BETA, GAMMA, "recentred").gradient(at_centre, batch)
    plain = Potential(loss, centre, N_BETA, GAMMA).gradient(at_centre, batch)
    assert recentred.abs().max() < 1e-12 < plain.abs().max()


def test_select_is_the_same_potential_on_fewer_checkpoints(
    loss: LinearNetLoss, centre: Tensor, w: Tensor
) -> None:
    potential = Potential(loss, centre, N_BETA, GAMMA, "recentred")
    part = potential.select(slice(1, 3))
    torch.testing.assert_close(part.gradient(w[1:], BATCH), potential.gradient(w, BATCH)[1:])
    torch.testing.assert_close(part.reach(), potential.reach()[1:])
    assert (part.n_beta, part.localization, part.kind) == (N_BETA, GAMMA, "recentred")


@pytest.mark.parametrize("kind", ["plain", "recentred"])
def test_chains_that_start_at_the_checkpoint_share_a_pass(
    kind: str, loss: LinearNetLoss, centre: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a pass for each chain, one chain's gradient for chains that stand apart, and views.

    The full gradient of every chain took as long as a fifth of the steps of a chain on images.
    """
    potential, passes = Potential(loss, centre, 3.0, 2.0, kind), []
    taken = type(loss).mean_and_gradient
    monkeypatch.setattr(
        type(loss),
        "mean_and_gradient",
        lambda self, w, batch: passes.append(w.shape[1]) or taken(self, w, batch),
    )
    together = centre[:, None].repeat(1, 3, 1)
    apart = together + torch.arange(3.0, dtype=centre.dtype)[:, None]
    found = potential.starting_gradient(together)
    assert set(passes) == {1}
    for position, gradient in (
        (together, found),
        (apart, potential.starting_gradient(apart)),
    ):
        torch.testing.assert_close(gradient, potential.gradient(position), rtol=1e-12, atol=1e-12)
    before = found[:, 1].clone()
    found[:, 0].zero_()  # kernels write into it
    assert torch.equal(found[:, 1], before)


def test_gradient_leaves_the_position_as_it_was(
    loss: LinearNetLoss, centre: Tensor, w: Tensor
) -> None:
    before = w.clone()
    Potential(loss, centre, N_BETA, GAMMA, "recentred").gradient(w, BATCH)
    assert torch.equal(w, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_beta": -1.0}, "n_beta is -1.0; it must be finite and at least 0"),
        ({"localization": 0.0}, "localization is 0.0; it must be finite and positive"),
        ({"localization": float("nan")}, "localization is nan"),
        ({"kind": "centred"}, r"choose one of \['plain', 'recentred'\]"),
    ],
)
def test_settings_out_of_range_are_named(
    change: dict, message: str, loss: LinearNetLoss, centre: Tensor
) -> None:
    settings = {"n_beta": 1.0, "localization": 1.0, **change}
    kind = settings.pop("kind", "plain")
    jaxtyping_off()
    with pytest.raises(ConfigError, match=message):
        Potential(loss, centre, kind=kind, **settings)


@pytest.mark.parametrize("wrong", ["1e-4", None, True])
def test_what_is_no_number_is_named(wrong: object, loss: LinearNetLoss, centre: Tensor) -> None:
    jaxtyping_off()
    with pytest.raises(ConfigError, match="not a number; write 1.0e-4"):
        Potential(loss, centre, wrong, 1.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused(dtype: torch.dtype, loss: LinearNetLoss, centre: Tensor) -> None:
    with pytest.raises(ConfigError, match="convert the model to float32"):
        Potential(loss, centre.to(dtype), 1.0, 1.0)


def test_checkpoints_that_do_not_fit_are_refused(loss: LinearNetLoss, centre: Tensor) -> None:
    with pytest.raises(ConfigError, match=r"needs \(checkpoint, 14\)"):
        Potential(loss, centre[:, 1:], 1.0, 1.0)
    centre[1, 3] = torch.nan
    with pytest.raises(ConfigError, match="NaN or infinite weights"):
        Potential(loss, centre, 1.0, 1.0)


def jaxtyping_off() -> None:
    """For one test: the annotations would find a wrong type before the code that users meet."""
    jaxtyping.config.update("jaxtyping_disable", True)

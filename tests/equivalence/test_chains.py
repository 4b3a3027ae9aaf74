"""Results don't depend on what runs beside a chain, or on how a run is cut into pieces."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from stagewise.models.linear_net import LinearNetLoss
from stagewise.sampling.kernels import by_name
from stagewise.sampling.potential import Potential
from stagewise.sampling.records import RunResult, Schedule
from stagewise.sampling.runner import run
from stagewise.sampling.streams import NoiseStreams

CHECKPOINTS, PARAMETERS, SAMPLES = 5, 44, 6
SCHEDULE = Schedule(burn_in=30, draws=10, spacing=4)
KERNELS = {
    "sgld": {},
    "underdamped": {"friction": 0.2},
    "baoab": {"friction": 0.2},
    "rmsprop_sgld": {"adapt_steps": 30},
    "mala": {},
}
#: Float32 rounding (6e-8) over 70 stable steps of positions of order 1.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}
RECORDED = ("excess_loss", "train_loss", "potential", "distance")


def seeded(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sampled(
    name: str,
    *,
    chains: object = 6,
    checkpoints: slice = slice(None),
    samples: Tensor | None = None,
    targets: Tensor | None = None,
    batch_size: int | None = 3,
    **settings: object,
) -> RunResult:
    loss = LinearNetLoss(seeded(5, SAMPLES, seed=1) if targets is None else targets, 4)
    centre = 0.5 * seeded(CHECKPOINTS, PARAMETERS, seed=2)[checkpoints]
    kind = "plain" if name == "mala" else "recentred"
    potential = Potential(loss, centre, 30.0, 40.0, kind)
    batch_size = None if name == "mala" else batch_size
    streams = NoiseStreams(
        3, "equivalence", chains, PARAMETERS, batch_size=batch_size, sample_count=SAMPLES
    )
    kernel = by_name.make(name, 1e-3, **KERNELS[name])
    return run(kernel, potential, streams, SCHEDULE, samples=samples, **settings)


def assert_same(one: RunResult, other: RunResult, *where: object) -> None:
    for name in RECORDED:
        np.testing.assert_allclose(getattr(one, name)[where], getattr(other, name), **TOLERANCE)


@pytest.fixture(scope="module", params=list(KERNELS))
def whole(request: pytest.FixtureRequest) -> tuple[str, RunResult]:
    return request.param, sampled(request.param)


def test_chains_alone_or_together(whole: tuple[str, RunResult]) -> None:
    name, together = whole
    assert_same(together, sampled(name, chains=[4]), slice(None), [4])
    assert_same(together, sampled(name, chains=[5, 0]), slice(None), [5, 0])


def test_checkpoints_alone_or_together(whole: tuple[str, RunResult]) -> None:
    name, together = whole
    assert_same(together, sampled(name, checkpoints=slice(3, 4)), slice(3, 4))


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_threads_change_no_bit_and_leave_torch_as_it_was(whole: tuple[str, RunResult]) -> None:
    name, _ = whole
    threaded = sampled(name, checkpoint_block=1)
    assert torch.get_num_threads() == 3
    torch.set_num_threads(1)
    alone = sampled(name, checkpoint_block=1)
    for field in RECORDED:
        np.testing.assert_array_equal(getattr(threaded, field), getattr(alone, field))


@pytest.mark.parametrize("block", [1, 3])
def test_blocks_of_checkpoints(whole: tuple[str, RunResult], block: int) -> None:
    name, together = whole
    assert_same(together, sampled(name, checkpoint_block=block))


def test_recorded_samples_in_any_order(whole: tuple[str, RunResult]) -> None:
    name, together = whole
    order = torch.tensor([4, 1, 5, 0, 3, 2])
    permuted = sampled(name, samples=order)
    np.testing.assert_allclose(
        permuted.excess_loss, together.excess_loss[..., order.numpy()], **TOLERANCE
    )
    np.testing.assert_allclose(permuted.loss_ref, together.loss_ref[:, order.numpy()])
    np.testing.assert_allclose(permuted.train_loss, together.train_loss, **TOLERANCE)


def test_repeating_a_run_changes_no_bit(whole: tuple[str, RunResult]) -> None:
    name, together = whole
    again = sampled(name)
    for field in RECORDED:
        np.testing.assert_array_equal(getattr(again, field), getattr(together, field))


def test_permuted_items_are_the_same_net_with_other_names() -> None:
    """With full gradients the order of the items is a name only."""
    order = torch.tensor([4, 1, 5, 0, 3, 2])
    targets = seeded(5, SAMPLES, seed=1)
    loss, permuted = LinearNetLoss(targets, 4), LinearNetLoss(targets[:, order], 4)
    w = seeded(2, 3, PARAMETERS, seed=5)
    first = w[..., : 4 * SAMPLES].unflatten(-1, (4, SAMPLES))[..., order]
    other = torch.cat([first.flatten(-2), w[..., 4 * SAMPLES :]], dim=-1)
    torch.testing.assert_close(permuted.losses(other), loss.losses(w)[..., order])
    mean, gradient = loss.mean_and_gradient(w, None)
    permuted_mean, permuted_gradient = permuted.mean_and_gradient(other, None)
    torch.testing.assert_close(permuted_mean, mean)
    moved = gradient[..., : 4 * SAMPLES].unflatten(-1, (4, SAMPLES))[..., order].flatten(-2)
    torch.testing.assert_close(permuted_gradient[..., : 4 * SAMPLES], moved)


def test_full_batch_is_the_mean_of_batches_of_each_item() -> None:
    loss, w = LinearNetLoss(seeded(5, SAMPLES, seed=1), 4), seeded(2, 3, PARAMETERS, seed=5)
    every = torch.arange(SAMPLES).expand(3, SAMPLES)
    for one, other in zip(
        loss.mean_and_gradient(w, None), loss.mean_and_gradient(w, every), strict=True
    ):
        torch.testing.assert_close(one, other)

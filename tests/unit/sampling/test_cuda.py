"""Chains on a GPU against the same chains on a CPU, and what a GPU keeps in memory.

Caught: noise, minibatches or reference losses of other samples on a GPU; a gradient that is added
to what was there; a pull that is lost or has the wrong sign; a resumed chain that goes elsewhere;
half precision let in.

Noise and minibatches are the same, so two chains differ by the order of sums alone. The tests set
TF32 off. A float32 gradient then has a relative error of about 1e-6 on either side, a move of a
step that contracts adds as much, and losses of order 1 agree to 1e-5; bounds are ten times that,
and for GoogLeNet, whose rectified units turn rounding into 1% of a gradient (bench/README.md), a
share of the losses' own spread.
"""

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import stagewise
from stagewise.errors import ConfigError
from stagewise.models.linear_net import LinearNetLoss
from stagewise.models.mlp import MLPLoss
from stagewise.models.module import ModuleLoss
from stagewise.models.neox import build, language_loss
from stagewise.models.per_sample import PerSampleLoss
from stagewise.sampling.kernels import by_name
from stagewise.sampling.potential import Potential
from stagewise.sampling.records import RunResult, Schedule
from stagewise.sampling.runner import run
from stagewise.sampling.streams import NoiseStreams

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

CROSS_ENTROPY = functools.partial(F.cross_entropy, reduction="none")
CHAINS = 3


@pytest.fixture(autouse=True)
def _plain_float32() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def linear_net(device: str) -> tuple[PerSampleLoss, torch.Tensor]:
    torch.manual_seed(0)
    loss = LinearNetLoss(torch.randn(5, 4).to(device), 6)
    return loss, (0.3 * torch.randn(2, loss.parameter_count)).to(device)


def mlp(device: str) -> tuple[PerSampleLoss, torch.Tensor]:
    torch.manual_seed(0)
    inputs, labels = torch.randn(20, 6).to(device), (torch.arange(20) % 3).to(device)
    loss = MLPLoss(inputs, labels, (6, 8, 3), "tanh")
    return loss, (0.3 * torch.randn(2, loss.parameter_count)).to(device)


def neox(device: str) -> tuple[PerSampleLoss, torch.Tensor]:
    model = build(40, 16, layers=2, width=32, heads=4, expansion=4, rotary=0.25,
                  parallel_residual=True, seed=0)  # fmt: skip
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, 40, (12, 17)))
    loss = language_loss(model.to(device), tokens.to(device), at_once=5)
    return loss, loss.centre


def large_module(device: str) -> tuple[PerSampleLoss, torch.Tensor]:
    """Replicas one by one."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Tanh(), nn.Flatten(),
                        nn.Linear(8 * 36, 4))  # fmt: skip
    inputs, labels = torch.randn(20, 3, 8, 8), torch.arange(20) % 4
    loss = ModuleLoss(net.to(device), CROSS_ENTROPY, inputs.to(device), labels.to(device),
                      vectorize=False)  # fmt: skip
    return loss, loss.centre


MAKERS = {"linear": linear_net, "mlp": mlp, "neox": neox, "module": large_module}


def sampled(name: str, device: str, batch: int | None, kind: str, kernel: str) -> RunResult:
    loss, centre = MAKERS[name](device)
    friction = 0.3 if kernel in by_name.WITH_FRICTION else None
    streams = NoiseStreams(1, "cuda", CHAINS, loss.parameter_count, batch_size=batch,
                           sample_count=loss.sample_count, device=centre.device)  # fmt: skip
    potential = Potential(loss, centre, 20.0, 100.0, kind)
    moves = by_name.make(kernel, 1e-3, friction=friction)
    return run(moves, potential, streams, Schedule(10, 20), samples=torch.arange(4))


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize(("kind", "kernel"), [("plain", "sgld"), ("recentred", "baoab")])
def test_chains_are_those_of_the_cpu(name: str, batch: int | None, kind: str, kernel: str) -> None:
    here, there = (sampled(name, device, batch, kind, kernel) for device in ("cpu", "cuda"))
    near = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    near(there.excess_loss, here.excess_loss)
    near(there.distance, here.distance)
    np.testing.assert_allclose(there.potential, here.potential, rtol=1e-3, atol=1e-2)
    # The chains have moved: equality at the checkpoint would show nothing.
    assert here.excess_loss.std() > 1e-2


def test_googlenet_is_that_of_the_cpu() -> None:
    from stagewise.models.googlenet import build as googlenet
    from stagewise.models.googlenet import image_loss

    def excess(device: str) -> np.ndarray:
        net = googlenet(10).eval().to(device)
        inputs = torch.from_numpy(np.random.default_rng(0).normal(size=(8, 3, 32, 32)))
        loss = image_loss(net, inputs.float().to(device), (torch.arange(8) % 10).to(device))
        streams = NoiseStreams(1, "cuda", 2, loss.parameter_count, batch_size=4, sample_count=8,
                               device=device)  # fmt: skip
        potential = Potential(loss, loss.centre, 100.0, 1e5)
        result = run(by_name.make("sgld", 1e-6), potential, streams, Schedule(3, 4))
        return result.excess_loss

    here, there = excess("cpu"), excess("cuda")
    assert np.abs(there - here).max() < 0.03 * here.std()


def test_a_resumed_chain_goes_where_an_uninterrupted_one_goes(tmp_path: Path) -> None:
    """Stopped after one block of noise by its own progress."""

    class Stopped(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Stopped

    def again(scratch: Path | None, **options: object) -> RunResult:
        loss, centre = mlp("cuda")
        streams = NoiseStreams(1, "cuda", CHAINS, loss.parameter_count, batch_size=4,
                               sample_count=loss.sample_count, device="cuda")  # fmt: skip
        potential = Potential(loss, centre, 20.0, 100.0)
        return run(by_name.make("sgld", 1e-3), potential, streams, Schedule(60, 140),
                   scratch=scratch, save_every=0.0, **options)  # fmt: skip

    whole = again(None)
    with pytest.raises(Stopped):
        again(tmp_path, progress=stop)
    np.testing.assert_allclose(again(tmp_path).excess_loss, whole.excess_loss, atol=1e-5)


def test_the_public_face_takes_a_model_on_a_gpu() -> None:
    def sample(device: str) -> dict[str, np.ndarray]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).to(device)
        data = torch.randn(12, 4), torch.arange(12) % 3
        trace = stagewise.sample_losses(
            net, CROSS_ENTROPY, data, queries=data, n_beta=20.0, localization=50.0, step_size=1e-3,
            draws=20, burn_in=20, chains=4, record="covariance",
        )  # fmt: skip
        return {name: one.values for name, one in trace.data_vars.items()}

    here, there = sample("cpu"), sample("cuda")
    assert here.keys() == there.keys()
    for name, values in here.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(there[name], values, rtol=1e-3, atol=1e-3, err_msg=name)


def test_bfloat16_is_refused_on_a_gpu() -> None:
    net = nn.Linear(3, 2).cuda().bfloat16()
    data = torch.zeros(4, 3, dtype=torch.bfloat16), torch.arange(4) % 2
    with pytest.raises(ConfigError, match=r"convert .* with \.float"):
        stagewise.sample_losses(net, CROSS_ENTROPY, data, n_beta=1.0, localization=1.0,
                                step_size=1e-3, draws=2, burn_in=0)  # fmt: skip


def test_a_step_keeps_few_vectors_of_the_models_size() -> None:
    """Checkpoint, position, its successor, noise, and the reach's gradient: 5; 6 with slack.

    A second gradient, the model's own weights and a pull that is kept would make 8.
    """
    width = 16_000
    net = nn.Linear(width, width, device="cuda")
    inputs = torch.randn(8, width, device="cuda")
    loss = ModuleLoss(net, lambda out, y: out.square().mean(-1), inputs, inputs)
    del net
    size = 4 * loss.parameter_count
    streams = NoiseStreams(0, "m", 1, loss.parameter_count, batch_size=4, sample_count=8,
                           device="cuda")  # fmt: skip
    potential = Potential(loss, loss.centre, 1.0, 1e5)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() - size  # other tests' tensors
    run(by_name.make("sgld", 1e-7), potential, streams, Schedule(3, 1))
    # philox makes numbers in pieces of at most 2^24, whose temporaries are no part of a model's.
    pieces = 2**24 * 40
    assert torch.cuda.max_memory_allocated() - before < 6 * size + pieces

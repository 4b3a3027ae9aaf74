"""Why half precision is refused, shown in numbers; and the same answers on a GPU."""

import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import stagewise
from stagewise.errors import ConfigError
from stagewise.models.module import ModuleLoss
from stagewise.sampling.potential import Potential

CROSS_ENTROPY = functools.partial(F.cross_entropy, reduction="none")
STEPS, WEIGHTS = 400, 2000


def walked(dtype: torch.dtype, step_size: float) -> float:
    """Variance of weights of size 1/2 after a free walk, over what the noise put in."""
    rng = torch.Generator().manual_seed(0)
    w = torch.full((WEIGHTS,), 0.5, dtype=dtype)
    for _ in range(STEPS):
        w = w + (step_size**0.5 * torch.randn(WEIGHTS, generator=rng)).to(dtype)
    return float((w.double() - 0.5).square().mean()) / (STEPS * step_size)


@pytest.mark.parametrize(("dtype", "step_size"), [(torch.bfloat16, 5e-8), (torch.float16, 1e-9)])
def test_half_precision_swallows_the_noise(dtype: torch.dtype, step_size: float) -> None:
    """Half a unit in the last place is some four spreads of the noise, which is rounded away.

    A variance over 2,000 weights has a relative error of 3%; float32 keeps all of it, half
    precision less than a tenth.
    """
    assert walked(torch.float32, step_size) == pytest.approx(1.0, abs=0.2)
    assert walked(dtype, step_size) < 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_refused_with_the_remedy(dtype: torch.dtype) -> None:
    net = nn.Linear(3, 2).to(dtype)
    data = torch.zeros(4, 3, dtype=dtype), torch.arange(4) % 2
    with pytest.raises(ConfigError, match=r"rounds w \+ dw back to w: convert .* with \.float"):
        stagewise.sample_losses(net, CROSS_ENTROPY, data, n_beta=1.0, localization=1.0,
                                step_size=1e-3, draws=2, burn_in=0)  # fmt: skip
    loss = ModuleLoss(nn.Linear(3, 2), CROSS_ENTROPY, data[0].float(), data[1])
    with pytest.raises(ConfigError, match="rounds back to w; convert the model to float32"):
        Potential(loss, loss.centre.to(dtype), 1.0, 1.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("vectorize", [True, False])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_a_gpu_gives_the_answers_of_the_cpu(vectorize: bool, batch_size: int | None) -> None:
    """Noise is drawn on the CPU, so chains are the same but for the order of sums.

    Float32 losses near 1 agree to some 1e-6 a step; 40 steps that contract keep it below 1e-4.
    """

    def sampled(device: str) -> tuple[np.ndarray, Tensor]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
        inputs, labels = torch.randn(12, 4), torch.arange(12) % 3
        net.to(device)
        trace = stagewise.sample_losses(
            net, CROSS_ENTROPY, (inputs, labels), n_beta=20.0, localization=50.0, step_size=1e-3,
            draws=20, burn_in=20, batch_size=batch_size, vectorize=vectorize, chains=4,
        )  # fmt: skip
        return trace["excess_loss"].values, next(net.parameters())

    here, there = sampled("cpu"), sampled("cuda")
    assert there[1].is_cuda
    np.testing.assert_allclose(there[0], here[0], rtol=1e-3, atol=1e-4)

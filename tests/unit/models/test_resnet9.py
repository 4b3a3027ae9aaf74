"""ResNet-9's batched losses are those of the module, and a sample's loss is its own.

Caught: weights in another order than the module's, chains that see each other's weights or batches,
a pass in pieces that counts a sample twice, a weight that moves the divisor, statistics that a
sample shares with its batch, initial weights that are not torch's.
"""

import jaxtyping
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stagewise.baselines.exact import sample_gradients
from stagewise.errors import ConfigError
from stagewise.models import resnet9
from stagewise.models.resnet9 import ResNet9Loss
from stagewise.training.descent import module_init

SHAPE, WIDTHS, CLASSES, SAMPLES, CHAINS = (3, 16, 16), (4, 8, 8, 4), 3, 7, 2
#: Sums of some thousand terms of order one in float64.
TOLERANCE = 1e-11


def problem() -> tuple[ResNet9Loss, Tensor]:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(SAMPLES, 3 * 256, generator=generator, dtype=torch.float64)
    loss = ResNet9Loss(inputs, torch.arange(SAMPLES) % CLASSES, SHAPE, WIDTHS, CLASSES)
    start = module_init(loss, [np.random.default_rng(k) for k in range(CHAINS)])
    # Off the initial point, where biases and slopes of the normalisation are 0 and 1.
    noise = torch.randn(start.shape, generator=generator, dtype=torch.float64)
    return loss, (start + 0.1 * noise)[None]


def module_gradient(loss: ResNet9Loss, w: Tensor, batch: Tensor, weights: Tensor) -> Tensor:
    """Of (1/B) Σ c l, by autograd through the module."""
    module = loss.module(w)
    each = F.cross_entropy(module(loss.inputs[batch]), loss.labels[batch], reduction="none")
    parts = torch.autograd.grad((weights * each).sum() / len(batch), module.parameters())
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("chunk", [1024, 2])
def test_losses_and_gradients_are_the_modules(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resnet9, "CHUNK", chunk)
    loss, w = problem()
    batch = torch.tensor([[0, 1, 1], [2, 6, 4]])
    weights = torch.tensor([[1.0, 0.0, 2.0], [0.5, 1.0, 1.0]]).double()
    mean, gradient = loss.mean_and_gradient(w, batch, weights)
    plain, full = loss.mean_and_gradient(w, batch)[1], loss.mean_and_gradient(w, None)
    some = torch.tensor([5, 1])
    for chain in range(CHAINS):
        module = loss.module(w[0, chain])
        logits = module(loss.inputs)
        own = F.cross_entropy(logits, loss.labels, reduction="none")
        assert torch.allclose(loss.logits(w, loss.inputs)[0, chain], logits, atol=TOLERANCE)
        assert torch.allclose(loss.losses(w)[0, chain], own, atol=TOLERANCE)
        assert torch.allclose(loss.losses(w, some)[0, chain], own[some], atol=TOLERANCE)
        wanted = module_gradient(loss, w[0, chain], batch[chain], weights[chain])
        assert torch.allclose(gradient[0, chain], wanted, atol=TOLERANCE)
        assert torch.allclose(mean[0, chain], (weights[chain] * own[batch[chain]]).sum() / 3)
        ones = torch.ones(3).double()
        wanted = module_gradient(loss, w[0, chain], batch[chain], ones)
        assert torch.allclose(plain[0, chain], wanted, atol=TOLERANCE)
        assert torch.allclose(full[0][0, chain], own.mean(), atol=TOLERANCE)
        everything = torch.arange(SAMPLES)
        wanted = module_gradient(loss, w[0, chain], everything, torch.ones(SAMPLES).double())
        assert torch.allclose(full[1][0, chain], wanted, atol=TOLERANCE)


def test_gradients_of_samples_are_those_of_batches_of_one() -> None:
    loss, w = problem()
    each = sample_gradients(loss, w[0, 0])
    for sample in range(SAMPLES):
        alone = loss.mean_and_gradient(w[:, :1], torch.tensor([[sample]]))[1][0, 0]
        assert torch.allclose(each[sample], alone, atol=TOLERANCE)


def test_a_samples_loss_does_not_depend_on_its_company() -> None:
    """In training too: the module has no statistics of a batch."""
    loss, w = problem()
    module = loss.module(w[0, 0]).train()
    alone = torch.cat([module(one[None]) for one in loss.inputs])
    assert torch.allclose(module(loss.inputs), alone, atol=TOLERANCE)
    assert not list(module.buffers())


def test_it_has_the_published_layers() -> None:
    loss = ResNet9Loss(
        torch.zeros(1, 3072),
        torch.zeros(1, dtype=torch.int64),
        (3, 32, 32),
        (64, 128, 256, 128),
        10,
    )
    kinds = [one for one in loss.empty_module().modules() if isinstance(one, nn.Conv2d)]
    assert [one.out_channels for one in kinds] == [64, 128, 128, 128, 256, 256, 256, 128]
    kernels = 27 * 64 + 25 * 64 * 128 + 2 * 9 * 128**2 + 9 * 128 * 256 + 2 * 9 * 256**2
    kernels += 9 * 256 * 128
    # A linear layer without bias; slopes and biases of the normalisations.
    channels = sum(one.out_channels for one in kinds)
    assert loss.parameter_count == kernels + 128 * 10 + 2 * channels == 2_274_880


def test_initial_weights_are_within_torchs_bounds() -> None:
    loss, _ = problem()
    (w,) = module_init(loss, [np.random.default_rng(1)])
    module = loss.module(w)
    for layer in module.modules():
        if isinstance(layer, nn.GroupNorm):
            assert bool((layer.weight == 1).all())
            assert bool((layer.bias == 0).all())
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            bound = layer.weight[0].numel() ** -0.5
            assert 0.8 * bound < float(layer.weight.detach().abs().max()) <= bound


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (torch.zeros(2, 100), torch.zeros(2, dtype=torch.int64), r"image of \(3, 16, 16\), flat"),
        (torch.zeros(2, 768), torch.zeros(3, dtype=torch.int64), "one label each"),
        (torch.zeros(2, 768), torch.full((2,), 3), "labels from 3 to 3 of 3 classes"),
    ],
)
def test_bad_input_is_named(inputs: Tensor, labels: Tensor, message: str) -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # a user's call is not checked for types
    with pytest.raises(ConfigError, match=message):
        ResNet9Loss(inputs, labels, SHAPE, WIDTHS, CLASSES)

"""Features, gradients and error norms of one checkpoint.

Caught: BatchNorm in training mode, a missing bias, patches of another stride or padding, an
in-place activation after a layer, a layer that is called twice, chunks and blocks counted twice,
the mean's gradient for the sample's, a module or its hooks left behind changed.
"""

import copy

import jaxtyping
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stagewise.baselines import gradient_gram as gram
from stagewise.baselines.features import el2n, penultimate, sample_losses
from stagewise.baselines.gradient_gram import gradient_gram
from stagewise.errors import ConfigError

SAMPLES, CLASSES = 7, 4
#: So few that not even one layer of all samples can be held.
FEW_BYTES = 40_000


class Twice(nn.Module):
    """Calls its only layer twice, with something in between that is done in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(5, 5, 3, padding=1)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.layer(torch.relu_(self.layer(inputs)))


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(SAMPLES, 3, 9, 8, generator=generator).double(), torch.arange(7) % CLASSES


@pytest.fixture
def convnet() -> nn.Module:
    """Every kind of layer that is treated in its own way, in float64, BatchNorm filled."""
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(3, 4, (3, 2), stride=2, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 5, 3, dilation=2, padding=2, bias=False),
        nn.BatchNorm2d(5),
        nn.ReLU(inplace=True),
        Twice(),
        nn.GroupNorm(1, 5),
        nn.Conv2d(5, 10, 3, groups=5, padding="same", padding_mode="reflect"),
        nn.MaxPool2d(2),
        nn.Flatten(2),
        nn.Linear(4, 6),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(60, 8),
        nn.Tanh(),
        nn.Linear(8, CLASSES),
    ).double()
    net(3 + torch.randn(32, 3, 9, 8).double())
    return net


def by_hand(net: nn.Module, inputs: Tensor, labels: Tensor, only: str = "") -> Tensor:
    """Gradients (sample, parameter), one backward pass for each sample."""
    net = copy.deepcopy(net).eval()
    weights = [one for name, one in net.named_parameters() if name.startswith(only)]
    rows = []
    for x, y in zip(inputs, labels, strict=True):
        found = torch.autograd.grad(F.cross_entropy(net(x[None]), y[None]), weights)
        rows.append(torch.cat([one.flatten() for one in found]))
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("chunk", "most_bytes"), [(50, 2**30), (3, 2**30), (2, 2**16), (1, 60_000), (3, FEW_BYTES)]
)
def test_the_gram_matrix_is_that_of_single_gradients(
    chunk: int, most_bytes: int, convnet: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    """In float64 both sum some 10^3 products: rounding is 1e-13 of the largest at most."""
    rows = by_hand(convnet, *images)
    found = gradient_gram(convnet, *images, chunk=chunk, most_bytes=most_bytes)
    expected = rows @ rows.mT
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * float(expected.max()))
    assert torch.equal(found, found.mT)


def test_few_bytes_make_several_groups_and_blocks(
    convnet: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    """What the test above claims to cover."""
    wanted = {
        name: layer
        for name, layer in convnet.eval().requires_grad_(False).named_modules()
        if dict(layer.named_parameters(recurse=False))
    }
    sizes = gram._sizes(convnet, *images, wanted)
    assert len(gram._groups(sizes, SAMPLES, 2**30)) == 1
    assert len(gram._groups(sizes, SAMPLES, 60_000)) > 3
    most = gram._most_samples(sizes, FEW_BYTES)
    assert 4 <= most < SAMPLES
    assert len(list(gram._pairs_of_blocks(SAMPLES, most))) > 3
    call = gram._recorded(convnet, *images, {"14": convnet[14]}, 9)["14"]
    assert gram._product_of_blocks(convnet[14], call, 2**29)[0].func.__name__ == ("_places_product")
    call = gram._recorded(convnet, *images, {"0": convnet[0]}, 9)["0"]
    way, size = gram._product_of_blocks(convnet[0], call, 5_000)
    assert way.func.__name__ == "_rows_product"
    assert size < SAMPLES


def test_layers_can_be_chosen(convnet: nn.Module, images: tuple[Tensor, Tensor]) -> None:
    rows = by_hand(convnet, *images, only="6.")
    found = gradient_gram(convnet, *images, layers=r"^6\.")
    torch.testing.assert_close(found, rows @ rows.mT, rtol=1e-11, atol=1e-13)


def test_float32_sums_in_float64(convnet: nn.Module, images: tuple[Tensor, Tensor]) -> None:
    """Gradients of float32 carry its rounding, 6e-8, through nine layers: some 1e-6 in all."""
    single = copy.deepcopy(convnet).float()
    found = gradient_gram(single, images[0].float(), images[1])
    rows = by_hand(convnet, *images)
    assert found.dtype == torch.float64
    scale = float((rows @ rows.mT).max())
    torch.testing.assert_close(found, rows @ rows.mT, rtol=0, atol=1e-5 * scale)


def test_a_frozen_network_has_gradients_all_the_same(
    convnet: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    expected = gradient_gram(convnet, *images)
    assert torch.equal(gradient_gram(convnet.requires_grad_(False), *images), expected)


def test_the_module_is_left_as_it_was(convnet: nn.Module, images: tuple[Tensor, Tensor]) -> None:
    convnet[1].eval()
    before, modes = copy.deepcopy(convnet.state_dict()), [m.training for m in convnet.modules()]
    gradient_gram(convnet, *images)
    penultimate(convnet, images[0])
    el2n(convnet, *images)
    assert [m.training for m in convnet.modules()] == modes
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in convnet.modules())
    assert all(one.grad is None and one.requires_grad for one in convnet.parameters())
    for name, value in convnet.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("batch", [256, 3])
def test_penultimate_features_are_what_the_last_layer_reads(
    batch: int, convnet: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    with torch.no_grad():
        expected = copy.deepcopy(convnet).eval()[:-1](images[0])
    found = penultimate(convnet, images[0], batch)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    assert not found.requires_grad


def test_penultimate_features_of_googlenet() -> None:
    """The last layer called, not those of heads that only training has."""
    torchvision = pytest.importorskip("torchvision")
    net = torchvision.models.googlenet(num_classes=5, aux_logits=True, init_weights=False)
    with torch.no_grad():
        net(torch.randn(4, 3, 64, 64))
        inputs = torch.randn(3, 3, 32, 32)
        found = penultimate(net, inputs)
        torch.testing.assert_close(net.fc(found), net.eval()(inputs))
    assert found.shape == (3, 1024)


def test_error_norms_by_hand() -> None:
    """Logits (0, 0) and (ln 3, 0): p = (1/2, 1/2) and (3/4, 1/4)."""
    inputs = torch.tensor([[0.0, 0.0], [np.log(3), 0.0]]).double()
    labels = torch.tensor([1, 0])
    expected = torch.tensor([0.5**0.5, (2 / 16) ** 0.5], dtype=torch.float64)
    torch.testing.assert_close(el2n(nn.Identity(), inputs, labels), expected)
    losses = torch.tensor([2.0, 4 / 3], dtype=torch.float64).log()
    torch.testing.assert_close(sample_losses(nn.Identity(), inputs, labels, 1), losses)


def test_what_cannot_be_done_is_named(convnet: nn.Module, images: tuple[Tensor, Tensor]) -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # which would find some first, in this test
    inputs, labels = images
    with pytest.raises(ConfigError, match="7 inputs and 6 labels; pass one label"):
        gradient_gram(convnet, inputs, labels[:6])
    with pytest.raises(ConfigError, match="chunk is 0; it must be 1 or more"):
        gradient_gram(convnet, inputs, labels, chunk=0)
    with pytest.raises(ConfigError, match="none of 0 layers .* widen the pattern"):
        gradient_gram(convnet, inputs, labels, layers="attention")
    with pytest.raises(ConfigError, match="bytes a sample, half of most_bytes is 500; raise it"):
        gradient_gram(convnet, inputs, labels, most_bytes=1000)
    with pytest.raises(ConfigError, match="no nn.Linear is called by Conv2d"):
        penultimate(nn.Conv2d(3, 4, 1).double(), inputs)
    broken = inputs.clone()
    broken[2, 0, 0, 0] = torch.nan
    with pytest.raises(ConfigError, match="losses of 1 of 7 samples are not finite"):
        sample_losses(convnet, broken, labels)
    with pytest.raises(ConfigError, match="products of gradients of 7 of 7 samples"):
        gradient_gram(convnet, broken, labels)


def test_a_layer_of_several_inputs_is_refused() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Bilinear(3, 3, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.mix(inputs, inputs)

    with pytest.raises(ConfigError, match=r"'mix' \(Bilinear\) does not map one tensor to one"):
        gradient_gram(Pair(), torch.ones(2, 3), torch.zeros(2).long())

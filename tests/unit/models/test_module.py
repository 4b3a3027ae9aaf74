import functools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stagewise.errors import ConfigError
from stagewise.models.module import ModuleLoss

CROSS_ENTROPY = functools.partial(F.cross_entropy, reduction="none")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    return torch.randn(6, 2, 8, 8, generator=seeded(0)), torch.arange(6) % 3


@pytest.fixture
def convnet() -> nn.Module:
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(),
        nn.LazyLinear(3),
    )
    net(torch.randn(16, 2, 8, 8))  # fills BatchNorm's running statistics
    return net


def near(loss: ModuleLoss, chains: int) -> Tensor:
    shape = (len(loss.centre), chains, loss.parameter_count)
    return loss.centre[:, None] + 0.05 * torch.randn(shape, generator=seeded(2)).to(loss.centre)


def by_hand(net: nn.Module, w: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """Losses of one position, by writing it into the module."""
    nn.utils.vector_to_parameters(w, net.parameters())
    with torch.no_grad():
        return CROSS_ENTROPY(net.eval()(inputs), targets)


@pytest.mark.parametrize("vectorize", [True, False])
def test_losses_are_the_modules_in_eval_mode(
    convnet: nn.Module, images: tuple[Tensor, Tensor], vectorize: bool
) -> None:
    loss = ModuleLoss(convnet.train(), CROSS_ENTROPY, *images, vectorize=vectorize)
    w = near(loss, 3)
    found = loss.losses(w, torch.tensor([4, 0]))
    for k in range(3):
        expected = by_hand(convnet, w[0, k], *images)[[4, 0]]
        torch.testing.assert_close(found[0, k], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("vectorize", [True, False])
@pytest.mark.parametrize("batch", [None, torch.tensor([[0, 5, 5], [1, 2, 3]])])
def test_one_backward_gives_every_replicas_gradient(
    convnet: nn.Module, images: tuple[Tensor, Tensor], batch: Tensor | None, vectorize: bool
) -> None:
    loss = ModuleLoss(convnet.double(), CROSS_ENTROPY, images[0].double(), images[1],
                      vectorize=vectorize)  # fmt: skip
    w = near(loss, 2)
    mean, gradient = loss.mean_and_gradient(w, batch)
    for k in range(2):
        chosen = slice(None) if batch is None else batch[k]

        def one(w: Tensor, chosen: object = chosen) -> Tensor:
            return loss._one(w, loss_frozen(loss), loss.inputs[chosen], loss.targets[chosen]).mean()

        expected, value = torch.func.grad_and_value(one)(w[0, k])
        torch.testing.assert_close(gradient[0, k], expected, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(mean[0, k], value, rtol=1e-10, atol=1e-12)


def loss_frozen(loss: ModuleLoss) -> dict[str, Tensor]:
    return {name: one[0] for name, one in loss._frozen.items()}


def test_the_users_module_is_left_alone(convnet: nn.Module, images: tuple[Tensor, Tensor]) -> None:
    before = {name: value.clone() for name, value in convnet.train().state_dict().items()}
    loss = ModuleLoss(convnet, CROSS_ENTROPY, *images)
    loss.mean_and_gradient(near(loss, 2), None)
    assert convnet.training
    assert all(p.requires_grad and p.grad is None for p in convnet.parameters())
    assert all(torch.equal(before[name], value) for name, value in convnet.state_dict().items())


def test_each_checkpoint_brings_its_own_buffers(
    convnet: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    other = {name: value.clone() for name, value in convnet.state_dict().items()}
    other["1.running_mean"] += 1.0
    states = [convnet.state_dict(), other]
    loss = ModuleLoss(convnet, CROSS_ENTROPY, *images, checkpoints=states)
    found = loss.losses(loss.centre[:, None])[:, 0]
    for c, state in enumerate(states):
        convnet.load_state_dict(state)
        expected = by_hand(convnet, loss.centre[c], *images)
        torch.testing.assert_close(found[c], expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(found[0], found[1])
    part = loss.select(slice(1, 2))
    torch.testing.assert_close(part.losses(part.centre[:, None])[0, 0], found[1])


def test_restrict_moves_only_what_it_names(
    convnet: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    whole = ModuleLoss(convnet, CROSS_ENTROPY, *images)
    last = ModuleLoss(convnet, CROSS_ENTROPY, *images, restrict="5.*")
    assert last.parameter_count == sum(p.numel() for p in convnet[5].parameters())
    both = ModuleLoss(convnet, CROSS_ENTROPY, *images, restrict=["0.*", "5.bias"])
    assert both.parameter_count == sum(p.numel() for p in convnet[0].parameters()) + 3
    reference = whole.losses(whole.centre[:, None])
    torch.testing.assert_close(last.losses(last.centre[:, None]), reference)
    gradient = whole.mean_and_gradient(whole.centre[:, None], None)[1]
    part = last.mean_and_gradient(last.centre[:, None], None)[1]
    torch.testing.assert_close(part, gradient[..., -last.parameter_count :], rtol=1e-4, atol=1e-7)


def test_tied_weights_move_together() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.two.weight = self.one.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.two(torch.tanh(self.one(x)))

    net, x = Tied(), torch.randn(4, 3, generator=seeded(3))
    loss = ModuleLoss(net, CROSS_ENTROPY, x, torch.arange(4) % 3, checkpoints=[net.state_dict()])
    assert loss.parameter_count == 9
    w = near(loss, 2)
    expected = by_hand(net, w[0, 1], x, torch.arange(4) % 3)
    torch.testing.assert_close(loss.losses(w)[0, 1], expected, rtol=1e-5, atol=1e-6)


def test_queries_share_the_network(convnet: nn.Module, images: tuple[Tensor, Tensor]) -> None:
    loss = ModuleLoss(convnet, CROSS_ENTROPY, *images)
    queries = loss.with_data(images[0][2:4], images[1][2:4])
    w = near(loss, 2)
    torch.testing.assert_close(queries.losses(w), loss.losses(w, torch.tensor([2, 3])))
    assert (queries.sample_count, loss.sample_count) == (2, 6)


@pytest.mark.parametrize(
    "wrong",
    [F.cross_entropy, lambda o, t: o, lambda o, t: CROSS_ENTROPY(o, t)[:, None]],
)
def test_losses_that_are_not_per_sample_are_refused(
    convnet: nn.Module, images: tuple[Tensor, Tensor], wrong: object
) -> None:
    with pytest.raises(ConfigError, match="one loss per sample"):
        ModuleLoss(convnet, wrong, *images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"restrict": "layer9.*"}, "matches none of the parameters"),
        ({"checkpoints": []}, "at least one state dict"),
        ({"checkpoints": [{}]}, "checkpoint 0 lacks"),
        ({"inputs": torch.zeros(5, 2, 8, 8)}, "5 inputs and 6 targets"),
    ],
)
def test_arguments_that_do_not_fit_are_named(
    convnet: nn.Module, images: tuple[Tensor, Tensor], change: dict, message: str
) -> None:
    arguments = {"inputs": images[0], "targets": images[1], **change}
    with pytest.raises(ConfigError, match=message):
        ModuleLoss(convnet, CROSS_ENTROPY, **arguments)


def test_checkpoints_of_another_network_are_refused(
    convnet: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    other = {**convnet.state_dict(), "5.bias": torch.zeros(4)}
    with pytest.raises(ConfigError, match=r"5\.bias of shape \(4,\), the module \(3,\)"):
        ModuleLoss(convnet, CROSS_ENTROPY, *images, checkpoints=[other])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_refused(images: tuple[Tensor, Tensor], dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(128, 3)).to(dtype)
    with pytest.raises(ConfigError, match="half precision rounds"):
        ModuleLoss(net, CROSS_ENTROPY, images[0].to(dtype), images[1])


def test_resnet18_runs_batched() -> None:
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(4)
    net = torchvision.models.resnet18(num_classes=3)
    images, labels = torch.randn(2, 3, 32, 32, generator=seeded(5)), torch.tensor([0, 2])
    loss = ModuleLoss(net, CROSS_ENTROPY, images, labels, restrict=["layer1.0.bn1.*", "fc.*"])
    w = loss.centre[:, None].repeat(1, 2, 1)
    w[:, 1] += 0.01
    mean, gradient = loss.mean_and_gradient(w, torch.tensor([[0, 1], [1, 1]]))
    expected = CROSS_ENTROPY(net.eval()(images), labels)
    torch.testing.assert_close(mean[0, 0], expected.mean(), rtol=1e-4, atol=1e-5)
    expected.mean().backward()
    flat = torch.cat(
        [p.grad.flatten() for p in [*net.layer1[0].bn1.parameters(), *net.fc.parameters()]]
    )
    torch.testing.assert_close(gradient[0, 0], flat, rtol=1e-3, atol=1e-5)
    assert torch.isfinite(gradient).all()

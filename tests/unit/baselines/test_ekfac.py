"""The adapter to kronfluence.

Caught: the sign; a mean for a sum, a factor of n or of classes; labels of the data for labels of
the network; a damping added elsewhere; a layer or a bias left out; BatchNorm in training mode;
a module, a folder or a stream of random numbers left behind changed.
"""

import copy
import gc
import logging
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch import Tensor, nn

from stagewise.baselines.ekfac import FactorSettings, ekfac_influence, ekfac_influences
from stagewise.baselines.exact import exact_influence
from stagewise.errors import ConfigError
from stagewise.models.mlp import MLPLoss

SAMPLES, FEATURES, CLASSES = 40, 8, 3
EXACT = FactorSettings(draws=0)
Data = tuple[Tensor, Tensor]


@pytest.fixture
def train() -> Data:
    """Three overlapping clouds."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(SAMPLES) % CLASSES
    inputs = torch.randn(SAMPLES, FEATURES, generator=generator, dtype=torch.float64)
    return inputs + F.one_hot(labels, FEATURES), labels


@pytest.fixture
def queries(train: Data) -> Data:
    return train[0][:6] + 0.3, train[1][:6]


@pytest.fixture
def mlp(train: Data) -> nn.Sequential:
    return trained((FEATURES, 6, CLASSES), train, steps=100)


def trained(widths: tuple[int, int, int], train: Data, steps: int) -> nn.Sequential:
    """A network that is sure of most samples, in float64."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(*widths[:2]), nn.Tanh(), nn.Linear(*widths[1:])).double()
    descent = torch.optim.Adam(net.parameters(), 0.01, weight_decay=1e-4)
    for _ in range(steps):
        descent.zero_grad()
        F.cross_entropy(net(train[0]), train[1]).backward()
        descent.step()
    descent.zero_grad()
    return net


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Mean over queries of Spearman's correlation over samples."""
    return float(np.mean([spearmanr(a, b)[0] for a, b in zip(one, other, strict=True)]))


def zero(net: nn.Module) -> nn.Module:
    for one in net.parameters():
        nn.init.zeros_(one)
    return net.double()


def gradients(net: nn.Module, data: Data) -> dict[str, Tensor]:
    """Gradients (sample, output, input and bias) of each nn.Linear and nn.Conv2d, by name."""
    net, found = copy.deepcopy(net).eval(), {}
    for x, y in zip(*data, strict=True):
        net.zero_grad()
        F.cross_entropy(net(x[None]), y[None]).backward()
        for name, layer in net.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                parts = [layer.weight.grad.flatten(1)]
                parts += [] if layer.bias is None else [layer.bias.grad[:, None]]
                found.setdefault(name, []).append(torch.cat(parts, 1).clone())
    return {name: torch.stack(rows) for name, rows in found.items()}


@pytest.mark.parametrize("strategy", ["ekfac", "kfac"])
@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_it_is_exact_where_the_fisher_is_a_kronecker_product(
    kind: str, strategy: str, train: Data, queries: Data, tmp_path: Path
) -> None:
    """With all weights 0 every p is uniform, so F = mean(x x') ⊗ (I - 11'/3)/3.

    A convolution with a single place is a linear layer. Rounding: 1e-16 times a condition number
    of 1e3 or less, in a sum of 27 terms.
    """
    loss = MLPLoss(*train, (FEATURES, CLASSES))
    w = torch.zeros(loss.parameter_count, dtype=torch.float64)
    dampings = [1.0, 0.1, 0.001]
    expected = exact_influence(loss, loss.with_data(*queries), w, dampings).value
    net, shape = nn.Linear(FEATURES, CLASSES), (FEATURES,)
    if kind == "convolution":
        net, shape = nn.Sequential(nn.Conv2d(2, CLASSES, 2), nn.Flatten()), (2, 2, 2)
    data = [(one[0].unflatten(1, shape), one[1]) for one in (train, queries)]
    settings = EXACT._replace(strategy=strategy, factor_batch=16, query_batch=4, score_batch=32)
    found = ekfac_influences(
        zero(net), *data, dampings=dampings, folder=tmp_path, settings=settings
    )
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_no_damping_is_a_tenth_of_the_mean_eigenvalue(
    train: Data, queries: Data, tmp_path: Path
) -> None:
    loss = MLPLoss(*train, (FEATURES, CLASSES))
    w = torch.zeros(loss.parameter_count, dtype=torch.float64)
    asked = loss.with_data(*queries)
    damping = 0.1 * exact_influence(loss, asked, w, [1.0]).trace / len(w)
    net = zero(nn.Linear(FEATURES, CLASSES))
    found = ekfac_influence(net, train, queries, damping=None, folder=tmp_path, settings=EXACT)
    expected = exact_influence(loss, asked, w, [damping]).value[0]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_drawn_labels_stay_within_their_noise(train: Data, queries: Data, tmp_path: Path) -> None:
    """As above, where only eigenvalues are noisy: in direction k of inputs, λ = a_k / C.

    With x_k² the squares along k and D draws, var λ̂ <= Σ_i x_ik⁴ / n² · (1/C - 1/C²) / D, for
    whatever direction u of outputs E u_y⁴ <= 1/C; basis and eigenvalues have draws of their own.
    At six standard deviations of each of 9 directions it fails by chance once in 10⁷ seeds.
    """
    draws, damping = 400, 0.05
    (x, y), (xq, yq) = ((F.pad(one[0], (0, 1), value=1.0), one[1]) for one in (train, queries))
    a, directions = torch.linalg.eigh(x.mT @ x / SAMPLES)
    value = a / CLASSES
    squares = (x @ directions).pow(4).sum(0) / SAMPLES**2
    noise = 6 * (squares * (1 / CLASSES - 1 / CLASSES**2) / draws).sqrt()
    weight = noise / ((value + damping) * (value + damping - noise))
    length = (1 - 1 / CLASSES) ** 0.5
    sizes = [(one @ directions).abs() * length for one in (xq, x)]
    bound = (sizes[0] * weight) @ sizes[1].mT

    loss = MLPLoss(*train, (FEATURES, CLASSES))
    w = torch.zeros(loss.parameter_count, dtype=torch.float64)
    expected = exact_influence(loss, loss.with_data(*queries), w, [damping]).value[0]
    found = ekfac_influence(
        zero(nn.Linear(FEATURES, CLASSES)),
        train,
        queries,
        damping=damping,
        folder=tmp_path,
        settings=FactorSettings(draws=draws, factor_batch=1000),
    )
    assert ((found - expected).abs() <= bound).all()
    assert (bound < 0.25 * (sizes[0] / (value + damping)) @ sizes[1].mT).all()


def test_draws_depend_on_the_seed_alone(
    mlp: nn.Module, train: Data, queries: Data, tmp_path: Path
) -> None:
    def influence(**changes: object) -> Tensor:
        settings = FactorSettings(draws=2)._replace(**changes)
        return ekfac_influence(
            mlp, train, queries, damping=0.01, folder=tmp_path, settings=settings
        )

    first = influence()
    torch.manual_seed(99)
    assert torch.equal(influence(), first)
    batches = {"factor_batch": 7, "query_batch": 5, "score_batch": 9}
    torch.testing.assert_close(influence(**batches), first, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(influence(seed=1), first, rtol=0.01)


def test_it_is_the_formula_of_ek_fac(
    mlp: nn.Module, train: Data, queries: Data, tmp_path: Path
) -> None:
    """Written out: eigenbases of A and G, the diagonal of F in them, layer by layer."""
    damping, p = 0.02, mlp(train[0]).softmax(1).detach()
    each = [gradients(mlp, (train[0], torch.full((SAMPLES,), c))) for c in range(CLASSES)]
    mine, asked = gradients(mlp, train), gradients(mlp, queries)
    hidden = torch.tanh(mlp[0](train[0])).detach()
    expected = torch.zeros(len(queries[0]), SAMPLES, dtype=torch.float64)
    for name, given in (("0", train[0]), ("2", hidden)):
        given = F.pad(given, (0, 1), value=1.0)
        inner = torch.linalg.eigh(given.mT @ given / SAMPLES)[1]
        slopes = torch.stack([one[name] for one in each])  # class, sample, output, input
        at_outputs = slopes[..., -1]
        outer = torch.linalg.eigh(
            torch.einsum("cio,cip,ic->op", at_outputs, at_outputs, p) / SAMPLES
        )[1]
        value = torch.einsum("ciok,ic->ok", (outer.mT @ slopes @ inner).square(), p) / SAMPLES
        rotated = [outer.mT @ one[name] @ inner for one in (asked, mine)]
        expected -= torch.einsum("qok,iok->qi", rotated[0] / (value + damping), rotated[1])
    found = ekfac_influence(mlp, train, queries, damping=damping, folder=tmp_path, settings=EXACT)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def convnet() -> nn.Module:
    torch.manual_seed(4)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 3, 3, stride=2),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(12, CLASSES),
    ).double()
    net(torch.randn(32, 2, 6, 6).double() + 1)
    return net


@pytest.mark.parametrize("layers", [None, "^[03]$"])
def test_gradients_are_those_of_eval_mode_and_of_the_layers_named(
    layers: str | None, tmp_path: Path
) -> None:
    net, generator = convnet(), torch.Generator().manual_seed(5)
    images = torch.randn(7, 2, 6, 6, generator=generator).double()
    data, asked = (images, torch.arange(7) % CLASSES), (images[:4] + 0.1, torch.zeros(4).long())
    found = ekfac_influence(
        net,
        data,
        asked,
        damping=1.0,
        folder=tmp_path,
        settings=FactorSettings(strategy="identity", layers=layers),
    )
    mine, others = gradients(net, asked), gradients(net, data)
    names = ("0", "3", "7") if layers is None else ("0", "3")
    expected = -sum(torch.einsum("qok,iok->qi", mine[name], others[name]) for name in names)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_a_duplicate_of_the_query_helps_it_most_for_its_size(
    mlp: nn.Module, train: Data, tmp_path: Path
) -> None:
    """The damped factors are positive definite: Cauchy and Schwarz, as with the exact matrix."""
    value = ekfac_influence(mlp, train, train, damping=0.01, folder=tmp_path).numpy()
    sizes = np.sqrt(-np.diag(value))
    assert (np.diag(value) < 0).all()
    scaled = value / np.outer(sizes, sizes)
    np.testing.assert_array_equal(scaled.argmin(axis=1), np.arange(SAMPLES))
    largest = int(sizes.argmax())
    assert value[largest].argmin() == largest


def test_it_ranks_samples_nearly_as_the_exact_matrix_does(tmp_path: Path) -> None:
    """Mean rank correlation over queries with the exact answer at the damping that LDS likes.

    Digits, a network of 64-16-10 trained to a loss of 0.006. Recorded at the best of the dampings:
    EK-FAC 0.84, gradient similarity 0.64. What EK-FAC leaves out (blocks that layers share, terms
    off the diagonal) costs the rest; the two are told apart by bounds half way between them.
    """
    inputs, labels = (torch.from_numpy(one) for one in load_digits(return_X_y=True))
    inputs = inputs / 16
    train, queries = (inputs[:300], labels[:300]), (inputs[300:340], labels[300:340])
    net = trained((64, 16, 10), train, steps=300)
    loss = MLPLoss(*train, (64, 16, 10), "tanh")
    w = nn.utils.parameters_to_vector(net.parameters()).detach()
    expected = exact_influence(loss, loss.with_data(*queries), w, [0.01]).value[0]

    def agreement(strategy: str) -> float:
        found = ekfac_influences(
            net,
            train,
            queries,
            dampings=[0.03, 0.01, 0.003],
            folder=tmp_path,
            settings=EXACT._replace(strategy=strategy),
        )
        return max(rank_correlation(one, expected) for one in found)

    assert agreement("ekfac") > 0.74 > agreement("identity")


def test_nothing_is_left_behind(
    mlp: nn.Module, train: Data, queries: Data, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before, stream = copy.deepcopy(mlp.train().state_dict()), torch.random.get_rng_state()
    level, frozen = logging.root.level, gc.get_freeze_count()
    folder = tmp_path / "not" / "there"
    ekfac_influence(mlp, train, queries, damping=0.1, folder=folder)
    assert list(folder.iterdir()) == []
    assert torch.equal(torch.random.get_rng_state(), stream)
    assert (logging.root.level, gc.get_freeze_count()) == (level, frozen)
    assert mlp.training
    assert all(one.requires_grad and one.grad is None for one in mlp.parameters())
    assert [type(one) for one in mlp] == [nn.Linear, nn.Tanh, nn.Linear]
    for name, value in mlp.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert "".join(capfd.readouterr()) == ""


def test_what_cannot_be_done_is_named(
    mlp: nn.Module, train: Data, queries: Data, tmp_path: Path
) -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # which would find some first, in this test

    def refused(message: str, net: nn.Module = mlp, data: Data = train, **changes: object) -> None:
        damping = changes.pop("damping", 0.1)
        asked = changes.pop("asked", queries)
        settings = FactorSettings()._replace(**changes)
        with pytest.raises(ConfigError, match=message):
            ekfac_influence(net, data, asked, damping=damping, folder=tmp_path, settings=settings)

    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        refused("each must be positive and finite, or None", damping=wrong)
    refused(r"strategy 'newton'; choose one of \['ekfac'", strategy="newton")
    refused("draws -1 .*draws must be 0", draws=-1)
    refused("batches .*128, 0, 128", query_batch=0)
    refused("40 inputs and 39 labels of train; pass one", data=(train[0], train[1][1:]))
    refused("labels of train from 1 to 3 for an output", data=(train[0], train[1] + 1))
    refused("calls no nn.Linear or nn.Conv2d .*'attention'", layers="attention")
    refused("calls no nn.Linear or nn.Conv2d .*None", net=nn.Tanh())
    layer = nn.Linear(FEATURES, FEATURES).double()
    refused("layer '0' is called 2 times", net=nn.Sequential(layer, nn.Tanh(), layer))
    groups = nn.Sequential(
        nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 2, 1, groups=2), nn.Flatten()
    ).double()
    refused("layer '1' .*in groups .* pattern of layers", net=groups)
    dead = (F.pad(train[0], (0, 1)), train[1])  # an input that is always 0: eigenvalues of 0
    linear = nn.Linear(FEATURES + 1, CLASSES, bias=False).double()
    message = "scores are not finite at damping 1e-310, .* raise the damping"
    refused(message, net=linear, data=dead, asked=dead, damping=1e-310)
    train[0][5] = torch.nan
    refused("losses of 1 of 40 samples are not finite")
    assert list(tmp_path.iterdir()) == []

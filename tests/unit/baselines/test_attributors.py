"""Attributors as adapters: sense, agreement with what they are defined by, and what is refused.

Caught: a sign that is not turned round, queries and samples exchanged or shuffled, an option that
is not used, settings that are not nine, scores of another shape or that are not finite.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stagewise.baselines.attributor import Attributor, Setting, Trained, attribute
from stagewise.baselines.attributors import trak
from stagewise.baselines.attributors.by_name import ATTRIBUTORS
from stagewise.baselines.exact import exact_influence, hessian, sample_gradients
from stagewise.errors import ConfigError
from stagewise.models.classifier import ClassifierLoss
from stagewise.models.conv import ConvLoss
from stagewise.models.mlp import MLPLoss
from stagewise.training.descent import Recipe, descend, module_init

SAMPLES, QUERIES, SIDE, CLASSES = 30, 6, 4, 3
SETTINGS = 9
NETWORKS = ("mlp", "conv")


def trained(network: str, folder: Path) -> Trained:
    """A network that has learned a little; every second sample is a query as well."""
    generator = torch.Generator().manual_seed(6)
    labels = torch.arange(SAMPLES) % CLASSES
    means = torch.randn(CLASSES, SIDE**2, generator=generator)
    inputs = means[labels] + 0.8 * torch.randn(SAMPLES, SIDE**2, generator=generator)
    if network == "mlp":
        loss: ClassifierLoss = MLPLoss(inputs, labels, (SIDE**2, 5, CLASSES), "tanh")
    else:
        loss = ConvLoss(inputs, labels, (2,), CLASSES)
    streams = [np.random.default_rng(k) for k in range(2)]
    kept: list[Tensor] = []
    recipe = Recipe(steps=30, batch_size=10, learning_rate=0.2, momentum=0.5, weight_decay=1e-3)
    watch = lambda step, w: kept.append(w.clone()) if step in (10, 30) else None  # noqa: E731
    descend(loss, module_init(loss, streams), recipe, streams, watch=watch)
    weights = torch.stack(kept, 1)
    return Trained(loss, loss.with_data(inputs[::2], labels[::2]), weights, (0.2, 0.1), 3, folder)


@pytest.fixture(scope="module", params=NETWORKS)
def given(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained(request.param, tmp_path_factory.mktemp("scratch"))


def values(name: str, given: Trained, chosen: list[int] | None = None) -> list[Tensor]:
    return [one.value for one in attribute(name, ATTRIBUTORS[name], given, chosen)]


@pytest.mark.parametrize("name", ATTRIBUTORS)
def test_every_attributor_has_nine_settings_that_differ(name: str, given: Trained) -> None:
    labels = [one.label for one in ATTRIBUTORS[name].settings]
    assert len(set(labels)) == len(labels) == SETTINGS
    found = values(name, given)
    for one, other in zip(found, found[1:], strict=False):
        assert not torch.equal(one, other)


@pytest.mark.parametrize("name", [name for name in ATTRIBUTORS if name != "random"])
def test_a_training_duplicate_of_the_query_comes_out_most_negative(
    name: str, given: Trained
) -> None:
    """Of the query whose own influence is largest: by Cauchy and Schwarz none exceeds it there.

    TRAK's factor of the sample is no inner product; it is largest where the margin's error is.
    """
    for value in values(name, given):
        own = value[torch.arange(SAMPLES // 2), torch.arange(0, SAMPLES, 2)]
        assert bool((own < 0).all())
        strongest = int(own.argmin())
        row = value[strongest]
        assert float(own[strongest]) <= float(row[::2].min()) + 1e-12


def test_the_gauss_newton_adapter_is_the_exact_influence(given: Trained) -> None:
    dampings = [one.options["damping"] for one in ATTRIBUTORS["exact_ggn"].settings]
    wanted = exact_influence(given.train, given.queries, given.centre, dampings).value
    assert torch.allclose(torch.stack(values("exact_ggn", given)), wanted)


def test_the_hessian_is_that_of_the_module(given: Trained) -> None:
    w = given.centre.double()
    module = given.train.module(w)
    names = [name for name, _ in module.named_parameters()]
    sizes = [one.numel() for one in module.parameters()]
    shapes = [one.shape for one in module.parameters()]

    def mean(w: Tensor) -> Tensor:
        parts = w.split(sizes)
        state = {n: p.view(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        logits = torch.func.functional_call(module, state, (given.train.inputs.double(),))
        return F.cross_entropy(logits, given.train.labels)

    wanted = torch.autograd.functional.hessian(mean, w)
    assert torch.allclose(hessian(given.train, w), wanted, atol=1e-10)


def test_where_the_loss_is_convex_both_exact_influences_agree(tmp_path: Path) -> None:
    """Softmax regression: the Hessian is the Gauss-Newton matrix, to rounding."""
    base = trained("mlp", tmp_path)
    loss = MLPLoss(base.train.inputs.double(), base.train.labels, (SIDE**2, CLASSES), "tanh")
    queries = loss.with_data(base.queries.inputs.double(), base.queries.labels)
    w = torch.randn(1, 1, loss.parameter_count, generator=torch.Generator().manual_seed(1))
    given = Trained(loss, queries, w.double(), (1.0,), 3, tmp_path)
    for one, other in zip(values("exact_hessian", given), values("exact_ggn", given), strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-9 * float(other.abs().max()))


def test_similarity_of_gradients_is_their_product(given: Trained) -> None:
    w = given.centre
    samples, asked = sample_gradients(given.train, w), sample_gradients(given.queries, w)
    dot, normalised, cosine = values("gradient_similarity", given, [0, 1, 2])
    product = -(asked @ samples.mT).double()
    lengths = samples.norm(dim=1).double(), asked.norm(dim=1).double()[:, None]
    # Gradients are float32.
    scale = float(product.abs().max())
    assert torch.allclose(dot, product, atol=1e-5 * scale)
    assert torch.allclose(normalised, product / lengths[0], atol=1e-5 * scale)
    assert torch.allclose(cosine, product / lengths[0] / lengths[1], atol=1e-5)


def test_tracin_sums_over_checkpoints_with_the_steps_taken(given: Trained) -> None:
    products = [
        -(sample_gradients(given.queries, w) @ sample_gradients(given.train, w).mT).double()
        for w in given.weights[0]
    ]
    every = values("tracin", given)
    scale = float(products[0].abs().max())
    assert torch.allclose(every[0], 0.2 * products[0] + 0.1 * products[1], atol=1e-5 * scale)
    assert torch.allclose(every[1], products[0] + products[1], atol=1e-5 * scale)
    assert torch.allclose(every[3], 0.2 * products[0], atol=1e-5 * scale)
    assert torch.allclose(every[7], products[1], atol=1e-5 * scale)


def test_trak_is_its_formula_sample_by_sample(given: Trained) -> None:
    """As Park et al. have it, written out with the module, one margin at a time."""
    total = torch.zeros(SAMPLES // 2, SAMPLES, dtype=torch.float64)
    missing = torch.zeros(SAMPLES, dtype=torch.float64)
    members = given.weights[:, -1]
    for index, w in enumerate(members):
        module = given.train.module(w)
        signs = trak.projection(given.seed, index, len(w), 256 if len(w) > 256 else len(w))

        def features(inputs: Tensor, labels: Tensor, module=module, signs=signs) -> list[Tensor]:  # noqa: ANN001
            rows = []
            for x, y in zip(inputs, labels, strict=True):
                p = module(x[None])[0].softmax(0)[y]
                parts = torch.autograd.grad((p / (1 - p)).log(), module.parameters())
                rows.append(torch.cat([part.flatten() for part in parts]) @ signs)
            return rows

        samples = torch.stack(features(given.train.inputs, given.train.labels)).double()
        asked = torch.stack(features(given.queries.inputs, given.queries.labels)).double()
        gram = samples.mT @ samples
        gram += 1e-1 * gram.trace() / len(gram) * torch.eye(len(gram)).double()
        total += asked @ torch.linalg.inv(gram) @ samples.mT / len(members)
        p = module(given.train.inputs).softmax(1)[torch.arange(SAMPLES), given.train.labels]
        missing += (1 - p).double().detach() / len(members)
    (found,) = values("trak", given, [2])
    # Gradients are float32, and those of samples learned well lose digits in 1 - p.
    wanted = -total * missing
    assert torch.allclose(found, wanted, atol=1e-3 * float(wanted.abs().max()))


def test_ekfac_goes_with_the_exact_influence(given: Trained) -> None:
    """At a damping above the curvature both are similarity of gradients, to first order."""
    exact, ekfac = (values(name, given, [8])[0].flatten() for name in ("exact_ggn", "ekfac"))
    assert float(torch.corrcoef(torch.stack([exact, ekfac]))[0, 1]) > 0.95


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(SAMPLES, SAMPLES // 2), r"'mine' \(loud\) returned scores of shape"),
        (torch.full((SAMPLES // 2, SAMPLES), torch.nan), "'mine' .* not finite"),
    ],
)
def test_scores_of_another_shape_or_without_a_value_are_refused(
    given: Trained, value: Tensor, message: str
) -> None:
    bad = Attributor(lambda given: lambda volume: value, (Setting("loud", {"volume": 11}),))
    with pytest.raises(ConfigError, match=message):
        list(attribute("mine", bad, given))


def test_a_setting_that_is_not_there_is_refused(given: Trained) -> None:
    with pytest.raises(ConfigError, match="random has settings 0 to 8"):
        values("random", given, [9])

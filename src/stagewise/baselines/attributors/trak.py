"""TRAK: linearised networks, randomly projected, over an ensemble of trainings.

With f = log(p_y / (1 - p_y)) the margin of a sample, φ = P' ∇f / √k its projected gradient (P of
independent ±1, a new one for each member), Φ those of the training samples and q = 1 - p_y,

    τ(query, i) = mean_m [ φ_m(query)' (Φ_m'Φ_m + λ I)^-1 φ_m(i) ] · mean_m [ q_m(i) ],

how much sample i raises the query's margin. A margin that rises is a loss that falls, at a rate
that is the query's alone: the score is -τ. λ is given as a share of the mean of Φ'Φ's diagonal.

Of a document, margins and q are means over its tokens.

The formula of the package traker (``BasicScoreComputer``, ``ImageClassificationModelOutput``),
written out over the batched gradients of all members, which are at hand.

Source: Park et al. 2023, arXiv:2303.14186.
"""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Int8
from torch import Tensor

from stagewise.baselines.attributor import Attributor, Score, Setting, Trained
from stagewise.models.classifier import ClassifierLoss
from stagewise.seeds import generator

#: Dimensions of the projection, and shares of the mean of the diagonal.
DIMENSIONS, RIDGES = (256, 1024, 4096), (1e-3, 1e-2, 1e-1)
#: Samples whose gradients are held at once.
CHUNK = 200
#: Numbers of gradients of a member that are held at once (1 GB in single precision): where there
#: are more they are projected as they come.
MOST_HELD = 2**28
#: Rows of a large P that are made numbers of at once.
ROWS = 2**16

#: φ of samples and of queries, given the dimension.
Features = Callable[[int], tuple[Tensor, Tensor]]


def prepare(given: Trained) -> Score:
    """Take the gradients of all margins, for every member of the ensemble."""
    size, count = given.train.parameter_count, given.train.sample_count
    ensemble = _projected if size * count > MOST_HELD else _held
    members, missing = ensemble(given)

    def score(dimension: int, ridge: float) -> Float[Tensor, "query sample"]:
        total = 0.0
        for member in members:
            total = total + kernel_scores(*member(min(dimension, size)), ridge)
        return -total / len(members) * missing

    return score


def _held(given: Trained) -> tuple[list[Features], Float[Tensor, " sample"]]:
    """Hold all gradients of every member, projected when a dimension is asked for."""
    members, missing = [], []
    for index, w in enumerate(given.weights[:, -1]):
        samples, left = margin_gradients(given.train, w)
        asked = margin_gradients(given.queries, w)[0]
        missing.append(left)

        def project(dimension: int, index=index, samples=samples, asked=asked):  # noqa: ANN001, ANN202
            signs = projection(given.seed, index, samples.shape[1], dimension).to(samples)
            return samples @ signs, asked @ signs

        members.append(project)
    return members, torch.stack(missing).mean(0)


def _projected(given: Trained) -> tuple[list[Features], Float[Tensor, " sample"]]:
    """Project the gradients of some samples at a time, in all dimensions, and forget them."""
    members, missing = [], []
    size = given.train.parameter_count
    for index, w in enumerate(given.weights[:, -1]):
        signs = {k: random_bits(given.seed, index, size, k).to(w.device) for k in _dimensions(size)}
        samples, left = _projections(given.train, w, signs)
        asked = _projections(given.queries, w, signs)[0]
        missing.append(left)
        members.append(lambda k, samples=samples, asked=asked: (samples[k], asked[k]))
    return members, torch.stack(missing).mean(0)


def _dimensions(size: int) -> set[int]:
    return {min(one, size) for one in DIMENSIONS}


def _projections(
    loss: ClassifierLoss, w: Tensor, signs: dict[int, Tensor]
) -> tuple[dict[int, Tensor], Tensor]:
    """Return φ of every sample in every dimension, and 1 - p_y."""
    found: dict[int, list[Tensor]] = {k: [] for k in signs}
    missing = []
    for gradients, left in _margin_chunks(loss, w):
        missing.append(left)
        for k, bits in signs.items():
            rows = zip(gradients.split(ROWS, 1), bits.split(ROWS), strict=True)
            parts = [part @ own.to(w).mul_(2).sub_(1) for part, own in rows]
            found[k].append(torch.stack(parts).sum(0) / k**0.5)
    return {k: torch.cat(parts) for k, parts in found.items()}, torch.cat(missing)


def margin_gradients(
    loss: ClassifierLoss, w: Float[Tensor, " parameter"]
) -> tuple[Float[Tensor, "sample parameter"], Float[Tensor, " sample"]]:
    """Return ∇f of every sample, and 1 - p_y."""
    found = list(_margin_chunks(loss, w))
    return torch.cat([one for one, _ in found]), torch.cat([one for _, one in found])


def _margin_chunks(loss: ClassifierLoss, w: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what `margin_gradients` returns, some samples at a time."""
    own = loss.like(w)
    each = torch.func.vmap(torch.func.grad(own.margin, has_aux=True), in_dims=(None, 0, 0))
    for chunk in zip(own.inputs.split(CHUNK), own.labels.split(CHUNK), strict=True):
        yield each(w, *chunk)


def projection(
    seed: int, member: int, size: int, dimension: int
) -> Float[Tensor, "parameter dimension"]:
    """Return P / √k, entries ±1/√k."""
    bits = random_bits(seed, member, size, dimension)
    return bits.float().mul_(2).sub_(1).div_(dimension**0.5)


def random_bits(
    seed: int, member: int, size: int, dimension: int
) -> Int8[Tensor, "parameter dimension"]:
    """Return independent 0 and 1, a quarter of the memory of P."""
    bits = generator(seed, "trak", member).integers(0, 2, (size, dimension), dtype=np.int8)
    return torch.from_numpy(bits)


def kernel_scores(
    samples: Float[Tensor, "sample dimension"],
    asked: Float[Tensor, "query dimension"],
    ridge: float,
) -> Float[Tensor, "query sample"]:
    """Return φ(query)' (Φ'Φ + λ I)^-1 φ(i), λ = ridge · tr(Φ'Φ) / k, in float64.

    With fewer samples than dimensions by (Φ'Φ + λ I)^-1 Φ' = Φ' (ΦΦ' + λ I)^-1.
    """
    samples, asked = samples.double(), asked.double()
    shift = ridge * float(samples.square().sum()) / samples.shape[1]
    if len(samples) < samples.shape[1]:
        gram = samples @ samples.mT
        gram.diagonal().add_(shift)
        factor = torch.linalg.cholesky(gram)
        return torch.cholesky_solve(samples @ asked.mT, factor).mT
    gram = samples.mT @ samples
    gram.diagonal().add_(shift)
    return asked @ torch.cholesky_solve(samples.mT, torch.linalg.cholesky(gram))


ATTRIBUTOR = Attributor(
    prepare,
    tuple(
        Setting(f"dimension {k}, ridge {ridge:g}", {"dimension": k, "ridge": ridge})
        for k, ridge in product(DIMENSIONS, RIDGES)
    ),
)

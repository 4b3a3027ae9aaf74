"""TRAK: linearised networks, randomly projected, over an ensemble of trainings.

With f = log(p_y / (1 - p_y)) the margin of a sample, φ = P' ∇f / √k its projected gradient (P of
independent ±1, a new one for each member), Φ those of the training samples and q = 1 - p_y,

    τ(query, i) = mean_m [ φ_m(query)' (Φ_m'Φ_m + λ I)^-1 φ_m(i) ] · mean_m [ q_m(i) ],

how much sample i raises the query's margin. A margin that rises is a loss that falls, at a rate
that is the query's alone: the score is -τ. λ is given as a share of the mean of Φ'Φ's diagonal.

The formula of the package traker (``BasicScoreComputer``, ``ImageClassificationModelOutput``),
written out over the batched gradients of all members, which are at hand.

Source: Park et al. 2023, arXiv:2303.14186.
"""

from itertools import product

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from stagewise.baselines.attributor import Attributor, Score, Setting, Trained
from stagewise.models.classifier import ClassifierLoss
from stagewise.seeds import generator

#: Dimensions of the projection, and shares of the mean of the diagonal.
DIMENSIONS, RIDGES = (256, 1024, 4096), (1e-3, 1e-2, 1e-1)
#: Samples whose gradients are held at once.
CHUNK = 200


def prepare(given: Trained) -> Score:
    """Take the gradients of all margins, for every member of the ensemble."""
    members = []
    for w in given.weights[:, -1]:
        samples, missing = margin_gradients(given.train, w)
        members.append((samples, margin_gradients(given.queries, w)[0], missing))
    missing = torch.stack([one for _, _, one in members]).mean(0)
    size = members[0][0].shape[1]

    def score(dimension: int, ridge: float) -> Float[Tensor, "query sample"]:
        total = 0.0
        for index, (samples, asked, _) in enumerate(members):
            signs = projection(given.seed, index, size, min(dimension, size)).to(samples)
            total = total + kernel_scores(samples @ signs, asked @ signs, ridge)
        return -total / len(members) * missing

    return score


def margin_gradients(
    loss: ClassifierLoss, w: Float[Tensor, " parameter"]
) -> tuple[Float[Tensor, "sample parameter"], Float[Tensor, " sample"]]:
    """Return ∇f of every sample, and 1 - p_y."""

    def margin(w: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits = loss.logits(w[None, None], x[None])[0, 0, 0]
        own = torch.arange(len(logits), device=y.device) == y
        others = logits.masked_fill(own, -torch.inf).logsumexp(0)
        chosen = (logits * own).sum()
        return chosen - others, torch.sigmoid(others - chosen)

    each = torch.func.vmap(torch.func.grad(margin, has_aux=True), in_dims=(None, 0, 0))
    chunks = zip(loss.inputs.to(w).split(CHUNK), loss.labels.split(CHUNK), strict=True)
    found = [each(w, *chunk) for chunk in chunks]
    return torch.cat([one for one, _ in found]), torch.cat([one for _, one in found])


def projection(
    seed: int, member: int, size: int, dimension: int
) -> Float[Tensor, "parameter dimension"]:
    """Return P / √k, entries ±1/√k."""
    bits = generator(seed, "trak", member).integers(0, 2, (size, dimension), dtype=np.int8)
    return torch.from_numpy(bits).float().mul_(2).sub_(1).div_(dimension**0.5)


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

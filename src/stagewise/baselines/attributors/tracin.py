"""TracIn: products of gradients, summed over checkpoints of the training.

    score(q, i) = -Σ_t η_t g_q(t) · g_i(t),   g the gradients of the losses at checkpoint t.

*descended*: η the step length there; *equal*: η = 1; *cosine*: products of normalised gradients.

Source: Pruthi et al. 2020, arXiv:2002.08484 (TracInCP).
"""

from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from stagewise.baselines.attributor import Attributor, Score, Setting, Trained
from stagewise.baselines.products import gradient_products

#: Which checkpoints are summed over, as shares of all of them: from, to.
SPANS = {"all": (0.0, 1.0), "first half": (0.0, 0.5), "last half": (0.5, 1.0)}


def prepare(given: Trained) -> Score:
    """Take the products at every checkpoint."""
    products, lengths = [], []
    for w in given.weights[0]:
        found = gradient_products(given.train, given.queries, w)["all"]
        products.append(found.product)
        smallest = torch.finfo(w.dtype).tiny
        norms = [one.clamp(min=smallest) for one in (found.queries, found.samples)]
        lengths.append(norms[0][:, None] * norms[1])

    def score(span: str, weighting: str) -> Float[Tensor, "query sample"]:
        start, stop = (round(share * len(products)) for share in SPANS[span])
        chosen = range(start, max(stop, start + 1)) if start < len(products) else [-1]
        total = torch.zeros_like(products[0])
        for index in chosen:
            if weighting == "cosine":
                total += products[index] / lengths[index]
            else:
                rate = given.rates[index] if weighting == "descended" else 1.0
                total += rate * products[index]
        return -total

    return score


ATTRIBUTOR = Attributor(
    prepare,
    tuple(
        Setting(f"{span} checkpoints, {weighting}", {"span": span, "weighting": weighting})
        for span, weighting in product(SPANS, ("descended", "equal", "cosine"))
    ),
)

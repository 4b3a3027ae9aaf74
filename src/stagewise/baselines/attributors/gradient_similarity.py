"""Similarity of gradients at the checkpoint: dot products and cosines, of all layers or of one.

    score(q, i) = -g_q · g_i,   -g_q · g_i / |g_i|,   -g_q · g_i / (|g_q| |g_i|).

A factor of the query alone does not change the order of its samples, nor that of subsets.
"""

from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from stagewise.baselines.attributor import Attributor, Score, Setting, Trained
from stagewise.baselines.features import gradient_gram

LAYERS = ("all", "first", "last")


def prepare(given: Trained) -> Score:
    """Take the products of gradients of queries and samples, layer by layer."""
    module = given.train.module(given.centre)
    both = [
        torch.cat([getattr(one, name) for one in (given.queries, given.train)])
        for name in ("inputs", "labels")
    ]
    named = [name for name, one in module.named_modules() if list(one.parameters(recurse=False))]
    patterns = {"all": None, "first": f"^{named[0]}$", "last": f"^{named[-1]}$"}
    grams = {name: gradient_gram(module, *both, layers=one) for name, one in patterns.items()}
    asked = given.queries.sample_count

    def score(layers: str, measure: str) -> Float[Tensor, "query sample"]:
        gram = grams[layers]
        norms = gram.diagonal().clamp(min=torch.finfo(gram.dtype).tiny).sqrt()
        value = -gram[:asked, asked:]
        if measure != "dot":
            value = value / norms[asked:]
        return value / norms[:asked, None] if measure == "cosine" else value

    return score


ATTRIBUTOR = Attributor(
    prepare,
    tuple(
        Setting(f"{measure}, {layers} layers", {"layers": layers, "measure": measure})
        for layers, measure in product(LAYERS, ("dot", "normalised sample", "cosine"))
    ),
)

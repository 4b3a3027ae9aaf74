"""Similarity of gradients at the checkpoint: dot products and cosines, of all layers or of one.

    score(q, i) = -g_q · g_i,   -g_q · g_i / |g_i|,   -g_q · g_i / (|g_q| |g_i|).

A factor of the query alone does not change the order of its samples, nor that of subsets.
"""

from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from stagewise.baselines.attributor import Attributor, Score, Setting, Trained
from stagewise.baselines.gradient_gram import gradient_gram
from stagewise.baselines.products import Products, gradient_products, layer_columns
from stagewise.models.documents import DocumentLoss

LAYERS = ("all", "first", "last")
#: Samples whose products with one another, beside those with the queries, are a price one can pay
#: for never forming a gradient.
MOST_SQUARED = 10_000


def prepare(given: Trained) -> Score:
    """Take the products of gradients of queries and samples, layer by layer."""
    many = given.queries.sample_count + given.train.sample_count > MOST_SQUARED
    # Layers of a language model run over positions, which are not those of an image.
    many |= isinstance(given.train, DocumentLoss)
    products = _of_gradients(given) if many else _of_grams(given)

    def score(layers: str, measure: str) -> Float[Tensor, "query sample"]:
        found = products[layers]
        value = -found.product
        if measure != "dot":
            value = value / found.samples
        return value / found.queries[:, None] if measure == "cosine" else value

    return score


def _of_gradients(given: Trained) -> dict[str, Products]:
    """Return the products of gradients that are formed, some samples at a time."""
    columns = layer_columns(given.train.empty_module())
    first, last = list(columns.values())[0], list(columns.values())[-1]
    chosen = {"all": slice(None), "first": first, "last": last}
    found = gradient_products(given.train, given.queries, given.centre, chosen)
    return {name: _positive(one) for name, one in found.items()}


def _of_grams(given: Trained) -> dict[str, Products]:
    """Return a corner of the products of all pairs, by layers' inputs and slopes."""
    module = given.train.module(given.centre)
    both = [
        torch.cat([getattr(one, name) for one in (given.queries, given.train)])
        for name in ("inputs", "labels")
    ]
    named = [name for name, one in module.named_modules() if list(one.parameters(recurse=False))]
    patterns = {"all": None, "first": f"^{named[0]}$", "last": f"^{named[-1]}$"}
    grams = {name: gradient_gram(module, *both, layers=one) for name, one in patterns.items()}
    asked = given.queries.sample_count
    lengths = {
        name: gram.diagonal().clamp(min=torch.finfo(gram.dtype).tiny).sqrt()
        for name, gram in grams.items()
    }
    return {
        name: Products(gram[:asked, asked:], lengths[name][:asked], lengths[name][asked:])
        for name, gram in grams.items()
    }


def _positive(found: Products) -> Products:
    least = torch.finfo(found.product.dtype).tiny ** 0.5
    return Products(found.product, found.queries.clamp(min=least), found.samples.clamp(min=least))


ATTRIBUTOR = Attributor(
    prepare,
    tuple(
        Setting(f"{measure}, {layers} layers", {"layers": layers, "measure": measure})
        for layers, measure in product(LAYERS, ("dot", "normalised sample", "cosine"))
    ),
)

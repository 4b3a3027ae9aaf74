"""Products of queries' and samples' gradients, a block of samples at a time.

All gradients of a large network on many samples do not fit into memory; those of the queries and of
some samples do. Where all fit there is one block, and one product.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stagewise.baselines.exact import CHUNK, gradient_chunks, sample_gradients
from stagewise.models.classifier import ClassifierLoss

#: Numbers of gradients that are held at once: 1 GB in single precision.
MOST_HELD = 2**28


class Products(NamedTuple):
    """Products of gradients and their lengths.

    Attributes:
        product: g_q · g_i, nats² per squared unit of weight.
        queries: |g_q|.
        samples: |g_i|.
    """

    product: Float[Tensor, "query sample"]
    queries: Float[Tensor, " query"]
    samples: Float[Tensor, " sample"]


def gradient_products(
    train: ClassifierLoss,
    queries: ClassifierLoss,
    w: Float[Tensor, " parameter"],
    columns: Mapping[str, slice] | None = None,
) -> dict[str, Products]:
    """Return the products over some of the parameters, by the names of ``columns``.

    Args:
        train: Losses of the samples.
        queries: Losses of the queries, whose gradients are held all together.
        w: Where the gradients are taken.
        columns: Which parameters; None is {"all": all of them}.
    """
    columns = {"all": slice(None)} if columns is None else columns
    asked = sample_gradients(queries, w)
    found: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in columns}
    for block in _blocks(train, w):
        for name, own in columns.items():
            found[name].append((asked[:, own] @ block[:, own].mT, block[:, own].norm(dim=1)))
    return {
        name: Products(
            torch.cat([one for one, _ in parts], 1),
            asked[:, columns[name]].norm(dim=1),
            torch.cat([one for _, one in parts]),
        )
        for name, parts in found.items()
    }


def _blocks(loss: ClassifierLoss, w: Tensor) -> Iterator[Float[Tensor, "sample parameter"]]:
    """Yield gradients of as many samples as may be held at once."""
    most = max(1, MOST_HELD // loss.parameter_count)
    if most >= loss.sample_count:
        yield sample_gradients(loss, w)
    else:
        yield from gradient_chunks(loss, w, min(most, CHUNK))


def layer_columns(module: nn.Module) -> dict[str, slice]:
    """Return which entries of the flat parameters are of each layer that has some, by name."""
    found, start = {}, 0
    for name, layer in module.named_modules():
        size = sum(one.numel() for one in layer.parameters(recurse=False))
        if size:
            found[name] = slice(start, start + size)
            start += size
    return found

"""Inner products of gradients of groups of tokens: TracIn at one checkpoint, by class.

A group is a class of tokens in one sequence, its loss the sum over them. From the products of
groups follow the mean products of single tokens in different sequences: of first order in the
weights, what a covariance of losses is at n_beta = 0.

Source: Pruthi et al. 2020, arXiv:2002.08484 (TracIn).
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from stagewise.errors import ConfigError
from stagewise.models.neox import token_losses

#: Most bytes of the gradients that are held at once.
MOST_BYTES = 16 * 2**30


class Groups(NamedTuple):
    """Which groups there are.

    Attributes:
        sequence: Index of each group's sequence.
        token_class: Its class.
    """

    sequence: Int[np.ndarray, " group"]
    token_class: Int[np.ndarray, " group"]


def groups_of(token_class: Int[Tensor, "sequence predicted"]) -> Groups:
    """Return the classes that each sequence has, sequence by sequence."""
    pairs = [
        (index, int(one)) for index, row in enumerate(token_class) for one in row.unique().tolist()
    ]
    sequence, classes = np.array(pairs, dtype=np.int64).T
    return Groups(sequence, classes)


def group_products(
    model: nn.Module,
    tokens: Int[Tensor, "sequence position"],
    token_class: Int[Tensor, "sequence predicted"],
) -> Float[np.ndarray, "group other_group"]:
    """Return the inner products of the groups' gradients, in float64.

    Raises:
        ConfigError: The gradients would not fit into memory.
    """
    groups, weights = groups_of(token_class), list(model.parameters())
    size = sum(one.numel() for one in weights)
    needed = 4 * size * len(groups.sequence)
    if needed > MOST_BYTES:
        raise ConfigError(
            f"gradients of {len(groups.sequence)} groups of tokens take {needed / 2**30:.1f} GiB, "
            f"more than {MOST_BYTES / 2**30:.0f}; record fewer sequences"
        )
    for one in weights:
        one.requires_grad_(True)
    rows = torch.empty(len(groups.sequence), size)
    place = 0
    for index in range(len(tokens)):
        losses = token_losses(
            model(input_ids=tokens[index : index + 1, :-1]).logits, tokens[index : index + 1, 1:]
        )[0]
        present = token_class[index].unique().tolist()
        for one in present:
            last = one == present[-1]
            summed = losses[token_class[index] == one].sum()
            found = torch.autograd.grad(summed, weights, retain_graph=not last)
            rows[place] = torch.cat([gradient.flatten() for gradient in found]).cpu()
            place += 1
    return _gram(rows)


def _gram(rows: Float[Tensor, "group parameter"]) -> Float[np.ndarray, "group other_group"]:
    """Add products up over pieces of the parameters: in float64 without a second copy of all."""
    product = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for piece in rows.split(2**16, dim=1):
        wide = piece.double()
        product += wide @ wide.T
    return product.numpy()

"""How near the leaves of a taxonomy are: path, Wu-Palmer and Lin similarity.

d(n) is a node's depth in edges, 0 at the root; lcs(a, b) the lowest common subsumer, the deepest
node above (or equal to) both leaves. A node has one parent: a graph with several (WordNet) is
reduced to a tree before it comes here.

Source: Rada et al. 1989 (path); Wu & Palmer 1994; Lin 1998; Resnik 1995 (information content).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from stagewise.errors import ConfigError, SchemaError
from stagewise.storage.items import ROOT_PARENT


class Ancestry(NamedTuple):
    """The way from the root to each of some leaves.

    Attributes:
        leaves: Their ids.
        nodes: Ids of all nodes of the taxonomy.
        way: Index into ``nodes`` of each leaf's ancestor at each depth, the root's first and the
            leaf's own last; -1 below the leaf.
        depth: Edges from the root to each leaf.
    """

    leaves: list[str]
    nodes: list[str]
    way: Int[np.ndarray, "leaf level"]
    depth: Int[np.ndarray, " leaf"]


def ancestry(items: xr.Dataset, leaves: Sequence[str] | None = None) -> Ancestry:
    """Follow the parents of leaves up to the root.

    Args:
        items: A taxonomy as `stagewise.storage.items` makes it, with one root.
        leaves: Ids in the order wanted, inner nodes too; by default all leaves in their order.

    Raises:
        SchemaError: Not one root.
        ConfigError: An id that the taxonomy lacks, or none.
    """
    ids = [str(one) for one in items["id"].values]
    parents = [str(one) for one in items["parent"].values]
    if (roots := parents.count(ROOT_PARENT)) != 1:
        raise SchemaError(
            f"the taxonomy has {roots} roots; similarities need one: put a common root above them"
        )
    if leaves is None:
        leaves = [one for one, leaf in zip(ids, items["is_leaf"].values, strict=True) if leaf]
    place = {one: index for index, one in enumerate(ids)}
    unknown = [one for one in leaves if one not in place]
    if unknown or not len(leaves):
        raise ConfigError(
            f"{len(unknown)} of {len(leaves)} leaves are not in the taxonomy "
            f"({', '.join(unknown[:3])}); name at least one, and only ids of its {len(ids)} nodes"
        )
    above = [place.get(parent, -1) for parent in parents]
    ways = [_way(place[one], above) for one in leaves]
    depth = np.array([len(way) - 1 for way in ways], dtype=np.int64)
    way = np.full((len(ways), int(depth.max()) + 1), -1, dtype=np.int64)
    for row, nodes in zip(way, ways, strict=True):
        row[: len(nodes)] = nodes
    return Ancestry([str(one) for one in leaves], ids, way, depth)


def lcs_depth(tree: Ancestry) -> Int[np.ndarray, "leaf leaf"]:
    """Depth in edges of the lowest common subsumer of every two leaves."""
    shared = np.zeros((len(tree.leaves),) * 2, dtype=np.int64)
    for column in tree.way.T[1:]:
        shared += (column[:, None] == column[None, :]) & (column >= 0)
    return shared


def path_similarity(tree: Ancestry) -> Float[np.ndarray, "leaf leaf"]:
    """1/(1 + edges of the way between two leaves): 1 for a leaf and itself, ⅓ for siblings."""
    edges = tree.depth[:, None] + tree.depth[None, :] - 2 * lcs_depth(tree)
    return 1 / (1 + edges)


def wu_palmer(tree: Ancestry) -> Float[np.ndarray, "leaf leaf"]:
    """2·D(lcs)/(D(a) + D(b)) with D = d + 1, so the root has depth 1, as in NLTK.

    Leaves that meet at the root only are 2/(D(a) + D(b)) similar, more than 0.
    """
    depth = tree.depth + 1
    return 2 * (lcs_depth(tree) + 1) / (depth[:, None] + depth[None, :])


def lin(
    tree: Ancestry, counts: Float[np.ndarray, " leaf"] | Sequence[float], smoothing: float = 0.0
) -> Float[np.ndarray, "leaf leaf"]:
    """2·IC(lcs)/(IC(a) + IC(b)), from 0 for leaves that meet at the root to 1 for a leaf itself.

    IC(n) = −ln(c(n)/c(root)) in nats, where c(n) adds (count + smoothing) over the leaves at or
    below n, those of ``tree`` only: with equal counts it tells how many of *these* leaves are below
    a node. An inner node with a single leaf of ``tree`` below it has that leaf's content.

    Args:
        tree: Its leaves; none may be above another.
        counts: How often each occurs (in a corpus, or 1 each), at least 0.
        smoothing: Added to each leaf's count.

    Raises:
        ConfigError: Counts of wrong number or negative, a leaf whose smoothed count is 0, or a leaf
            above another.
    """
    weight = np.asarray(counts, dtype=np.float64) + smoothing
    _check_counts(weight, tree, counts, smoothing)
    content = _information(tree, weight)
    depth = lcs_depth(tree)
    lowest = content[np.take_along_axis(tree.way, depth, axis=1)]
    own = content[tree.way[np.arange(len(tree.leaves)), tree.depth]]
    total = own[:, None] + own[None, :]
    similar = np.divide(2 * lowest, total, out=np.zeros_like(total), where=total > 0)
    np.fill_diagonal(similar, 1.0)
    return similar


def ancestor_at_depth(tree: Ancestry, depth: int) -> list[str]:
    """Id of each leaf's ancestor so many edges below the root; the leaf's own id if it is higher.

    Raises:
        ConfigError: A depth that no leaf has.
    """
    deepest = int(tree.depth.max())
    if not 0 <= depth <= deepest:
        raise ConfigError(f"depth is {depth}; allowed are 0 (the root) to {deepest}")
    at = np.minimum(tree.depth, depth)
    return [tree.nodes[place] for place in tree.way[np.arange(len(at)), at]]


def label_codes(labels: Sequence[str]) -> Int[np.ndarray, " leaf"]:
    """Numbers from 0 for labels, equal for equal ones, in the labels' sorted order."""
    return np.unique(np.asarray(labels, dtype=str), return_inverse=True)[1].astype(np.int64)


def _way(node: int, above: Sequence[int]) -> list[int]:
    """Nodes from the root down to this one."""
    way = [node]
    while above[way[-1]] >= 0:
        way.append(above[way[-1]])
    return way[::-1]


def _information(tree: Ancestry, weight: Float[np.ndarray, " leaf"]) -> Float[np.ndarray, " node"]:
    """IC of every node; 0 where no leaf is below, which is never asked for."""
    below = np.zeros(len(tree.nodes))
    for column in tree.way.T:
        inside = column >= 0
        np.add.at(below, column[inside], weight[inside])
    content = np.zeros(len(below))
    known = below > 0
    content[known] = np.log(weight.sum() / below[known])
    return np.maximum(content, 0.0)


def _check_counts(
    weight: Float[np.ndarray, " any"], tree: Ancestry, counts: object, smoothing: float
) -> None:
    if weight.shape != (len(tree.leaves),):
        raise ConfigError(
            f"{weight.size} counts for {len(tree.leaves)} leaves; give one for each, in their order"
        )
    if (
        not (np.isfinite(weight).all() and (weight > 0).all() and smoothing >= 0)
        or (np.asarray(counts, dtype=np.float64) < 0).any()
    ):
        raise ConfigError(
            f"counts go from {np.min(np.asarray(counts))} with smoothing {smoothing}; allowed are "
            "finite values of at least 0, and above 0 once smoothed: raise smoothing"
        )
    own = tree.way[np.arange(len(tree.leaves)), tree.depth]
    inner = {int(one) for row, end in zip(tree.way, tree.depth, strict=True) for one in row[:end]}
    if inner & set(own.tolist()):
        raise ConfigError(
            "one leaf is above another, so its count would be counted twice; leave one of them out"
        )

"""Items at the leaves of a tree, features at its nodes (Saxe, McClelland & Ganguli 2019).

Item i has feature f, with the value that belongs to f's depth, if i lies at or below node f. The
singular vectors of the feature matrix are then the distinctions of the tree, coarse ones with the
larger singular values.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from stagewise.config.toy import TreeSettings
from stagewise.errors import ConfigError

Relation = Literal["self", "sibling", "cousin", "distant"]
_MAX_LEAVES = 4096


@dataclass(frozen=True)
class Tree:
    """A rooted tree; nodes stand in breadth-first order, items (leaves) from left to right.

    Attributes:
        nodes: Permanent id of every node: a leaf's is its item's, the others are ``root`` and
            ``node-0-1`` (the second child of the first child of the root).
        parent: Index into ``nodes`` of every node's parent; -1 for the root.
        depth: Edges between the root and every node.
        items: Permanent ids of the leaves.
    """

    nodes: tuple[str, ...]
    parent: tuple[int, ...]
    depth: tuple[int, ...]
    items: tuple[str, ...]

    def feature_matrix(self, weights: Sequence[float]) -> Float[np.ndarray, "feature item"]:
        """Y[f, i] = weights[depth of f] if item i is node f or below it, else 0.

        Args:
            weights: One positive value for every depth, the root's first.

        Raises:
            ConfigError: A wrong number of weights, or one that is not positive and finite.
        """
        levels = max(self.depth) + 1
        if len(weights) != levels:
            raise ConfigError(
                f"feature_weights has {len(weights)} values, this tree has {levels} depths "
                f"(root and leaves included): give {levels} values, the root's first"
            )
        bad = [weight for weight in weights if not (math.isfinite(weight) and weight > 0)]
        if bad:
            raise ConfigError(f"feature_weights has {bad[0]}; allowed are finite values above 0")
        matrix = np.zeros((len(self.nodes), len(self.items)))
        for column, item in enumerate(self.items):
            for node in self._path(item):
                matrix[node, column] = weights[self.depth[node]]
        return matrix

    def relation(self, i: int | str, j: int | str) -> Relation:
        """Tells how two items, given by index or id, are related.

        ``sibling``: the same parent. ``distant``: no common ancestor but the root. ``cousin``: the
        rest. Siblings right below the root are siblings.
        """
        one, other = self._path(self._id(i)), self._path(self._id(j))
        if one == other:
            return "self"
        if one[1] == other[1]:
            return "sibling"
        return "distant" if not set(one[:-1]) & set(other[:-1]) else "cousin"

    def relations(self) -> np.ndarray:
        """The relation of every pair, as strings (item, item)."""
        count = range(len(self.items))
        return np.array([[self.relation(i, j) for j in count] for i in count])

    def branch(self, i: int | str) -> str:
        """Id of the child of the root at or above item ``i``."""
        return self.nodes[self._path(self._id(i))[-2]]

    def _id(self, item: int | str) -> str:
        return self.items[item] if isinstance(item, int | np.integer) else item

    def _path(self, item: str) -> list[int]:
        """Nodes from the item up to the root."""
        if item not in self.items:
            raise ConfigError(f"no item is called {item!r}; the tree has {', '.join(self.items)}")
        path = [self.nodes.index(item)]
        while self.parent[path[-1]] >= 0:
            path.append(self.parent[path[-1]])
        return path


def from_settings(settings: TreeSettings) -> Tree:
    """The tree that the settings describe.

    Raises:
        ConfigError: As `from_branching` and `from_nested`; ``settings`` has one of the two shapes.
    """
    if settings.branching is not None:
        return from_branching(settings.branching)
    return from_nested(settings.nested or [])


def from_branching(branching: Sequence[int]) -> Tree:
    """A tree in which every node at depth d has ``branching[d]`` children.

    Its items are called ``item-0-1-0`` by the way that leads to them.

    Raises:
        ConfigError: A number below 1, or a tree with fewer than two or very many leaves.
    """
    if any(count < 1 for count in branching):
        raise ConfigError(
            f"branching is {list(branching)}; allowed are whole numbers of at least 1"
        )
    leaves = math.prod(branching)
    if not 2 <= leaves <= _MAX_LEAVES:
        raise ConfigError(
            f"branching {list(branching)} gives {leaves} leaves; allowed are 2 to {_MAX_LEAVES}: "
            "change the numbers, whose product this is"
        )
    return from_nested(_balanced(tuple(branching), ()))


def from_nested(nested: Sequence[Any]) -> Tree:
    """A tree from nested lists of leaf names: ``[["robin", "canary"], "oak"]``.

    Raises:
        ConfigError: Duplicate names, a name that is no text or empty, an empty list, or fewer than
            two leaves.
    """
    nodes, parent, depth = ["root"], [-1], [0]
    paths: dict[tuple[int, ...], str] = {}
    level: list[tuple[tuple[int, ...], Any]] = [((), nested)]
    position = 0
    while level:
        below = []
        for path, node in level:
            for k, child in enumerate(() if isinstance(node, str) else _children(node)):
                here = (*path, k)
                leaf = isinstance(child, str)
                nodes.append(child if leaf else _name("node", here))
                parent.append(position)
                depth.append(len(here))
                below.append((here, child))
                if leaf:
                    paths[here] = child
            position += 1
        level = below
    items = tuple(name for _, name in sorted(paths.items()))
    _check_names(nodes, items)
    return Tree(tuple(nodes), tuple(parent), tuple(depth), items)


def _balanced(branching: tuple[int, ...], path: tuple[int, ...]) -> Any:
    if not branching:
        return _name("item", path)
    return [_balanced(branching[1:], (*path, k)) for k in range(branching[0])]


def _name(kind: str, path: tuple[int, ...]) -> str:
    return "-".join([kind, *map(str, path)])


def _children(node: Any) -> Sequence[Any]:
    if not isinstance(node, list | tuple):
        raise ConfigError(
            f"a leaf of the tree is {node!r}; allowed are names (text): write it in quotes"
        )
    if not node:
        raise ConfigError("a node of the tree is an empty list: give it children or leave it out")
    return node


def _check_names(nodes: Sequence[str], items: Sequence[str]) -> None:
    if len(items) < 2:
        raise ConfigError(
            f"the tree has {len(items)} leaf: allowed are two or more, for influence needs a pair"
        )
    repeated = sorted(name for name, count in Counter(nodes).items() if count > 1)
    if repeated:
        raise ConfigError(
            f"the leaf name(s) {', '.join(map(repr, repeated))} stand for more than one node of "
            "the tree; names are permanent ids: give every leaf its own (not root or node-...)"
        )
    if "" in items:
        raise ConfigError("a leaf of the tree has an empty name: give it one")

"""What a similarity of images knows about a taxonomy of their classes: measures for one matrix.

In relations, pairs of images are of different variants (faces), so that a similarity that only
sees the face tells no relation from another. Rank correlations, clusters and neighbours are of all
pairs.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int

from stagewise.errors import SchemaError
from stagewise.evaluation.alignment import (
    Alignment,
    Auroc,
    auroc,
    class_means,
    nearest_neighbour_agreement,
    spearman_jackknife,
    tree_alignment,
)
from stagewise.evaluation.alignment_clusters import cka_alignment, cluster_alignment
from stagewise.evaluation.alignment_errors import jackknife_error
from stagewise.evaluation.taxonomy import (
    Ancestry,
    ancestor_at_depth,
    ancestry,
    label_codes,
    lcs_depth,
    lin,
    path_similarity,
    wu_palmer,
)

#: Relations of letters, near to far, by the names that the images' file has for pairs of classes.
_LETTERS = {
    "other diacritic": ("other diacritic",),
    "other case": ("other case",),
    "same script": ("same script and case", "same script"),
}
_UNRELATED = "other script"
TREES = ("wu_palmer", "path", "lin")

Similarity = Float[np.ndarray, "sample sample"]


class Layout(NamedTuple):
    """Recorded images and what is known of them.

    Attributes:
        ids: Of the images.
        labels: Index of each image's class among those that are there.
        classes: Ids of these classes.
        variants: What images of one class differ in.
        tree: The classes' ancestors.
        similarity: Tree similarities (class, class) by name.
        relations: Pairs of images by relation.
        unrelated: Pairs that share nothing, which relations are told from.
    """

    ids: list[str]
    labels: Int[np.ndarray, " sample"]
    classes: list[str]
    variants: np.ndarray
    tree: Ancestry
    similarity: Mapping[str, Float[np.ndarray, "label label"]]
    relations: Mapping[str, Bool[np.ndarray, "sample sample"]]
    unrelated: Bool[np.ndarray, "sample sample"]


def layout(recorded: xr.Dataset, items: xr.Dataset, counts: Mapping[str, int]) -> Layout:
    """Lay out the recorded images.

    Args:
        recorded: Their part of the images' file.
        items: Taxonomy whose leaves are the classes.
        counts: Training images of each class, the corpus of Lin's similarity.

    Raises:
        SchemaError: Fewer than two classes.
    """
    every = recorded["class"].values.astype(str)
    present, labels = np.unique(recorded["label"].values, return_inverse=True)
    if len(present) < 2:
        raise SchemaError(f"{len(present)} classes are recorded; record images of two at least")
    classes = every[present].tolist()
    tree = ancestry(items, classes)
    variants = recorded["variant"].values.astype(str)
    related, none = _relations(recorded, tree, present)
    other = variants[:, None] != variants[None, :]
    pairs = {"same class": (labels[:, None] == labels[None, :]) & other}
    pairs |= {name: of[np.ix_(labels, labels)] & other for name, of in related.items()}
    blank = none[np.ix_(labels, labels)]
    pairs["same face"] = blank & ~other
    similarity = {
        "wu_palmer": wu_palmer(tree),
        "path": path_similarity(tree),
        "lin": lin(tree, [float(counts[one]) for one in classes]),
    }
    ids = recorded["sample"].values.astype(str).tolist()
    kept = {name: one for name, one in pairs.items() if np.triu(one, 1).any()}
    return Layout(ids, labels, classes, variants, tree, similarity, kept, blank & other)


def _relations(
    recorded: xr.Dataset, tree: Ancestry, present: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return pairs of classes by relation, and those that share nothing."""
    depth = lcs_depth(tree)
    if "relation" not in recorded:
        leaf = tree.depth
        siblings = (depth == leaf[:, None] - 1) & (depth == leaf[None, :] - 1)
        far = np.triu_indices(len(depth), 1)
        return {"same parent": siblings}, (depth <= np.median(depth[far])) & ~siblings
    names = recorded["relation"].values.astype(str)[np.ix_(present, present)]
    twin = recorded["twin"].values.astype(str)[present]
    alike = twin[:, None] == recorded["class"].values.astype(str)[present][None, :]
    found = {key: np.isin(names, one) & ~alike for key, one in _LETTERS.items()}
    found["looks alike"] = alike
    return found, (names == _UNRELATED) & ~alike


def relation_rows(
    similarity: Similarity, of: Layout, names: tuple[str, ...] | None = None
) -> list[dict]:
    """AUROC of each relation against pairs that share nothing, with an error over classes."""
    return [
        {"relation": name, "value": one.value, "se": one.se, "positives": one.positives}
        for name, one in _areas(similarity, of, names).items()
    ]


def _areas(similarity: Similarity, of: Layout, names: tuple[str, ...] | None) -> dict[str, Auroc]:
    found = {}
    for name in names or tuple(of.relations):
        if name in of.relations:
            positive = of.relations[name]
            found[name] = auroc(similarity, positive, of.labels, positive | of.unrelated)
    return found


def scores(similarity: Similarity, of: Layout) -> dict[str, tuple[float, np.ndarray]]:
    """AUROC by relation, and rank correlation with the tree by scope; each also without classes.

    Returns:
        Value, and the values without each group of classes (group), which are the same groups for
        every similarity: a difference of two similarities has the `jackknife_error` of theirs.
    """
    found = {name: (one.value, one.left) for name, one in _areas(similarity, of, None).items()}
    tree = of.similarity[TREES[0]]
    for scope, within in (("tree", True), ("tree, other classes", False)):
        found[scope] = spearman_jackknife(similarity, tree, of.labels, within_class=within)
    return found


def alignment_rows(similarity: Similarity, of: Layout, permutations: int, seed: int) -> list[dict]:
    """Rank correlation with each tree similarity, of all pairs and of pairs of different classes.

    And the centred alignment (linear CKA) of mean similarities of classes with the tree's.
    """
    found = []
    for name, tree in of.similarity.items():
        for scope, within in (("all", True), ("other_classes", False)):
            result = tree_alignment(
                similarity,
                tree,
                of.labels,
                permutations=permutations,
                seed=seed,
                within_class=within,
            )
            _, left = spearman_jackknife(similarity, tree, of.labels, within_class=within)
            row = {"measure": "spearman", "tree": name, "scope": scope}
            found.append(row | {"se": jackknife_error(left)} | _null(result))
        means = class_means(similarity, of.labels)
        np.fill_diagonal(means, np.where(np.isnan(np.diag(means)), 1.0, np.diag(means)))
        result = cka_alignment(means, tree, permutations, seed)
        row = {"measure": "cka", "tree": name, "scope": "all", "se": np.nan}
        found.append(row | _null(result))
    return found


def depth_rows(similarity: Similarity, of: Layout, permutations: int, seed: int) -> list[dict]:
    """Clusters and nearest neighbours against the labels at each depth of the tree."""
    found = []
    for depth in range(1, int(of.tree.depth.max()) + 1):
        codes = label_codes(ancestor_at_depth(of.tree, depth))[of.labels]
        if codes.max() == 0:
            continue
        finest = depth == int(of.tree.depth.max())
        own = None if finest else of.labels
        clusters = cluster_alignment(
            similarity, codes, permutations=permutations, seed=seed, classes=own, units=of.labels
        )
        near = nearest_neighbour_agreement(similarity, codes, own, of.labels)
        labels = int(codes.max()) + 1
        parts = zip(
            ("nmi", "purity"), (clusters.nmi, clusters.purity), clusters.errors, strict=True
        )
        for measure, one, se in parts:
            row = {"depth": depth, "labels": labels, "measure": measure, "se": se}
            found.append(row | _null(one))
        row = {"depth": depth, "labels": labels, "measure": "neighbour", "value": near.value}
        row["se"] = near.se
        found.append(row | {"null": near.chance, "null_sd": np.nan, "p": np.nan})
    return found


def _null(result: Alignment) -> dict[str, float]:
    return {
        "value": result.value,
        "null": result.null_mean,
        "null_sd": result.null_sd,
        "p": result.p,
    }


def tagged(rows: list[dict], **tags: object) -> pd.DataFrame:
    """Return rows as a table with further columns in front."""
    return pd.DataFrame([{**tags, **row} for row in rows])

"""Clusters of samples against labels, and kernels against kernels.

Source: Sokal & Michener 1958 (average linkage); Strehl & Ghosh 2002 (normalised mutual
information); Kornblith et al. 2019 (linear CKA); Cristianini et al. 2002 (kernel alignment).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from stagewise.errors import ConfigError
from stagewise.evaluation.alignment import Alignment, check_similarity, summary
from stagewise.evaluation.alignment_errors import class_groups, jackknife_error
from stagewise.seeds import generator


class ClusterAlignment(NamedTuple):
    """Agreement of clusters with labels.

    Attributes:
        clusters: How many: as many as labels.
        nmi: Normalised mutual information with its null.
        purity: Purity with its null.
        errors: Of both: jackknife over groups of classes, the clusters staying as they are.
    """

    clusters: int
    nmi: Alignment
    purity: Alignment
    errors: tuple[float, float]


def average_linkage(
    correlation: Float[np.ndarray, "sample sample"], count: int
) -> Int[np.ndarray, " sample"]:
    """Cut the average-linkage tree on the distance 1 − R into exactly ``count`` clusters.

    Distances below 0 are 0. Clusters are numbered from 0 in the order of their first samples.

    Raises:
        ConfigError: As many clusters as there can't be, or R not finite and symmetric.
    """
    from scipy.cluster.hierarchy import cut_tree, linkage
    from scipy.spatial.distance import squareform

    check_similarity(correlation)
    if not 1 <= count <= len(correlation):
        raise ConfigError(f"{count} clusters; allowed are 1 to {len(correlation)}, the samples")
    distance = np.clip(1 - (correlation + correlation.T) / 2, 0, None)
    np.fill_diagonal(distance, 0)
    links = linkage(squareform(distance, checks=False), "average")
    cut = cut_tree(links, n_clusters=count)[:, 0]
    _, first, places = np.unique(cut, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[places].astype(np.int64)


def normalised_mutual_information(
    one: Int[np.ndarray, " sample"], other: Int[np.ndarray, " sample"]
) -> float:
    """I(one; other)/((H(one) + H(other))/2), from 0 to 1; 1 if both have a single label."""
    table = _contingency(one, other) / len(one)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    entropies = _entropy(rows) + _entropy(columns)
    if entropies == 0:
        return 1.0
    mutual = entropies - _entropy(table.ravel())
    return float(max(2 * mutual / entropies, 0.0))


def purity(clusters: Int[np.ndarray, " sample"], labels: Int[np.ndarray, " sample"]) -> float:
    """Fraction of samples that have the commonest label of their cluster."""
    return float(_contingency(clusters, labels).max(axis=1).sum() / len(labels))


def cluster_alignment(
    correlation: Float[np.ndarray, "sample sample"],
    labels: Int[np.ndarray, " sample"],
    *,
    permutations: int,
    seed: int,
    classes: Int[np.ndarray, " sample"] | None = None,
    units: Int[np.ndarray, " sample"] | None = None,
) -> ClusterAlignment:
    """Cut into as many clusters as there are labels and compare, with a permutation null.

    The clusters stay; the null permutes labels over samples, or over classes if ``classes`` is
    given: which class has which label, samples of a class staying together. The second is what a
    depth coarser than the classes should be tested by; at the classes' own depth it changes nothing
    (classes are only renamed) and p is 1.

    Args:
        correlation: R, symmetric.
        labels: Labels at some depth of the taxonomy.
        permutations: Of the null, at least 2.
        seed: Root seed.
        classes: Class of each sample; samples of one class must share their label.
        units: What the errors leave out, by default the labels.

    Raises:
        ConfigError: Numbers that don't fit, a class with two labels, or R not finite and symmetric.
    """
    if permutations < 2 or len(labels) != len(correlation):
        raise ConfigError(
            f"{permutations} permutations of {len(labels)} labels for {len(correlation)} samples; "
            "allowed are 2 permutations and more, and one label for each sample"
        )
    codes = np.unique(labels, return_inverse=True)[1]
    unit, of_unit = _units(codes, classes)
    count = int(codes.max()) + 1
    found = average_linkage(correlation, count)
    rng = generator(seed, "alignment", "clusters")
    null = np.empty((permutations, 2))
    for row in null:
        moved = rng.permutation(of_unit)[unit]
        row[:] = normalised_mutual_information(found, moved), purity(found, moved)
    return ClusterAlignment(
        clusters=count,
        nmi=summary(normalised_mutual_information(found, codes), null[:, 0], len(codes)),
        purity=summary(purity(found, codes), null[:, 1], len(codes)),
        errors=_errors(found, codes, codes if units is None else units),
    )


def _errors(
    found: Int[np.ndarray, " sample"],
    codes: Int[np.ndarray, " sample"],
    units: Int[np.ndarray, " sample"],
) -> tuple[float, float]:
    groups = class_groups(units)
    rest = [groups != one for one in range(groups.max() + 1)] if groups.max() else []
    mutual = [normalised_mutual_information(found[kept], codes[kept]) for kept in rest]
    pure = [purity(found[kept], codes[kept]) for kept in rest]
    return jackknife_error(np.array(mutual)), jackknife_error(np.array(pure))


def linear_cka(
    one: Float[np.ndarray, "sample feature"], other: Float[np.ndarray, "sample other"]
) -> float:
    """Linear CKA of two representations of the same samples.

    ‖YᵀX‖²_F/(‖XᵀX‖_F ‖YᵀY‖_F) with columns centred: `kernel_alignment` of XXᵀ and YYᵀ. From 0 to 1;
    1 for representations equal up to rotation and scale.
    """
    return kernel_alignment(_gram(one), _gram(other))


def kernel_alignment(
    one: Float[np.ndarray, "sample sample"], other: Float[np.ndarray, "sample sample"]
) -> float:
    """⟨HKH, HLH⟩/(‖HKH‖ ‖HLH‖), H = I − 11ᵀ/n: CKA of two kernels; NaN if one is constant."""
    left, right = _centred(one), _centred(other)
    scale = np.linalg.norm(left) * np.linalg.norm(right)
    small = 1e-12 * np.linalg.norm(one) * np.linalg.norm(other)
    return float((left * right).sum() / scale) if scale > small else float("nan")


def cka_alignment(
    one: Float[np.ndarray, "label label"],
    tree: Float[np.ndarray, "label label"],
    permutations: int,
    seed: int,
) -> Alignment:
    """`kernel_alignment` of classes with a tree, and its null: which class stands at which leaf."""
    rng = generator(seed, "alignment", "cka")
    null = []
    for _ in range(permutations):
        order = rng.permutation(len(tree))
        null.append(kernel_alignment(one, tree[np.ix_(order, order)]))
    return summary(kernel_alignment(one, tree), np.array(null), len(tree))


def _gram(features: Float[np.ndarray, "sample feature"]) -> Float[np.ndarray, "sample sample"]:
    values = features.astype(np.float64)
    values -= values.mean(axis=0)
    return values @ values.T


def _centred(kernel: Float[np.ndarray, "sample sample"]) -> Float[np.ndarray, "sample sample"]:
    return (
        kernel
        - kernel.mean(axis=0, keepdims=True)
        - kernel.mean(axis=1, keepdims=True)
        + kernel.mean()
    )


def _contingency(
    one: Int[np.ndarray, " sample"], other: Int[np.ndarray, " sample"]
) -> Int[np.ndarray, "one other"]:
    rows = np.unique(one, return_inverse=True)[1]
    columns = np.unique(other, return_inverse=True)[1]
    width = int(columns.max()) + 1
    shape = (int(rows.max()) + 1, width)
    return np.bincount(rows * width + columns, minlength=shape[0] * width).reshape(shape)


def _entropy(shares: Float[np.ndarray, " any"]) -> float:
    """−Σ p ln p in nats."""
    present = shares[shares > 0]
    return float(-(present * np.log(present)).sum())


def _units(
    codes: Int[np.ndarray, " sample"], classes: Int[np.ndarray, " sample"] | None
) -> tuple[Int[np.ndarray, " sample"], Int[np.ndarray, " unit"]]:
    """What is permuted: each sample's unit, and each unit's label."""
    if classes is None:
        return np.arange(len(codes)), codes
    _, first, unit = np.unique(classes, return_index=True, return_inverse=True)
    label = codes[first]
    if (mixed := label[unit] != codes).any():
        raise ConfigError(
            f"{int(mixed.sum())} samples have another label than the first sample of their class; "
            "permute over classes only where a class has one label"
        )
    return unit, label

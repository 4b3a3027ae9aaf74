"""How a similarity between samples agrees with a taxonomy of their classes, in numbers.

Everything is over unordered pairs i < j of different samples. Pairs that share a sample or a class
are dependent, so no error here treats pairs as independent: nulls permute whole classes or whole
samples (Mantel's test), errors leave whole classes out.

Source: Mantel 1967; Phipson & Smyth 2010 (the +1 rule); Hanley & McNeil 1982 (AUROC as a rank
statistic); Arvesen 1969 (jackknife of U-statistics).
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from stagewise.errors import ConfigError
from stagewise.evaluation.alignment_errors import class_groups, jackknife_error
from stagewise.seeds import generator

Unit = Literal["class", "sample"]
#: Tree similarities that differ by less than rounding are ties.
_TREE_DECIMALS = 12
_ASYMMETRY = 1e-6


class Alignment(NamedTuple):
    """A statistic with its permutation null.

    Attributes:
        value: The statistic.
        null_mean: Its mean over permutations.
        null_sd: Its standard deviation over permutations (divisor permutations − 1).
        p: One-sided, (1 + permutations at least as large)/(1 + permutations).
        permutations: How many.
        count: Pairs (or samples, for clusters) that the statistic rests on.
    """

    value: float
    null_mean: float
    null_sd: float
    p: float
    permutations: int
    count: int


class Auroc(NamedTuple):
    """Area under the ROC curve with an error over classes.

    Attributes:
        value: Chance that a positive pair is more similar than a negative one; a tie counts ½.
        se: Jackknife over classes, or `GROUPS` groups of them; NaN where one takes all positive (or
            negative) pairs with it.
        positives: Positive pairs.
        negatives: The other candidate pairs.
        left: The area without each group of classes, for errors of differences.
    """

    value: float
    se: float
    positives: int
    negatives: int
    left: Float[np.ndarray, " group"]


class Agreement(NamedTuple):
    """How often a sample's nearest neighbour has its label.

    Attributes:
        value: Mean over samples; tied nearest neighbours share a sample's vote.
        se: Jackknife over groups of classes, whose samples stay neighbours of the others.
        chance: The same for a neighbour drawn at random from those allowed.
        ceiling: Fraction of samples that have any allowed neighbour with their label.
    """

    value: float
    se: float
    chance: float
    ceiling: float


def tree_alignment(
    similarity: Float[np.ndarray, "sample sample"],
    tree: Float[np.ndarray, "label label"],
    labels: Int[np.ndarray, " sample"],
    *,
    permutations: int,
    seed: int,
    unit: Unit = "class",
    within_class: bool = False,
) -> Alignment:
    """Spearman correlation over pairs i < j of similarity and tree similarity, with a null.

    The statistic is the correlation of midranks of S_ij and T[l_i, l_j]. The null permutes

    - ``class``: which class stands at which leaf. Samples of one class stay together, so what is
      left is what the *taxonomy* adds to the classes; the null mean is above 0 if same-class pairs
      are included. This is the test to report.
    - ``sample``: which sample has which label. It rejects as soon as classes are recognised.

    Args:
        similarity: Symmetric; its diagonal isn't used.
        tree: Similarity of the classes' leaves (`stagewise.evaluation.taxonomy`). Its diagonal is
            the similarity of two samples of one class.
        labels: Row of ``tree`` for each sample.
        permutations: Of the null, at least 2.
        seed: Root seed.
        unit: What is permuted.
        within_class: Include pairs of one class.

    Raises:
        ConfigError: Shapes, labels or values that don't fit, or a side without any variation.
    """
    check_similarity(similarity)
    _check_tree(tree, labels, len(similarity), permutations)
    rows, columns = np.triu_indices(len(labels), 1)
    near = _codes(similarity[rows, columns])
    leaf = _codes(np.round(tree, _TREE_DECIMALS))

    steady = within_class or unit == "class"  # the same pairs count in every permutation
    first = np.ones(rows.size, dtype=bool) if within_class else labels[rows] != labels[columns]
    near_ranks = _midranks(near[first])

    def statistic(order: Int[np.ndarray, " any"]) -> float:
        moved = order[labels] if unit == "class" else labels[order]
        kept = first if steady else moved[rows] != moved[columns]
        ranks = near_ranks if steady else _midranks(near[kept])
        return _pearson(ranks, _midranks(leaf[moved[rows[kept]], moved[columns[kept]]]))

    size = len(tree) if unit == "class" else len(labels)
    value, pairs = statistic(np.arange(size)), int(first.sum())
    if not np.isfinite(value):
        raise ConfigError(
            f"over {pairs} pairs the similarity or the tree similarity takes one value only; "
            "a rank correlation needs pairs that differ: add samples or classes"
        )
    rng = generator(seed, "alignment", unit)
    null = np.array([statistic(rng.permutation(size)) for _ in range(permutations)])
    return summary(value, null, pairs)


def spearman(
    one: Float[np.ndarray, "sample sample"], other: Float[np.ndarray, "sample sample"]
) -> float:
    """Rank correlation of two similarities over pairs i < j; ties get midranks, NaN if constant."""
    check_similarity(one)
    check_similarity(other)
    upper = np.triu_indices(len(one), 1)
    return _pearson(_midranks(_codes(one[upper])), _midranks(_codes(other[upper])))


def auroc(
    similarity: Float[np.ndarray, "sample sample"],
    positive: Bool[np.ndarray, "sample sample"],
    labels: Int[np.ndarray, " sample"],
    candidates: Bool[np.ndarray, "sample sample"] | None = None,
) -> Auroc:
    """Tell pairs in a relation from other pairs by their similarity.

    AUROC = Σ over positives of (negatives below + ½ negatives equal)/(P·N). The error leaves out
    each of G groups of classes with all its pairs: se² = (G − 1)/G Σ_g (θ_g − mean θ)². A pair of
    classes is lost twice, which is what the jackknife of a statistic of degree two asks for.
    Negatives are placed among the positives once, so that what is left out costs no sorting.

    Args:
        similarity: Symmetric; its diagonal isn't used.
        positive: Pairs in the relation; read at i < j.
        labels: Class of each sample, the unit of the error.
        candidates: Pairs that count; by default all. A positive pair must be one to count.

    Raises:
        ConfigError: No positive or no negative pair, or a similarity as in `tree_alignment`.
    """
    check_similarity(similarity)
    rows, columns = np.triu_indices(len(similarity), 1)
    if candidates is not None:
        kept = candidates[rows, columns]
        rows, columns = rows[kept], columns[kept]
    values, hit = similarity[rows, columns], positive[rows, columns]
    positives = int(hit.sum())
    if positives in (0, hit.size):
        raise ConfigError(
            f"{positives} of {hit.size} pairs are positive; an AUROC needs at least one positive "
            "and one negative pair: change the relation or the candidates"
        )
    levels, up = np.unique(values[hit], return_inverse=True)
    place = np.searchsorted(levels, values[~hit])
    equal = levels[np.minimum(place, levels.size - 1)] == values[~hit]
    bins, size = 2 * place + equal, 2 * levels.size + 1
    groups = class_groups(labels)
    first, second = groups[rows], groups[columns]
    every = np.bincount(bins, minlength=size)
    left = np.empty(groups.max() + 1)
    for one in range(left.size):
        gone = (first == one) | (second == one)
        rest = every - np.bincount(bins[gone[~hit]], minlength=size)
        left[one] = _area(rest, up[~gone[hit]])
    area, negatives = _area(every, up), hit.size - positives
    return Auroc(area, jackknife_error(left), positives, negatives, left)


def spearman_jackknife(
    similarity: Float[np.ndarray, "sample sample"],
    tree: Float[np.ndarray, "label label"],
    labels: Int[np.ndarray, " sample"],
    *,
    within_class: bool = False,
) -> tuple[float, Float[np.ndarray, " group"]]:
    """Return `tree_alignment`'s statistic, and that without each group of classes."""
    rows, columns = np.triu_indices(len(labels), 1)
    near = _codes(similarity[rows, columns])
    leaf = _codes(np.round(tree, _TREE_DECIMALS))[labels[rows], labels[columns]]
    counted = np.ones(rows.size, bool) if within_class else labels[rows] != labels[columns]
    groups = class_groups(labels)
    left = np.empty(groups.max() + 1)
    for one in range(left.size):
        kept = counted & (groups[rows] != one) & (groups[columns] != one)
        left[one] = _pearson(_midranks(near[kept]), _midranks(leaf[kept]))
    return _pearson(_midranks(near[counted]), _midranks(leaf[counted])), left


def same_label(labels: Int[np.ndarray, " sample"]) -> Bool[np.ndarray, "sample sample"]:
    """The relation "has the same label", true on the diagonal."""
    return labels[:, None] == labels[None, :]


def nearest_neighbour_agreement(
    similarity: Float[np.ndarray, "sample sample"],
    labels: Int[np.ndarray, " sample"],
    classes: Int[np.ndarray, " sample"] | None = None,
    units: Int[np.ndarray, " sample"] | None = None,
) -> Agreement:
    """How often the most similar other sample has the same label.

    Args:
        similarity: Symmetric; its diagonal isn't used.
        labels: Labels at some depth of the taxonomy.
        classes: If given, neighbours of a sample's own class aren't allowed. Without it a kernel
            that recognises classes and nothing else agrees at every coarser depth.
        units: What the error leaves out, by default the labels.

    Raises:
        ConfigError: A sample without any neighbour allowed, or a similarity as in `tree_alignment`.
    """
    check_similarity(similarity)
    allowed = ~np.eye(len(labels), dtype=bool)
    if classes is not None:
        allowed &= ~same_label(classes)
    choices = allowed.sum(axis=1)
    if len(labels) != len(similarity) or not choices.all():
        raise ConfigError(
            f"{int((choices == 0).sum())} of {len(labels)} samples (similarity of "
            f"{len(similarity)}) have no neighbour to choose; each needs another sample, of "
            "another class if its own is left out"
        )
    masked = np.where(allowed, similarity, -np.inf)
    nearest = masked == masked.max(axis=1, keepdims=True)
    same = same_label(labels)
    matches = (allowed & same).sum(axis=1)
    votes = (nearest & same).sum(axis=1) / nearest.sum(axis=1)
    groups = class_groups(labels if units is None else units)
    left = [votes[groups != one].mean() for one in range(groups.max() + 1)] if groups.max() else []
    return Agreement(
        value=float(np.mean(votes)),
        se=jackknife_error(np.array(left)),
        chance=float(np.mean(matches / choices)),
        ceiling=float(np.mean(matches > 0)),
    )


def class_means(
    similarity: Float[np.ndarray, "sample sample"], labels: Int[np.ndarray, " sample"]
) -> Float[np.ndarray, "label label"]:
    """Mean similarity of the pairs of two classes, a sample with itself left out.

    Rows are the labels that occur, sorted. The diagonal is the mean over pairs within a class, NaN
    where it has one sample.
    """
    places = np.unique(labels, return_inverse=True)[1]
    member = np.eye(places.max() + 1)[places]
    sums = member.T @ similarity @ member
    counts = np.outer(member.sum(axis=0), member.sum(axis=0))
    sums -= np.diag(member.T @ np.diag(similarity))
    counts -= np.diag(member.sum(axis=0))
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def summary(value: float, null: Float[np.ndarray, " permutation"], count: int) -> Alignment:
    """A statistic beside its null; permutations equal to it up to rounding count as large."""
    large = null >= value - 1e-12 * max(1.0, abs(value))
    return Alignment(
        value=float(value),
        null_mean=float(null.mean()),
        null_sd=float(null.std(ddof=1)),
        p=float((1 + large.sum()) / (1 + null.size)),
        permutations=null.size,
        count=count,
    )


def check_similarity(similarity: Float[np.ndarray, "sample sample"]) -> None:
    """Refuse a similarity that is not finite and symmetric, or of fewer than three samples.

    Raises:
        ConfigError: One of these.
    """
    if len(similarity) < 3:
        raise ConfigError(f"a similarity of {len(similarity)} samples; alignment needs 3 or more")
    if not np.isfinite(similarity).all():
        bad = int((~np.isfinite(similarity)).sum())
        raise ConfigError(
            f"{bad} of {similarity.size} similarities are not finite; leave out the samples that "
            "they belong to"
        )
    gap = float(np.abs(similarity - similarity.T).max())
    if gap > _ASYMMETRY * max(1.0, float(np.abs(similarity).max())):
        raise ConfigError(
            f"a similarity and its transpose differ by {gap:.3g}; alignment is over unordered "
            "pairs: take the mean of both first"
        )


def _codes(values: Float[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """Numbers from 0 in the order of the values, equal for equal ones."""
    return np.unique(values, return_inverse=True)[1].reshape(values.shape)


def _midranks(codes: Int[np.ndarray, " pair"]) -> Float[np.ndarray, " pair"]:
    """Ranks from 1 of codes, ties at their mean: scipy's rankdata, in linear time."""
    counts = np.bincount(codes) if codes.size else np.zeros(0, dtype=np.int64)
    return (np.cumsum(counts) - (counts - 1) / 2)[codes]


def _pearson(one: Float[np.ndarray, " pair"], other: Float[np.ndarray, " pair"]) -> float:
    if one.size < 2:
        return float("nan")
    one, other = one - one.mean(), other - other.mean()
    scale = np.sqrt((one @ one) * (other @ other))
    return float(one @ other / scale) if scale > 0 else float("nan")


def _area(bins: Int[np.ndarray, " bin"], up: Int[np.ndarray, " positive"]) -> float:
    """AUROC of positives at levels ``up``; NaN without a positive or a negative.

    Negatives are counted between the levels (even bins) and on them (odd bins).
    """
    negatives = int(bins.sum())
    if up.size == 0 or negatives == 0:
        return float("nan")
    below = np.cumsum(bins)[0:-1:2] + bins[1::2] / 2
    return float(below[up].sum()) / (up.size * negatives)


def _check_tree(
    tree: Float[np.ndarray, "label label"],
    labels: Int[np.ndarray, " sample"],
    samples: int,
    permutations: int,
) -> None:
    if len(labels) != samples or labels.min() < 0 or labels.max() >= len(tree):
        raise ConfigError(
            f"{len(labels)} labels from {labels.min()} to {labels.max()} for {samples} samples and "
            f"a tree of {len(tree)} leaves; give each sample the row of its class"
        )
    if not np.isfinite(tree).all():
        raise ConfigError("a tree similarity is not finite; take one that stagewise computes")
    if permutations < 2:
        raise ConfigError(f"permutations is {permutations}; allowed are 2 and more")

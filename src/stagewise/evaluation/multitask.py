"""Does a kernel tell the pairs of one task from those across tasks? Plain functions of arrays."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from stagewise.evaluation.curves import Summary, bonferroni_bound, summarize


def auroc(positive: Float[ndarray, " p"], negative: Float[ndarray, " n"]) -> float:
    """Area under the curve of true against false positives: P(x > y) + P(x = y)/2.

    By the rank sum of the positives (Mann & Whitney 1947); ties count half. NaN where a side is
    empty.
    """
    from scipy.stats import rankdata

    p, n = len(positive), len(negative)
    if p == 0 or n == 0:
        return float("nan")
    ranks = rankdata(np.concatenate([positive, negative]))
    return float((ranks[:p].sum() - p * (p + 1) / 2) / (p * n))


class Pairs(NamedTuple):
    """Pairs i < j of samples, each once.

    Attributes:
        first: i of every pair.
        second: j of every pair.
        same: Whether both are of one task.
        related: Whether they have an operand in its place, or the answer, in common.
    """

    first: Int[ndarray, " pair"]
    second: Int[ndarray, " pair"]
    same: Bool[ndarray, " pair"]
    related: Bool[ndarray, " pair"]


def pairs_of(
    task: Int[ndarray, " sample"],
    a: Int[ndarray, " sample"],
    b: Int[ndarray, " sample"],
    answer: Int[ndarray, " sample"],
) -> Pairs:
    """Return all pairs i < j."""
    i, j = np.triu_indices(len(task), 1)
    related = (a[i] == a[j]) | (b[i] == b[j]) | (answer[i] == answer[j])
    return Pairs(i, j, task[i] == task[j], related)


def separation(kernel: Float[ndarray, "sample sample"], pairs: Pairs) -> dict[str, float]:
    """Return how a kernel separates tasks.

    ``auroc`` of same-task against different-task pairs, ``auroc_unrelated`` among pairs that have
    nothing in common but perhaps the task; means ``within`` and ``cross``.
    """
    value = kernel[pairs.first, pairs.second]
    apart = ~pairs.related
    return {
        "auroc": auroc(value[pairs.same], value[~pairs.same]),
        "auroc_unrelated": auroc(value[pairs.same & apart], value[~pairs.same & apart]),
        "within": float(value[pairs.same].mean()),
        "within_related": _mean(value[pairs.same & pairs.related]),
        "within_unrelated": _mean(value[pairs.same & apart]),
        "cross": float(value[~pairs.same].mean()),
    }


def _mean(values: Float[ndarray, " pair"]) -> float:
    return float(values.mean()) if values.size else float("nan")


def cross_deviates(
    covariance: Float[ndarray, "sample sample"],
    se: Float[ndarray, "sample sample"],
    pairs: Pairs,
) -> Float[ndarray, " pair"]:
    """Return covariance over its standard error for every pair across tasks."""
    i, j = pairs.first[~pairs.same], pairs.second[~pairs.same]
    return covariance[i, j] / se[i, j]


def largest(deviates: Float[ndarray, " entry"]) -> Summary:
    """Return the largest |z| and of how many; it has no standard error."""
    return Summary(float(np.abs(deviates).max()), float("nan"), deviates.size)


def bound(entries: int, chains: int) -> Summary:
    """Return what max|z| stays under if only noise is left (Bonferroni, 1% family-wise)."""
    return Summary(bonferroni_bound(entries, chains - 1), float("nan"), entries)


class Agreement(NamedTuple):
    """A sampled covariance against its exact law."""

    deviates: Float[ndarray, " entry"]
    relative_error: float
    cross_law: float


def agreement(
    covariance: Float[ndarray, "sample sample"],
    se: Float[ndarray, "sample sample"],
    law: Float[ndarray, "sample sample"],
    same: Bool[ndarray, "sample sample"],
) -> Agreement:
    """Compare every entry i <= j: z, ||sampled - law|| / ||law|| (Frobenius), largest |law| across.

    Args:
        covariance: As sampled.
        se: Its standard error.
        law: Exact.
        same: Whether two samples are of one task.
    """
    upper = np.triu_indices(len(law))
    gap = covariance - law
    relative = float(np.linalg.norm(gap) / np.linalg.norm(law))
    return Agreement((gap / se)[upper], relative, float(np.abs(law[~same]).max()))


def plane(kernel: Float[ndarray, "sample sample"]) -> Float[ndarray, "sample 2"]:
    """Lay samples out in the plane by classical scaling of the dissimilarities 1 - R.

    Distances d with d^2 = 1 - R (up to a factor those of the losses as unit vectors), so the Gram
    matrix is that of R, centred; its two leading eigenvectors, scaled (Torgerson 1952). Each
    coordinate's largest entry is positive, so that equal kernels give equal maps.
    """
    centre = np.eye(len(kernel)) - 1 / len(kernel)
    values, vectors = np.linalg.eigh(centre @ kernel @ centre)
    found = vectors[:, [-1, -2]] * np.sqrt(np.maximum(values[[-1, -2]], 0))
    largest_entry = found[np.abs(found).argmax(axis=0), [0, 1]]
    return found * np.where(largest_entry < 0, -1.0, 1.0)


def over_seeds(found: list[dict[str, float]]) -> dict[str, Summary]:
    """Return mean and standard error over seeds of every quantity."""
    return {name: summarize([one[name] for one in found]) for name in found[0]}

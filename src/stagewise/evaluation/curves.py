"""Influence as a function of training time: means over relations, peaks and sign flips.

Influences are in the BIF sense (d query loss / d weight of the sample): negative is helpful.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

#: Relations between different items, near to far.
RELATIONS = ("sibling", "cousin", "distant")


class Summary(NamedTuple):
    """A mean over replicates, its standard error and their number."""

    value: float
    se: float
    n: int


def relation_mean(
    influence: Float[ndarray, "*lead sample query"], relation: ndarray, name: str
) -> Float[ndarray, "*lead"]:
    """Mean influence over the ordered pairs of a relation.

    Args:
        influence: Influence of every sample on every query.
        relation: Relation of every pair, strings (sample, query).
        name: The relation averaged over.

    Raises:
        ValueError: No pair of items has this relation.
    """
    mask = relation == name
    if not mask.any():
        raise ValueError(
            f"no pair is {name!r}; the tree has {sorted(set(relation.ravel().tolist()))}"
        )
    return influence[..., mask].mean(axis=-1)


def sign_flip(step: ndarray, influence: Float[ndarray, " checkpoint"]) -> float:
    """Step at which an influence turns from helpful to harmful, for good or ill.

    The flip is the last crossing from negative (helpful) to positive (harmful) before the most
    harmful checkpoint, interpolated linearly between checkpoints. Looking back from the extreme
    keeps sampling noise about zero early and late in training from being read as a flip.

    Returns:
        The step, or NaN where the influence is never harmful, or was never helpful before.
    """
    worst = int(np.argmax(influence))
    if not influence[worst] > 0:
        return float("nan")
    helpful = np.flatnonzero(influence[: worst + 1] < 0)
    if helpful.size == 0:
        return float("nan")
    i = int(helpful[-1])
    before, after = influence[i], influence[i + 1]
    return float(step[i] + (step[i + 1] - step[i]) * before / (before - after))


def peaks(step: ndarray, influence: Float[ndarray, " checkpoint"]) -> dict[str, float]:
    """Steps at which an influence is most helpful and most harmful.

    They are kept apart: of two extremes of like size, noise decides which is larger.
    """
    return {
        "helpful": float(step[int(np.argmin(influence))]),
        "harmful": float(step[int(np.argmax(influence))]),
    }


def half_step(step: ndarray, strength: Float[ndarray, " checkpoint"], level: float) -> float:
    """First step at which a strength reaches ``level``, linear between checkpoints, or NaN."""
    above = np.flatnonzero(strength >= level)
    if above.size == 0:
        return float("nan")
    i = int(above[0])
    if i == 0:
        return float(step[0])
    fraction = (level - strength[i - 1]) / (strength[i] - strength[i - 1])
    return float(step[i - 1] + fraction * (step[i] - step[i - 1]))


def correlation(one: ndarray, other: ndarray) -> float:
    """Pearson correlation over all entries at which both are finite; NaN if one is constant."""
    keep = np.isfinite(one) & np.isfinite(other)
    one, other = one[keep] - one[keep].mean(), other[keep] - other[keep].mean()
    scale = np.sqrt((one @ one) * (other @ other))
    return float(one @ other / scale) if scale > 0 else float("nan")


def summarize(replicates: ndarray | list[float]) -> Summary:
    """Mean and standard error over independent replicates; those that are NaN are left out.

    With fewer than two replicates the standard error is NaN.
    """
    values = np.asarray(replicates, dtype=np.float64)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return Summary(float("nan"), float("nan"), 0)
    spread = values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else float("nan")
    return Summary(float(values.mean()), float(spread), int(values.size))


def bonferroni_bound(entries: int, degrees_of_freedom: int, level: float = 0.01) -> float:
    """Bound that max|z| of ``entries`` t-distributed statistics exceeds with probability ≤ level.

    Args:
        entries: Number of statistics looked at, however dependent.
        degrees_of_freedom: Of each standard error: chains − 1.
        level: Family-wise false-alarm rate.
    """
    from scipy.stats import t

    return float(t.isf(level / (2 * entries), degrees_of_freedom))

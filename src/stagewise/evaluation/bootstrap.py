"""Crossed bootstrap of rank correlations: queries and subsets are both drawn anew.

A resampling is held as counts, how often each subset and each query was drawn. Ranks of a resample
follow from the ranks of the whole by cumulative sums, ties included, so that no resample is sorted.

Intervals are the value ± a normal quantile times the bootstrap's error. Percentiles would not do: a
resample holds rows twice, and ties pull a high rank correlation down, so that 95% intervals of 0.9
over 32 subsets held the truth 69 times in 100 (a test has the simulation).

Source: McCullagh 2000 and Owen 2007 (the pigeonhole bootstrap: resampling rows and columns
independently; never too small an error, up to three times too large a variance where neither
effect but their interaction rules).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtri

from stagewise.errors import ConfigError

LEVEL = 0.95


class Interval(NamedTuple):
    """A statistic with its bootstrap error.

    Attributes:
        value: The statistic of the sample itself.
        se: Standard deviation of the resampled statistic.
        low: Lower end of the interval.
        high: Upper end.
    """

    value: float
    se: float
    low: float
    high: float


class Resamples(NamedTuple):
    """How often each subset and each query occurs in every resample."""

    subset: Int[np.ndarray, "resampling subset"]
    query: Int[np.ndarray, "resampling query"]


class Ranked(NamedTuple):
    """Values of one matrix in order, for ranks of resamples of its rows.

    Attributes:
        order: Rows in ascending order of value, for each query.
        below: How many rows have a smaller value.
        upto: How many rows have a smaller or the same value.
    """

    order: Int[np.ndarray, "subset query"]
    below: Int[np.ndarray, "subset query"]
    upto: Int[np.ndarray, "subset query"]


def resamples(count: int, subsets: int, queries: int, rng: np.random.Generator) -> Resamples:
    """Draw subsets and queries with replacement, independently of each other, ``count`` times.

    Raises:
        ConfigError: There are fewer than three subsets or two queries: no spread to draw from.
    """
    if subsets < 3 or queries < 2:
        raise ConfigError(
            f"{subsets} subsets and {queries} queries; a bootstrap needs 3 and 2 at least: "
            "retrain on more subsets, measure more queries"
        )
    uniform = [np.full(size, 1 / size) for size in (subsets, queries)]
    return Resamples(
        rng.multinomial(subsets, uniform[0], size=count),
        rng.multinomial(queries, uniform[1], size=count),
    )


def interval(
    value: float, draws: Float[np.ndarray, " resampling"], level: float = LEVEL
) -> Interval:
    """Return ``value`` ± z·se, with the error of ``draws`` and the normal quantile of ``level``.

    Draws that are NaN are left out; with fewer than two the error is NaN.
    """
    known = draws[np.isfinite(draws)]
    se = float(np.std(known, ddof=1)) if len(known) > 1 else float("nan")
    reach = float(ndtri((1 + level) / 2)) * se
    return Interval(float(value), se, float(value) - reach, float(value) + reach)


def ranked(values: Float[np.ndarray, "subset query"]) -> Ranked:
    """Sort each query's values once."""
    order = np.argsort(values, axis=0, kind="stable")
    below, upto = np.empty_like(order), np.empty_like(order)
    for query in range(values.shape[1]):
        column = values[:, query]
        ascending = column[order[:, query]]
        below[:, query] = np.searchsorted(ascending, column, side="left")
        upto[:, query] = np.searchsorted(ascending, column, side="right")
    return Ranked(order, below, upto)


def ranks(values: Ranked, counts: Int[np.ndarray, " subset"]) -> Float[np.ndarray, "subset query"]:
    """Return average ranks in the resample that holds each row ``counts`` times.

    A row's copies are tied; with C the number of rows of the resample, cumulated in order of value,
    rank = (C[below] + C[upto] + 1)/2.
    """
    cumulated = np.zeros((len(counts) + 1, values.order.shape[1]))
    np.cumsum(counts[values.order], axis=0, out=cumulated[1:])
    before = np.take_along_axis(cumulated, values.below, axis=0)
    after = np.take_along_axis(cumulated, values.upto, axis=0)
    return (before + after + 1) / 2


def spearman(
    one: Float[np.ndarray, "subset query"],
    other: Float[np.ndarray, "subset query"],
    counts: Int[np.ndarray, " subset"],
) -> Float[np.ndarray, " query"]:
    """Return each query's correlation of ranks, rows counted ``counts`` times.

    Where one of the two is constant the correlation has no value; it tells nothing and counts as 0.
    """
    weight = counts / counts.sum()
    one, other = one - weight @ one, other - weight @ other
    across = weight @ (one * other)
    scale = np.sqrt((weight @ one**2) * (weight @ other**2))
    return np.divide(across, scale, out=np.zeros_like(across), where=scale > 0)


def rank_correlations(
    one: Float[np.ndarray, "subset query"], other: Float[np.ndarray, "subset query"]
) -> Float[np.ndarray, " query"]:
    """Return Spearman's correlation over subsets for each query."""
    every = np.ones(len(one), np.int64)
    return spearman(ranks(ranked(one), every), ranks(ranked(other), every), every)

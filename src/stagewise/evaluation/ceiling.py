"""How well a perfect predictor could score, given that retraining is noisy.

With r the mean correlation over subsets between the means of two halves of the seeds, h seeds each,
Spearman and Brown's formula gives the reliability of the mean of all R seeds, with k = R/h,
ρ = k r/(1 + (k − 1) r), and a predictor that knows the expected loss correlates √ρ with that mean;
for two halves √(2r/(1 + r)). The formula is exact for Pearson correlations; ranks depart from it by
less than 0.02 where losses are Gaussian.

Source: Spearman 1910; Brown 1910 (the prophecy formula).
"""

import itertools

import numpy as np
from jaxtyping import Float

from stagewise.evaluation.bootstrap import (
    Interval,
    Resamples,
    interval,
    rank_correlations,
    ranked,
    ranks,
    spearman,
)

#: More seeds have too many halvings to list them all.
_ENUMERATED = 8

Half = tuple[tuple[int, ...], tuple[int, ...]]


def halvings(seeds: int, most: int, rng: np.random.Generator) -> list[Half]:
    """Return ways to split seeds into two halves, all of them or ``most`` at random.

    With an odd number one seed is left out in turn.
    """
    size = seeds // 2
    if seeds > _ENUMERATED:
        orders = [rng.permutation(seeds).tolist() for _ in range(most)]
        return [(tuple(one[:size]), tuple(one[size : 2 * size])) for one in orders]
    found = []
    for first in itertools.combinations(range(seeds), size):
        rest = [seed for seed in range(seeds) if seed not in first]
        found += [
            (first, second) for second in itertools.combinations(rest, size) if first < second
        ]
    if len(found) <= most:
        return found
    return [found[place] for place in sorted(rng.choice(len(found), most, replace=False))]


def prophecy(split_half: float, seeds: int) -> float:
    """Return the ceiling √ρ for the mean of ``seeds`` from the correlation of two halves.

    It is 0 where halves do not agree at all.
    """
    ratio = seeds / (seeds // 2)
    r = max(split_half, 0.0)
    return float(np.sqrt(ratio * r / (1 + (ratio - 1) * r)))


def split_half(loss: Float[np.ndarray, "subset seed query"], halves: list[Half]) -> float:
    """Return the mean over queries and halvings of Spearman between halves of the seeds."""
    each = [
        rank_correlations(loss[:, list(a)].mean(axis=1), loss[:, list(b)].mean(axis=1)).mean()
        for a, b in halves
    ]
    return float(np.mean(each))


def ceiling(
    loss: Float[np.ndarray, "subset seed query"],
    halves: list[Half],
    draws: Resamples,
    level: float,
) -> tuple[Interval, Interval]:
    """Return the split-half correlation and the noise ceiling, with bootstrap intervals."""
    pairs = [tuple(ranked(loss[:, list(half)].mean(axis=1)) for half in two) for two in halves]
    found = np.empty(len(draws.subset))
    for index, (subset, query) in enumerate(zip(draws.subset, draws.query, strict=True)):
        each = [spearman(ranks(a, subset), ranks(b, subset), subset) for a, b in pairs]
        found[index] = (query / query.sum()) @ np.mean(each, axis=0)
    seeds = loss.shape[1]
    value = split_half(loss, halves)
    limits = np.array([prophecy(one, seeds) for one in found])
    top = interval(prophecy(value, seeds), limits, level)
    return interval(value, found, level), top._replace(high=min(top.high, 1.0))

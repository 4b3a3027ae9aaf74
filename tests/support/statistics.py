"""Tests that declare how often they fail wrongly, what they would catch, and how surely.

A test gathers p-values of all its entries and fails if the smallest, times their number, is below
``FALSE_FAIL``. Before anything runs, ``replicates_for_*`` say how many independent replicates are
needed to catch a declared discrepancy with probability 1 - ``FALSE_PASS`` at that strictness. No
bound depends on the spread that the run itself shows, unless its name says so. Seeds are fixed and
say nothing: another seed must do as well.

Tails are exact (normal, chi-square, non-central chi-square), bounds that hold at any size
(Chernoff, Dvoretzky-Kiefer-Wolfowitz), or for means of skewed losses Cornish-Fisher with the
skewness of the exact law.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import optimize, stats

#: Chance that a correct implementation fails one test, over all its entries.
FALSE_FAIL = 1e-6
#: Chance that the declared discrepancy passes.
FALSE_PASS = 1e-3


#: Corrections for skewness are first-order: beyond any quantile in use they stop growing.
FARTHEST = 7.0


class Rejected(AssertionError):
    """A sampled law is not the exact one."""


class Evidence:
    """Named p-values of one test, judged together (Bonferroni)."""

    def __init__(self) -> None:
        self._parts: list[tuple[str, np.ndarray]] = []

    def add(self, name: str, p: np.ndarray | float) -> None:
        """Takes p-values; what isn't a number counts as impossible."""
        p = np.atleast_1d(np.asarray(p, np.float64))
        self._parts.append((name, np.where(np.isfinite(p), p, 0.0)))

    @property
    def entries(self) -> int:
        return sum(p.size for _, p in self._parts)

    def judge(self) -> None:
        """Fails if the smallest p-value is too small for so many entries."""
        assert self.entries > 0
        allowed = FALSE_FAIL / self.entries
        name, worst = min(self._parts, key=lambda part: part[1].min())
        if not worst.min() >= allowed:
            where = [int(place) for place in np.unravel_index(worst.argmin(), worst.shape)]
            raise Rejected(
                f"{name}{where}: p = {worst.min():.3g}, allowed {allowed:.3g}"
                f" ({FALSE_FAIL:g} over {self.entries} entries)"
            )


def normal_p(z: np.ndarray) -> np.ndarray:
    """Two-sided p-value of a standard normal."""
    return 2 * stats.norm.sf(np.abs(z))


def skewed_p(z: np.ndarray, skewness: np.ndarray, replicates: int) -> np.ndarray:
    """Two-sided p-value of a standardised mean of replicates of known skewness (Cornish-Fisher).

    Only the side towards which the mean is skewed is made less strict.
    """
    reach = np.minimum(np.abs(z), FARTHEST)
    lean = np.abs(skewness) / np.sqrt(replicates) / 6 * np.maximum(reach**2 - 1, 0)
    softened = np.where(z * skewness > 0, np.maximum(np.abs(z) - lean, 0), np.abs(z))
    return normal_p(softened)


def chi_square_p(statistic: np.ndarray, freedom: float) -> np.ndarray:
    """Two-sided p-value of a chi-square."""
    law = stats.chi2(freedom)
    return np.minimum(1, 2 * np.minimum(law.cdf(statistic), law.sf(statistic)))


def noncentral_p(statistic: np.ndarray, freedom: float, shift: np.ndarray) -> np.ndarray:
    """Two-sided p-value of a non-central chi-square."""
    law = stats.ncx2(freedom, shift)
    return np.minimum(1, 2 * np.minimum(law.cdf(statistic), law.sf(statistic)))


def product_p(mean: np.ndarray, replicates: int) -> np.ndarray:
    """Bound on the two-sided p-value of a mean of products of two independent standard normals.

    Chernoff: log E exp(t x y) = -log(1 - t^2)/2, so P(mean >= a) <= exp(-R sup_t [t a +
    log(1 - t^2)/2]), reached at t = 2a/(1 + sqrt(1 + 4a^2)).
    """
    a = np.abs(mean)
    t = 2 * a / (1 + np.sqrt(1 + 4 * a**2))
    return np.minimum(1, 2 * np.exp(-replicates * (t * a + 0.5 * np.log1p(-(t**2)))))


def distribution_p(draws: np.ndarray, cdf: Callable[[np.ndarray], np.ndarray]) -> float:
    """Bound on the p-value of the largest distance between empirical and exact distribution.

    Dvoretzky-Kiefer-Wolfowitz with Massart's constant: P(sup |F_R - F| > d) <= 2 exp(-2 R d^2).
    """
    count = draws.size
    exact = cdf(np.sort(draws, axis=None))
    steps = np.arange(count + 1) / count
    gap = max(np.abs(exact - steps[1:]).max(), np.abs(exact - steps[:-1]).max())
    return min(1.0, 2 * float(np.exp(-2 * count * gap**2)))


def fraction_p(hits: int, count: int, lowest: float, highest: float) -> float:
    """P-value of a count of hits whose probability lies between two bounds (exact binomial)."""
    low = stats.binom.cdf(hits, count, lowest)
    high = stats.binom.sf(hits - 1, count, highest)
    return float(min(1.0, 2 * min(low, high)))


def add_gaussian(
    evidence: Evidence, name: str, draws: np.ndarray, mean: np.ndarray, covariance: np.ndarray
) -> None:
    """Compares independent draws (replicate, parameter) with N(mean, covariance).

    In the coordinates in which the law is standard: every mean (normal) and variance (chi-square
    about the exact mean), the variance over all coordinates, every cross product (Chernoff).
    """
    values, vectors = np.linalg.eigh(covariance)
    y = (draws - mean) @ vectors / np.sqrt(values)
    count, size = y.shape
    evidence.add(f"{name} mean", normal_p(np.sqrt(count) * y.mean(axis=0)))
    second = y.T @ y / count
    evidence.add(f"{name} variance", chi_square_p(count * np.diag(second), count))
    evidence.add(f"{name} total variance", chi_square_p(count * np.trace(second), count * size))
    evidence.add(f"{name} product", product_p(second[np.triu_indices(size, 1)], count))


def gaussian_entries(parameters: int) -> int:
    """The number of p-values that ``add_gaussian`` adds."""
    return 2 * parameters + 1 + parameters * (parameters - 1) // 2


def strictness(entries: int) -> float:
    """The one-sided normal quantile of one of so many entries."""
    return float(stats.norm.isf(FALSE_FAIL / entries / 2))


def replicates_for_mean(shift: float, entries: int) -> int:
    """Replicates that show a mean off by ``shift`` standard deviations."""
    return int(np.ceil(((strictness(entries) + stats.norm.isf(FALSE_PASS)) / shift) ** 2))


def replicates_for_fraction(claimed: float, actual: float, entries: int) -> int:
    """Replicates that show a probability beyond the claimed bound (normal approximation)."""
    spread = strictness(entries) * np.sqrt(claimed * (1 - claimed))
    spread += stats.norm.isf(FALSE_PASS) * np.sqrt(actual * (1 - actual))
    return int(np.ceil((spread / (claimed - actual)) ** 2))


@cache
def replicates_for_variance(ratio: float, entries: int) -> int:
    """Replicates that show a Gaussian variance off by a factor (above 1 or below), exactly."""
    tail = FALSE_FAIL / entries / 2

    def missed(count: float) -> float:
        law = stats.chi2(count)
        if ratio > 1:
            return float(law.logcdf(law.isf(tail) / ratio) - np.log(FALSE_PASS))
        return float(law.logsf(law.ppf(tail) / ratio) - np.log(FALSE_PASS))

    return int(np.ceil(optimize.brentq(missed, 10, 1e7)))


def replicates_for_distance(distance: float, entries: int) -> int:
    """Replicates that show a distribution function off by ``distance`` somewhere.

    There the empirical one has standard deviation at most 1/(2 sqrt(R)).
    """
    bound = np.sqrt(np.log(2 * entries / FALSE_FAIL) / 2)
    return int(np.ceil(((bound + stats.norm.isf(FALSE_PASS) / 2) / distance) ** 2))


def replicates_for_gaussian(
    parameters: int, laws: int = 1, variance: float = 1.25, shift: float = 0.2
) -> int:
    """Replicates with which ``add_gaussian`` shows a variance off by a factor, or its inverse.

    In any one coordinate of any of the laws that are judged together; a mean off by ``shift`` of
    its standard deviations likewise.
    """
    entries = laws * gaussian_entries(parameters)
    return max(
        replicates_for_variance(variance, entries),
        replicates_for_variance(1 / variance, entries),
        replicates_for_mean(shift, entries),
    )


def studentised_p(values: np.ndarray, expected: np.ndarray | float) -> np.ndarray:
    """Two-sided p-values of means over the first axis, by the spread that the values show.

    Student's t, less strict on both sides by the first Edgeworth term with the skewness shown.
    """
    count = len(values)
    centred = values - values.mean(axis=0)
    deviation = np.sqrt((centred**2).sum(axis=0) / (count - 1))
    t = np.sqrt(count) * (values.mean(axis=0) - expected) / deviation
    skewness = (centred**3).mean(axis=0) / deviation**3
    reach = np.minimum(np.abs(t), FARTHEST)
    lean = np.abs(skewness) * (2 * reach**2 + 1) / (6 * np.sqrt(count))
    return 2 * stats.t.sf(np.maximum(np.abs(t) - lean, 0), count - 1)

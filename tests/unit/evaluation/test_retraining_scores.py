"""Rank correlations in resamples, their intervals, the noise ceiling, paired differences."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binom, rankdata, spearmanr

from stagewise.errors import ConfigError
from stagewise.evaluation.bootstrap import (
    interval,
    rank_correlations,
    ranked,
    ranks,
    resamples,
    spearman,
)
from stagewise.evaluation.ceiling import ceiling, halvings, prophecy, split_half
from stagewise.evaluation.lds import lds, resampled
from stagewise.seeds import generator


def of_normal(r: float | np.ndarray) -> float | np.ndarray:
    """Spearman's correlation of a pair of Gaussians with Pearson correlation r (Pearson 1907)."""
    return 6 / np.pi * np.arcsin(r / 2)


def test_ranks_of_a_resample_are_those_of_its_rows() -> None:
    # Catches an off-by-one in the cumulative sums, and ties that are not averaged.
    rng = generator(1, "ranks")
    values = np.round(rng.standard_normal((9, 4)), 0)
    counts = rng.multinomial(9, np.full(9, 1 / 9))
    rows = np.repeat(np.arange(9), counts)
    found = np.repeat(ranks(ranked(values), counts), counts, axis=0)
    np.testing.assert_array_equal(found, rankdata(values[rows], axis=0))


def test_correlations_are_scipys_and_those_of_repeated_rows() -> None:
    rng = generator(2, "correlations")
    one, other = rng.standard_normal((2, 12, 3))
    expected = [spearmanr(one[:, q], other[:, q]).statistic for q in range(3)]
    np.testing.assert_allclose(rank_correlations(one, other), expected, rtol=0, atol=1e-14)
    counts = rng.multinomial(12, np.full(12, 1 / 12))
    rows = np.repeat(np.arange(12), counts)
    again = [spearmanr(one[rows, q], other[rows, q]).statistic for q in range(3)]
    found = spearman(ranks(ranked(one), counts), ranks(ranked(other), counts), counts)
    np.testing.assert_allclose(found, again, rtol=0, atol=1e-14)


def test_a_constant_prediction_tells_nothing() -> None:
    loss = generator(3, "constant").standard_normal((8, 2))
    assert lds(loss, np.zeros((8, 2))) == 0.0


def test_too_few_to_resample_is_refused() -> None:
    with pytest.raises(ConfigError, match="2 subsets and 5 queries"):
        resamples(10, 2, 5, generator(4, "few"))


def drawn_world(
    rng: np.random.Generator, subsets: int, queries: int, rho: float, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian losses and predictions; subsets share a part, queries differ in correlation."""
    r = np.tanh(np.arctanh(rho) + spread * rng.standard_normal(queries))
    shared = np.sqrt(0.3) * rng.standard_normal((2, subsets, 1))
    prediction, noise = shared + np.sqrt(0.7) * rng.standard_normal((2, subsets, queries))
    return r * prediction + np.sqrt(1 - r**2) * noise, prediction


def true_score(rho: float, spread: float) -> float:
    """The score over infinitely many subsets and queries, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    each = of_normal(np.tanh(np.arctanh(rho) + spread * nodes))
    return float(weights @ each / weights.sum())


def test_intervals_hold_the_truth() -> None:
    """95% intervals of a high score over few subsets.

    Percentile intervals hold it 69 times in 100 here, and pass the bound, the 1e-4 quantile of 80
    tries at a coverage of 90%, with probability 0.1. Errors over queries alone hold it less often.
    """
    rho, spread, tries = 0.9, 0.2, 80
    truth, hits, alone = true_score(rho, spread), 0, 0
    for index in range(tries):
        rng = generator(5, "coverage", index)
        loss, prediction = drawn_world(rng, 32, 10, rho, spread)
        draws = resamples(50, 32, 10, rng)
        value = lds(loss, prediction)
        found = interval(value, resampled(loss, {"it": prediction}, draws)["it"])
        hits += found.low <= truth <= found.high
        each = rank_correlations(loss, prediction)
        alone += abs(value - truth) <= 1.96 * each.std(ddof=1) / np.sqrt(10)
    assert hits >= binom.ppf(1e-4, tries, 0.9)
    assert alone < hits


@pytest.mark.parametrize("seeds", [2, 3, 4])
@pytest.mark.parametrize("noise", [0.5, 1.5])
def test_the_ceiling_is_a_perfect_predictors_score(seeds: int, noise: float) -> None:
    """The expected loss itself is scored, and the ceiling found without knowing it.

    Tolerance: what ranks depart from the formula, exactly, for Gaussian losses; and 5 errors of
    the two means over independent queries, each below 1/√(subsets·queries), the ceiling's times
    the slope of the formula. At noise 1.5, ρ in place of √ρ is off by more.
    """
    subsets, queries = 1000, 12
    rng = generator(6, "ceiling", seeds, f"{noise}")
    truth = rng.standard_normal((subsets, queries))
    loss = truth[:, None] + noise * rng.standard_normal((subsets, seeds, queries))
    halves = halvings(seeds, 8, rng)
    found = prophecy(split_half(loss, halves), seeds)
    size = seeds // 2
    r = of_normal(1 / (1 + noise**2 / size))
    perfect = of_normal(np.sqrt(1 / (1 + noise**2 / seeds)))
    bias = abs(prophecy(r, seeds) - perfect)
    slope = (prophecy(r + 1e-4, seeds) - prophecy(r - 1e-4, seeds)) / 2e-4
    tolerance = bias + 5 * (1 + slope) / np.sqrt(subsets * queries)
    assert tolerance < 0.1
    assert abs(found - lds(loss.mean(axis=1), truth)) < tolerance


def test_the_ceilings_error_is_that_of_repeated_experiments() -> None:
    """Mean bootstrap error against the spread of 40 worlds.

    The spread's own relative error is 1/√78 = 0.11; the crossed bootstrap errs upwards, by √3 at
    most. Resampling subsets that forgets the queries, or the reverse, would miss by more.
    """
    values, errors = [], []
    for index in range(40):
        rng = generator(7, "ceiling errors", index)
        truth = rng.standard_normal((40, 1)) + rng.standard_normal((40, 8))
        loss = truth[:, None] + rng.standard_normal((40, 4, 8))
        _, top = ceiling(loss, halvings(4, 8, rng), resamples(60, 40, 8, rng), 0.95)
        values.append(top.value)
        errors.append(top.se)
    ratio = np.mean(errors) / np.std(values, ddof=1)
    assert 1 - 4 * 0.11 < ratio < np.sqrt(3) * (1 + 4 * 0.11)


def test_halvings_are_disjoint_and_equal() -> None:
    rng = generator(8, "halvings")
    assert len(halvings(4, 8, rng)) == 3
    assert len(halvings(5, 100, rng)) == 15
    for seeds in (2, 3, 6, 40):
        for one, other in halvings(seeds, 8, rng):
            assert len(one) == len(other) == seeds // 2
            assert not set(one) & set(other)
    assert prophecy(-0.2, 4) == 0.0
    assert prophecy(0.6, 4) == pytest.approx(np.sqrt(2 * 0.6 / 1.6))
    assert all(prophecy(a, 3) < prophecy(b, 3) for a, b in pairwise((0.1, 0.4, 0.9, 1.0)))


def test_differences_are_paired() -> None:
    """Two methods that err together differ by less than their own errors say.

    They share 19 of 20 parts of their noise. Unpaired resamples would give √2 of the errors.
    """
    rng = generator(9, "paired")
    loss, prediction = drawn_world(rng, 48, 20, 0.7, 0.1)
    near = prediction + 0.2 * rng.standard_normal(prediction.shape)
    draws = resamples(200, 48, 20, rng)
    found = resampled(loss, {"one": prediction, "same": prediction, "near": near}, draws)
    np.testing.assert_array_equal(found["one"], found["same"])
    paired = (found["one"] - found["near"]).std()
    assert 0 < paired < 0.5 * found["one"].std()

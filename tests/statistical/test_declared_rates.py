"""The tests' own claims: bounds hold, and the declared discrepancies are seen.

Rates of 1e-6 can't be counted; at 5% they can, and the power of one test is that of many replays.
Each count is itself judged at 1e-6.
"""

from functools import cache

import numpy as np
import pytest

from support import statistics
from support.problems import SEED
from support.problems_draws import Forms, drawn_losses
from support.statistics import (
    FALSE_FAIL,
    Evidence,
    Rejected,
    add_gaussian,
    chi_square_p,
    distribution_p,
    fraction_p,
    gaussian_entries,
    noncentral_p,
    normal_p,
    product_p,
    replicates_for_distance,
    replicates_for_gaussian,
    replicates_for_variance,
    skewed_p,
    studentised_p,
)

REPLAYS, SIZE = 2000, 400


@cache
def tails() -> dict[str, np.ndarray]:
    """P-values of replays in which nothing is wrong, by kind."""
    rng = np.random.default_rng(SEED)
    x, y = rng.standard_normal((2, REPLAYS, SIZE))
    squares = x**2
    return {
        "normal": normal_p(np.sqrt(SIZE) * x.mean(axis=1)),
        "chi-square": chi_square_p(squares.sum(axis=1), SIZE),
        "non-central": noncentral_p(((x + 0.7) ** 2).sum(axis=1), SIZE, np.array(0.49 * SIZE)),
        "product": product_p((x * y).mean(axis=1), SIZE),
        "distribution": np.array([distribution_p(one, normal_cdf) for one in x]),
        "skewed": skewed_p((squares.mean(axis=1) - 1) * np.sqrt(SIZE / 2), np.sqrt(8), SIZE),
        "studentised": studentised_p(squares.T, 1.0),
    }


def normal_cdf(x: np.ndarray) -> np.ndarray:
    return statistics.stats.norm.cdf(x)


def test_false_fails_are_at_most_as_frequent_as_declared() -> None:
    evidence = Evidence()
    for name, p in tails().items():
        evidence.add(name, fraction_p(int((p < 0.05).sum()), REPLAYS, 0.0, 0.05))
    evidence.judge()


def test_exact_tails_are_not_conservative() -> None:
    evidence = Evidence()
    for name in ("normal", "chi-square", "non-central"):
        hits = int((tails()[name] < 0.05).sum())
        evidence.add(name, fraction_p(hits, REPLAYS, 0.05, 0.05))
    evidence.judge()


@pytest.mark.parametrize("ratio", [1.25, 0.8])
def test_a_variance_off_as_declared_is_seen(ratio: float) -> None:
    """In one of three coordinates; missed with probability 1e-3, so in 50 replays hardly thrice."""
    rng = np.random.default_rng(SEED)
    count = replicates_for_gaussian(3)
    missed = 0
    for _ in range(50):
        draws = rng.standard_normal((count, 3))
        draws[:, 0] *= np.sqrt(ratio)
        missed += accepted(draws)
    assert fraction_p(missed, 50, 0.0, statistics.FALSE_PASS) > FALSE_FAIL


def accepted(draws: np.ndarray) -> bool:
    evidence = Evidence()
    add_gaussian(evidence, "d", draws, np.zeros(3), np.eye(3))
    try:
        evidence.judge()
    except Rejected:
        return False
    return True


def test_nothing_is_wrong_with_the_law_itself() -> None:
    rng = np.random.default_rng(SEED)
    draws = rng.standard_normal((50, replicates_for_gaussian(3), 3))
    assert all(accepted(one) for one in draws)


def test_what_is_not_a_number_is_rejected() -> None:
    evidence = Evidence()
    evidence.add("broken", np.array([0.5, np.nan]))
    with pytest.raises(Rejected, match=r"broken\[1\]"):
        evidence.judge()


def test_a_larger_discrepancy_is_never_harder_to_see() -> None:
    """Corrections for skewness must not swallow a gross error."""
    z = np.linspace(0, 1000, 5001)
    p = skewed_p(z, np.array(8.0), 900)
    assert (np.diff(p) <= 0).all()
    assert p[-1] == 0
    values = np.random.default_rng(SEED).chisquare(1, size=(900, 1))
    assert studentised_p(values, 50.0) < 1e-100


def test_finer_discrepancies_need_more_replicates() -> None:
    entries = gaussian_entries(3)
    assert replicates_for_variance(1.1, entries) > 4 * replicates_for_variance(1.25, entries)
    assert replicates_for_variance(1.25, 100) > replicates_for_variance(1.25, 1)
    assert replicates_for_distance(0.01, 1) > 20 * replicates_for_distance(0.05, 1)


def test_variance_of_products_by_cumulants() -> None:
    """The exact spread of covariances against draws of the law."""
    rng = np.random.default_rng(SEED)
    curved = rng.normal(size=(3, 2, 2))
    forms = Forms(rng.normal(size=3), rng.normal(size=(3, 2)), curved + curved.swapaxes(1, 2))
    losses = drawn_losses(forms, rng, (1, 100_000, 1), 0.0)[0, :, 0].astype(np.float64)
    centred = losses - forms.mean
    products = centred[:, :, None] * centred[:, None, :]
    upper = np.triu_indices(3)
    evidence = Evidence()
    evidence.add("mean", studentised_p(losses, forms.mean))
    evidence.add("covariance", studentised_p(products, forms.covariance)[upper])
    squared = (products - forms.covariance) ** 2
    evidence.add("variance", studentised_p(squared, forms.product_variance)[upper])
    evidence.judge()

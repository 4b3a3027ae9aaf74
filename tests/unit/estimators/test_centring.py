"""What centring keeps of the variance of chains that relax slowly (exact for AR(1) chains)."""

import numpy as np
import pytest

from stagewise.estimators.covariance import covariance, retained_fraction
from support.traces import autoregressive, mean_z

PER_RELAXATION = 20
ONE = np.eye(1)
#: Run length in relaxation times -> fraction kept by centring within, and across chains.
KEPT = {2: (0.38, 0.76), 5: (0.61, 0.91), 20: (0.89, 0.98)}


def _from_zero(draws: int) -> np.ndarray:
    """Covariance over draws of an AR(1) chain of unit variance that starts at zero."""
    keep = np.exp(-1 / PER_RELAXATION)
    times = np.arange(1, draws + 1)
    both = np.minimum(times[:, None], times[None, :])
    return keep ** np.abs(times[:, None] - times[None, :]) * (1 - keep ** (2 * both))


@pytest.mark.parametrize("length", KEPT)
def test_the_bias_of_each_centring_is_the_derived_one(length: int) -> None:
    """Catches centring within chains where across was asked for, and the divisors T and C.

    Mean of 300 replicates against the exact expectation, z limit 6 (Student's t with 299 degrees of
    freedom, false-fail under 1e-6 for all); sees a discrepancy of 6 standard errors, about 5%.
    """
    draws = length * PER_RELAXATION
    law = _from_zero(draws)
    within = draws / (draws - 1) * (np.diag(law).mean() - law.mean())
    across = np.diag(law).mean()
    # The rounded numbers are of continuous time: half a digit, and 1/40 for the draws.
    np.testing.assert_allclose((within, across), KEPT[length], atol=0.03)
    rng = np.random.default_rng(length)
    x = autoregressive(rng, (300,), 8, draws, PER_RELAXATION, mix=ONE, from_zero=True)
    for centring, expected in (("within", within), ("across", across)):
        value = covariance(x, centring=centring).value[:, 0, 0]  # type: ignore[arg-type]
        assert abs(mean_z(value, expected)) < 6
    both = covariance(x, centring="auto").value[:, 0, 0]
    np.testing.assert_array_equal(both, covariance(x, centring="across").value[:, 0, 0])


def test_stationary_chains_centred_across_have_no_bias_at_any_length() -> None:
    """Catches a bias that only long runs hide: three draws, relaxation 20."""
    x = autoregressive(np.random.default_rng(1), (3000,), 8, 3, 20.0, mix=ONE)
    assert abs(mean_z(covariance(x).value[:, 0, 0], 1.0)) < 5


def test_a_common_drift_cancels_across_chains_only() -> None:
    """Catches centring about the mean over chains and draws."""
    rng = np.random.default_rng(2)
    x = autoregressive(rng, (), 8, 50, 1.0)
    drift = np.linspace(0, 100, 50)[:, None] * np.array([1.0, 1.0, -1.0])
    plain, moved = covariance(x), covariance(x + drift)
    np.testing.assert_allclose(moved.value, plain.value, rtol=1e-9)
    np.testing.assert_allclose(moved.se, plain.se, rtol=1e-9)
    assert covariance(x + drift, centring="within").value[0, 0] > 100


@pytest.mark.parametrize("length", [2, 5, 20])
def test_the_retained_fraction_is_estimated(length: int) -> None:
    """Catches a variance of the chain mean that is taken for that of independent draws.

    Exact for stationary chains: T/(T-1)(1 - mean of the autocorrelation). With 400 chains the
    ratio's own bias is under 1%, so the limit is that and 6 standard errors over 20 replicates.
    """
    draws = length * PER_RELAXATION
    lags = np.abs(np.subtract.outer(np.arange(draws), np.arange(draws)))
    expected = draws / (draws - 1) * (1 - np.exp(-lags / PER_RELAXATION).mean())
    rng = np.random.default_rng(3)
    fraction = retained_fraction(autoregressive(rng, (20,), 400, draws, PER_RELAXATION, mix=ONE))
    error = fraction.std() / np.sqrt(20)
    assert abs(fraction.mean() - expected) < 0.01 * expected + 6 * error


def test_independent_draws_and_constants_keep_all() -> None:
    """Catches NaN for a loss that does not vary."""
    x = np.random.default_rng(4).normal(size=(4, 4000, 2))
    x[..., 1] = 3.0
    for chains in (4, 1):
        fraction = retained_fraction(x[:chains])
        assert fraction[0] == pytest.approx(1, abs=0.01)
        assert fraction[1] == 1

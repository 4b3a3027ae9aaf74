"""Null and drift: expectation exactly zero, calibrated, and blind to nothing they are for."""

import numpy as np
import pytest

from stagewise.errors import ConfigError
from stagewise.estimators.crosschain import drift_covariance, normal_deviates, null_covariance
from support.traces import autoregressive, mean_z


def _deviates(x: np.ndarray, estimate: tuple[np.ndarray, ...]) -> np.ndarray:
    return normal_deviates(estimate[0], estimate[1], x.shape[-3] - 1)


def _own(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def test_the_corrected_null_has_no_product_of_a_chain_with_itself() -> None:
    """Catches the wrong correction of the centring, exactly.

    N + Σ̂/C is, in raw losses, the mean over pairs (c, π(c)) less the mean over all pairs of
    different chains: each of expectation μμᵀ whatever the law.
    """
    x = np.random.default_rng(0).normal(size=(9, 4, 3)) + 5
    pairs = np.einsum("cti,ctj->ij", x, np.roll(x, -2, axis=0)) / (9 * 4)
    total = x.sum(axis=0)
    other = (total.T @ total - np.einsum("cti,ctj->ij", x, x)) / (9 * 8 * 4)
    found = null_covariance(x, centring="across", shift=2).value
    np.testing.assert_allclose(found, pairs - other, atol=1e-12)


@pytest.mark.parametrize(("chains", "centring"), [(4, "within"), (8, "across"), (16, "across")])
def test_the_null_of_independent_chains_is_zero_on_average(chains: int, centring: str) -> None:
    """Catches an uncorrected null, -Σ/C: at 8 chains, 2000 replicates that is 15 errors off.

    Nine entries, |z| < 5.4 (1e-6 for all).
    """
    rng = np.random.default_rng(1)
    x = autoregressive(rng, (2000,), chains, 20, 5.0)
    estimate = null_covariance(x, centring=centring)  # type: ignore[arg-type]
    assert np.abs(mean_z(estimate.value, 0.0)).max() < 5.4


@pytest.mark.parametrize("chains", [8, 64])
def test_deviates_of_the_null_have_normal_tails(chains: int) -> None:
    """Catches an error that ignores autocorrelation (draws as independent: 30% beyond 2).

    Rates over 1000 replicates × 9 correlated entries: taken as 1000 independent ones the binomial
    error is √(p/1000), z 4.9; the limits allow 20% of p more for skewness.
    """
    rng = np.random.default_rng(2)
    x = autoregressive(rng, (1000,), chains, 20, 5.0)
    z = _deviates(x, null_covariance(x, centring="across"))
    for limit, rate in ((2.0, 0.0455), (3.0, 0.0027)):
        slack = 4.9 * np.sqrt(rate / 1000) + 0.2 * rate
        assert abs((np.abs(z) > limit).mean() - rate) < slack


def test_the_null_finds_chains_that_share_their_noise_pairwise() -> None:
    """Catches streams named by chain // 2: half of the pairs are one chain with itself."""
    x = autoregressive(np.random.default_rng(3), (), 32, 50, 2.0)
    twins = np.repeat(x, 2, axis=0)
    assert np.abs(_deviates(twins, null_covariance(twins))).max() > 6
    assert np.abs(_deviates(x, null_covariance(x))).max() < 5


def test_the_null_of_queries_and_samples_pairs_them_in_this_order() -> None:
    x = np.random.default_rng(4).normal(size=(8, 5, 3))
    both = null_covariance(x)
    part = null_covariance(x[..., 2:], x[..., :2])
    np.testing.assert_allclose(part.value, both.value[2:, :2], rtol=1e-12)
    np.testing.assert_allclose(part.se, both.se[2:, :2], rtol=1e-12)


@pytest.mark.parametrize("shift", [0, 4, 8])
def test_a_shift_that_pairs_a_chain_with_itself_is_refused(shift: int) -> None:
    with pytest.raises(ConfigError, match=f"shift {shift} of 8 chains"):
        null_covariance(np.zeros((8, 5, 1)), shift=shift)


@pytest.mark.parametrize("function", [null_covariance, drift_covariance])
def test_two_chains_are_too_few(function: object) -> None:
    with pytest.raises(ConfigError, match="at least 3 chains, got 2"):
        function(np.zeros((2, 5, 1)))  # type: ignore[operator]


def test_drift_is_the_mean_covariance_of_different_chains() -> None:
    """Catches a wrong share of the noise, exactly: against D less its noise, and the slow sum."""
    x = np.random.default_rng(5).normal(size=(5, 7, 3))
    cross = np.einsum("cti,dtj->cdij", x - x.mean(1, keepdims=True), x - x.mean(1, keepdims=True))
    cross /= 6
    slow = (cross.sum((0, 1)) - np.einsum("ccij->ij", cross)) / 20
    noise = np.mean([np.cov(one.T) for one in x], axis=0) / 5
    mean = 5 / 4 * (np.cov(x.mean(0).T) - noise)
    found = drift_covariance(x)
    np.testing.assert_allclose(found.value, slow, atol=1e-13)
    np.testing.assert_allclose(found.value, mean, atol=1e-13)


def test_the_error_of_the_drift_is_the_jackknife_less_its_inflation() -> None:
    x = np.random.default_rng(6).normal(size=(6, 9, 2))
    one_out = np.stack([drift_covariance(np.delete(x, chain, 0)).value for chain in range(6)])
    jackknife = 5 / 6 * np.square(one_out - one_out.mean(0)).sum(0)
    np.testing.assert_allclose(drift_covariance(x).se, np.sqrt(jackknife * 4 / (2 * 5)), rtol=1e-10)


@pytest.mark.parametrize("relaxation", [0.1, 5.0, 20.0])
def test_drift_of_stationary_chains_is_zero_however_slow_they_are(relaxation: float) -> None:
    """Catches noise taken for that of independent draws: at relaxation 5 that misses a factor 9.

    1000 replicates of nine entries, |z| < 5.4 (1e-6 for all); the error is right to 10%, and the
    deviate of a loss's own entry exceeds 3 at most as often as a normal one (0.00135; the slack is
    4.9 binomial errors of 1000).
    """
    rng = np.random.default_rng(7)
    x = autoregressive(rng, (1000,), 16, 25, relaxation)
    drift = drift_covariance(x)
    assert np.abs(mean_z(drift.value, 0.0)).max() < 5.4
    ratio = np.sqrt(np.square(drift.se).mean(0)) / drift.value.std(0)
    np.testing.assert_allclose(ratio, 1, atol=0.25)
    z = normal_deviates(_own(drift.value), _own(drift.se), 15)
    assert (z > 3).mean() < 0.00135 + 4.9 * np.sqrt(0.00135 / 1000)


def test_a_mean_that_moves_is_measured_without_bias() -> None:
    """Catches a drift that is damped by C/(C-1) or counts the noise. 1000 replicates, |z| < 5.4."""
    rng = np.random.default_rng(8)
    path = np.stack([np.linspace(0, 1, 20), np.zeros(20), -(np.linspace(0, 1, 20) ** 2)], axis=1)
    drift = drift_covariance(autoregressive(rng, (1000,), 5, 20, 2.0) + path)
    expected = np.cov(path.T)
    assert np.abs(mean_z(drift.value, expected)).max() < 5.4
    assert drift.relative.mean(0)[0] > drift.relative.mean(0)[1]


def test_drift_finds_losses_that_rise_together_and_shared_noise() -> None:
    """Catches a gate that is blind: chains not settled yet, and chains on the same batches."""
    rng = np.random.default_rng(9)
    rising = autoregressive(rng, (), 64, 40, 5.0) + np.linspace(0, 3, 40)[:, None]
    shared = autoregressive(rng, (), 64, 40, 2.0) + 0.5 * autoregressive(rng, (), 1, 40, 2.0)
    for losses in (rising, shared):
        drift = drift_covariance(losses)
        assert normal_deviates(_own(drift.value), _own(drift.se), 63).min() > 5


def test_losses_that_do_not_vary_give_zero() -> None:
    """Catches 0/0 in a frozen loss."""
    x = np.random.default_rng(10).normal(size=(2, 8, 10, 2))
    x[..., 1] = 0.1
    for estimate in (null_covariance(x), drift_covariance(x)):
        z = _deviates(x, estimate)
        assert np.isfinite(z).all()
        assert np.abs(z[..., 1, 1]).max() == 0


def test_deviates_follow_students_t_and_saturate() -> None:
    """Catches the normal taken for t: 4.06 of 7 degrees is worth 3.0 only (two-sided 0.0048)."""
    t = np.array([-1e9, -4.0, 0.0, 4.0, 1e9])
    few, many = normal_deviates(t, np.ones(5), 7), normal_deviates(t, np.ones(5), 10**6)
    np.testing.assert_allclose(few, -few[::-1])
    assert few[3] == pytest.approx(2.797, abs=0.005)
    assert many[3] == pytest.approx(4.0, abs=1e-3)
    assert np.isfinite(few).all()

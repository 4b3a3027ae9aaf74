"""Covariance and correlation against slow formulas, and their errors against simulated spread."""

import numpy as np
import pytest

from stagewise.errors import ConfigError
from stagewise.estimators.covariance import correlation, covariance, resolve_centring
from support.traces import MIX, Z_LIMIT, autoregressive

CHAINS = 9


def _across(both: np.ndarray) -> np.ndarray:
    """Mean over draws of the covariance over chains, (…, n, n), from (chain, draw, n)."""
    return np.mean([np.cov(both[:, draw].T) for draw in range(both.shape[1])], axis=0)


def _within(both: np.ndarray) -> np.ndarray:
    return np.mean([np.cov(chain.T) for chain in both], axis=0)


def _to_correlation(matrix: np.ndarray) -> np.ndarray:
    scale = np.sqrt(np.diag(matrix))
    return matrix / scale[:, None] / scale[None, :]


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(CHAINS, 6, 3)).cumsum(axis=-2) + 2.3
    return x, rng.normal(size=(CHAINS, 6, 2)) + x[..., :2]


@pytest.mark.parametrize(("centring", "slow"), [("across", _across), ("within", _within)])
@pytest.mark.parametrize("correlated", [False, True])
def test_value_and_jackknife_error_equal_the_slow_formulas(
    pair: tuple[np.ndarray, np.ndarray], centring: str, slow: object, correlated: bool
) -> None:
    """Catches a wrong divisor (C for C - 1, T for T - 1) and a wrong closed-form jackknife."""
    x, y = pair
    both = np.concatenate([x, y], axis=-1)

    def full(chains: np.ndarray) -> np.ndarray:
        matrix = slow(chains)  # type: ignore[operator]
        return (_to_correlation(matrix) if correlated else matrix)[:3, 3:]

    one_out = np.stack([full(np.delete(both, chain, 0)) for chain in range(CHAINS)])
    spread = np.square(one_out - one_out.mean(axis=0)).sum(axis=0)
    estimate = correlation(x, y, centring)[0] if correlated else covariance(x, y, centring)
    np.testing.assert_allclose(estimate.value, full(both), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(estimate.se, np.sqrt(spread * (CHAINS - 1) / CHAINS), rtol=1e-10)


def test_one_chain_has_its_own_covariance_and_an_error_from_batches() -> None:
    """Catches an error that takes the draws of one chain for independent.

    The rms error over 1000 chains is compared with the spread of the value. Batches of 20 draws at
    relaxation 2 leave 1/20 · 2a/(1-a²) ≈ 10% of the variance out, and the ratio of variances is
    known to √(2/1000) = 4.5% (z 4.9: 22%); independent draws would give 1/2 or less.
    """
    rng = np.random.default_rng(1)
    x = autoregressive(rng, (1000,), 1, 400, 2.0)
    estimate = covariance(x)
    np.testing.assert_allclose(estimate.value[3], np.cov(x[3, 0].T), rtol=1e-12)
    ratio = np.square(estimate.se).mean(axis=0) / estimate.value.var(axis=0)
    assert ratio.min() > 1 - 0.10 - 0.22
    assert ratio.max() < 1 + 0.22


@pytest.mark.parametrize(("chains", "bias"), [(64, 0.04), (16, 0.16)])
def test_the_error_is_the_spread_of_the_value(chains: int, bias: float) -> None:
    """Catches draws taken for independent (the error would be half) and a missing C/(C-2).

    2000 replicates: the ratio of variances is known to √(2/2000) = 3.2%, z 4.9: 16% (false-fail
    1e-6 for each entry). The jackknife is too large by O(1/C), here bounded by ``bias``.
    """
    rng = np.random.default_rng(2)
    estimate = covariance(autoregressive(rng, (2000,), chains, 10, 5.0))
    ratio = np.square(estimate.se).mean(axis=0) / estimate.value.var(axis=0)
    assert ratio.min() > 1 - 0.16
    assert ratio.max() < 1 + 0.16 + bias


def test_two_standard_errors_cover_the_truth_as_often_as_students_t_does() -> None:
    """Catches errors wrong by a factor: 1.5 too small would cover 82%.

    |z| < 2 of t with 63 degrees of freedom: 0.9502. 2000 replicates of one entry: binomial error
    0.0049, z 4.9: 0.024; skewness of a covariance adds up to 0.01.
    """
    rng = np.random.default_rng(3)
    estimate = covariance(autoregressive(rng, (2000,), 64, 10, 5.0))
    inside = (np.abs(estimate.value - MIX @ MIX.T) < 2 * estimate.se).mean(axis=0)
    np.testing.assert_allclose(inside, 0.950, atol=0.034)


def test_second_moments_of_float32_losses_are_summed_in_float64() -> None:
    """Catches E[x²] - E[x]² or sums in float32: variance 1e-6 about 2.3 came out 4.8e-7."""
    rng = np.random.default_rng(4)
    x = (2.3 + 1e-3 * rng.normal(size=(16, 500, 2))).astype(np.float32)
    expected = _across(x.astype(np.float64))
    np.testing.assert_allclose(covariance(x).value, expected, rtol=1e-10)
    # 15 · 500 degrees of freedom: relative error √(2/7500) of a variance.
    np.testing.assert_allclose(np.diag(covariance(x).value), 1e-6, rtol=Z_LIMIT * 0.0163)
    for centring in ("across", "within"):
        assert correlation(x, centring=centring)[0].value[0, 0] == pytest.approx(1, abs=1e-14)


def test_permutations_of_chains_draws_and_losses_permute_the_result(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    """Catches shuffled ids, and an estimate that depends on the order of chains."""
    x, y = pair
    rng = np.random.default_rng(5)
    chains, losses = rng.permutation(CHAINS), rng.permutation(3)
    for function in (covariance, lambda *args: correlation(*args)[0]):
        plain, moved = function(x, y), function(x[chains][..., losses], y[chains])
        np.testing.assert_allclose(moved.value, plain.value[losses], rtol=1e-12)
        np.testing.assert_allclose(moved.se, plain.se[losses], rtol=1e-10)


def test_leading_dimensions_are_batches() -> None:
    """Catches chains or draws mixed up with checkpoints."""
    x = np.random.default_rng(6).normal(size=(2, 3, 8, 4, 5)).astype(np.float32)
    for function in (covariance, lambda one: correlation(one)[0]):
        whole = function(x)
        alone = function(x[1, 2])
        np.testing.assert_allclose(whole.value[1, 2], alone.value, rtol=1e-12)
        np.testing.assert_allclose(whole.se[1, 2], alone.se, rtol=1e-9)


def test_with_itself_the_result_is_symmetric_to_the_bit() -> None:
    x = np.random.default_rng(7).normal(size=(4, 8, 5, 6))
    value = covariance(x).value
    np.testing.assert_array_equal(value, np.swapaxes(value, -1, -2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("centring", ["across", "within"])
def test_a_loss_that_does_not_vary_has_correlation_zero_and_is_counted(
    dtype: type, centring: str
) -> None:
    """Catches NaN from 0/0, and rounding noise of a constant taken for variance."""
    x = np.random.default_rng(8).normal(size=(2, 9, 7, 3)).astype(dtype)
    x[0, ..., 1] = 0.1
    estimate, zero = correlation(x, centring=centring)  # type: ignore[arg-type]
    assert zero.tolist() == [1, 0]
    for array in estimate:
        assert np.isfinite(array).all()
        assert not array[0, 1].any()
        assert not array[0, :, 1].any()
    assert (np.abs(estimate.value) <= 1).all()
    _, both = correlation(x, x[..., 1:], centring)  # type: ignore[arg-type]
    assert both.tolist() == [2, 0]


def test_correlation_does_not_change_with_scale(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Catches an absolute threshold for zero variance: late in training losses are tiny."""
    x, y = pair
    plain, small = correlation(x, y)[0], correlation(x * 1e-12, y * 1e-30)[0]
    np.testing.assert_allclose(small.value, plain.value, rtol=1e-9)
    np.testing.assert_allclose(small.se, plain.se, rtol=1e-7)


def test_the_centring_goes_by_the_chains_that_were_run() -> None:
    assert resolve_centring("auto", 8) == "across"
    assert resolve_centring("auto", 7) == "within"
    assert resolve_centring("auto", 64, left=5) == "across"
    assert resolve_centring("auto", 64, left=2) == "within"
    assert resolve_centring("within", 64) == "within"


@pytest.mark.parametrize(
    ("shape", "centring", "message"),
    [
        ((2, 5, 1), "across", "at least 3 chains, got 2"),
        ((4, 1, 1), "within", "at least 2 draws, got 1"),
        ((1, 3, 1), "auto", "one chain of 3 draws"),
        ((4, 5, 1), "both", "centring is 'both'; allowed are"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_too_little_to_estimate_from_is_named(
    shape: tuple[int, ...], centring: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        covariance(np.zeros(shape), centring=centring)  # type: ignore[arg-type]


@pytest.mark.usefixtures("unchecked")
def test_arrays_of_different_runs_are_refused() -> None:
    with pytest.raises(ConfigError, match="not of the same chains"):
        covariance(np.zeros((8, 5, 1)), np.zeros((8, 4, 1)))

"""Influence: its sign, its labels, and what happens to chains that diverged."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import stagewise
from stagewise.errors import ConfigError, DivergenceError
from stagewise.estimators.covariance import correlation, covariance
from stagewise.estimators.influence import bif, derivative_factor, posterior_correlation
from stagewise.estimators.kernels import loss_kernel
from stagewise.storage import scores
from support.traces import MIX, Z_LIMIT, autoregressive, make_trace


@pytest.fixture
def losses() -> np.ndarray:
    return autoregressive(np.random.default_rng(0), (4,), 16, 30, 2.0).astype(np.float32)


def test_the_value_is_minus_the_covariance_known_exactly() -> None:
    """Catches a flipped sign, nβ/n folded in, and errors off by a factor.

    Nine entries with |z| < 6.0, the quantile of t with 63 degrees of freedom at 1e-6 for all.
    """
    x = autoregressive(np.random.default_rng(1), (), 64, 200, 5.0)
    made = bif(make_trace(x))
    z = (made["value"].values + MIX @ MIX.T) / made["se"].values
    assert np.abs(z).max() < 6.0
    assert made.attrs["centring"] == "across"


def test_a_duplicate_of_the_query_is_the_most_helpful_sample() -> None:
    """Catches the other sense: a duplicate must come out most negative."""
    rng = np.random.default_rng(2)
    x = autoregressive(rng, (), 16, 50, 2.0, mix=np.eye(6))
    query = x[..., 4:5] + 0.3 * rng.normal(size=(16, 50, 1))
    assert int(bif(make_trace(x, queries=query))["value"].values.argmin()) == 4


def test_query_and_sample_are_not_transposed_and_carry_their_ids(losses: np.ndarray) -> None:
    """Catches a transposed table: with as many queries as samples, shapes would not tell."""
    rng = np.random.default_rng(3)
    queries = rng.normal(size=losses.shape) + losses[..., ::-1] ** 2
    made = bif(make_trace(losses, queries=queries, ids=list("abc"), query_ids=list("xyz")))
    queries = queries.astype(np.float32)
    for row, query in enumerate("xyz"):
        for column, sample in enumerate("abc"):
            pair = np.stack([queries[2, ..., row], losses[2, ..., column]], axis=-1)
            expected = -covariance(pair).value[0, 1]
            found = made["value"].sel(query=query, sample=sample).values[2]
            assert found == pytest.approx(expected, rel=1e-10)
    assert made["value"].dims == ("checkpoint", "query", "sample")


def test_without_queries_the_samples_are_their_own(losses: np.ndarray) -> None:
    plain, asked = bif(make_trace(losses)), bif(make_trace(losses, queries=losses))
    np.testing.assert_allclose(plain["value"], asked["value"], rtol=1e-12)
    assert plain["query"].values.tolist() == plain["sample"].values.tolist()


def test_checkpoints_together_or_one_by_one_give_the_same(losses: np.ndarray) -> None:
    """Catches checkpoints mixed with chains; stagewise is the same function over a dimension."""
    made = make_trace(losses, step=[0, 5, 9, 20])
    for function in (bif, posterior_correlation, loss_kernel):
        whole = function(made)
        assert whole["step"].values.tolist() == [0, 5, 9, 20]
        for index in range(4):
            alone = function(made.isel(checkpoint=index))
            for name in alone.data_vars:
                np.testing.assert_allclose(
                    whole[name].isel(checkpoint=index), alone[name], rtol=1e-9, atol=1e-12
                )


def test_permuted_samples_give_permuted_influence(losses: np.ndarray) -> None:
    """Catches ids that do not travel with their losses."""
    order = [2, 0, 1]
    plain = bif(make_trace(losses, ids=list("abc")))
    moved = bif(make_trace(losses[..., order], ids=["c", "a", "b"]))
    xr.testing.assert_allclose(plain["value"], moved["value"].sel(plain["value"].coords), rtol=1e-9)


def test_the_result_is_a_valid_scores_file_with_its_origin(
    losses: np.ndarray, tmp_path: Path
) -> None:
    made = bif(make_trace(losses))
    scores.write(made, tmp_path / "s.nc")
    read = scores.read(tmp_path / "s.nc")
    assert (read.attrs["method"], read.attrs["sense"], read.attrs["n_beta"]) == ("bif", "bif", 100)
    assert "wall_seconds" not in read.attrs  # equal traces give equal files


def _status(*diverged: tuple[int, int]) -> np.ndarray:
    status = np.zeros((4, 16), int)
    for checkpoint, chain in diverged:
        status[checkpoint, chain] = 1
    return status


@pytest.mark.parametrize(
    "diverged", [[(0, 3), (1, 3), (2, 3), (3, 3)], [(1, 0), (1, 7), (3, 2)]], ids=["same", "some"]
)
def test_a_chain_that_diverged_counts_as_if_it_had_not_been_run(
    losses: np.ndarray, diverged: list[tuple[int, int]]
) -> None:
    """Catches NaN that leaks from one chain into every influence, and a divisor that counts it."""
    status = _status(*diverged)
    spoilt = losses.copy()
    spoilt[status == 1, 10:] = np.nan
    trace = make_trace(spoilt, status=status)
    made, related, kernel = bif(trace), posterior_correlation(trace), loss_kernel(trace)
    for index in range(4):
        kept = losses[index][status[index] == 0]
        for data, name, expected in (
            (-made, "value", covariance(kept).value),
            (made, "se", covariance(kept).se),
            (related, "correlation", correlation(kept)[0].value),
            (kernel, "correlation_se", correlation(kept)[0].se),
        ):
            np.testing.assert_allclose(data[name][index], expected, rtol=1e-9, atol=1e-13)
    assert made.attrs["n_chains_dropped"] == len(diverged)


def test_too_few_chains_left_names_the_remedy(losses: np.ndarray) -> None:
    """Catches an influence estimated from one chain without a word."""
    status = _status(*[(2, chain) for chain in range(15)])
    message = r"of 16 chains at 1 checkpoint.*step 7.*only 1 .*step_size \(ε = 0\.0001\).*γ = 1000"
    trace = make_trace(losses, status=status, step=[0, 3, 7, 9])
    for function in (bif, posterior_correlation, loss_kernel):
        with pytest.raises(DivergenceError, match=message):
            function(trace)


def test_two_chains_left_of_many_still_give_an_estimate(losses: np.ndarray) -> None:
    """Catches the jackknife across chains dividing by C - 2 = 0."""
    made = bif(make_trace(losses, status=_status(*[(2, chain) for chain in range(14)])))
    assert np.isfinite(made["se"]).all()


def test_few_chains_report_what_centring_within_them_loses() -> None:
    """Catches a silent loss: run length 5 relaxation times keeps about 0.7 of the variance."""
    x = autoregressive(np.random.default_rng(4), (), 4, 100, 20.0)
    made = bif(make_trace(x))
    assert made.attrs["centring"] == "within"
    assert (
        0.3 < made.attrs["retained_fraction_min"] <= made.attrs["retained_fraction_median"] < 0.95
    )


def test_posterior_correlation_counts_zero_variances_and_has_no_value(losses: np.ndarray) -> None:
    """Catches a similarity passed on as a score: its sign is the opposite one."""
    losses[1, ..., 0] = 0.0
    made = posterior_correlation(make_trace(losses))
    assert made["n_zero_variance"].values.tolist() == [0, 1, 0, 0]
    assert not made["correlation"][1, 0].any()
    assert "value" not in made
    np.testing.assert_allclose(made["correlation"][0].values.diagonal(), 1.0, atol=1e-12)


def test_the_derivative_factor_is_n_beta_over_n() -> None:
    """Catches β for nβ."""
    assert derivative_factor(100.0, 8) == 12.5
    with pytest.raises(ConfigError, match="n ≥ 1"):
        derivative_factor(100.0, 0)


def test_the_root_package_maps_the_public_names() -> None:
    assert stagewise.bif is bif
    assert stagewise.loss_kernel is loss_kernel


def test_reweighting_a_loss_moves_the_posterior_as_the_influence_says() -> None:
    """Catches a wrong sign or factor against the thing itself, by reweighting the draws.

    Draws w ~ exp(-nβ L_n), one weight, l_i = ½ a_i (w - m_i)². Scaling l_0 by 1 + η reweights them
    by exp(-(nβ/n) η l_0); d E[l_1]/dη at 0 by a central difference is the exact derivative of the
    same draws, so only the third order in η (1e-4²) and C/(C-1) differ.
    """
    rng = np.random.default_rng(5)
    n_beta, curvature, centre = 50.0, np.array([1.0, 3.0]), np.array([-1.0, 0.5])
    total = n_beta * curvature.mean()
    mean = (curvature * centre).sum() / curvature.sum()
    w = mean + rng.normal(size=(400, 50, 1)) / np.sqrt(total)
    x = 0.5 * curvature * (w - centre) ** 2

    def mean_of_other(eta: float) -> float:
        weight = np.exp(-n_beta / 2 * eta * x[..., 0])
        return float((weight * x[..., 1]).sum() / weight.sum())

    slope = (mean_of_other(1e-4) - mean_of_other(-1e-4)) / 2e-4
    made = bif(make_trace(x, n_beta=n_beta, n=2))
    predicted = derivative_factor(n_beta, 2) * made["value"].values[1, 0]
    error = derivative_factor(n_beta, 2) * made["se"].values[1, 0]
    assert slope == pytest.approx(predicted, abs=Z_LIMIT * error)
    assert slope == pytest.approx(predicted, rel=0.05)

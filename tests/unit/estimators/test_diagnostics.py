"""Diagnostics of traces: ArviZ's numbers of the right series, with labels; gates on them."""

import arviz
import numpy as np
import pytest

from stagewise.errors import ConfigError, DivergenceError
from stagewise.estimators.diagnostics import diagnose, drift_statistic, null_statistic, rhat_ess
from stagewise.estimators.gates import (
    Threshold,
    default_thresholds,
    familywise_z,
    gate,
    worst,
)
from stagewise.estimators.influence import bif
from support.traces import autoregressive, make_trace


@pytest.fixture
def losses() -> np.ndarray:
    rng = np.random.default_rng(0)
    return autoregressive(rng, (3,), 8, 60, 1.0).astype(np.float32)


def test_rhat_and_ess_are_arviz_of_losses_and_of_centred_products(losses: np.ndarray) -> None:
    """Catches products of losses that are not centred, and ESS of losses for that of products."""
    made = rhat_ess(make_trace(losses, ids=list("abc"), step=[1, 2, 3]), checkpoints=[2])
    assert made["step"].values.tolist() == [3]
    series = losses[2].astype(float)
    centred = series - series.mean(axis=0)
    assert float(made["rhat_loss"][0, 1]) == pytest.approx(arviz.rhat(series[..., 1]))
    assert float(made["ess_loss"][0, 1]) == pytest.approx(arviz.ess(series[..., 1]))
    pairs = list(zip(made["first"].values, made["second"].values, strict=True))
    assert pairs == [("a", "a"), ("a", "b"), ("a", "c"), ("b", "b"), ("b", "c"), ("c", "c")]
    product = centred[..., 1] * centred[..., 2]
    assert float(made["rhat_product"][0, 4]) == pytest.approx(arviz.rhat(product))
    assert float(made["ess_product"][0, 4]) == pytest.approx(arviz.ess(product, method="bulk"))


@pytest.mark.parametrize("chains", [4, 8])
def test_a_chain_that_sits_elsewhere_shows_in_rhat(chains: int) -> None:
    """Catches R-hat of losses centred within chains, which is 1 whatever they do.

    Of independent draws, R-hat² - 1 of half chains of 200 is χ²/(200 ν) with ν ≥ 7: 1.1 asks
    for χ² > 42 ν, far below a chance of 1e-6. One chain of eight on top of all others gives 1.29.
    """
    losses = np.random.default_rng(6).normal(size=(chains, 400, 3))
    assert float(rhat_ess(make_trace(losses))["rhat_loss"].max()) < 1.1
    losses[0] += 10
    assert float(rhat_ess(make_trace(losses))["rhat_loss"].min()) > 1.2


def test_slow_chains_have_few_effective_draws() -> None:
    """Catches a count of draws: relaxation 10 leaves about one in twenty."""
    x = autoregressive(np.random.default_rng(1), (), 8, 200, 10.0)
    assert float(rhat_ess(make_trace(x))["ess_loss"].max()) < 1600 / 5


def test_pairs_are_capped_and_spread(losses: np.ndarray) -> None:
    made = rhat_ess(make_trace(losses[0]), max_pairs=3)
    pairs = list(zip(made["first"].values, made["second"].values, strict=True))
    assert len(pairs) == 3
    assert pairs[0] == ("s0", "s0")
    assert pairs[-1] == ("s2", "s2")


def test_what_cannot_be_measured_is_named(losses: np.ndarray) -> None:
    with pytest.raises(ConfigError, match=r"checkpoints \[3\].*allowed are 0 to 2"):
        rhat_ess(make_trace(losses), checkpoints=[0, 3])
    with pytest.raises(ConfigError, match="at least 4 draws, got 3"):
        rhat_ess(make_trace(losses[:, :, :3]))
    status = np.ones((3, 8), int)
    for function in (rhat_ess, null_statistic, drift_statistic, diagnose):
        with pytest.raises(DivergenceError, match="0 stayed finite"):
            function(make_trace(losses, status=status))


def test_null_and_drift_are_labelled_and_leave_out_diverged_chains(losses: np.ndarray) -> None:
    """Catches a diverged chain in the pairing, and degrees of freedom that count it."""
    status = np.zeros((3, 8), int)
    status[1, 4] = 1
    whole = make_trace(losses, queries=losses[..., :2], status=status)
    alone = make_trace(
        np.delete(losses[1], 4, axis=0), queries=np.delete(losses[1, ..., :2], 4, axis=0)
    )
    null, drift = null_statistic(whole), drift_statistic(whole)
    assert null["z"].dims == ("checkpoint", "query", "sample")
    assert drift["value"].dims == ("checkpoint", "sample", "partner")
    np.testing.assert_allclose(drift["z"][1], drift_statistic(alone)["z"], rtol=1e-9)
    # Of seven chains alone "auto" would centre within; the trace had eight.
    expected = null_statistic(alone, centring="across")
    np.testing.assert_allclose(null["z"][1], expected["z"], rtol=1e-9)


def test_good_chains_pass_the_gates_and_the_summary_counts_its_entries() -> None:
    """Catches limits that do not grow with the number of entries tested."""
    x = autoregressive(np.random.default_rng(2), (2,), 16, 100, 0.1)
    made = diagnose(make_trace(x))
    assert made.attrs["null_entries"] == 2 * 9
    assert made.attrs["drift_entries"] == 2 * 3
    findings = gate(made)
    assert worst(findings) == "pass", findings
    assert set(findings) == set(default_thresholds(1, 1))
    few = diagnose(make_trace(x[:, :2]), checkpoints=[1])
    assert "null_max_abs_z" not in few
    assert few.sizes["checkpoint"] == 1


def test_bad_chains_fail_with_the_remedy() -> None:
    """Catches a gate that warns only: losses that rise together, and twins of chains."""
    x = autoregressive(np.random.default_rng(3), (), 32, 50, 1.0)
    rising = gate(diagnose(make_trace(x + np.linspace(0, 5, 50)[:, None])))
    assert rising["drift_max_z"].verdict == "fail"
    assert "lengthen burn_in" in rising["drift_max_z"].message
    twins = gate(diagnose(make_trace(np.repeat(x, 2, axis=0))))
    assert twins["null_max_abs_z"].verdict == "fail"
    assert "its own noise" in twins["null_max_abs_z"].message


def test_losses_that_do_not_vary_fail_visibly(losses: np.ndarray) -> None:
    """Catches NaN marked as passed."""
    losses[1] = 0.0
    made = diagnose(make_trace(losses))
    finding = gate(made)["rhat_loss_max"]
    assert finding.verdict == "fail"
    assert "not finite in 1 of 3" in finding.message


@pytest.mark.parametrize(
    ("value", "threshold", "verdict"),
    [
        (1.0, Threshold(1.1, 1.2, "r"), "pass"),
        (1.15, Threshold(1.1, 1.2, "r"), "warn"),
        (1.3, Threshold(1.1, 1.2, "r"), "fail"),
        (500.0, Threshold(400.0, 50.0, "r"), "pass"),
        (100.0, Threshold(400.0, 50.0, "r"), "warn"),
        (10.0, Threshold(400.0, 50.0, "r"), "fail"),
        (float("nan"), Threshold(400.0, 50.0, "r"), "fail"),
    ],
)
def test_a_gate_knows_which_side_is_bad(value: float, threshold: Threshold, verdict: str) -> None:
    found = gate({"x": value}, {"x": threshold})["x"]
    assert found.verdict == verdict
    assert ("; r" in found.message) == (verdict != "pass")


def test_a_threshold_without_measurement_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no measurement of \['y'\]; measured are \['x'\]"):
        gate({"x": 1.0}, {"y": Threshold(1.0, 2.0, "r")})


def test_the_familywise_limit_is_bonferronis() -> None:
    assert familywise_z(1, 0.05) == pytest.approx(1.96, abs=0.001)
    assert familywise_z(1000, 1e-6) == pytest.approx(6.109, abs=0.002)
    assert familywise_z(1, 0.05, sides=1) == pytest.approx(1.645, abs=0.001)
    with pytest.raises(ConfigError, match="entries 0"):
        familywise_z(0, 0.05)


def test_errors_of_influences_are_shares_of_them(losses: np.ndarray) -> None:
    """Catches errors relative to the largest influence, and a loss that does not vary as noise."""
    losses[..., 2] = 0.0
    trace = make_trace(losses)
    made, scores = diagnose(trace), bif(trace).isel(query=[0, 1], sample=[0, 1])
    size = np.abs(scores["value"])
    np.testing.assert_allclose(
        made["resolved_fraction"], (size > 2 * scores["se"]).mean(["query", "sample"])
    )
    np.testing.assert_allclose(
        made["relative_se_median"], (scores["se"] / size).median(["query", "sample"])
    )
    assert "acceptance" not in made


def test_noise_alone_is_not_resolved() -> None:
    """Catches limits that noise passes: influences of independent losses are all unresolved.

    Of 1,600 pairs of 16 chains about 7% pass 2 se; the limit of 10% is some 4 spreads away.
    """
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(16, 100, 80))
    trace = make_trace(noise[..., :40], queries=noise[..., 40:], acceptance=0.05)
    findings = gate(diagnose(trace, max_pairs=3))
    assert findings["resolved_fraction"].verdict == "fail"
    assert findings["relative_se_median"].verdict == "fail"
    assert findings["acceptance"].verdict == "fail"
    assert "lower step_size" in findings["acceptance"].message

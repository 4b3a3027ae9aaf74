"""The local learning coefficient against its exact value on a quadratic."""

import numpy as np
import pytest

from stagewise.errors import ConfigError, DivergenceError, SchemaError
from stagewise.estimators.local_learning import llc
from support.traces import Z_LIMIT, make_trace


def _quadratic(chains: int, draws: int, curvature: np.ndarray, pull: float) -> np.ndarray:
    """Excess losses ½ λ_k w_k² of independent draws w_k ~ N(0, 1/(nβ λ_k + γ)), nβ = 100."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=(chains, draws, len(curvature))) / np.sqrt(100 * curvature + pull)
    return 0.5 * curvature * w**2


@pytest.mark.parametrize("chains", [1, 4, 64])
def test_it_is_the_exact_value_at_finite_temperature_and_localization(chains: int) -> None:
    """Catches β for nβ, a sum over samples for their mean, and γ left out (λ̂ would be double).

    One sample set of three losses, each of its own direction, so L_n is their mean. The error has
    chains - 1 (or √T - 1) degrees of freedom; the limits are t's quantiles at 1e-6.
    """
    curvature, pull = np.array([0.5, 2.0, 8.0]), 100.0
    losses = _quadratic(chains, 4096 // chains, curvature, pull)
    made = llc(make_trace(losses))
    exact = 0.5 * (100 * curvature / (100 * curvature + pull)).sum() / 3
    limit = {1: 5.7, 4: 104.0, 64: 5.5}[chains]
    assert abs(made["value"] - exact) < limit * made["se"]
    # The variance of the mean is known: Σ 2 (term)² / (9 · 4096).
    known = np.sqrt(
        2 * np.square(0.5 * 100 * curvature / (100 * curvature + pull)).sum() / 9 / 4096
    )
    assert float(made["se"]) == pytest.approx(known, rel=0.9 if chains == 4 else 0.5)
    assert abs(made["value"] - exact) < Z_LIMIT * known


def test_checkpoints_and_the_declared_sample_set() -> None:
    """Catches a mean over other samples than those that are named."""
    losses = np.random.default_rng(1).normal(size=(3, 8, 10, 4)).astype(np.float32)
    made = make_trace(losses, ids=list("abcd"), step=[1, 2, 3])
    chosen = llc(made, samples=["d", "b"])
    np.testing.assert_allclose(
        chosen["value"], 100 * losses[..., [3, 1]].mean((1, 2, 3)), rtol=1e-5
    )
    assert chosen.attrs["n_samples"] == 2
    alone = llc(made.isel(checkpoint=1), samples=["d", "b"])
    np.testing.assert_allclose(chosen["se"][1], alone["se"], rtol=1e-12)
    for wrong in (["a", "z"], []):
        with pytest.raises(SchemaError, match="not in the trace"):
            llc(made, samples=wrong)


def test_diverged_chains_are_left_out_and_too_few_refused() -> None:
    losses = np.random.default_rng(2).normal(size=(4, 6, 2))
    losses[0] = np.inf
    made = llc(make_trace(losses, status=np.array([1, 0, 0, 0])))
    np.testing.assert_allclose(made["value"], 100 * losses[1:].mean(), rtol=1e-6)
    with pytest.raises(DivergenceError, match="only 1 stayed finite"):
        llc(make_trace(losses, status=np.array([1, 1, 0, 1])))
    with pytest.raises(ConfigError, match="one chain of 3 draws"):
        llc(make_trace(losses[1:2, :3]))

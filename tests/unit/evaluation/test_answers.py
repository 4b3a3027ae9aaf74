"""Agreement of sampled influences with an answer, and its error.

Caught: a correlation over queries in place of samples, an error that is not that of eight groups,
a query without influence that makes the mean NaN, halves that share chains.
"""

import numpy as np
import pytest

from stagewise.errors import ConfigError
from stagewise.evaluation.answers import Agreement, agreement, agreement_with

QUERIES, SAMPLES, HIDDEN = 3, 12, 4


def loadings() -> tuple[np.ndarray, np.ndarray]:
    """How the losses of queries and of samples follow hidden normal numbers."""
    rng = np.random.default_rng(5)
    return rng.normal(size=(HIDDEN, QUERIES)), rng.normal(size=(HIDDEN, SAMPLES))


def run(seed: int, chains: int = 16, draws: int = 10, noise: float = 1.0) -> Agreement:
    """Losses with the influence -Q'S, draws that are independent."""
    rng = np.random.default_rng(seed)
    q, s = loadings()
    hidden = rng.normal(size=(chains, draws, HIDDEN))
    own = noise * rng.normal(size=(chains, draws, QUERIES + SAMPLES))
    queries, samples = hidden @ q + own[..., :QUERIES], hidden @ s + own[..., QUERIES:]
    return agreement_with(queries, samples, -q.T @ s)


def test_an_answer_agrees_with_itself_whatever_its_scale_and_offset() -> None:
    one = np.random.default_rng(1).normal(size=(QUERIES, SAMPLES))
    assert agreement(one, one) == pytest.approx(1)
    assert agreement(one, 7 * one + np.arange(QUERIES)[:, None]) == pytest.approx(1)
    assert agreement(one, -one) == pytest.approx(-1)
    assert agreement(one, one[:, ::-1]) == agreement(one[:, ::-1], one)


def test_it_is_the_mean_over_queries_of_correlations_over_samples() -> None:
    one, other = np.random.default_rng(2).normal(size=(2, QUERIES, SAMPLES))
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(one, other, strict=True)]
    assert agreement(one, other) == pytest.approx(np.mean(expected), abs=1e-12)


def test_a_query_without_influence_counts_as_0() -> None:
    one = np.random.default_rng(3).normal(size=(QUERIES, SAMPLES))
    dead = one.copy()
    dead[0] = 0.5
    assert agreement(dead, one) == pytest.approx(2 / 3)
    assert agreement(np.zeros_like(one), one) == 0


def test_enough_draws_agree_with_the_answer() -> None:
    found = run(0, chains=64, draws=2000)
    assert found.exact.value > 0.999
    assert found.exact.n == 64
    assert found.halves > 0.999
    assert found.reliability == pytest.approx(np.sqrt(2 * found.halves / (1 + found.halves)))


def test_the_error_is_the_spread_over_replicates_or_somewhat_more() -> None:
    """Sixty runs know a deviation within a tenth of itself.

    A correlation near 1 falls with the square of the noise, of which leaving out an eighth of the
    chains makes too much: by a third or a half here. Without its factor of 7 the error would be
    half of the deviation.
    """
    runs = [run(seed) for seed in range(60)]
    spread = np.std([found.exact.value for found in runs], ddof=1)
    assert 0.8 < np.mean([found.exact.se for found in runs]) / spread < 2.0


def test_reliability_is_the_agreement_with_many_draws() -> None:
    """The answer is the limit of many draws here, so both are one number.

    Up to chance, 0.005 on the mean of 60 runs, and the formula's own error for few samples, 0.01.
    """
    runs = [run(seed, draws=3) for seed in range(60)]
    reached = np.mean([found.exact.value for found in runs])
    assert 0.9 < reached < 0.96
    assert np.mean([found.reliability for found in runs]) == pytest.approx(reached, abs=0.035)


def test_halves_that_disagree_are_not_reliable_at_all() -> None:
    rng = np.random.default_rng(8)
    noise = rng.normal(size=(8, 1, 1 + SAMPLES))
    found = agreement_with(noise[..., :1], noise[..., 1:], rng.normal(size=(1, SAMPLES)))
    assert found.reliability == np.sqrt(2 * max(found.halves, 0) / (1 + max(found.halves, 0)))
    assert np.isfinite(found.exact.se)


def test_fewer_than_eight_chains_give_no_error() -> None:
    with pytest.raises(ConfigError, match="7 chains; .* at least 8"):
        run(0, chains=7)

"""Rules for stopping: what they measure, when they are asked, what they refuse."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from stagewise.calibration.stopping import (
    GROWTH,
    StoppingRule,
    rank_agreement,
    until_rank_stability,
    until_standard_error,
)
from stagewise.errors import ConfigError
from stagewise.estimators.covariance import covariance
from stagewise.sampling.records import RunResult
from support.traces import autoregressive


def recorded(losses: np.ndarray | None, *, status: np.ndarray | None = None,
             queries: np.ndarray | None = None, new: int = 10**6,
             shape: tuple[int, ...] = (1, 8, 60)) -> RunResult:  # fmt: skip
    shape = shape if losses is None else losses.shape[:3]
    series = np.zeros(shape)
    return RunResult(
        excess_loss=None if losses is None else losses.astype(np.float32),
        loss_ref=np.zeros((shape[0], 3)),
        query_excess_loss=None if queries is None else queries.astype(np.float32),
        query_loss_ref=None,
        train_loss=series,
        potential=series,
        distance=series,
        status=np.zeros(shape[:2], np.int8) if status is None else status.astype(np.int8),
        diverged_step=np.full(shape[:2], -1, np.int32),
        info={},
        wall_seconds=1.0,
        chain_steps=1,
        new_draws=min(new, shape[2]),
    )


@pytest.fixture
def losses() -> np.ndarray:
    return autoregressive(np.random.default_rng(0), (2,), 8, 60, 1.0).astype(np.float32)


def test_the_relative_error_is_that_of_the_row(losses: np.ndarray) -> None:
    """Catches a scale that noise inflates, and one over all queries."""
    queries = losses[..., :2]
    value, se = covariance(queries[0], losses[0], "across")
    size = np.sqrt((value**2 - se**2).mean(axis=1))
    expected = np.quantile(se / size[:, None], 0.5, method="higher")
    rule = until_standard_error(0.1, quantile=0.5)
    measured = rule.measure(recorded(losses, queries=queries))
    assert measured[0] == pytest.approx(expected)
    assert measured.shape == (2,)
    assert until_standard_error(expected * 1.0001, quantile=0.5, least_draws=60)(
        recorded(losses[:1], queries=queries[:1])
    )


@pytest.mark.parametrize("corrected", [True, False])
def test_stability_is_spearmans_between_halves_of_the_chains(
    losses: np.ndarray, corrected: bool
) -> None:
    """Catches halves of the draws, and columns for rows."""
    queries = losses[1, ..., :2] + 0.3 * losses[1, ..., 1:]
    halves = [covariance(queries[h::2], losses[1, h::2], "across").value for h in (0, 1)]
    each = [spearmanr(halves[0][q], halves[1][q]).statistic for q in range(2)]
    mean = np.mean(each)
    expected = 2 * mean / (1 + mean) if corrected else mean
    found = rank_agreement(queries, losses[1], corrected=corrected, centring="across")
    assert found == pytest.approx(expected)


def test_losses_that_do_not_vary_do_not_count(losses: np.ndarray) -> None:
    """Catches 0/0: alone they are never precise enough, among others they are left out."""
    rule = until_standard_error(0.1)
    still = losses.copy()
    still[..., 2] = 0.0
    with_still = rule.measure(recorded(still, queries=still))
    assert np.isfinite(with_still).all()
    assert np.isinf(rule.measure(recorded(np.zeros_like(losses)))).all()
    assert (until_rank_stability(0.9).measure(recorded(np.zeros_like(losses))) == 0).all()


def test_marks_grow_and_depend_on_the_draws_alone() -> None:
    """Catches a rule with a memory, which a resumed run would lose, and one asked every time."""
    rule = until_standard_error(0.1, least_draws=20)
    asked = [draws for draws in range(1, 2001) if rule.is_due(draws, 1)]
    assert asked[:4] == [20, 22, 25, 28]
    assert len(asked) < np.log(2000 / 20) / np.log(GROWTH) + 2
    assert rule.is_due(64, 64)
    assert not rule.is_due(19, 19)
    assert [rule.is_due(draws, 5) for draws in (24, 25, 30)] == [True, True, True]
    assert not rule.is_due(1000, 3)


def test_chains_that_diverged_are_left_out(losses: np.ndarray) -> None:
    """Catches NaN that keeps a run going for ever, or ends it."""
    status = np.zeros((2, 8))
    status[0, 3] = status[1, :6] = 1
    broken = losses.copy()
    broken[status.astype(bool)] = np.nan
    found = until_standard_error(0.1).measure(recorded(broken, status=status))
    alone = np.delete(losses[:1], 3, axis=1)
    wanted = until_standard_error(0.1, centring="across").measure(recorded(alone))
    np.testing.assert_allclose(found, wanted)
    everything = recorded(broken, status=np.ones((2, 8)))
    assert until_rank_stability(0.5, least_draws=10)(everything)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: until_standard_error(0.0), r"target is 0\.0; it must be in \(0, inf\)"),
        (lambda: until_rank_stability(1.0), r"must be in \(0, 1\.0\)"),
        (lambda: until_standard_error(0.1, quantile=0.0), "quantile is"),
        (lambda: until_standard_error(0.1, least_draws=2), "least_draws is 2"),
        (lambda: until_standard_error(0.1)(recorded(None)), "record='covariance' doesn't keep"),
    ],
)
def test_what_is_out_of_range_is_named(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_rule_is_known_by_its_settings() -> None:
    assert repr(until_standard_error(0.1)) == repr(StoppingRule("standard_error", 0.1))

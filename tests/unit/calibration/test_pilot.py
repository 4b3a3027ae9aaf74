"""Statistics of pilots against their definitions.

Caught: a divisor of C in place of C - 1, an error that is not the jackknife's, an autocorrelation
time in steps or of losses in place of their products, costs of another batch, a pilot that hides
chains it lost.
"""

import numpy as np
import pytest
import torch

from stagewise.calibration.pilot import Cost, Watch, fly, passes, price, product_time, spread
from stagewise.estimators.covariance import covariance
from stagewise.sampling.kernels.by_name import make
from stagewise.sampling.records import Schedule
from support.problems import Coordinates, RegressionLoss, regression, regression_potential

LOSSES = np.random.default_rng(4).normal(size=(9, 7, 5)) * np.arange(1, 6)


def test_spread_is_the_trace_of_the_covariance_and_its_error_leaves_out_a_chain() -> None:
    value, se = spread(LOSSES)
    assert value == pytest.approx(np.trace(covariance(LOSSES, LOSSES).value))
    left_out = [spread(np.delete(LOSSES, chain, axis=0))[0] for chain in range(9)]
    assert se == pytest.approx(np.sqrt(8 / 9 * np.square(left_out - np.mean(left_out)).sum()))


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_product_time_is_that_of_products(memory: float) -> None:
    """Losses with correlation ρ from draw to draw: products have ρ², so (1 + ρ²)/(1 - ρ²).

    The median over 64 pairs of a variance from 64 chains, each known to a sixth, is within a
    quarter; in steps, or of losses (19 in place of 9.5), it would be off by a factor.
    """
    rng = np.random.default_rng(6)
    losses = rng.normal(size=(64, 400, 10))
    for draw in range(1, 400):
        losses[:, draw] = memory * losses[:, draw - 1] + np.sqrt(1 - memory**2) * losses[:, draw]
    expected = (1 + memory**2) / (1 - memory**2)
    assert product_time(losses) == pytest.approx(expected, rel=0.25)


def test_what_does_not_vary_has_no_memory() -> None:
    assert product_time(np.ones((8, 5, 3))) == 1.0


def test_passes_count_samples() -> None:
    loss = RegressionLoss(regression())  # 8 samples
    assert passes(Watch(loss, None), chains=4, batch_size=None) == Cost(3 * 4 * 8, 4 * 8)
    assert passes(Watch(loss, Coordinates(4)), chains=4, batch_size=2) == Cost(3 * 4 * 4, 4 * 12)


def test_steps_and_draws_have_prices() -> None:
    potential = regression_potential(regression())
    found = price(
        make("sgld", 0.01), potential, Watch(potential.loss, None), chains=8, batch_size=None
    )
    assert found.step > 0
    assert found.draw >= 0


def flown(step_size: float, chains: int = 8, seed: int = 1, samples: int = 256):
    potential = regression_potential(regression(), kind="recentred")
    watch = Watch(potential.loss, Coordinates(4), samples)
    return fly(
        make("sgld", step_size), potential, watch, Schedule(20, 10, 2),
        chains=chains, batch_size=None, seed=seed,
    )  # fmt: skip


def test_pilots_of_one_seed_draw_the_same_numbers() -> None:
    one, again, other = flown(0.02), flown(0.02), flown(0.02, seed=2)
    np.testing.assert_array_equal(one.influence, again.influence)
    assert not np.array_equal(one.influence, other.influence)
    np.testing.assert_allclose(one.influence.mean(axis=1), 0, atol=1e-12)
    assert (one.power >= 0).all()
    assert one.snr == pytest.approx(np.sqrt(one.power.mean()))


def test_at_most_so_many_samples_are_watched() -> None:
    assert flown(0.02, samples=4).influence.shape == (1, 4)


def test_a_pilot_says_that_it_lost_its_chains() -> None:
    torch.manual_seed(0)
    lost = flown(100.0)
    assert lost.diverged == 8
    assert lost.snr == 0
    assert np.isnan(lost.spread[0])
    assert np.isnan(lost.learning_coefficient[0])

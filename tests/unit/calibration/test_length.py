"""Length of chains from a pilot's power, by hand.

Caught: draws that grow with the root of what is missing, chains counted twice, a draw's cost that
does not weigh on the spacing, a budget that is overspent.
"""

import numpy as np
import pytest

from stagewise.calibration.length import draws_for, plan_length, reliability_of
from stagewise.calibration.pilot import Cost, Pilot
from stagewise.errors import ConfigError
from stagewise.sampling.records import Schedule

SCHEDULE, EQUAL = Schedule(30, 24, 5), Cost(1e-3, 1e-3)


def pilot(power: list[float], time: float = 2.0) -> Pilot:
    return Pilot(np.zeros((len(power), 3)), np.array(power), (1.0, 0.1), (1.0, 0.1), time, 0)


def plan(power: list[float], cost: Cost = EQUAL, **change: object) -> dict:
    chosen = {"pilot_chains": 16, "chains": 64, "reliability": 0.95, "seconds": None} | change
    return plan_length(pilot(power), SCHEDULE, cost, cost, **chosen)


def test_reliability_of_power() -> None:
    assert reliability_of(np.array([1.0, 0.0])) == pytest.approx(np.sqrt(0.5) / 2)


def test_draws_of_one_query_solve_its_equation() -> None:
    # p/(1 + p) = 0.9²: p = 0.81/0.19, and each draw brings 0.1.
    assert draws_for(0.9, np.array([0.1, 0.0])) == pytest.approx(8.1 / 0.19, rel=2e-3)


def test_the_goal_is_met_by_the_draws_that_are_planned() -> None:
    for reliability in (0.5, 0.9, 0.99):
        found = plan([3.0, 0.2, 10.0], reliability=reliability)
        assert found["reliability"] >= reliability * (1 - 1e-9)
        fewer = plan([3.0, 0.2, 10.0], reliability=reliability, chains=64 * found["draws"])
        assert fewer["draws"] <= 2  # one draw of as many chains more is as good


def test_four_times_the_chains_take_a_quarter_of_the_draws() -> None:
    one, four = (plan([0.01], chains=chains)["draws"] for chains in (16, 64))
    assert four == pytest.approx(one / 4, abs=1)


@pytest.mark.parametrize(("draw", "spacing"), [(0.0, 1), (1.0, 10)])
def test_dear_draws_are_spaced_by_the_memory_and_free_ones_not_at_all(
    draw: float, spacing: int
) -> None:
    found = plan([1.0], Cost(1e-6, draw))
    assert found["memory_steps"] == 10
    assert found["spacing"] == spacing


def test_seconds_are_kept_but_for_eight_draws() -> None:
    free = plan([1e-3])
    half = plan([1e-3], seconds=free["seconds"] / 2)
    assert free["seconds"] == pytest.approx(free["cost_to_goal"])
    assert half["seconds"] <= free["seconds"] / 2
    assert half["cost_to_goal"] == free["cost_to_goal"]
    assert half["reliability"] < 0.95 <= free["reliability"]
    assert plan([1e-3], seconds=1e-9)["draws"] == 8


def test_seconds_are_burn_in_and_draws() -> None:
    found = plan([1.0], Cost(0.25, 0.5))
    per_draw = found["spacing"] * 0.25 + 0.5
    assert found["seconds"] == pytest.approx(30 * 0.25 + found["draws"] * per_draw)


def test_queries_without_any_signal_are_refused() -> None:
    with pytest.raises(ConfigError, match="no query's influences rise above their null"):
        plan([0.0, 0.0])

"""Dates of stages on simulated curves: right within their errors, honest where nothing happens.

Caught: the first of two rises taken for the transition, a fall dated at its end, errors that do not
cover, a date given where nothing was learned.
"""

import numpy as np
import pytest
from scipy.special import expit

from stagewise.evaluation.change_points import NONE, fit_rise, half_fall, rise

STEP = np.arange(0, 2001, 25.0)
#: Held-out sequences, and induction tokens in each.
HELD, TOKENS = 200, 20


def accuracy(step: np.ndarray, centre: float, width: float) -> np.ndarray:
    """Two rises: what the last token says by step 80, what the context says about ``centre``."""
    return 0.02 + 0.48 * expit((step - 80) / 20) + 0.42 * expit((step - centre) / width)


def simulated(rng: np.random.Generator, centre: float, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """A measured curve and its bootstrap over sequences; tokens are tied to their sequences."""
    level = accuracy(STEP, centre, 90.0)
    ease = rng.uniform(-0.02, 0.02, size=(HELD, 1))  # of a sequence, at all steps
    chance = level + ease
    hits = rng.binomial(TOKENS, chance) / TOKENS
    weights = rng.multinomial(HELD, np.full(HELD, 1 / HELD), size=draws) / HELD
    return hits.mean(axis=0), weights @ hits


def test_a_clean_curve_is_dated_exactly() -> None:
    curve = accuracy(STEP, 900.0, 90.0)
    found = rise(STEP, curve, curve[None].repeat(3, axis=0))
    assert found.step == pytest.approx(900, abs=0.5)
    assert found.width == pytest.approx(90, rel=0.01)
    assert found.before == pytest.approx(0.5, abs=0.01)
    assert found.after == pytest.approx(0.92, abs=0.01)
    assert found.se < 0.5


def test_a_single_rise_is_one_logistic_curve() -> None:
    noise = np.random.default_rng(0).normal(scale=0.01, size=STEP.size)
    curve = 0.1 + 0.8 * expit((STEP - 700) / 60) + noise
    assert len(fit_rise(STEP, curve).step) == 1


def test_a_small_second_rise_is_not_the_transition() -> None:
    curve = 0.1 + 0.8 * expit((STEP - 700) / 60) + 0.05 * expit((STEP - 1500) / 60)
    assert len(fit_rise(STEP, curve).step) == 2
    assert rise(STEP, curve, curve[None]).step == pytest.approx(700, abs=1)


def test_intervals_cover_the_step_of_the_change() -> None:
    """40 simulations: of intervals of 95%, fewer than 29 hold the step with chance 1e-7.

    Errors too small by a half would cover 67%, 27 of 40.
    """
    rng = np.random.default_rng(0)
    covered, off = 0, []
    for _ in range(40):
        curve, draws = simulated(rng, 900.0, 40)
        found = rise(STEP, curve, draws)
        covered += abs(found.step - 900) < 2 * found.se
        off.append((found.step - 900) / found.se)
    assert covered >= 29
    assert 0.5 < np.std(off) < 1.8


@pytest.mark.parametrize(
    "curve",
    [np.full(STEP.size, 0.4), 0.4 + 0.01 * np.sin(STEP), np.full(STEP.size, np.nan)],
    ids=["flat", "noise", "unknown"],
)
def test_where_nothing_is_learned_there_is_no_date(curve: np.ndarray) -> None:
    assert np.isnan(rise(STEP, curve, curve[None]).step)


def test_too_few_measurements_give_no_date() -> None:
    curve = np.array([0.1, 0.5, 0.9])
    assert rise(np.arange(3.0), curve, curve[None]) is NONE


def test_a_fall_is_dated_by_its_half() -> None:
    time = np.log1p(STEP)
    curve = 3.0 - 0.3 * time
    found = half_fall(STEP, curve, np.stack([curve, curve]))
    assert found.step == pytest.approx(np.expm1(time[-1] / 2), rel=1e-9)
    assert (found.before, found.after) == (3.0, curve[-1])
    assert found.se == 0


def test_what_never_falls_is_not_dated() -> None:
    assert half_fall(STEP, STEP, STEP[None]) is NONE

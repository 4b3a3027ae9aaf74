"""Claims about influence curves, on curves where the answer is planted.

Caught: peaks found in the wrong units, a test that calls any peak a match, noise read as a change
of sign, sums that weigh checkpoints alike whatever lies between them.
"""

import numpy as np
import pytest

from stagewise.evaluation.language_claims import (
    deviates,
    noise_cancellation,
    peak,
    peak_step,
    phase_masks,
    phases,
    reversals,
    shift_test,
    sign_changes,
    summed,
)

STEP = np.array([0, 100, 200, 300, 400, 450, 500, 550, 600, 700, 800, 1000.0])


def bump(centre: float, width: float = 80.0) -> np.ndarray:
    return 1 + 3 * np.exp(-np.square((STEP - centre) / width) / 2)


def draws_about(curve: np.ndarray, noise: float, count: int = 200) -> np.ndarray:
    return curve + noise * np.random.default_rng(0).normal(size=(count, *curve.shape))


def test_peaks_lie_between_checkpoints() -> None:
    curve = 5 - np.square((STEP - 480) / 100)
    assert peak_step(STEP, curve) == pytest.approx(480)


@pytest.mark.parametrize("curve", [STEP, -STEP], ids=["rising", "falling"])
def test_a_peak_at_the_end_of_the_grid_is_that_end(curve: np.ndarray) -> None:
    assert peak_step(STEP, curve) in (STEP[0], STEP[-1])


def test_peaks_have_the_error_of_their_replicates() -> None:
    found = peak(STEP, bump(500), draws_about(bump(500), 0.05))
    assert found.step == pytest.approx(500, abs=10)
    assert 1 < found.se < 40
    assert found.low < 500 < found.high
    assert found.height == pytest.approx(4)


def test_an_unknown_curve_has_no_peak() -> None:
    assert np.isnan(peak(STEP, np.full(STEP.size, np.nan), np.full((3, STEP.size), np.nan)).step)


def test_peaks_at_transitions_are_found_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    centres = [420.0, 500.0, 580.0]
    curves = [bump(one) for one in centres]
    at = shift_test([STEP] * 3, curves, centres, rng, 10)
    assert at.p < 0.01
    assert at.distance < 20 < at.expected
    assert at.p_mismatched == pytest.approx(1 / 6)
    away = shift_test([STEP] * 3, curves, [900.0, 100.0, 1000.0], rng, 10)
    assert away.p > 0.2


def test_the_identity_counts_among_the_shifts() -> None:
    """One seed of 12 checkpoints: p is never below 1/12."""
    found = shift_test([STEP], [bump(500)], [500.0], np.random.default_rng(0), 10)
    assert found.p == pytest.approx(1 / 12)
    assert np.isnan(found.p_mismatched)


def test_flat_noise_is_a_match_as_rarely_as_it_should() -> None:
    """400 cases of noise: p ≤ 0.1 in 40 of them, more than 70 with chance 1e-6."""
    rng = np.random.default_rng(0)
    low = 0
    for _ in range(400):
        curves = [rng.normal(size=STEP.size) for _ in range(2)]
        low += shift_test([STEP] * 2, curves, [500.0, 550.0], rng, 10).p <= 0.1
    assert low <= 70


def test_many_shifts_are_drawn() -> None:
    steps = [STEP] * 6
    found = shift_test(steps, [bump(500)] * 6, [500.0] * 6, np.random.default_rng(0), 2000)
    assert 1 / 2001 <= found.p < 0.01


def test_seeds_without_a_transition_are_left_out() -> None:
    rng = np.random.default_rng(0)
    one = shift_test([STEP], [bump(500)], [500.0], rng, 10)
    both = shift_test([STEP] * 2, [bump(500)] * 2, [500.0, np.nan], rng, 10)
    assert both.p == one.p
    assert np.isnan(shift_test([STEP], [bump(500)], [np.nan], rng, 10).p)


def test_few_chains_make_weak_evidence() -> None:
    value, small = np.array([4.0]), np.array([0.0])
    few = deviates(value, np.array([1.0]), small, chains=4, sequences=100)
    many = deviates(value, small, np.array([1.0]), chains=4, sequences=1001)
    assert few[0] == pytest.approx(2.2, abs=0.05)  # P(t₃ > 4) = 0.014
    assert many[0] == pytest.approx(3.97, abs=0.02)
    assert deviates(-value, np.array([1.0]), small, 4, 100)[0] == -few[0]
    assert deviates(value * 0, small, small, 4, 100)[0] == 0


def test_signs_change_where_both_are_beyond_chance() -> None:
    z = np.random.default_rng(0).normal(size=(24, 5))
    z[2, 0], z[20, 0] = 6.0, -6.0
    z[2, 1] = 6.0
    found, limit = sign_changes(z)
    assert found.tolist() == [True, False, False, False, False]
    assert limit == pytest.approx(3.53, abs=0.02)  # 120 entries, two sides, 0.05


def test_reversals_need_a_rise_and_a_fall() -> None:
    curves = np.stack([bump(500), STEP / 200, -STEP / 200, 0 * STEP], axis=1)
    rises, falls, limit = reversals(curves, draws_about(curves, 0.05), freedom=20)
    assert (np.minimum(rises, falls) > limit).tolist() == [True, False, False, False]
    assert (rises > limit).tolist() == [True, True, False, False]
    assert (falls > limit).tolist() == [True, False, True, False]


def test_sums_weigh_checkpoints_by_the_steps_they_stand_for() -> None:
    step = np.array([0.0, 10.0, 40.0])
    found = summed(step, np.array([[3.0, 1.0], [-1.0, 1.0], [99.0, 99.0]]), rate=0.1)
    np.testing.assert_allclose(found.total, [0.0, 4.0])
    np.testing.assert_allclose(found.size, [6.0, 4.0])
    np.testing.assert_allclose(found.cancelled, [1.0, 0.0], atol=1e-12)


def test_noise_seems_to_cancel_and_is_told_from_what_does() -> None:
    turning = np.stack([np.where(STEP < 500, 1.0, -1.0), np.ones(STEP.size), 0 * STEP], axis=1)
    noisy = turning + 0.05 * np.random.default_rng(1).normal(size=turning.shape)
    by_noise = noise_cancellation(STEP, noisy, draws_about(noisy, 0.05))
    seen = summed(STEP, noisy, 1.0).cancelled
    assert seen[0] > 0.8 > 0.05 > by_noise[0]
    assert max(seen[1], by_noise[1]) < 0.01
    assert by_noise[2] > 0.3


def test_phases_average_checkpoints_and_seeds() -> None:
    masks = phase_masks(STEP, 500, 40)
    assert STEP[masks[1]].tolist() == [450, 500, 550]
    np.testing.assert_array_equal(masks.sum(axis=0), 1)
    curves = [np.stack([STEP, bump(500)], axis=1), np.stack([STEP + 2, bump(500)], axis=1)]
    drawn = [draws_about(one, 0.1) for one in curves]
    found = phases(curves, drawn, [masks, masks], [4, 5])
    assert found.value[1, 0] == pytest.approx(501)
    assert found.freedom == 7
    assert found.replicates.shape == (200, 3, 2)
    assert (np.abs(found.z()[:, 1]) > 4).all()


def test_a_phase_without_checkpoints_gets_the_nearest() -> None:
    masks = phase_masks(STEP, 520, 1)
    assert STEP[masks[1]].tolist() == [500]
    late = phase_masks(STEP, 1000, 400)
    assert STEP[late[2]].tolist() == [1000]

"""Curves over training: what a flip, a peak and a half step are, by hand-made curves."""

import numpy as np
import pandas as pd
import pytest

from stagewise.evaluation.curves import (
    bonferroni_bound,
    correlation,
    half_step,
    peaks,
    relation_mean,
    sign_flip,
    summarize,
)
from stagewise.evaluation.toy_ablation import ablation_numbers
from stagewise.evaluation.toy_curves import mode_levels, transition_numbers

STEP = np.arange(0, 1000, 100)


def test_flip_is_interpolated_between_the_checkpoints_that_bracket_it() -> None:
    """Catches a flip read at a checkpoint, or of the other direction."""
    influence = np.array([0, -1, -2, -1, 3, 1, 0, 0, 0, 0.0])
    assert sign_flip(STEP, influence) == pytest.approx(300 + 100 * 1 / 4)


def test_noise_about_zero_before_and_after_is_no_flip() -> None:
    """Catches taking the first crossing: the sign of noise at the start."""
    influence = np.array([-1e-9, 1e-9, -2, -1, 3, 1, -1e-9, 1e-9, 0, 0])
    assert 300 < sign_flip(STEP, influence) < 400


@pytest.mark.parametrize("influence", [-np.ones(10), np.ones(10), np.zeros(10)])
def test_no_flip_without_both_signs_in_order(influence: np.ndarray) -> None:
    assert np.isnan(sign_flip(STEP, influence))


def test_peaks_tell_helpful_from_harmful() -> None:
    """Catches the largest absolute value, which noise may place on either of two extremes."""
    influence = np.array([0, -3, 0, 0, 2.9, 0, 0, 0, 0, 0.0])
    assert peaks(STEP, influence) == {"helpful": 100.0, "harmful": 400.0}


def test_half_step_is_where_a_line_crosses() -> None:
    strength = np.linspace(0, 9, 10)
    assert half_step(STEP, strength, 4.5) == pytest.approx(450)
    assert half_step(STEP, strength, 0.0) == 0
    assert np.isnan(half_step(STEP, strength, 10.0))


def test_relation_mean_takes_that_relation_only_and_names_what_there_is() -> None:
    relation = np.array([["self", "sibling"], ["sibling", "self"]])
    values = np.array([[[9.0, 1.0], [3.0, 9.0]]])
    assert relation_mean(values, relation, "sibling") == pytest.approx([2.0])
    with pytest.raises(ValueError, match="no pair is 'cousin'.*'self', 'sibling'"):
        relation_mean(values, relation, "cousin")


def test_correlation_leaves_out_what_does_not_exist() -> None:
    """The law has NaN where it does not exist; a constant has no correlation."""
    one = np.array([1.0, 2.0, np.nan, 4.0])
    assert correlation(one, 2 * one + 1) == pytest.approx(1)
    assert np.isnan(correlation(np.ones(4), one))


def test_summary_counts_replicates_and_their_error() -> None:
    found = summarize([1.0, 3.0, np.nan])
    assert (found.value, found.se, found.n) == (2.0, pytest.approx(1.0), 2)
    assert np.isnan(summarize([1.0]).se)
    assert summarize([]).n == 0


def test_bonferroni_bound_is_that_of_student() -> None:
    """One entry at 5% with many degrees of freedom is the normal's 1.96."""
    assert bonferroni_bound(1, 10**6, 0.05) == pytest.approx(1.96, abs=1e-3)
    assert bonferroni_bound(100, 63) > bonferroni_bound(100, 10**6) > bonferroni_bound(1, 10**6)


def test_levels_of_a_balanced_tree_and_of_no_other() -> None:
    """Singular values 15, 7, 3, 3, 1, 1, 1, 1 (squared): levels of 1, 1, 2 and 4 modes."""
    rows = [np.repeat(np.eye(2**depth), 2 ** (3 - depth), axis=1) for depth in range(4)]
    assert mode_levels(np.concatenate(rows)) == [[0], [1], [2, 3], [4, 5, 6, 7]]
    assert mode_levels(np.diag([5.0, 4.0, 3.0, 2.0])) == []


def _influence(worst: dict[str, int], influence: str = "bif") -> pd.DataFrame:
    """A curve per relation and seed that is helpful before its most harmful step."""
    frames = []
    for seed in (0, 1):
        for relation, step in worst.items():
            harm = np.exp(-(((STEP - step) / 80.0) ** 2))
            help_first = np.exp(-(((STEP - step + 250) / 80.0) ** 2))
            frame = {"tree": "t", "seed": seed, "influence": influence, "relation": relation}
            frames.append(pd.DataFrame(frame | {"step": STEP, "value": harm - help_first}))
    return pd.concat(frames, ignore_index=True)


def test_nearest_transition_is_that_of_the_last_shared_distinction() -> None:
    """Catches levels paired with the wrong relations: swapped peaks must score zero."""
    half = {0: 200, 1: 500, 2: 800, 3: 800}
    transitions = pd.DataFrame(
        [{"seed": s, "mode": k, "step": step} for s in (0, 1) for k, step in half.items()]
    )
    levels = [[0], [1], [2, 3]]
    right = _influence({"distant": 200, "cousin": 500, "sibling": 800})
    found = transition_numbers(right, transitions, levels)
    assert found["nearest_transition.fraction"].value == 1
    assert found["peak_minus_transition.sibling"].value == 0
    assert found["transition_step.level2"].value == 800
    wrong = _influence({"distant": 800, "cousin": 200, "sibling": 500})
    assert transition_numbers(wrong, transitions, levels)["nearest_transition.fraction"].value == 0
    assert transition_numbers(right, transitions, []) == {}


def test_window_offsets_are_zero_for_the_own_relation_and_large_for_others() -> None:
    """An effect that is −BIF itself: offset 0, r 1; another relation's influence is far off."""
    influence = pd.concat(
        _influence({"distant": 300, "cousin": 500, "sibling": 800}, name)
        for name in ("bif", "bif_prior")
    )
    rows = []
    for (seed, relation), curve in influence[influence["influence"] == "bif"].groupby(
        ["seed", "relation"]
    ):
        for start in range(0, 860, 20):
            grid = np.linspace(start, start + 40, 33)
            effect = -np.interp(grid, curve["step"], curve["value"]).mean()
            rows.append((seed, relation, start, start + 40, effect, 1e-9))
    columns = ["seed", "relation", "window_start", "window_end", "at_end", "at_final"]
    found = ablation_numbers(pd.DataFrame(rows, columns=columns), influence)
    assert found["peak_offset"].value == 0
    assert found["peak_offset.absolute"].value == 0
    assert found["peak_offset.mismatched"].value > 200
    assert found["r.cousin"].value == pytest.approx(1)
    assert found["at_final.largest"].value == 1e-9

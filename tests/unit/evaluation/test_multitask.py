"""Separation of two tasks: against hand calculations and scikit-learn."""

import numpy as np
import pytest

from stagewise.evaluation.multitask import (
    agreement,
    auroc,
    cross_deviates,
    largest,
    pairs_of,
    plane,
    separation,
)

TASK = np.array([0, 0, 0, 1, 1, 1])
NUMBERS = (np.array([0, 0, 1, 0, 1, 2]), np.array([0, 1, 2, 0, 2, 2]), np.array([0, 1, 3, 0, 4, 0]))


def test_area_is_that_of_scikit_learn_with_ties() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    positive, negative = rng.integers(0, 6, 40) / 5, rng.integers(0, 5, 30) / 5
    wanted = roc_auc_score([1] * 40 + [0] * 30, np.concatenate([positive, negative]))
    assert auroc(positive, negative) == pytest.approx(wanted, abs=1e-12)


def test_area_by_hand() -> None:
    assert auroc(np.array([1.0, 2.0]), np.array([1.0])) == 0.75
    assert auroc(np.array([2.0]), np.array([1.0, 0.0])) == 1.0
    assert np.isnan(auroc(np.array([]), np.array([1.0])))


def test_pairs_are_each_unordered_pair_once() -> None:
    pairs = pairs_of(TASK, *NUMBERS)
    assert len(pairs.first) == 15
    assert pairs.same.sum() == 6
    related = {
        (int(i), int(j))
        for i, j in zip(pairs.first[pairs.related], pairs.second[pairs.related], strict=True)
    }
    assert (0, 1) in related  # a in common
    assert (2, 4) in related  # a and b in common, of different tasks
    assert (0, 5) in related  # the answer in common
    assert (1, 2) not in related


def test_separation_of_a_kernel_in_blocks() -> None:
    kernel = np.where(TASK[:, None] == TASK, 0.3, -0.1)
    found = separation(kernel, pairs_of(TASK, *NUMBERS))
    assert found["auroc"] == found["auroc_unrelated"] == 1.0
    assert found["within"] == pytest.approx(0.3)
    assert found["cross"] == pytest.approx(-0.1)
    assert separation(np.full((6, 6), 0.2), pairs_of(TASK, *NUMBERS))["auroc"] == 0.5


def test_deviates_are_those_across_tasks() -> None:
    pairs = pairs_of(TASK, *NUMBERS)
    value = np.where(TASK[:, None] == TASK, 100.0, 0.5)
    z = cross_deviates(value, np.full((6, 6), 0.25), pairs)
    np.testing.assert_array_equal(z, np.full(9, 2.0))
    assert largest(z)[::2] == (2.0, 9)


def test_agreement_counts_each_entry_once() -> None:
    law = np.where(TASK[:, None] == TASK, 1.0, 0.0)
    found = agreement(law + 0.1, np.full((6, 6), 0.1), law, law > 0)
    np.testing.assert_allclose(found.deviates, np.ones(21))
    assert found.relative_error == pytest.approx(0.1 * 6 / np.sqrt(18))
    assert found.cross_law == 0.0


def test_plane_has_the_distances_of_a_kernel_of_rank_two() -> None:
    points = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.5], [0.0, -2.5]])
    found = plane(points @ points.T)
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    np.testing.assert_allclose(
        np.linalg.norm(found[:, None] - found, axis=-1), distances, atol=1e-12
    )

"""Subsets of training samples.

Caught: subsets of another size, one that depends on how many are drawn, the same for two purposes,
a class that is missed without a word, a sample left out twice or elsewhere.
"""

import jaxtyping
import numpy as np
import pytest

from stagewise.data.subsets import check_subsets, random_subsets, without
from stagewise.errors import ConfigError

LABELS = np.arange(60) % 5


def test_every_subset_has_its_size_and_every_class() -> None:
    masks = random_subsets(LABELS, 0.25, 8, 1, "here")
    assert masks.shape == (8, 60)
    assert (masks.sum(1) == 15).all()
    assert all(set(LABELS[mask]) == set(range(5)) for mask in masks)
    check_subsets(masks, LABELS)


def test_a_subset_is_a_function_of_its_names_and_place() -> None:
    few, many = (random_subsets(LABELS, 0.5, count, 1, "scored", 50) for count in (3, 6))
    assert (few == many[:3]).all()
    assert (few != random_subsets(LABELS, 0.5, 3, 1, "tuning", 50)).any()
    assert (few != random_subsets(LABELS, 0.5, 3, 2, "scored", 50)).any()


def test_samples_are_chosen_alike() -> None:
    """Of 400 subsets of half the samples each holds a sample 200 ± 10 times: 6 deviations."""
    counts = random_subsets(LABELS, 0.5, 400, 3, "here").sum(0)
    assert abs(counts - 200).max() < 60


def test_a_fraction_that_cannot_hold_every_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="none holds all 5 classes"):
        random_subsets(LABELS, 0.05, 1, 1, "here")


@pytest.mark.parametrize("alpha", [0.0, -0.5, 1.5, 1e-4])
def test_a_fraction_out_of_range_is_refused(alpha: float) -> None:
    with pytest.raises(ConfigError, match="must be in"):
        random_subsets(LABELS, alpha, 1, 1, "here")


def test_what_is_left_out_is_left_out() -> None:
    masks = without(4, [[], [2], [0, 3]])
    assert masks.tolist() == [[1, 1, 1, 1], [1, 1, 0, 1], [0, 1, 1, 0]]


@pytest.mark.parametrize("bad", [[4], [-1], [1, 1]])
def test_samples_that_cannot_be_left_out_are_refused(bad: list[int]) -> None:
    with pytest.raises(ConfigError, match="name each once"):
        without(4, [bad])


def test_a_missed_class_is_named() -> None:
    masks = np.ones((3, 60), bool)
    masks[1, LABELS == 2] = False
    with pytest.raises(ConfigError, match=r"subset 1 has 48 samples and none of .* \[2\]"):
        check_subsets(masks, LABELS)


def test_masks_of_other_samples_are_refused() -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # a user's call is not checked for types
    with pytest.raises(ConfigError, match=r"allowed is \(subset, 60\)"):
        check_subsets(np.ones((2, 59), bool), LABELS)

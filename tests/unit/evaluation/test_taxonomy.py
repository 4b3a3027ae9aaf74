"""Tree similarities, against hand calculations and NLTK's conventions."""

import math
import time

import numpy as np
import pytest

from stagewise.errors import ConfigError, SchemaError
from stagewise.evaluation.taxonomy import (
    ancestor_at_depth,
    ancestry,
    label_codes,
    lcs_depth,
    lin,
    path_similarity,
    wu_palmer,
)
from stagewise.storage.items import from_arrays

#: root ─ a ─ b ─ x, y;  root ─ a ─ z;  root ─ w
PARENTS = {"root": "", "a": "root", "b": "a", "x": "b", "y": "b", "z": "a", "w": "root"}


def tree(leaves=None):
    items = from_arrays(id=list(PARENTS), parent=list(PARENTS.values()), label=list(PARENTS))
    return ancestry(items, leaves)


def test_leaves_are_found_in_their_order_with_their_depths():
    """A row of one leaf's way in another's place would shift every similarity."""
    found = tree()
    assert found.leaves == ["x", "y", "z", "w"]
    assert found.depth.tolist() == [3, 3, 2, 1]
    assert [found.nodes[place] for place in found.way[0]] == ["root", "a", "b", "x"]
    assert found.way[3].tolist()[2:] == [-1, -1]
    assert tree(["w", "x"]).leaves == ["w", "x"]


def test_depth_of_the_lowest_common_subsumer_by_hand():
    """Padding of unequal ways must not count as a shared ancestor."""
    expected = [[3, 2, 1, 0], [2, 3, 1, 0], [1, 1, 2, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(lcs_depth(tree()), expected)


def test_path_similarity_by_hand():
    """Edges: 2 from x to y, 3 from x to z, 4 from x to w, 3 from z to w."""
    expected = [
        [1, 1 / 3, 1 / 4, 1 / 5],
        [1 / 3, 1, 1 / 4, 1 / 5],
        [1 / 4, 1 / 4, 1, 1 / 4],
        [1 / 5, 1 / 5, 1 / 4, 1],
    ]
    np.testing.assert_allclose(path_similarity(tree()), expected, rtol=1e-15)


def test_wu_palmer_by_hand_with_the_root_at_depth_one():
    """With the root at depth 0, x and w would be 0 similar and not 2/(4 + 2)."""
    found = wu_palmer(tree())
    np.testing.assert_allclose(np.diag(found), 1)
    np.testing.assert_allclose(found[0], [1, 6 / 8, 4 / 7, 2 / 6], rtol=1e-15)
    np.testing.assert_array_equal(found, found.T)


def test_lin_by_hand():
    """Counts 1, 1, 2, 4 of 8: IC of b is ln 4, of a ln 2, of the root 0."""
    found = lin(tree(), [1, 1, 2, 4])
    ln = math.log
    assert found[0, 1] == pytest.approx(2 * ln(4) / (ln(8) + ln(8)), rel=1e-14)
    assert found[0, 2] == pytest.approx(2 * ln(2) / (ln(8) + ln(4)), rel=1e-14)
    np.testing.assert_array_equal(found[3], [0, 0, 0, 1])


def test_smoothing_is_added_to_every_leaf_and_reaches_the_root():
    """Smoothing of the leaves alone would give inner nodes a probability below their leaves'."""
    np.testing.assert_allclose(lin(tree(), [0, 0, 1, 3], 1), lin(tree(), [1, 1, 2, 4]), rtol=1e-14)


def test_ancestors_at_each_depth():
    """A leaf above the depth keeps its own id, so that depths deeper down are still partitions."""
    assert ancestor_at_depth(tree(), 0) == ["root"] * 4
    assert ancestor_at_depth(tree(), 1) == ["a", "a", "a", "w"]
    assert ancestor_at_depth(tree(), 2) == ["b", "b", "z", "w"]
    assert ancestor_at_depth(tree(), 3) == ["x", "y", "z", "w"]
    assert label_codes(["b", "b", "z", "w"]).tolist() == [0, 0, 2, 1]


def test_similarities_do_not_depend_on_the_order_of_nodes():
    """Nodes may come children first."""
    ids = list(PARENTS)[::-1]
    items = from_arrays(id=ids, parent=[PARENTS[one] for one in ids], label=ids)
    again = ancestry(items, ["x", "y", "z", "w"])
    np.testing.assert_array_equal(wu_palmer(again), wu_palmer(tree()))
    np.testing.assert_array_equal(lin(again, [1, 1, 2, 4]), lin(tree(), [1, 1, 2, 4]))


def test_a_thousand_leaves_take_seconds_at_most():
    """A loop over pairs would take minutes."""
    ids = ["root"]
    parent = [""]
    for level, width in enumerate((10, 100, 1000), start=1):
        above = ids[-width // 10 :]
        ids += [f"{level}-{k}" for k in range(width)]
        parent += [above[k % len(above)] for k in range(width)]
    found = ancestry(from_arrays(id=ids, parent=parent, label=ids))
    start = time.perf_counter()
    assert wu_palmer(found).shape == lin(found, np.ones(1000)).shape == (1000, 1000)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("counts", "smoothing"),
    [([1, 1, 1], 0), ([1, 1, 1, 0], 0), ([1, 1, 1, -1], 2), ([1, 1, 1, math.nan], 0)],
)
def test_bad_counts_are_refused(counts, smoothing):
    with pytest.raises(ConfigError, match="counts"):
        lin(tree(), counts, smoothing)


def test_a_leaf_above_another_has_no_count_of_its_own():
    with pytest.raises(ConfigError, match="above another"):
        lin(tree(["b", "x"]), [1, 1])


def test_two_roots_unknown_leaves_and_depths_are_refused():
    forest = from_arrays(id=["a", "b"], parent=["", ""], label=["a", "b"])
    with pytest.raises(SchemaError, match="2 roots"):
        ancestry(forest)
    with pytest.raises(ConfigError, match="nowhere"):
        tree(["x", "nowhere"])
    with pytest.raises(ConfigError, match="at least one"):
        tree([])
    with pytest.raises(ConfigError, match="allowed are 0"):
        ancestor_at_depth(tree(), 4)

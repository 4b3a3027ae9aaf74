import numpy as np
import pytest

from stagewise.config.base import parse
from stagewise.config.toy import TreeSettings
from stagewise.data.trees import from_branching, from_nested, from_settings
from stagewise.errors import ConfigError

UNBALANCED = [[["robin", "canary"], ["salmon", "sunfish", "pike"]], ["oak", ["rose", "daisy"]]]


def test_singular_values_of_the_balanced_binary_tree():
    matrix = from_branching([2, 2, 2]).feature_matrix([1, 1, 1, 1])
    assert matrix.shape == (15, 8)
    squared = np.linalg.svd(matrix, compute_uv=False) ** 2
    np.testing.assert_allclose(squared, [15, 7, 3, 3, 1, 1, 1, 1], atol=1e-12)


def test_item_has_the_features_of_its_path_weighted_by_depth():
    tree = from_nested(UNBALANCED)
    matrix = tree.feature_matrix([8.0, 4.0, 2.0, 1.0])
    column = matrix[:, tree.items.index("pike")]
    found = {tree.nodes[row]: column[row] for row in np.flatnonzero(column)}
    assert found == {"root": 8.0, "node-0": 4.0, "node-0-1": 2.0, "pike": 1.0}
    assert matrix[:, tree.items.index("oak")].sum() == 8.0 + 4.0 + 2.0


def test_gram_matrix_counts_common_ancestors():
    tree = from_branching([2, 3])
    matrix = tree.feature_matrix([1, 1, 1])
    shared = {"self": 3, "sibling": 2, "distant": 1}
    expected = [[shared[tree.relation(i, j)] for j in range(6)] for i in range(6)]
    np.testing.assert_array_equal(matrix.T @ matrix, expected)


@pytest.mark.parametrize(
    ("one", "other", "relation"),
    [
        ("robin", "robin", "self"),
        ("robin", "canary", "sibling"),
        ("sunfish", "pike", "sibling"),
        ("robin", "pike", "cousin"),
        ("oak", "rose", "cousin"),
        ("oak", "robin", "distant"),
        ("daisy", "salmon", "distant"),
    ],
)
def test_relations(one, other, relation):
    tree = from_nested(UNBALANCED)
    assert tree.relation(one, other) == tree.relation(other, one) == relation
    i, j = tree.items.index(one), tree.items.index(other)
    assert tree.relation(i, j) == relation
    assert tree.relations()[i, j] == relation


def test_items_right_below_the_root_are_siblings():
    tree = from_nested(["one", "two", ["three", "four"]])
    assert tree.relation("one", "two") == "sibling"
    assert tree.relation("one", "three") == "distant"


def test_ids_are_permanent_and_follow_the_shape():
    tree = from_branching([2, 1, 2])
    assert tree.items == ("item-0-0-0", "item-0-0-1", "item-1-0-0", "item-1-0-1")
    assert tree.nodes[:5] == ("root", "node-0", "node-1", "node-0-0", "node-1-0")
    assert tree.parent == (-1, 0, 0, 1, 2, 3, 3, 4, 4)
    assert tree.depth == (0, 1, 1, 2, 2, 3, 3, 3, 3)


def test_items_keep_their_order_whatever_their_depth():
    tree = from_nested(UNBALANCED)
    names = "robin canary salmon sunfish pike oak rose daisy"
    assert tree.items == tuple(names.split())
    assert [tree.branch(item) for item in tree.items] == ["node-0"] * 5 + ["node-1"] * 3
    assert from_nested(["one", ["two", "three"]]).branch("one") == "one"


def test_from_settings_reads_either_shape():
    balanced = parse(TreeSettings, {"branching": [2, 2], "feature_weights": [1.0] * 3})
    assert from_settings(balanced) == from_branching([2, 2])
    nested = parse(TreeSettings, {"nested": UNBALANCED, "feature_weights": [1.0] * 4})
    assert from_settings(nested) == from_nested(UNBALANCED)


@pytest.mark.parametrize(
    ("nested", "message"),
    [
        ([["a", "b"], ["b", "c"]], "'b' stand for more than one node.*give every leaf its own"),
        (["root", "a"], "'root'"),
        (["alone"], "1 leaf.*two or more"),
        ([], "empty list"),
        ([["a", "b"], []], "empty list"),
        (["a", ""], "empty name"),
        (["a", 3], "leaf of the tree is 3.*quotes"),
    ],
)
def test_bad_nested_lists_are_refused_with_the_remedy(nested, message):
    with pytest.raises(ConfigError, match=message):
        from_nested(nested)


@pytest.mark.parametrize(
    ("branching", "message"),
    [([1, 1], "1 leaves.*2 to"), ([2, 0], "at least 1"), ([100, 100, 100], "1000000 leaves")],
)
def test_bad_branching_is_refused_with_the_remedy(branching, message):
    with pytest.raises(ConfigError, match=message):
        from_branching(branching)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 1, 1], "3 values.*4 depths.*give 4"),
        ([1] * 5, "5 values"),
        ([1, 1, 0, 1], "has 0; allowed"),
        ([1, 1, 1, float("nan")], "has nan"),
    ],
)
def test_bad_feature_weights_are_refused_with_the_remedy(weights, message):
    with pytest.raises(ConfigError, match=message):
        from_branching([2, 2, 2]).feature_matrix(weights)


def test_unknown_item_is_named():
    with pytest.raises(ConfigError, match="'shark'.*robin"):
        from_nested(UNBALANCED).relation("shark", "pike")

"""Alignment with a taxonomy: hand calculations, scipy and scikit-learn, planted truths."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import normalized_mutual_info_score, roc_auc_score

from stagewise.errors import ConfigError
from stagewise.evaluation import alignment_errors
from stagewise.evaluation.alignment import (
    auroc,
    class_means,
    nearest_neighbour_agreement,
    same_label,
    spearman,
    spearman_jackknife,
    tree_alignment,
)
from stagewise.evaluation.alignment_clusters import (
    average_linkage,
    cka_alignment,
    cluster_alignment,
    kernel_alignment,
    linear_cka,
    normalised_mutual_information,
    purity,
)
from stagewise.evaluation.alignment_errors import jackknife_error
from stagewise.evaluation.feature_similarity import cosine_similarity, negative_distance

CLASSES = 12
LABELS = np.repeat(np.arange(CLASSES), 4)
#: Classes in four groups of three.
GROUPS = np.arange(CLASSES) // 3
TREE = np.where(np.eye(CLASSES, dtype=bool), 1.0, np.where(same_label(GROUPS), 0.6, 0.2))


def symmetric(seed):
    half = np.random.default_rng(seed).standard_normal((len(LABELS), len(LABELS)))
    return (half + half.T) / 2


def pairs(matrix):
    return matrix[np.triu_indices(len(matrix), 1)]


def align(similarity, **changes):
    arguments = {"permutations": 99, "seed": 0, "unit": "class", "within_class": True}
    return tree_alignment(similarity, TREE, LABELS, **arguments | changes)


def test_spearman_is_scipys_with_ties_on_both_sides():
    """Ordinal ranks in place of midranks would show: both sides have ties."""
    one, other = np.round(symmetric(0), 1), np.round(symmetric(1) + symmetric(0), 1)
    expected = spearmanr(pairs(one), pairs(other)).statistic
    assert spearman(one, other) == pytest.approx(expected, abs=1e-12)


def test_tree_alignment_is_scipys_correlation_over_the_pairs_asked_for():
    """Pairs i > j, the diagonal or same-class pairs that slip in would move it."""
    leaf = TREE[LABELS[:, None], LABELS[None, :]]
    similarity = np.round(symmetric(0) + leaf, 1)
    expected = spearmanr(pairs(similarity), pairs(leaf)).statistic
    found = align(similarity)
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.count == 48 * 47 // 2
    apart = pairs(~same_label(LABELS))
    expected = spearmanr(pairs(similarity)[apart], pairs(leaf)[apart]).statistic
    found = align(similarity, within_class=False)
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.count == apart.sum() == 48 * 47 // 2 - 12 * 6


def test_every_permutation_counts_and_the_observed_one_too():
    """Of 3 classes' 6 orders 2 leave {0, 1 | 2} as it is; a p of 0 would mean no +1."""
    tree = np.array([[1, 0.5, 0.1], [0.5, 1, 0.1], [0.1, 0.1, 1]])
    found = tree_alignment(
        tree, tree, np.arange(3), permutations=3000, seed=0, unit="class", within_class=False
    )
    assert found.value == pytest.approx(1)
    # Binomial(3000, 1/3): six standard deviations are 0.052.
    assert found.p == pytest.approx(1 / 3, abs=0.052)
    # The other four orders give −½: the mean is 1/3 − 1/3 = 0, its sd √(1/3 + 1/6) = 0.707.
    assert found.null_mean == pytest.approx(0, abs=6 * 0.707 / math.sqrt(3000))
    assert found.null_sd == pytest.approx(math.sqrt(0.5), abs=0.03)
    assert align(TREE[LABELS][:, LABELS]).p == 1 / 100


def test_classes_without_a_taxonomy_pass_the_test_over_samples_only():
    """The null over samples takes recognised classes for a taxonomy; the one over classes not.

    The planted similarity knows classes and nothing else, so over classes p is uniform. Over
    10 tables at p ≤ 0.05, more than 4 have probability 6e-5.
    """
    rejected = {"class": 0, "sample": 0}
    for seed in range(10):
        similarity = 3.0 * same_label(LABELS) + symmetric(seed)
        for unit in rejected:
            rejected[unit] += align(similarity, unit=unit, permutations=39).p <= 0.05
    assert rejected["sample"] == 10
    assert rejected["class"] <= 4


def test_the_null_over_classes_keeps_what_classes_alone_give():
    """Its mean is above 0 with same-class pairs and about 0 without."""
    similarity = 3.0 * same_label(LABELS) + symmetric(5)
    assert align(similarity).null_mean > 5 * align(similarity).null_sd / math.sqrt(99)
    apart = align(similarity, within_class=False)
    assert abs(apart.null_mean) < 5 * apart.null_sd / math.sqrt(99)


def test_a_planted_taxonomy_is_found_between_classes_under_both_nulls():
    """A null that permuted rows and not columns would have the wrong spread."""
    similarity = TREE[LABELS][:, LABELS] + 0.2 * symmetric(3)
    for unit in ("class", "sample"):
        found = align(similarity, unit=unit, within_class=False)
        assert found.p == 1 / 100
        assert found.value > found.null_mean + 4 * found.null_sd


def test_the_null_is_a_function_of_the_seed():
    similarity = symmetric(0)
    assert align(similarity) == align(similarity) != align(similarity, seed=1)


def test_auroc_is_scikit_learns_over_the_candidate_pairs():
    """Ties count half; the diagonal, where relations are true, must not count."""
    similarity = np.round(symmetric(2) + same_label(LABELS), 1)
    found = auroc(similarity, same_label(LABELS), LABELS)
    positive = pairs(same_label(LABELS))
    expected = roc_auc_score(positive, pairs(similarity))
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert (found.positives, found.negatives) == (12 * 6, 48 * 47 // 2 - 12 * 6)
    group = same_label(GROUPS[LABELS])
    found = auroc(similarity, group, LABELS, candidates=~same_label(LABELS))
    apart = ~positive
    expected = roc_auc_score(pairs(group)[apart], pairs(similarity)[apart])
    assert found.value == pytest.approx(expected, abs=1e-12)


def test_auroc_by_hand():
    """Positive pairs 0.9 and 0.5, negative 0.5: one win and one tie of two."""
    similarity = np.array([[0, 0.9, 0.5], [0.9, 0, 0.5], [0.5, 0.5, 0]])
    positive = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 1]], dtype=bool)
    assert auroc(similarity, positive, np.arange(3)).value == 0.75


def test_the_jackknife_leaves_out_classes_with_all_their_pairs():
    """Leaving out pairs, or samples, would give an error that is far too small."""
    similarity = symmetric(4) + same_label(LABELS)
    left = []
    for one in range(CLASSES):
        rest = LABELS != one
        inside = similarity[np.ix_(rest, rest)]
        left.append(roc_auc_score(pairs(same_label(LABELS[rest])), pairs(inside)))
    expected = math.sqrt(11 / 12 * np.sum((np.array(left) - np.mean(left)) ** 2))
    assert auroc(similarity, same_label(LABELS), LABELS).se == pytest.approx(expected, rel=1e-9)


def test_groups_of_classes_leave_out_all_pairs_of_theirs(monkeypatch):
    """Caught: ties placed on the wrong side, a pair inside a group that is taken away twice."""
    monkeypatch.setattr(alignment_errors, "GROUPS", 4)
    similarity = np.round(symmetric(4) + same_label(LABELS), 1)
    left, whole = [], (same_label(LABELS), similarity)
    for one in range(4):
        rest = LABELS // 3 != one
        inside = [pairs(part[np.ix_(rest, rest)]) for part in whole]
        left.append(roc_auc_score(*inside))
    expected = math.sqrt(3 / 4 * np.sum((np.array(left) - np.mean(left)) ** 2))
    found = auroc(similarity, same_label(LABELS), LABELS)
    assert found.se == pytest.approx(expected, rel=1e-9)
    assert found.value == pytest.approx(roc_auc_score(*map(pairs, whole)), rel=1e-12)


def test_the_error_of_a_rank_correlation_leaves_out_classes():
    """Caught: pairs of a class that stay, and ranks that are not made anew."""
    similarity, left = symmetric(5) + TREE[np.ix_(LABELS, LABELS)], []
    for one in range(CLASSES):
        rest = LABELS != one
        leaves = TREE[np.ix_(LABELS[rest], LABELS[rest])]
        left.append(spearmanr(pairs(similarity[np.ix_(rest, rest)]), pairs(leaves)).statistic)
    expected = math.sqrt(11 / 12 * np.sum((np.array(left) - np.mean(left)) ** 2))
    value, found = spearman_jackknife(similarity, TREE, LABELS, within_class=True)
    assert jackknife_error(found) == pytest.approx(expected, rel=1e-9)
    assert value == pytest.approx(
        spearmanr(pairs(similarity), pairs(TREE[np.ix_(LABELS, LABELS)])).statistic
    )


def test_the_jackknife_covers_the_spread_over_classes():
    """Class effects make pairs dependent: the error is the spread over fresh sets of classes.

    Mean se² over 60 sets against the variance of their values, whose own sd is √(2/59) = 18%: a
    factor 2 is 5 sd. Independent pairs (or samples) would give an error off by more.
    """
    found = []
    for seed in range(60):
        effect = np.random.default_rng(seed).standard_normal(CLASSES)[LABELS]
        similarity = symmetric(100 + seed) + same_label(LABELS) * (1 + effect)
        found.append(auroc(similarity, same_label(LABELS), LABELS))
    ratio = np.mean([one.se**2 for one in found]) / np.var([one.value for one in found], ddof=1)
    assert 1 / 2 < ratio < 2


def test_an_error_that_rests_on_one_class_is_not_a_number():
    """Without that class there is no positive pair, so there is nothing to jackknife."""
    positive = np.zeros((48, 48), dtype=bool)
    positive[0, 1] = positive[1, 0] = True
    found = auroc(symmetric(0), positive, LABELS)
    assert math.isnan(found.se)
    assert math.isfinite(found.value)


def test_nearest_neighbours_by_hand():
    """Sample 0's nearest are 1 (its label) and 2 (another) alike: half a vote."""
    similarity = np.array(
        [[9, 0.5, 0.5, 0.1], [0.5, 9, 0.2, 0.1], [0.5, 0.2, 9, 0.4], [0.1, 0.1, 0.4, 9]]
    )
    found = nearest_neighbour_agreement(similarity, np.array([0, 0, 1, 1]))
    assert found.value == pytest.approx((0.5 + 1 + 0 + 1) / 4)
    assert found.chance == pytest.approx(1 / 3)
    assert found.ceiling == 1


def test_neighbours_of_a_samples_own_class_can_be_left_out():
    """A kernel that knows classes only agrees everywhere with them, and by chance without."""
    similarity = 5.0 * same_label(LABELS) + 0.1 * symmetric(0)
    coarse = GROUPS[LABELS]
    assert nearest_neighbour_agreement(similarity, coarse).value == 1
    found = nearest_neighbour_agreement(similarity, coarse, LABELS)
    assert found.chance == pytest.approx(8 / 44)
    # 48 samples that share neighbours: 6 sd of independent ones is 0.33.
    assert abs(found.value - found.chance) < 0.33
    assert nearest_neighbour_agreement(similarity, LABELS, LABELS).ceiling == 0


def test_class_means_by_hand():
    """A diagonal that counts samples with themselves would be 9 too high."""
    similarity = np.array([[9, 1, 2], [1, 9, 4], [2, 4, 9]], dtype=float)
    found = class_means(similarity, np.array([7, 7, 3]))
    np.testing.assert_array_equal(found, [[math.nan, 3], [3, 1]])


def test_average_linkage_recovers_planted_clusters_in_the_order_of_samples():
    """Ties must not leave fewer clusters; numbers must not depend on the order of merges."""
    order = np.random.default_rng(0).permutation(len(LABELS))
    correlation = TREE[LABELS[order]][:, LABELS[order]] + 0.05 * symmetric(0)
    found = average_linkage(correlation, CLASSES)
    assert normalised_mutual_information(found, LABELS[order]) == pytest.approx(1)
    assert found[0] == 0
    assert np.unique(found).size == CLASSES
    assert average_linkage(np.ones((5, 5)), 3).max() == 2


def test_mutual_information_is_scikit_learns():
    rng = np.random.default_rng(0)
    for _ in range(5):
        one, other = rng.integers(0, 5, 60), rng.integers(0, 4, 60)
        expected = normalized_mutual_info_score(one, other)
        assert normalised_mutual_information(one, other) == pytest.approx(expected, abs=1e-12)
    same = np.zeros(4, dtype=int)
    assert normalised_mutual_information(same, same) == 1
    assert normalised_mutual_information(same, np.arange(4)) == 0


def test_purity_by_hand():
    """Purity of clusters by labels is not that of labels by clusters."""
    clusters, labels = np.array([0, 0, 0, 1, 1]), np.array([5, 5, 6, 6, 7])
    assert purity(clusters, labels) == pytest.approx(3 / 5)
    assert purity(labels, clusters) == pytest.approx(4 / 5)


def test_clusters_are_tested_against_both_nulls():
    """At the classes' own depth the null over classes only renames them: p is 1."""
    correlation = TREE[LABELS][:, LABELS] + 0.05 * symmetric(0)
    settings = {"permutations": 99, "seed": 0}
    fine = cluster_alignment(correlation, LABELS, **settings)
    assert (fine.clusters, fine.nmi.p, fine.purity.p) == (CLASSES, 1 / 100, 1 / 100)
    assert cluster_alignment(correlation, LABELS, classes=LABELS, **settings).nmi.p == 1
    coarse = cluster_alignment(correlation, GROUPS[LABELS], classes=LABELS, **settings)
    assert coarse.nmi.value == pytest.approx(1)
    assert coarse.nmi.p == 1 / 100


def test_feature_similarities_by_hand():
    features = np.array([[3, 4], [6, 8], [0, 0]], dtype=np.float32)
    np.testing.assert_allclose(
        cosine_similarity(features), [[1, 1, 0], [1, 1, 0], [0, 0, 0]], atol=1e-15
    )
    assert cosine_similarity(features, centred=True)[1, 2] == pytest.approx(-1)
    np.testing.assert_allclose(negative_distance(features)[2], [-5, -10, 0])


def test_linear_cka_is_its_definition_and_blind_to_rotation_and_scale():
    """Uncentred features would add the means' own alignment."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 5)) + 3, rng.standard_normal((30, 4)) - 2
    left, right = x - x.mean(0), y - y.mean(0)
    expected = np.linalg.norm(right.T @ left) ** 2 / (
        np.linalg.norm(left.T @ left) * np.linalg.norm(right.T @ right)
    )
    assert linear_cka(x, y) == pytest.approx(expected, rel=1e-12)
    turn = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    assert linear_cka(x, 7 * x @ turn + 1) == pytest.approx(1)
    assert kernel_alignment(x @ x.T, y @ y.T) == pytest.approx(expected, rel=1e-9)
    assert math.isnan(kernel_alignment(np.ones((4, 4)), np.eye(4)))


def test_the_null_of_cka_permutes_classes():
    """A noisy copy of the tree passes all permutations; a kernel of noise passes about half."""
    noise = np.random.default_rng(1).standard_normal((2, *TREE.shape))
    noise = (noise + noise.swapaxes(1, 2)) / 2
    planted = cka_alignment(TREE + noise[0] / 20, TREE, 99, seed=0)
    assert planted.p == 1 / 100
    assert planted.value > 0.9 > planted.null_mean
    # Two-sided at 1e-2 of a p that is uniform on its hundred values.
    assert 0.005 < cka_alignment(noise[1], TREE, 99, seed=0).p < 0.995


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"similarity": np.full((48, 48), math.nan)}, "not finite"),
        ({"similarity": np.triu(np.ones((48, 48)))}, "transpose"),
        ({"similarity": np.ones((48, 48))}, "one value only"),
        ({"similarity": np.ones((2, 2)), "labels": LABELS[:2]}, "3 or more"),
        ({"labels": LABELS + 1}, "row of its class"),
        ({"tree": TREE * math.inf}, "tree similarity"),
        ({"permutations": 1}, "2 and more"),
    ],
)
def test_what_can_not_be_aligned_is_refused(change, message):
    arguments = {"similarity": symmetric(0), "tree": TREE, "labels": LABELS, "permutations": 9}
    with np.errstate(invalid="ignore"), pytest.raises(ConfigError, match=message):
        tree_alignment(**arguments | change, seed=0)


def test_relations_clusters_and_neighbours_that_can_not_be_are_refused():
    with pytest.raises(ConfigError, match="one positive"):
        auroc(symmetric(0), np.zeros((48, 48), dtype=bool), LABELS)
    with pytest.raises(ConfigError, match="no neighbour"):
        nearest_neighbour_agreement(symmetric(0), LABELS, np.zeros(48, dtype=int))
    with pytest.raises(ConfigError, match="1 to 48"):
        average_linkage(symmetric(0), 49)
    with pytest.raises(ConfigError, match="another label"):
        cluster_alignment(symmetric(0), LABELS, permutations=9, seed=0, classes=GROUPS[LABELS])
    with pytest.raises(ConfigError, match="2 permutations"):
        cluster_alignment(symmetric(0), LABELS, permutations=1, seed=0)


def test_errors_of_clusters_and_neighbours_leave_out_classes():
    """Caught: samples left out one by one (errors too small), or labels where classes are."""
    similarity = symmetric(6) + same_label(LABELS)
    codes = GROUPS[LABELS]
    found = average_linkage(similarity, 4)
    rest = [LABELS != one for one in range(CLASSES)]
    left = [normalized_mutual_info_score(codes[kept], found[kept]) for kept in rest]
    expected = math.sqrt(11 / 12 * np.sum((np.array(left) - np.mean(left)) ** 2))
    made = cluster_alignment(similarity, codes, permutations=2, seed=0, units=LABELS)
    assert made.errors[0] == pytest.approx(expected, rel=1e-9)
    masked = np.where(same_label(LABELS), -np.inf, similarity)
    votes = codes[masked.argmax(axis=1)] == codes
    left = [votes[kept].mean() for kept in rest]
    expected = math.sqrt(11 / 12 * np.sum((np.array(left) - np.mean(left)) ** 2))
    near = nearest_neighbour_agreement(similarity, codes, LABELS, LABELS)
    assert near.se == pytest.approx(expected, rel=1e-9)

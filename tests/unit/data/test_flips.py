"""Which images are judged by detectors of flipped labels, and which are asked about.

Caught: sets in which a count of labels finds flips without looking at any image, queries of few
classes or of one face, images twice, settings that give fewer than they say.
"""

from itertools import pairwise

import numpy as np
import pytest

from stagewise.data.flips import flip, judged, queried
from stagewise.errors import ConfigError
from stagewise.evaluation.mislabel import detection
from stagewise.seeds import generator

CLASSES, EACH, SHARE = 40, 100, 0.05


def labels() -> tuple[np.ndarray, np.ndarray]:
    true = np.repeat(np.arange(CLASSES), EACH)
    return true, flip(true, CLASSES, SHARE, 7)


def by_true_label(true: np.ndarray, given: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A mutant: classes are those that an auditor does not know."""
    rng, chosen = generator(seed, "judged"), np.zeros(0, np.int64)
    for one in rng.permutation(np.unique(true)):
        flipped = np.flatnonzero((true == one) & (given != one))
        same = np.flatnonzero((true == one) & (given == one))
        kept = rng.choice(same, min(len(same), 2 * len(flipped)), replace=False)
        chosen = np.concatenate([chosen, flipped, kept])
    return np.sort(chosen[:count])


def unevenness(picked: np.ndarray, true: np.ndarray, given: np.ndarray) -> float:
    """The furthest that the share of flipped images of one given label is from a third."""
    wrong, own = (given != true)[picked], given[picked]
    return max(abs(wrong[own == one].mean() - 1 / 3) for one in np.unique(own))


def area_of_counting(picked: np.ndarray, true: np.ndarray, given: np.ndarray) -> float:
    """Area under the curve of "few judged images share my given label": no image is looked at."""
    own = given[picked]
    alone = -(own[:, None] == own[None, :]).sum(1).astype(float)
    return detection(alone, (given != true)[picked], np.random.default_rng(0)).value


@pytest.mark.parametrize("count", [60, 150, 153, 300])
def test_labels_that_are_shared_say_nothing_of_flips(count: int) -> None:
    """Where of each given label a third is flipped, the area is one half but for rounding.

    Flipped and other images are then spread alike over labels that many and that few share.
    """
    true, given = labels()
    picked = judged(true, given, count, 3)
    assert len(set(picked.tolist())) == count
    assert unevenness(picked, true, given) < 1e-12
    assert area_of_counting(picked, true, given) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("count", [61, 152])
def test_a_count_that_is_no_multiple_of_three_is_exact(count: int) -> None:
    """One or two true images too many of one label move the area by half their share at most."""
    true, given = labels()
    picked = judged(true, given, count, 3)
    wrong = (given != true)[picked]
    assert (len(picked), wrong.sum()) == (count, count // 3)
    allowed = (count % 3) / (~wrong).sum() / 2
    assert abs(area_of_counting(picked, true, given) - 0.5) <= allowed + 1e-12


def test_classes_by_true_label_are_told() -> None:
    """The tests above would fail for them, by far: counting finds nearly all flips."""
    true, given = labels()
    picked = by_true_label(true, given, 60, 3)
    assert unevenness(picked, true, given) > 0.5
    assert area_of_counting(picked, true, given) > 0.9


def test_few_true_images_leave_a_third() -> None:
    """Catches a class that gives all its flipped images where it lacks true ones."""
    true = np.array([0] * 2 + [1] * 12)
    given = np.array([0] * 2 + [0] * 5 + [1] * 7)
    picked = judged(true, given, 3, 0)
    assert unevenness(picked, true, given) < 1e-12
    with pytest.raises(ConfigError, match=r"6 images shall be judged.* 3 at most.*raise"):
        judged(true, given, 6, 0)


def held(faces: int = 4, renderings: int = 2) -> tuple[np.ndarray, list[str]]:
    """Labels and faces of held-out images, letters slowest, as they are rendered."""
    each = np.repeat([f"face{place}" for place in range(faces)], renderings)
    return np.repeat(np.arange(20), len(each)), np.tile(each, 20).tolist()


def test_queries_are_of_different_classes_the_judged_first() -> None:
    all_labels, faces = held()
    first = np.array([3, 3, 8, 15, 15, 4, 11])
    picked = queried(all_labels, faces, first, 9, 1)
    asked = all_labels[picked]
    assert set(asked[:5].tolist()) == set(first.tolist())
    assert len(set(asked.tolist())) == 9
    assert asked.tolist() != queried(all_labels, faces, first, 9, 2).tolist()
    np.testing.assert_array_equal(picked, queried(all_labels, faces, first[::-1], 9, 1))


def test_faces_take_turns_and_rounds_take_new_images() -> None:
    all_labels, faces = held()
    first = np.zeros(0, np.int64)
    picked = queried(all_labels, faces, first, 24, 1)
    own = [faces[place] for place in picked]
    assert all(one != other for one, other in pairwise(own[:20]))
    assert {own.count(face) for face in set(faces)} == {6}
    assert (all_labels[picked[:4]] == all_labels[picked[20:]]).all()
    whole = queried(all_labels, faces, first, len(all_labels), 1)
    assert sorted(whole.tolist()) == list(range(len(all_labels)))


@pytest.mark.parametrize("count", [0, 161])
def test_more_queries_than_images_are_refused(count: int) -> None:
    all_labels, faces = held()
    words = f"mislabel.queries is {count}; allowed are 1 to 160.*hold out more"
    with pytest.raises(ConfigError, match=words):
        queried(all_labels, faces, np.zeros(0, np.int64), count, 1)

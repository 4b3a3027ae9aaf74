"""Labelled data: ids that stay, parts that don't meet, a split that the seed alone decides.

Caught: ids numbered within a part, a query that is also trained on, a split that changes with the
sizes asked for, pixels or features on another scale.
"""

from collections.abc import Callable

import numpy as np
import pytest

from stagewise.data.cancer import CLASSES as CANCER_CLASSES
from stagewise.data.cancer import cancer
from stagewise.data.digits import CLASSES as DIGITS_CLASSES
from stagewise.data.digits import digits
from stagewise.data.labelled import Labelled, split
from stagewise.errors import ConfigError

Source = Callable[..., tuple[Labelled, Labelled]]
INPUTS, LABELS = np.arange(40, dtype=np.float32).reshape(20, 2), np.arange(20) % 3


def test_an_id_names_the_place_in_the_source() -> None:
    for part in split("item", INPUTS, LABELS, 5, 12, 6):
        places = [int(one.removeprefix("item")) for one in part.ids]
        assert places == sorted(places)
        np.testing.assert_array_equal(part.inputs, INPUTS[places])
        np.testing.assert_array_equal(part.labels, LABELS[places])
        assert part.labels.dtype == np.int64


def test_training_samples_are_the_same_however_many_queries_there_are() -> None:
    few, many = (split("item", INPUTS, LABELS, 5, 12, count) for count in (1, 8))
    assert few[0].ids == many[0].ids
    assert set(few[1].ids) <= set(many[1].ids)


def test_the_seed_and_the_source_decide_the_split() -> None:
    def ids(name: str, seed: int) -> list[str]:
        return [one.removeprefix(name) for one in split(name, INPUTS, LABELS, seed, 10, 5)[0].ids]

    assert ids("item", 5) == ids("item", 5)
    assert len({tuple(ids(name, seed)) for name in ("item", "other") for seed in (5, 6)}) == 4


@pytest.mark.parametrize(
    ("source", "count", "features", "classes"),
    [(digits, 1797, 64, DIGITS_CLASSES), (cancer, 569, 30, CANCER_CLASSES)],
)
def test_parts_are_disjoint_and_may_take_all(
    source: Source, count: int, features: int, classes: int
) -> None:
    train, queries = source(1, count - 100, 100)
    assert len({*train.ids, *queries.ids}) == count
    assert train.inputs.shape == (count - 100, features)
    assert train.inputs.dtype == np.float32
    assert set(train.labels.tolist()) == set(range(classes))
    with pytest.raises(ConfigError, match=f"{count} at most"):
        source(1, count, 1)


def test_digits_lie_between_0_and_1_and_features_have_unit_variance() -> None:
    train, queries = digits(1, 1697, 100)
    assert (train.inputs.min(), train.inputs.max()) == (0.0, 1.0)
    train, queries = cancer(1, 469, 100)
    together = np.concatenate([train.inputs, queries.inputs]).astype(np.float64)
    np.testing.assert_allclose(together.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(together.std(axis=0), 1, atol=1e-6)


@pytest.mark.parametrize(("train", "queries"), [(0, 5), (5, 0), (15, 6)])
def test_impossible_parts_are_refused(train: int, queries: int) -> None:
    with pytest.raises(ConfigError, match=f"{train} training samples and {queries} queries of 20"):
        split("item", INPUTS, LABELS, 5, train, queries)

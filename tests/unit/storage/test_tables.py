"""Scores, targets and items: one sense, whole values, a taxonomy that is a tree."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from stagewise.errors import SchemaError
from stagewise.storage import items, scores, targets


def _scores(**changes: object) -> xr.Dataset:
    arguments = {
        "value": np.arange(6.0).reshape(2, 3),
        "se": np.ones((2, 3)),
        "query": ["q", "r"],
        "sample": ["a", "b", "c"],
        "method": "bif",
    }
    return scores.from_arrays(**(arguments | changes))  # type: ignore[arg-type]


def test_scores_are_read_as_written_with_any_leading_dimensions(tmp_path: Path) -> None:
    """Catches leading dimensions lost or taken for query and sample."""
    made = _scores(
        value=np.zeros((5, 4, 2, 3)),
        se=np.ones((5, 4, 2, 3)),
        lead=("seed", "checkpoint"),
        coords={"step": ("checkpoint", [1, 2, 3, 4])},
    )
    scores.write(made.assign(llc=("checkpoint", np.ones(4))), tmp_path / "a.nc")
    read = scores.read(tmp_path / "a.nc")
    assert read["value"].dims == ("seed", "checkpoint", "query", "sample")
    assert read.attrs["sense"] == "bif"
    assert read["step"].values.tolist() == [1, 2, 3, 4]


def test_scores_of_the_other_sense_are_refused() -> None:
    """Catches an attributor whose "positive = helpful" was not flipped in its adapter."""
    with pytest.raises(SchemaError, match="sense 'helpful'.*flip the sign"):
        scores.validate(_scores().assign_attrs(sense="helpful"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": np.full((2, 3), np.nan)}, "value is not finite in 6 entries"),
        ({"se": np.full((2, 3), np.inf)}, "se is not finite"),
        ({"query": ["q"]}, "shapes disagree"),
        ({"sample": ["a", "b", "a"]}, r"sample repeats \['a'\]"),
    ],
)
def test_bad_scores_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        _scores(**changes)


def test_targets_are_read_as_written_and_diverged_ones_refused(tmp_path: Path) -> None:
    """Catches a retraining that diverged averaged into a target."""
    arguments = {
        "mask": np.array([[True, False, True], [False, True, True]]),
        "seed": [0, 1],
        "query": ["q"],
        "sample": ["a", "b", "c"],
    }
    loss = np.arange(4.0).reshape(2, 2, 1)
    targets.write(targets.from_arrays(loss=loss, **arguments), tmp_path / "t.nc")
    read = targets.read(tmp_path / "t.nc")
    np.testing.assert_array_equal(read["mask"], arguments["mask"])
    np.testing.assert_array_equal(read["loss"], loss)
    loss[0, 0, 0] = np.nan
    with pytest.raises(SchemaError, match="loss is not finite in 1 entries.*retrain"):
        targets.from_arrays(loss=loss, **arguments)


def test_depth_and_leaves_follow_from_the_parents(tmp_path: Path) -> None:
    made = items.from_arrays(
        id=["b1", "root", "b", "a", "b2"],
        parent=["b", "", "root", "root", "b"],
        label=list("12345"),
    )
    items.write(made, tmp_path / "i.nc")
    read = items.read(tmp_path / "i.nc")
    assert read["depth"].values.tolist() == [2, 0, 1, 1, 2]
    assert read["is_leaf"].values.tolist() == [True, False, False, True, True]


@pytest.mark.parametrize(
    ("ids", "parents", "message"),
    [
        (["a", "b"], ["", "c"], "parent 'c' of 'b' is no item"),
        (["a", "b"], ["b", "a"], "cycle"),
        (["a", "a"], ["", ""], r"id repeats \['a'\]"),
    ],
)
def test_what_is_no_tree_is_refused(ids: list[str], parents: list[str], message: str) -> None:
    """Catches an endless walk to the root, and ids that name two things."""
    with pytest.raises(SchemaError, match=message):
        items.from_arrays(id=ids, parent=parents, label=ids)

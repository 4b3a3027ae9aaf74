"""The stages of the toy experiment that train, at tiny size and in this process."""

import json
import re

import numpy as np
import pytest
import xarray as xr

from stagewise.cli import (
    toy_modes,
    toy_representations,
    toy_retrain,
    toy_train,
    toy_trajectory,
    toy_windows,
)
from stagewise.storage.netcdf import read

SETTINGS = {
    "seed": 7,
    "name": "small",
    "tree": {"nested": [["a", "b"], ["c", ["d", "e"]]], "feature_weights": [1.0, 1.0, 1.0, 1.0]},
    "training": {
        "hidden": 6,
        "learning_rate": 0.05,
        "steps": 1200,
        "checkpoints": 25,
        "init_scale": 0.02,
        "seeds": 2,
    },
}
MODES = {"aligned_strength": 1.0e-3, "balanced_scale": 0.02}


def with_training(**changes) -> str:
    return json.dumps(SETTINGS | {"training": SETTINGS["training"] | changes})


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    path = tmp_path_factory.mktemp("toy") / "training.nc"
    assert toy_train.main(["--settings", json.dumps(SETTINGS), "--out", str(path)]) == 0
    return path


def follow(stage, training, tmp_path, **more) -> xr.Dataset:
    out = tmp_path / "out.nc"
    arguments = ["--settings", json.dumps(SETTINGS | more), "--out", str(out)]
    assert stage.main([*arguments, "--training", str(training)]) == 0
    return read(out)


def test_training_file_says_what_was_trained(training):
    found = read(training)
    assert dict(found.sizes) == {
        "seed": 2, "checkpoint": 25, "hidden": 6, "item": 5, "feature": 9, "other_item": 5,
    }  # fmt: skip
    assert found["step"].values.tolist() == list(range(0, 1201, 50))
    assert found["item"].values.tolist() == ["a", "b", "c", "d", "e"]
    assert found["relation"].sel(item="a").values.tolist() == [
        "self", "sibling", "distant", "distant", "distant",
    ]  # fmt: skip
    learned = found["W2"].values @ found["W1"].values
    expected = 0.5 * np.square(learned - found["Y"].values).sum(axis=-2)
    np.testing.assert_allclose(found["loss"], expected, atol=1e-14)
    assert (found["loss"].isel(checkpoint=-1) < 1e-3).all()
    assert found.attrs["tau"] == 5 / 0.05
    assert json.loads(found.attrs["provenance"])["stage"] == "toy_train"


def test_same_settings_give_the_same_bytes(training, tmp_path):
    again = tmp_path / "again.nc"
    assert toy_train.main(["--settings", json.dumps(SETTINGS), "--out", str(again)]) == 0
    assert again.read_bytes() == training.read_bytes()


def test_modes_follow_the_exact_solutions(tmp_path):
    out = tmp_path / "modes.nc"
    settings = json.dumps(SETTINGS | {"modes": MODES})
    assert toy_modes.main(["--settings", settings, "--out", str(out)]) == 0
    found = read(out)
    assert found["strength"].dims == ("init", "seed", "mode", "checkpoint")
    error = found["max_rel_error"].to_series()
    assert error["aligned"] < 0.03
    assert error["balanced"] < 0.03
    assert error["gaussian"] > 0.03
    np.testing.assert_allclose(found["initial_strength"].sel(init="aligned"), 1e-3, rtol=1e-9)


def test_trajectory_agrees_with_its_finite_differences(training, tmp_path):
    found = follow(toy_trajectory, training, tmp_path)
    assert found["value"].dims == ("seed", "checkpoint", "sample", "query")
    assert found["published"].shape == found["value"].shape[1:]
    assert found.attrs["finite_difference_max_rel_error"] < 1e-7
    assert found.attrs["published_finite_difference_max_rel_error"] < 1e-6


def test_leave_one_out_is_negative_where_the_sample_helps(training, tmp_path):
    value = follow(toy_retrain, training, tmp_path)["value"].values
    own = value[:, -1].diagonal(axis1=-2, axis2=-1)
    assert (own < -0.3).all()
    assert (value[:, 0] == 0).all()


def test_windows_are_labelled_and_positive_where_the_sample_helped(training, tmp_path):
    found = follow(toy_windows, training, tmp_path, windows={"count": 4, "width": 300})
    assert found["window_start"].values.tolist() == [0, 300, 600, 900]
    assert found["window_end"].values.tolist() == [300, 600, 900, 1200]
    own = found["at_end"].values.diagonal(axis1=-2, axis2=-1)
    assert (own[:, 0] > 0).all()
    assert found.attrs["final_step"] == 1200


def test_representations_keep_the_distances_a_plane_can_hold(training, tmp_path):
    found = follow(toy_representations, training, tmp_path)
    plane = np.stack([found["x"].values, found["y"].values], axis=-1)
    hidden = np.swapaxes(read(training)["W1"].values, -1, -2)
    points, flat = hidden[0].reshape(-1, 6), plane[0].reshape(-1, 2)
    centred = points - points.mean(axis=0)
    # Classical scaling of Euclidean distances is the projection on the two leading axes.
    leading = np.linalg.svd(centred, compute_uv=False)[:2]
    np.testing.assert_allclose(np.linalg.svd(flat, compute_uv=False), leading, rtol=1e-6)
    assert (plane[:, -1, 0] >= 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 9.0}, "learning_rate is 9.*diverged.*lower it"),
        ({"checkpoints": 2000}, "checkpoints is 2000.*1200 steps"),
        ({"hidden": 3}, "hidden is 3.*allowed is 5 or more"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message, tmp_path, capsys):
    out = tmp_path / "training.nc"
    arguments = ["--settings", with_training(**changes), "--out", str(out)]
    assert toy_train.main(arguments) == 2
    assert not out.exists()
    error = capsys.readouterr().err
    assert re.search(message, error), error


def test_truncated_training_file_is_refused_with_the_remedy(training, tmp_path, capsys):
    cut = tmp_path / "cut.nc"
    cut.write_bytes(training.read_bytes()[:2000])
    arguments = ["--settings", json.dumps(SETTINGS), "--training", str(cut)]
    assert toy_retrain.main([*arguments, "--out", str(tmp_path / "out.nc")]) == 2
    assert "run the stage that makes it again" in capsys.readouterr().err

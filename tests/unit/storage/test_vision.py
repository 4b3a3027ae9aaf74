"""Files of image networks: read as written, parts by split, and what is refused.

Caught: a split that keeps its neighbours, a similarity of another size or with holes, a file that
was cut off or is another stage's.
"""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from stagewise.errors import SchemaError
from stagewise.storage import detectors, images, similarity, vision_training
from support.vision_files import IDS, kernels, recorded


def test_images_are_read_as_written_and_parted_by_split(tmp_path: Path) -> None:
    split = np.array([images.TRAIN, images.HELD] * 4, dtype=object)
    kept = np.arange(8) > 4
    made = recorded().assign(split=("sample", split), recorded=("sample", kept))
    images.write(made, tmp_path / "images.nc")
    found = images.read(tmp_path / "images.nc")
    assert images.part(found, images.HELD)["sample"].values.tolist() == IDS[1::2]
    assert images.recorded(found)["sample"].values.tolist() == IDS[5:]
    np.testing.assert_array_equal(images.thumbnails(found), made["pixels"])


def test_a_kernel_is_read_as_written(tmp_path: Path) -> None:
    made = kernels()[0]
    similarity.write(made, tmp_path / "kernel.nc")
    found = similarity.read(tmp_path / "kernel.nc")
    assert found["method"].values.astype(str).tolist() == ["kernel", "kernel_4"]
    np.testing.assert_array_equal(found["value"], made["value"])
    assert found.attrs["name"] == "main_1"


@pytest.mark.parametrize("bad", [np.eye(3), np.full((8, 8), np.nan)], ids=["size", "holes"])
def test_a_similarity_that_does_not_fit_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(SchemaError, match=r"need \(8, 8\) finite values"):
        similarity.from_arrays({"kernel": bad}, IDS, 1)


def a_training() -> xr.Dataset:
    schema = vision_training.VISION_TRAINING
    attrs = {"schema": schema.name, "schema_version": schema.version, "labels": "clean"}
    return xr.Dataset(
        {
            "state": (("checkpoint", "entry"), np.ones((2, 3), np.float32)),
            "given": ("sample", np.arange(4)),
            **{
                name: ("checkpoint", np.array([0.5, 0.9]))
                for name in ("held_loss", "held_accuracy", "held_accuracy_se")
            },
        },
        coords={
            "step": ("checkpoint", [10, 20]),
            "sample": np.array([f"train/{place}" for place in range(4)], dtype=object),
        },
        attrs=attrs | {"parameters": 3, "shift": 0.0, "scale": 1.0},
    )


def test_a_training_is_read_as_written_and_refused_where_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "training.nc"
    vision_training.write(a_training(), path)
    np.testing.assert_array_equal(vision_training.read(path)["state"], a_training()["state"])
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SchemaError):
        vision_training.read(path)


def test_a_file_of_another_stage_is_refused(tmp_path: Path) -> None:
    vision_training.write(a_training(), tmp_path / "training.nc")
    for reader in (images.read, similarity.read, detectors.read):
        with pytest.raises(SchemaError):
            reader(tmp_path / "training.nc")
    with pytest.raises(SchemaError, match="does not exist"):
        images.read(tmp_path / "none.nc")


def test_a_training_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="given"):
        vision_training.write(a_training().drop_vars("given"), tmp_path / "training.nc")

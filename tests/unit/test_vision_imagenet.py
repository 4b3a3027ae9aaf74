"""Stages on a folder of photographs and published weights, from true formats to tables.

The network is Inception-v1 of a thousand classes, at fewer pixels. Caught: weights that are
not those of the file, images or classes in another order than torchvision's, blocks of chains that
are one and the same, a taxonomy of other nouns, and files that end a stage with a traceback.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from stagewise.cli.vision_data import main as vision_data
from stagewise.cli.vision_kernel import main as vision_kernel
from stagewise.cli.vision_sample import main as vision_sample
from stagewise.cli.vision_similarity import main as vision_similarity
from stagewise.cli.vision_tables import main as vision_tables
from stagewise.cli.vision_train import main as vision_train
from stagewise.data.image_folder import load_images
from stagewise.data.standin import CLASSES, LEAVES
from stagewise.models.googlenet import build
from stagewise.storage import images as images_file
from stagewise.storage import items as items_file
from stagewise.storage import similarity, trace, vision_training
from support.imagenet_files import Miniature, call, flags, write_miniature

RECORDED = 10
SAMPLING = {
    "n_beta": 10.0,
    "localization": 1e5,
    "friction": 0.9,
    "step_size": 1e-6,
    "batch_size": 2,
    "chains": 4,
    "burn_in": 0,
    "draws": 4,
    "chain_block": 2,
    "driving": 8,
}
NETWORK = {"transform_input": True}
WIDE = {
    "stride": 3,
    "rhat": {"warn": 5.0, "fail": 50.0},
    "ess": {"warn": 4.0, "fail": 0.5},
    "false_alarm": {"warn": 1e-6, "fail": 1e-30},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    return write_miniature(tmp_path_factory.mktemp("imagenet"))


def told(**more: object) -> dict:
    return {"seed": 3, **more}


@pytest.fixture(scope="module")
def done(files: Miniature) -> Path:
    """Every stage up to the tables, with chains in two blocks."""
    root = files.train.parent
    data, items = root / "images.nc", root / "items.nc"
    settings = told(source=files.source(), recorded=RECORDED)
    assert call(vision_data, settings, images=data, items=items) == 0
    network = NETWORK | {"weights": str(files.weights)}
    training = root / "training.nc"
    settings = told(labels="clean", network=network)
    scratch = root / "scratch"
    assert call(vision_train, settings, images=data, scratch=scratch, out=training) == 0
    given = {"images": data, "training": training}
    kernels = []
    for name, n_beta in (("main_1", 10.0), ("main_2", 10.0), ("prior", 0.0)):
        blocks = []
        for start in (0, 2):
            job = {"name": name, "run_seed": int(name == "main_2"), "step": None}
            job |= {"sampling": SAMPLING | {"n_beta": n_beta}, "chain_start": start}
            blocks.append(root / f"{name}_{start}.nc")
            settings = told(recorded="held", **job)
            assert call(vision_sample, settings, **given, scratch=scratch, out=blocks[-1]) == 0
        kernels.append(root / f"kernel_{name}.nc")
        settings = {"name": name, "diagnostics": WIDE}
        assert call(vision_kernel, settings, traces=blocks, out=kernels[-1]) == 0
    other = root / "similarity.nc"
    assert call(vision_similarity, told(step=None), **given, out=other) == 0
    settings = told(run="imagenet", main=False, permutations=10)
    sources = {"images": data, "items": items, "kernels": kernels, "similarities": [other]}
    made = {"tables": root / "tables", "numbers": root / "numbers.json"}
    assert call(vision_tables, settings, **sources, training=training, **made) == 0
    # UMAP would compile for half a minute, to lay out a dozen points: in a process without that.
    drawn = flags(told(neighbours=4), **sources, table=root / "tables" / "vision_map.csv")
    command = [sys.executable, "-m", "stagewise.cli.vision_map", *drawn]
    subprocess.run(command, env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, check=True)
    return root


def test_classes_are_numbered_as_torchvision_does(done: Path, files: Miniature) -> None:
    data = images_file.read(done / "images.nc")
    assert data["class"].values.tolist() == files.classes
    assert len(files.classes) == CLASSES
    names = [path.rsplit("/", 2)[1] for path in data["path"].values]
    assert [files.classes[label] for label in data["label"].values] == names
    assert int(data["recorded"].sum()) == RECORDED


def test_the_taxonomy_is_that_of_the_nouns(done: Path) -> None:
    items = items_file.read(done / "items.nc")
    parent = dict(zip(items["id"].values, items["parent"].values, strict=True))
    label = dict(zip(items["id"].values, items["label"].values, strict=True))
    for wnid, (name, above) in LEAVES.items():
        assert parent[wnid] == above
        assert label[wnid] == name
    assert int(items["is_leaf"].sum()) == CLASSES


def test_losses_at_the_checkpoint_are_those_of_the_saved_network(
    done: Path, files: Miniature
) -> None:
    """Of the file's weights, on images as torchvision reads them, rescaled to [-1, 1]."""
    module = build(CLASSES)
    module.load_state_dict(torch.load(files.weights, weights_only=True))
    module.transform_input = True
    held = images_file.recorded(images_file.read(done / "images.nc"))
    with torch.no_grad():
        logits = module.eval()(load_images([Path(one) for one in held["path"].values], 32))
    labels = torch.from_numpy(held["label"].values.astype(np.int64))
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="none").numpy()
    found = trace.read(done / "main_1_0.nc")
    assert found["sample"].values.tolist() == held["sample"].values.tolist()
    np.testing.assert_allclose(found["loss_ref"].values, expected, rtol=1e-4)


def test_the_network_has_all_its_weights(done: Path) -> None:
    """6,624,904 without the auxiliary classifiers: what torchvision's page gives for GoogLeNet."""
    assert int(vision_training.read(done / "training.nc").attrs["parameters"]) == 6_624_904


def test_blocks_of_chains_are_told_apart_and_merge(done: Path) -> None:
    one, other = (trace.read(done / f"main_1_{start}.nc") for start in (0, 2))
    assert one.attrs["settings_hash"] == other.attrs["settings_hash"]
    assert not np.allclose(one["excess_loss"].values, other["excess_loss"].values)
    whole = similarity.read(done / "kernel_main_1.nc")
    assert int(whole.attrs["chains"]) == SAMPLING["chains"]
    again = trace.read(done / "main_2_0.nc")
    assert not np.allclose(one["excess_loss"].values, again["excess_loss"].values)


def test_tables_and_numbers_have_what_the_paper_asks_of_any_run(done: Path) -> None:
    numbers = json.loads((done / "numbers.json").read_text())
    for method in ("kernel", "penultimate", "gradient", "pixel", "random_init"):
        assert f"vision.imagenet.alignment.spearman.{method}" in numbers
    assert numbers["vision.imagenet.images"]["value"] == RECORDED
    images = pd.read_csv(done / "tables" / "vision_images.csv")
    assert set(images["group"]) <= {"animal", "artifact"}
    assert len(pd.read_csv(done / "tables" / "vision_map.csv")) == RECORDED


def refused(capsys: pytest.CaptureFixture[str], status: int, *words: str) -> None:
    assert status == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": "/nowhere"}, ("/nowhere", "WordNet id")),
        ({"wordnet": "/nowhere"}, ("data.noun", "wordnet-base")),
        ({"classes": 999}, ("1000 classes", "999")),
        ({"train_per_class": 0}, ("train_per_class",)),
    ],
)
def test_a_source_that_is_not_there_is_named(
    changes: dict, words: tuple, files: Miniature, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    settings = told(source=files.source(**changes), recorded=RECORDED)
    paths = {"images": tmp_path / "images.nc", "items": tmp_path / "items.nc"}
    refused(capsys, call(vision_data, settings, **paths), *words)
    assert list(tmp_path.iterdir()) == []


def test_trees_of_other_classes_are_refused(
    files: Miniature, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for tree, names in (("train", files.classes[:3]), ("held", files.classes[1:4])):
        for name in names:
            (tmp_path / tree / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / tree / name / "a.png")
    trees = {tree: str(tmp_path / tree) for tree in ("train", "held")}
    settings = told(source=files.source(classes=3, **trees), recorded=8)
    paths = {"images": tmp_path / "images.nc", "items": tmp_path / "items.nc"}
    refused(capsys, call(vision_data, settings, **paths), "2 classes", files.classes[0])


def test_a_noun_that_wordnet_lacks_is_refused(
    files: Miniature, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for tree in ("train", "held"):
        for name in ("n01440764", "n01440765"):
            (tmp_path / tree / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / tree / name / "a.png")
    trees = {tree: str(tmp_path / tree) for tree in ("train", "held")}
    settings = told(source=files.source(classes=2, **trees), recorded=8)
    paths = {"images": tmp_path / "images.nc", "items": tmp_path / "items.nc"}
    refused(capsys, call(vision_data, settings, **paths), "no noun n01440765")


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("IMAGENET22K", ("IMAGENET1K_V1", "path of a state dict")),
        ("few.pth", ("10 classes", "1000")),
        ("other.pth", ("does not fit GoogLeNet",)),
        ("text.pth", ("no state dict",)),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    weights: str, words: tuple, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    torch.save(build(10).state_dict(), tmp_path / "few.pth")
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("weights")
    named = str(tmp_path / weights) if weights.endswith(".pth") else weights
    settings = told(labels="clean", network=NETWORK | {"weights": named})
    paths = {"images": done / "images.nc", "scratch": tmp_path, "out": tmp_path / "never.nc"}
    refused(capsys, call(vision_train, settings, **paths), *words)


def test_an_image_that_became_unreadable_is_named(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = images_file.read(done / "images.nc")
    broken = tmp_path / "broken.JPEG"
    broken.write_bytes(b"\xff\xd8 no picture")
    paths = data["path"].values.copy()
    paths[np.flatnonzero(data["recorded"].values)[0]] = str(broken)
    images_file.write(data.assign(path=("sample", paths)), tmp_path / "images.nc")
    given = {"images": tmp_path / "images.nc", "training": done / "training.nc"}
    status = call(vision_similarity, told(step=None), **given, out=tmp_path / "never.nc")
    refused(capsys, status, "broken.JPEG", "fetch the file again")

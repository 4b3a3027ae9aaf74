"""CIFAR-10 is read from the files of its authors, by torchvision, and only when they are whole.

Caught: channels and rows exchanged, labels of other images, the test part among the training
samples, another normalisation, files that are missing or that somebody changed.
"""

from pathlib import Path

import numpy as np
import pytest

from stagewise.data import cifar
from stagewise.errors import ConfigError
from support.cifar_files import images, summed, write_cifar

BATCHES = [f"data_batch_{k}" for k in range(1, 6)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cifar, "CIFAR10", write_cifar(tmp_path))
    return tmp_path


def test_pixels_and_labels_are_those_of_the_files(folder: Path) -> None:
    train, asked = cifar.cifar10(folder, 3, 100, 20)
    assert train.ids == [f"train/{k:05d}" for k in range(100)]
    assert asked.ids[-1] == "test/00019"
    for found, names in ((train, BATCHES), (asked, ["test_batch"])):
        data, labels = zip(*(images(name) for name in names), strict=True)
        pixels = np.concatenate(data).reshape(-1, 3, 32, 32) / 255
        mean, deviation = (np.array(one)[:, None, None] for one in (cifar.MEAN, cifar.DEVIATION))
        wanted = ((pixels - mean) / deviation).reshape(len(pixels), -1)
        # float32 of numbers of order one.
        np.testing.assert_allclose(found.inputs, wanted, atol=1e-5)
        assert found.labels.tolist() == [one for part in labels for one in part]
        assert found.inputs.dtype == np.float32


def test_some_are_drawn_by_the_seed(folder: Path) -> None:
    whole = cifar.cifar10(folder, 3, 100, 20)[0]
    some, again, other = (cifar.cifar10(folder, seed, 30, 5)[0] for seed in (3, 3, 4))
    assert some.ids == again.ids == sorted(set(some.ids))
    assert some.ids != other.ids
    places = [whole.ids.index(one) for one in some.ids]
    assert np.array_equal(some.inputs, whole.inputs[places])


def test_missing_and_broken_files_are_named(folder: Path) -> None:
    base = folder / "cifar-10-batches-py"
    (base / "data_batch_3").unlink()
    with (base / "test_batch").open("ab") as stream:
        stream.write(b"more")
    message = r"missing \['data_batch_3'\], .* \['test_batch'\]; unpack cifar-10-python.tar.gz"
    with pytest.raises(ConfigError, match=message):
        cifar.cifar10(folder, 3, 10, 5)


def test_the_published_sums_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in the true format, but not the true ones, are not opened."""
    monkeypatch.undo()
    with pytest.raises(ConfigError, match=r"missing nothing, .*'data_batch_1'.*'batches.meta'"):
        cifar.cifar10(folder, 3, 10, 5)


def test_nothing_there_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"unpack .* in {tmp_path}"):
        cifar.cifar10(tmp_path, 3, 10, 5)


def test_something_else_in_a_pickle_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = folder / "cifar-10-batches-py"
    (base / "test_batch").write_bytes(b"not a pickle")
    monkeypatch.setattr(cifar, "CIFAR10", summed(base, [*BATCHES, "test_batch"]))
    with pytest.raises(ConfigError, match="cannot be read"):
        cifar.cifar10(folder, 3, 10, 5)


def test_more_than_there_are_cannot_be_taken(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"101 samples of the train part .* 1 to 100"):
        cifar.cifar10(folder, 3, 101, 5)
    with pytest.raises(ConfigError, match=r"21 samples of the test part .*queries"):
        cifar.cifar10(folder, 3, 10, 21)

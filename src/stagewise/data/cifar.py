"""CIFAR-10 on disk, in the files that its authors distribute: 32 x 32 colour images of ten classes.

    FOLDER/cifar-10-batches-py/{data_batch_1, ..., data_batch_5, test_batch, batches.meta}

Read by torchvision's own class, which compares the files with their published sums before it opens
them: they are pickles, and a stranger's pickle could run anything.

Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images", the "python
version" of https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import pickle
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import check_integrity

from stagewise.data.labelled import Labelled
from stagewise.errors import ConfigError
from stagewise.seeds import generator

CLASSES = 10
#: Of an image: channels, rows, columns.
SHAPE = (3, 32, 32)
#: Mean and standard deviation of red, green and blue over the 50,000 training images, from 0 to 1.
MEAN = (0.4914, 0.4822, 0.4465)
DEVIATION = (0.2470, 0.2435, 0.2616)
#: What to do, before the name of the folder.
REMEDY = "unpack cifar-10-python.tar.gz (https://www.cs.toronto.edu/~kriz/cifar.html) in"
#: What a pickle that holds something else ends in.
_UNREADABLE = (
    pickle.PickleError,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ImportError,
    EOFError,
)


def cifar10(folder: Path, seed: int, train: int, queries: int) -> tuple[Labelled, Labelled]:
    """Return training samples of the training part and queries of the test part.

    Both drawn by the root seed, in the order of the files, normalised channel by channel. Ids name
    the part and the place in it: "train/00007", "test/00007".

    Args:
        folder: Holds ``cifar-10-batches-py``.
        seed: Root seed.
        train: Training samples.
        queries: Queries.

    Raises:
        ConfigError: A file is missing or is not the published one, holds something else than
            labelled images, or a part has fewer samples than are asked for.
    """
    missing, broken = unusable(folder)
    if missing or broken:
        raise ConfigError(
            f"CIFAR-10 in {folder / CIFAR10.base_folder}: missing {missing or 'nothing'}, not the "
            f"published file (MD5) {broken or 'none'}; {REMEDY} {folder}"
        )
    return tuple(
        _part(folder, name, seed, count) for name, count in (("train", train), ("test", queries))
    )


def unusable(folder: Path) -> tuple[list[str], list[str]]:
    """Return which files are missing, and which are not the published ones."""
    base = folder / CIFAR10.base_folder
    meta = (CIFAR10.meta["filename"], CIFAR10.meta["md5"])
    wanted = dict([*CIFAR10.train_list, *CIFAR10.test_list, meta])
    missing = [name for name in wanted if not (base / name).is_file()]
    there = [name for name in wanted if name not in missing]
    return missing, [name for name in there if not check_integrity(str(base / name), wanted[name])]


def _part(folder: Path, name: str, seed: int, count: int) -> Labelled:
    try:
        found = CIFAR10(str(folder), train=name == "train", download=False)
        images, labels = np.asarray(found.data), np.asarray(found.targets)
    except _UNREADABLE as error:
        raise ConfigError(
            f"CIFAR-10 in {folder} cannot be read ({error}); unpack cifar-10-python.tar.gz there "
            "again"
        ) from error
    channels, rows, columns = SHAPE
    whole = images.shape == (len(labels), rows, columns, channels) and images.dtype == np.uint8
    if not whole or labels.min() < 0 or labels.max() >= CLASSES:
        raise ConfigError(
            f"CIFAR-10 in {folder}: the {name} part holds images {images.shape} of {images.dtype} "
            f"and labels from {labels.min()} to {labels.max()}; expected are (n, {rows}, "
            f"{columns}, {channels}) of uint8 and labels below {CLASSES}: unpack it again"
        )
    if not 1 <= count <= len(labels):
        raise ConfigError(
            f"{count} samples of the {name} part of CIFAR-10, which has {len(labels)}; take 1 to "
            f"{len(labels)} (retraining.problems.*.{'train' if name == 'train' else 'queries'})"
        )
    chosen = np.sort(generator(seed, "cifar10", name).permutation(len(labels))[:count])
    ids = [f"{name}/{place:05d}" for place in chosen.tolist()]
    return Labelled(_normalised(images[chosen]), labels[chosen].astype(np.int64), ids)


def _normalised(
    images: UInt8[np.ndarray, "sample row column channel"],
) -> Float32[np.ndarray, "sample feature"]:
    """Return (x/255 - mean) / deviation of every channel, flat: channel, row, column."""
    scale = (1 / (255 * np.array(DEVIATION))).astype(np.float32)
    shift = (np.array(MEAN) / DEVIATION).astype(np.float32)
    return np.ascontiguousarray((images * scale - shift).transpose(0, 3, 1, 2)).reshape(
        len(images), -1
    )

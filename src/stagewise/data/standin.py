"""Stand-ins for ImageNet and WordNet: their true formats and sizes, with made-up content.

A run on them shows what a run on the true files will take, and that it comes to its end, before
anyone waits for a download or pays for a GPU. Its numbers mean nothing. There are as many classes
as in ImageNet. Some have their true ids, at their true bytes of WordNet's file and under a few of
their true hypernyms; the rest are made up.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from stagewise.errors import ConfigError

CLASSES = 1000
#: The commonest size of ImageNet's photographs: rows, columns.
PHOTOGRAPH = (375, 500)
ROOT, ARTIFACT = "n00001740", "n00021939"
#: True ids: noun, and the one right above it.
INNER = {
    ROOT: ("entity", None),
    "n00015388": ("animal", ROOT),
    ARTIFACT: ("artifact", ROOT),
    "n02512053": ("fish", "n00015388"),
    "n02075296": ("carnivore", "n00015388"),
    "n02084071": ("dog", "n02075296"),
    "n02121620": ("cat", "n02075296"),
}
LEAVES = {
    "n01440764": ("tench", "n02512053"),
    "n01443537": ("goldfish", "n02512053"),
    "n01484850": ("great white shark", "n02512053"),
    "n02099601": ("golden retriever", "n02084071"),
    "n02099712": ("Labrador retriever", "n02084071"),
    "n02123045": ("tabby", "n02121620"),
    "n02123159": ("tiger cat", "n02121620"),
    "n03063599": ("coffee mug", ARTIFACT),
    "n04398044": ("teapot", ARTIFACT),
}
#: Where the made-up nouns begin, and bytes from one to the next.
_FIRST, _APART = 5_000_000, 200
#: Modes of JPEG by turns: ImageNet has all three.
_MODES = ("RGB", "L", "CMYK")
#: Rows and columns of the coarse pattern that is drawn large: photographs are smooth, too.
_PATTERN = (6, 8)


def write_standin(
    folder: Path, classes: int = CLASSES, shape: tuple[int, int] = PHOTOGRAPH, seed: int = 0
) -> list[str]:
    """Write ``train/`` and ``val/``, one picture of each class in either, and ``dict/data.noun``.

    Args:
        folder: Must not have them yet.
        classes: At least as many as have true ids.
        shape: Rows and columns of a picture, pixels.
        seed: Of the pictures.

    Returns:
        The ids of the classes, in the order in which ImageNet numbers them.

    Raises:
        ConfigError: There are too few classes.
    """
    if classes < len(LEAVES):
        raise ConfigError(f"classes is {classes}; {len(LEAVES)} have true ids: ask for as many")
    made = [f"n{_FIRST + _APART * place:08d}" for place in range(classes - len(LEAVES))]
    above = [one for one in INNER if one != ROOT]
    invented = {
        wnid: (f"thing {place}", above[place % len(above)]) for place, wnid in enumerate(made)
    }
    write_nouns(folder / "dict", INNER | LEAVES | invented)
    names = sorted([*LEAVES, *made])
    rng = np.random.default_rng(seed)
    for tree in ("train", "val"):
        write_photographs(folder / tree, names, shape, rng)
    return names


def write_photographs(
    folder: Path, classes: Sequence[str], shape: tuple[int, int], rng: np.random.Generator
) -> None:
    """Write one smooth random picture of each class, in every mode that JPEG has by turns."""
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        coarse = rng.integers(0, 256, (*_PATTERN, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC)
        file = folder / name / f"{folder.name}_{place:08d}.JPEG"
        picture.convert(_MODES[place % len(_MODES)]).save(file, "JPEG")


def write_nouns(folder: Path, nouns: Mapping[str, tuple[str, str | None]]) -> None:
    """Write nouns at the bytes that their ids name; the file has holes between them."""
    folder.mkdir(parents=True)
    with (folder / "data.noun").open("wb") as file:
        file.write(b"  1 A made-up dictionary in the format of WordNet 3.0 Copyright nobody  \n")
        for wnid, (name, above) in nouns.items():
            pointers = f"001 @ {above[1:]} n 0000" if above else "000"
            line = f"{wnid[1:]} 03 n 01 {name.replace(' ', '_')} 0 {pointers} | made up  \n"
            file.seek(int(wnid[1:]) - 1)
            file.write(b"\n" + line.encode())

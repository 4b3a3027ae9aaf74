"""A miniature of ImageNet as people have it: a tree of files, weights, and WordNet's dictionary.

There are as many classes as in ImageNet. Some have their true ids at their true places in
WordNet's file, under a few of their true hypernyms; the rest are made up.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from stagewise.models.googlenet import build

CLASSES = 1000
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


class Miniature(NamedTuple):
    """Paths, and the classes in the order in which ImageNet numbers them."""

    train: Path
    held: Path
    wordnet: Path
    weights: Path
    classes: list[str]

    def source(self, **changes: object) -> dict:
        """Settings of the source."""
        names = ("train", "held", "wordnet")
        found = {name: str(getattr(self, name)) for name in names}
        found |= {"kind": "image_folder", "classes": CLASSES, "size": 32}
        return found | {"train_per_class": 1, "held_per_class": 1} | changes


def write_miniature(folder: Path) -> Miniature:
    """Write everything; one picture of each class in each tree, in every mode that JPEG has."""
    made = {f"n{_FIRST + _APART * place:08d}": place for place in range(CLASSES - len(LEAVES))}
    nouns = INNER | LEAVES
    above = [one for one in INNER if one != ROOT]
    nouns |= {wnid: (f"thing {place}", above[place % len(above)]) for wnid, place in made.items()}
    write_nouns(folder / "dict", nouns)
    classes = sorted([*LEAVES, *made])
    rng = np.random.default_rng(0)
    for tree in ("train", "held"):
        for place, name in enumerate(classes):
            (folder / tree / name).mkdir(parents=True)
            pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            mode = ("RGB", "L", "CMYK")[place % 3]
            file = folder / tree / name / f"{tree}_{place:08d}.JPEG"
            Image.fromarray(pixels).convert(mode).save(file, "JPEG")
    torch.save(build(CLASSES, seed=1).state_dict(), folder / "googlenet.pth")
    paths = folder / "train", folder / "held", folder / "dict", folder / "googlenet.pth"
    return Miniature(*paths, classes)


def write_nouns(folder: Path, nouns: dict[str, tuple[str, str | None]]) -> None:
    """Write nouns at the bytes that their ids name; the file has holes between them."""
    folder.mkdir()
    with (folder / "data.noun").open("wb") as file:
        file.write(b"  1 A dictionary made up for a test, WordNet 3.0 Copyright nobody  \n")
        for wnid, (name, above) in nouns.items():
            pointers = f"001 @ {above[1:]} n 0000" if above else "000"
            line = f"{wnid[1:]} 03 n 01 {name.replace(' ', '_')} 0 {pointers} | made up  \n"
            file.seek(int(wnid[1:]) - 1)
            file.write(b"\n" + line.encode())


def call(main: object, settings: dict, **paths: Path | list[Path]) -> int:
    """Run a stage as the workflow does."""
    argv = ["--settings", json.dumps(settings)]
    for name, value in paths.items():
        argv += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return main(argv)  # type: ignore[operator]

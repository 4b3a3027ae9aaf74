"""A miniature of ImageNet as people have it: a tree of files, weights, and WordNet's dictionary."""

import json
from pathlib import Path
from typing import NamedTuple

import torch

from stagewise.data.standin import CLASSES, write_standin
from stagewise.models.googlenet import build


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
    """Write everything, with pictures of few pixels."""
    classes = write_standin(folder, shape=(40, 48))
    torch.save(build(CLASSES, seed=1).state_dict(), folder / "googlenet.pth")
    paths = folder / "train", folder / "val", folder / "dict", folder / "googlenet.pth"
    return Miniature(*paths, classes)


def flags(settings: dict, **paths: Path | list[Path]) -> list[str]:
    """Command-line flags of a stage."""
    found = ["--settings", json.dumps(settings)]
    for name, value in paths.items():
        found += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return found


def call(main: object, settings: dict, **paths: Path | list[Path]) -> int:
    """Run a stage as the workflow does."""
    return main(flags(settings, **paths))  # type: ignore[operator]

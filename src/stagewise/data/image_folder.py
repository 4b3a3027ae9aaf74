"""Photographs in one folder for each WordNet id, as ImageNet is kept on disk.

    validation/n01440764/ILSVRC2012_val_00000293.JPEG

First an index (`index_folder`: paths, labels, permanent ids, no pixels), then pixels of any part of
it (`load_images`), made as the published torchvision weights of ImageNet expect them.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from stagewise.errors import ConfigError
from stagewise.seeds import generator

IMAGENET_CLASSES = 1000
#: Mean and standard deviation of ImageNet's red, green and blue, from 0 to 1.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
#: The shorter side is resized to 256 where 224 are cut out.
_RESIZED_PER_CUT = 256 / 224
_WNID = re.compile(r"n\d{8}")
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
#: Modes with one number of unknown range for each pixel: no conversion to RGB is right for all.
_UNSCALED = ("I", "I;16", "I;16B", "I;16L", "F")


class ImageIndex(NamedTuple):
    """Chosen images, classes sorted and the files of a class sorted.

    Attributes:
        paths: Files.
        labels: Place of each image's class in ``classes`` (sample,).
        ids: Permanent: "n01440764/ILSVRC2012_val_00000293.JPEG".
        classes: WordNet ids of all classes, sorted, as torchvision numbers ImageNet.
    """

    paths: list[Path]
    labels: Int64[np.ndarray, " sample"]
    ids: list[str]
    classes: list[str]


def index_folder(
    folder: Path,
    *,
    per_class: int,
    seed: int,
    expected: int | Sequence[str] = IMAGENET_CLASSES,
) -> ImageIndex:
    """Choose at most ``per_class`` images of each class, at random by the root seed.

    The choice within a class is a function of (seed, class, its file names). Hidden files and files
    that are no images by their suffix are passed over.

    Args:
        folder: Holds one folder for each class, named by its WordNet id.
        per_class: Images of each class, at least 1; a class with fewer gives all.
        seed: Root seed.
        expected: How many classes there must be, or which: then folders of others are refused.

    Raises:
        ConfigError: No such folder; a folder inside that is no WordNet id or not expected; missing
            classes; a class without images; ``per_class`` below 1.
    """
    if per_class < 1:
        raise ConfigError(f"per_class is {per_class}; allowed are 1 and more images of each class")
    classes = _classes(folder, expected)
    paths, labels = [], []
    for label, name in enumerate(classes):
        chosen = _chosen(folder / name, per_class, seed)
        paths += chosen
        labels += [label] * len(chosen)
    ids = [f"{path.parent.name}/{path.name}" for path in paths]
    return ImageIndex(paths, np.array(labels, dtype=np.int64), ids, classes)


def load_images(paths: Sequence[Path], size: int = 224) -> Float[Tensor, "sample 3 size size"]:
    """Read images as float32 inputs of a network trained on ImageNet.

    Resized (bilinear, antialiased) so that the shorter side has size · 256/224 pixels, the middle
    size × size cut out, scaled to 0 to 1, less `MEAN`, over `DEVIATION`: at 224 the transform that
    comes with torchvision's GoogLeNet weights. Before that everything
    becomes RGB as in torchvision's own ImageFolder (Pillow's ``convert``): grey is repeated, CMYK
    is inverted without a colour profile, a palette is looked up, alpha is dropped. A rotation noted
    in EXIF is not applied, as it was not in training.

    Args:
        paths: Files; 1,000 images of 224 pixels take 600 MB.
        size: Side of the square that is cut out, in pixels.

    Raises:
        ConfigError: No paths, a size below 1, a file that is missing or can't be read as an image,
            or one with more than 8 bits a channel.
    """
    if not paths or size < 1:
        raise ConfigError(
            f"{len(paths)} images of {size} pixels; load at least one, of at least 1 pixel"
        )
    transform = v2.Compose(
        [
            v2.Resize(round(size * _RESIZED_PER_CUT), antialias=True),
            v2.CenterCrop(size),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(MEAN), list(DEVIATION)),
        ]
    )
    return torch.stack([transform(_rgb(Path(path))) for path in paths])


def _classes(folder: Path, expected: int | Sequence[str]) -> list[str]:
    """Sorted names of the class folders, checked against what is expected."""
    if not folder.is_dir():
        raise ConfigError(
            f"there is no image folder {folder}; name the folder that holds one folder for each "
            "WordNet id (n01440764, ...)"
        )
    found = sorted(one.name for one in folder.iterdir() if one.is_dir() and one.name[0] != ".")
    strange = [name for name in found if not _WNID.fullmatch(name)]
    if strange:
        raise ConfigError(
            f"{folder} has folders that are no WordNet ids ({', '.join(strange[:3])}); allowed are "
            "n and eight digits: move them elsewhere, or name the folder one level further down"
        )
    if isinstance(expected, int):
        if len(found) != expected:
            raise ConfigError(
                f"{folder} has {len(found)} classes, {expected} are expected; add the missing ones "
                "or change the number expected"
            )
        return found
    missing = sorted(set(expected) - set(found))
    unknown = sorted(set(found) - set(expected))
    if missing or unknown:
        raise ConfigError(
            f"{folder} lacks {len(missing)} expected classes ({', '.join(missing[:3])}) and has "
            f"{len(unknown)} others ({', '.join(unknown[:3])}); add or remove folders, or change "
            "the list of classes"
        )
    return found


def _chosen(folder: Path, per_class: int, seed: int) -> list[Path]:
    files = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
    )
    if not files:
        raise ConfigError(
            f"the class folder {folder} has no images; allowed are files that end in "
            f"{', '.join(sorted(_SUFFIXES))}: add some or remove the folder"
        )
    order = generator(seed, "image_folder", folder.name).permutation(len(files))
    return [files[place] for place in sorted(order[:per_class].tolist())]


def _rgb(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            if image.mode in _UNSCALED:
                raise ConfigError(
                    f"{path} has mode {image.mode}, more than 8 bits a channel; allowed are images "
                    "of 8 bits: convert it"
                )
            if image.mode == "P" and "transparency" in image.info:
                image = image.convert("RGBA")
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ConfigError(
            f"{path} can't be read as an image ({error}); fetch the file again, or remove it from "
            "its folder"
        ) from error

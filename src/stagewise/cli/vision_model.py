"""What the torch stages on images share: tensors of images, networks, checkpoints."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor, nn

from stagewise.data.flips import queried
from stagewise.data.image_folder import load_images
from stagewise.errors import SchemaError
from stagewise.models.googlenet import build, set_flat_state
from stagewise.storage import images as images_file

#: Grey levels of a pixel.
LEVELS = 255.0


def device() -> torch.device:
    """Return the GPU that this job was given, if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def inputs_of(
    images: xr.Dataset, shift: float, scale: float
) -> Float[Tensor, "sample channel row column"]:
    """Return what the network reads: (grey level / 255 - shift) / scale on all three channels.

    Images of a folder are read from it, normalised as ImageNet's are.
    """
    if "pixels" not in images:
        paths = [Path(one) for one in images["path"].values]
        return load_images(paths, int(images.attrs["size"])).to(device())
    grey = torch.from_numpy(images["pixels"].values.astype(np.float32))
    normal = (grey / LEVELS - shift) / scale
    return normal[:, None].repeat(1, 3, 1, 1).to(device())


def labels_of(images: xr.Dataset) -> Int[Tensor, " sample"]:
    """Return the classes of images."""
    return torch.from_numpy(images["label"].values.astype(np.int64)).to(device())


def queries_of(
    images: xr.Dataset, given: Int[np.ndarray, " judged"], count: int, seed: int
) -> xr.Dataset:
    """Return the held-out images that the judged images' influence is taken on, recorded or not.

    Args:
        images: All images.
        given: Given labels of the judged images; these classes come first.
        count: Queries.
        seed: Root seed; every stage that gives the same gets the same images in the same order.

    Raises:
        ConfigError: There are not so many held-out images.
    """
    held = images_file.part(images, images_file.HELD)
    labels, variants = held["label"].values.astype(np.int64), held["variant"].values.astype(str)
    return held.isel(sample=queried(labels, variants, given, count, seed))


def normalisation(images: xr.Dataset) -> tuple[float, float]:
    """Return mean and standard deviation of the training images' grey levels over 255."""
    if "pixels" not in images:
        return 0.0, 1.0
    grey = images["pixels"].values.astype(np.float32) / LEVELS
    return float(grey.mean(dtype=np.float64)), float(grey.std(dtype=np.float64))


def network(images: xr.Dataset, training: xr.Dataset, step: int | None) -> tuple[nn.Module, int]:
    """Return the network as it was after a step (None is the last), in eval mode, and the step.

    Raises:
        SchemaError: No weights were kept at that step.
    """
    steps: Sequence[int] = training["step"].values.tolist()
    wanted = steps[-1] if step is None else step
    if wanted not in steps:
        raise SchemaError(
            f"no weights were kept at step {wanted}; there are {steps}: train again with this step "
            "among vision.network.checkpoints"
        )
    module = build(images.sizes["class"])
    module.transform_input = bool(training.attrs.get("transform_input", 0))
    flat = training["state"].values[steps.index(wanted)].astype(np.float32)
    set_flat_state(module, torch.from_numpy(flat))
    return module.eval().to(device()), wanted

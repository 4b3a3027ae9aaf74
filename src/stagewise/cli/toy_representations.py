"""Stage toy_representations: hidden representations over training, in the plane."""

import sys
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Float

from stagewise.cli.stage import stage
from stagewise.cli.training_file import TRAINING, signed
from stagewise.config.toy_stages import TreeStage
from stagewise.storage import netcdf


def toy_representations(settings: TreeStage, training: Path, out: Path) -> None:
    """Embeds h_i(t) = W1(t) e_i of all items and checkpoints of a seed together."""
    trained = netcdf.read(training, TRAINING)
    hidden = trained["W1"].transpose("seed", "checkpoint", "item", "hidden").values
    plane = np.stack([embed(one_seed) for one_seed in hidden])
    dims = ("seed", "checkpoint", "item")
    dataset = xr.Dataset(
        {"x": (dims, plane[..., 0]), "y": (dims, plane[..., 1])},
        coords={name: trained[name] for name in ("seed", "step", "item", "branch")},
    )
    netcdf.write(signed(dataset, "toy_representations", settings, {"training": training}), out)


def embed(
    hidden: Float[np.ndarray, "checkpoint item hidden"],
) -> Float[np.ndarray, "checkpoint item 2"]:
    """Classical multidimensional scaling of all (checkpoint, item) points at once.

    One embedding for all checkpoints keeps the axes still, so that an item's points form a path.
    Axes come with arbitrary signs: the first item ends on the positive side of both.
    """
    from sklearn.manifold import ClassicalMDS  # slow to import, and only needed here

    points = hidden.reshape(-1, hidden.shape[-1])
    plane = ClassicalMDS(n_components=2).fit_transform(points).reshape(*hidden.shape[:2], 2)
    return plane * np.where(plane[-1, 0] < 0, -1.0, 1.0)


main = stage(toy_representations)

if __name__ == "__main__":
    sys.exit(main())

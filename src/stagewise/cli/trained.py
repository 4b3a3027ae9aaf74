"""Training runs read back as tensors, for the stages that start runs of their own from them.

Each starts from the recorded step 0 and uses the recorded checkpoints, so that all influences
stand on one time axis.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from stagewise.cli.training_file import TRAINING
from stagewise.config.toy_stages import TreeStage
from stagewise.data.trees import Tree, from_settings
from stagewise.errors import ConfigError
from stagewise.storage import netcdf


class Trained(NamedTuple):
    """Training runs of all seeds.

    Attributes:
        dataset: The whole file (schema `TRAINING`).
        W1: First layers at step 0.
        W2: Second layers at step 0.
        Y: Targets.
        loss: Losses of the items at the checkpoints.
        steps: Steps of the checkpoints.
        learning_rate: That of the runs.
        tau: n / learning_rate, in steps.
    """

    dataset: xr.Dataset
    W1: Float[Tensor, "seed hidden item"]
    W2: Float[Tensor, "seed feature hidden"]
    Y: Float[Tensor, "feature item"]
    loss: Float[Tensor, "seed checkpoint item"]
    steps: list[int]
    learning_rate: float
    tau: float


def read_trained(path: Path) -> Trained:
    """Reads the output of toy_train.

    Raises:
        SchemaError: The file is missing, truncated or of another kind or version.
    """
    dataset = netcdf.read(path, TRAINING)
    first, second, target, loss = (
        torch.from_numpy(np.ascontiguousarray(dataset[name].values))
        for name in ("W1", "W2", "Y", "loss")
    )
    return Trained(
        dataset,
        first[:, 0],
        second[:, 0],
        target,
        loss,
        dataset["step"].values.tolist(),
        float(dataset.attrs["learning_rate"]),
        float(dataset.attrs["tau"]),
    )


def tree_and_targets(settings: TreeStage) -> tuple[Tree, Float[np.ndarray, "feature item"]]:
    """The tree of the settings and its feature matrix Y.

    Raises:
        ConfigError: No such tree, or fewer hidden units than it has modes.
    """
    tree = from_settings(settings.tree)
    Y = tree.feature_matrix(settings.tree.feature_weights)
    modes = int(np.linalg.matrix_rank(Y))
    if settings.training.hidden < modes:
        raise ConfigError(
            f"toy.training.hidden is {settings.training.hidden}, but tree {settings.name!r} has "
            f"{modes} modes and could not be learned: allowed is {modes} or more"
        )
    return tree, Y


def check_converging(
    losses: Tensor, learning_rate: float, Y: Float[Tensor, "feature item"]
) -> None:
    """Refuses runs that left the finite numbers or ended above where they began.

    Raises:
        ConfigError: Naming the learning rate and the largest stable one, n / s_1: at the solution
            the largest curvature of L_n is 2 s_1 / n.
    """
    if not (torch.isfinite(losses).all() and (losses[:, -1].sum(-1) <= losses[:, 0].sum(-1)).all()):
        limit = Y.shape[1] / float(torch.linalg.matrix_norm(Y, 2))
        raise ConfigError(
            f"toy.training.learning_rate is {learning_rate:g}: training diverged; allowed is less "
            f"than n / s_1 = {limit:.3g} for these items: lower it (0.02 follows the flow to 1%)"
        )

"""Stage toy_train: the checkpoints of all seeds, which every later toy stage reads."""

import sys
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from stagewise.cli.stage import stage
from stagewise.cli.trained import check_converging, tree_and_targets
from stagewise.cli.training_file import TRAINING, checkpoint_steps, signed
from stagewise.config.toy_stages import TreeStage
from stagewise.data.trees import Tree
from stagewise.seeds import generator
from stagewise.storage import netcdf
from stagewise.training.linear_net import (
    Recorded,
    constant_weights,
    gaussian_init,
    item_losses,
    train,
)


def toy_train(settings: TreeStage, out: Path) -> None:
    """Trains the two-layer linear net on one tree, all seeds as one batch."""
    tree, targets = tree_and_targets(settings)
    training, Y = settings.training, torch.from_numpy(targets)
    seeds = range(training.seeds)
    start = gaussian_init(
        *Y.shape,
        training.hidden,
        training.init_scale,
        [generator(settings.seed, "toy", settings.name, "init", seed) for seed in seeds],
    )
    steps = checkpoint_steps(training)
    run = train(
        *start,
        Y,
        constant_weights(Y.new_ones(training.seeds, Y.shape[1])),
        learning_rate=training.learning_rate,
        record_steps=steps,
    )
    check_converging(item_losses(*run, Y), training.learning_rate, Y)
    dataset = _dataset(run, Y, tree, steps)
    dataset.attrs |= {
        "schema": TRAINING.name,
        "schema_version": TRAINING.version,
        "learning_rate": training.learning_rate,
        "tau": Y.shape[1] / training.learning_rate,
    }
    netcdf.write(signed(dataset, "toy_train", settings, {}), out)


def _dataset(run: Recorded, Y: torch.Tensor, tree: Tree, steps: list[int]) -> xr.Dataset:
    return xr.Dataset(
        {
            "W1": (("seed", "checkpoint", "hidden", "item"), run.W1.numpy()),
            "W2": (("seed", "checkpoint", "feature", "hidden"), run.W2.numpy()),
            "loss": (("seed", "checkpoint", "item"), item_losses(*run, Y).numpy()),
            "Y": (("feature", "item"), Y.numpy()),
            "relation": (("item", "other_item"), tree.relations()),
        },
        coords={
            "seed": np.arange(len(run.W1)),
            "step": ("checkpoint", np.array(steps)),
            "item": list(tree.items),
            "feature": list(tree.nodes),
            "branch": ("item", [tree.branch(item) for item in tree.items]),
        },
    )


main = stage(toy_train)

if __name__ == "__main__":
    sys.exit(main())

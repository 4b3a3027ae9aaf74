"""Stage: train a network on both tasks for every shared fraction and seed."""

import json
import sys
from pathlib import Path

import numpy as np
import xarray as xr

from stagewise.cli.multitask_model import accuracy, load_data, network_loss
from stagewise.cli.stage import stage
from stagewise.config.multitask import TwoTaskTrainStage
from stagewise.models.two_tasks import random_start
from stagewise.provenance import provenance
from stagewise.sampling.progress import bar
from stagewise.seeds import generator
from stagewise.storage import multitask
from stagewise.training.adam import AdamRecipe, descend_adam


def multitask_train(settings: TwoTaskTrainStage, out: Path) -> None:
    """Descends all runs as one batch; those of a seed begin alike, whatever is shared."""
    train, test = load_data(settings.data, settings.seed)
    chosen, shared = settings.training, settings.training.shared
    loss = network_loss(train, chosen.width, shared)
    streams = [generator(settings.seed, "multitask", "train", seed) for seed in settings.seeds]
    start = random_start(settings.data.modulus, chosen.width, streams)
    recipe = AdamRecipe(chosen.steps, chosen.learning_rate, chosen.weight_decay)
    w = descend_adam(loss, start.expand(len(shared), -1, -1), recipe, progress=bar("train"))
    right = {
        name: np.array(
            [
                [accuracy(part, chosen.width, f, one) for one in runs]
                for f, runs in zip(shared, w, strict=True)
            ]
        )
        for name, part in (("train_accuracy", train), ("test_accuracy", test))
    }
    grid = ("fraction", "seed")
    record = provenance("multitask_train", settings.model_dump(mode="json"), {})
    dataset = xr.Dataset(
        {name: ((*grid, "task"), array) for name, array in right.items()}
        | {
            "weights": ((*grid, "parameter"), w.numpy()),
            "train_loss": (grid, loss.losses(w).mean(-1).numpy()),
        },
        coords={
            "shared": ("fraction", np.array(shared)),
            "seed": np.array(settings.seeds),
            "operation": ("task", np.array(settings.data.tasks, dtype=object)),
        },
        attrs={"provenance": json.dumps(record, sort_keys=True)},
    )
    multitask.write(dataset, multitask.TRAINING, out)


main = stage(multitask_train)

if __name__ == "__main__":
    sys.exit(main())

"""The file of training runs that the toy stages share, and how they sign what they write.

No torch here: stages of the array side read the same files.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stagewise.config.toy import TrainingSettings
from stagewise.config.toy_stages import TreeStage
from stagewise.errors import ConfigError
from stagewise.provenance import provenance
from stagewise.storage.schema import Schema

TRAINING = Schema(
    name="stagewise.toy_training",
    version=1,
    variables={
        "W1": (("seed", "checkpoint", "hidden", "item"), "f"),
        "W2": (("seed", "checkpoint", "feature", "hidden"), "f"),
        "loss": (("seed", "checkpoint", "item"), "f"),
        "Y": (("feature", "item"), "f"),
        "relation": (("item", "other_item"), "U"),
    },
    coords={
        "seed": (("seed",), "i"),
        "step": (("checkpoint",), "i"),
        "item": (("item",), "U"),
        "feature": (("feature",), "U"),
        "branch": (("item",), "U"),
    },
    attrs=("learning_rate", "tau"),
)


def checkpoint_steps(training: TrainingSettings) -> list[int]:
    """Steps of the checkpoints: evenly spaced, rounded, first and last step included.

    Raises:
        ConfigError: More checkpoints than steps.
    """
    if training.checkpoints > training.steps + 1:
        raise ConfigError(
            f"toy.training.checkpoints is {training.checkpoints}, but {training.steps} steps leave "
            f"room for {training.steps + 1}: lower it or raise toy.training.steps"
        )
    return np.rint(np.linspace(0, training.steps, training.checkpoints)).astype(int).tolist()


def pair_coordinates(dataset: xr.Dataset) -> dict[str, Any]:
    """Coordinates of influences at the checkpoints: seed, step, sample and query ids."""
    items = dataset["item"].values
    return {
        "seed": dataset["seed"].values,
        "step": ("checkpoint", dataset["step"].values),
        "sample": items,
        "query": items,
    }


def signed(
    dataset: xr.Dataset, stage: str, settings: TreeStage, inputs: Mapping[str, Path]
) -> xr.Dataset:
    """The dataset with its ``tree`` and ``provenance`` (JSON): which stage made it, from what."""
    record = provenance(stage, settings.model_dump(mode="json"), inputs)
    return dataset.assign_attrs(tree=settings.name, provenance=json.dumps(record, sort_keys=True))

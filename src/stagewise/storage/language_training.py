"""One seed's training of a language model: weights at checkpoints, and measurements of stages.

Measurements are per held-out sequence, so that their errors come from a bootstrap over sequences:
``loss_sum`` and ``correct`` are sums over the tokens of a class, ``count`` says of how many.
``weights`` are absent where the checkpoints are public ones, which are read from where they are.
"""

import os

import xarray as xr

from stagewise.storage import netcdf
from stagewise.storage.schema import Schema

LANGUAGE_TRAINING = Schema(
    name="stagewise.language_training",
    version=1,
    variables={
        "loss_sum": (("measured", "held", "class"), "f"),
        "correct": (("measured", "held", "class"), "f"),
        "count": (("held", "class"), "i"),
        # Mean weight of attention, by head: to the token before, and to those after earlier copies
        # of the token that predicts.
        "previous_token": (("measured", "layer", "head"), "f"),
        "induction_attention": (("measured", "layer", "head"), "f"),
    },
    optional={
        # Kullback-Leibler divergence of the reference from the model's prediction, nats per token.
        "unigram_divergence": (("measured", "held"), "f"),
        "bigram_divergence": (("measured", "held"), "f"),
        "weights": (("checkpoint", "parameter"), "f"),
        # Learning rate at each checkpoint, where it is known.
        "learning_rate": (("checkpoint",), "f"),
        # The whole state of the training at attribute ``branch_step``: weights and the moments of
        # AdamW, from which branches go on.
        "branch_state": (("part", "parameter"), "f"),
    },
    coords={
        "measured_step": (("measured",), "i"),
        "step": (("checkpoint",), "i"),
        "class": (("class",), "U"),
    },
    attrs=("run", "run_seed", "model", "parameters"),
)


def write(training: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Check the file of a training and write it atomically.

    Raises:
        SchemaError: It is not valid.
    """
    LANGUAGE_TRAINING.validate(training)
    netcdf.write(training, path)


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read it into memory and check it.

    Raises:
        SchemaError: The file is missing, truncated, of another version, or no such file.
    """
    training = netcdf.read(path)
    LANGUAGE_TRAINING.validate(training, str(path))
    return training

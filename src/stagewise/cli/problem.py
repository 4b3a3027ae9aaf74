"""What the stages on one problem share: its data, its network, and the file of its checkpoint."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stagewise.config.calibration import ProblemSettings, ProblemStage
from stagewise.data import cancer, digits
from stagewise.data.labelled import Labelled
from stagewise.models.mlp import MLPLoss
from stagewise.provenance import provenance
from stagewise.storage import netcdf
from stagewise.storage.schema import Schema

CHECKPOINT = Schema(
    name="stagewise.checkpoint",
    version=1,
    variables={"weights": (("parameter",), "f")},
    coords={},
    attrs=("train_loss", "query_loss", "query_accuracy", "gradient_norm"),
)


class Problem(NamedTuple):
    """A problem's losses.

    Attributes:
        train: Losses of the training samples.
        queries: Losses of the queries, of the same network.
        samples: Training samples with their ids.
        asked: Queries with their ids.
    """

    train: MLPLoss
    queries: MLPLoss
    samples: Labelled
    asked: Labelled


def load_problem(settings: ProblemSettings, seed: int) -> Problem:
    """Load the data and lay the network over it."""
    source, classes = {
        "digits": (digits.digits, digits.CLASSES),
        "cancer": (cancer.cancer, cancer.CLASSES),
    }[settings.data]
    samples, asked = source(seed, settings.train, settings.queries)
    widths = (samples.inputs.shape[1], *settings.hidden, classes)
    train = MLPLoss(
        torch.from_numpy(samples.inputs), torch.from_numpy(samples.labels), widths, "tanh"
    )
    queries = train.with_data(torch.from_numpy(asked.inputs), torch.from_numpy(asked.labels))
    return Problem(train, queries, samples, asked)


def read_checkpoint(path: Path) -> Tensor:
    """Return w* (1, parameter)."""
    dataset = netcdf.read(path)
    CHECKPOINT.validate(dataset, str(path))
    return torch.from_numpy(dataset["weights"].values.astype(np.float32))[None]


def signed(
    dataset: xr.Dataset, stage: str, settings: ProblemStage, inputs: Mapping[str, Path]
) -> xr.Dataset:
    """The dataset with the problem's name and its ``provenance`` (JSON)."""
    record: dict[str, Any] = provenance(stage, settings.model_dump(mode="json"), inputs)
    return dataset.assign_attrs(
        problem=settings.name, provenance=json.dumps(record, sort_keys=True)
    )

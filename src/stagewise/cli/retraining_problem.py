"""What the stages of retraining share: data, network, and the file of what was trained on all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stagewise.baselines.attributor import Trained
from stagewise.cli.retraining_documents import new_model, read_documents
from stagewise.config.retraining import DescentRecipe, ProblemStage, RetrainingProblem
from stagewise.data import digits
from stagewise.data.flips import flip
from stagewise.data.labelled import Labelled
from stagewise.models.classifier import ClassifierLoss
from stagewise.models.conv import ConvLoss
from stagewise.models.documents import DocumentLoss
from stagewise.models.mlp import MLPLoss
from stagewise.models.resnet9 import ResNet9Loss
from stagewise.provenance import provenance
from stagewise.storage import netcdf
from stagewise.storage.schema import Schema
from stagewise.training.crops import Crops
from stagewise.training.descent import Recipe

CHECKPOINTS = Schema(
    name="stagewise.retraining_checkpoints",
    version=1,
    variables={
        "weights": (("member", "checkpoint", "parameter"), "f"),
        # Step length of the training there.
        "rate": (("checkpoint",), "f"),
        # Label that the training had.
        "given": (("sample",), "i"),
    },
    # Weights that every training started from, where they are not drawn.
    optional={"start": (("parameter",), "f")},
    coords={"sample": (("sample",), "U"), "step": (("checkpoint",), "i")},
    attrs=("labels", "train_loss", "query_loss", "query_accuracy"),
)


class Problem(NamedTuple):
    """A problem's losses.

    Attributes:
        train: Losses of the training samples, with the labels that the training is given.
        queries: Losses of the queries, of the same network.
        samples: Training samples with their ids and true labels.
        asked: Queries with their ids.
    """

    train: ClassifierLoss
    queries: ClassifierLoss
    samples: Labelled
    asked: Labelled

    @property
    def flipped(self) -> np.ndarray:
        """True where the training is given another label than the true one."""
        return self.train.labels.cpu().numpy() != self.samples.labels


def load_problem(settings: ProblemStage, labels: str = "clean") -> Problem:
    """Load the data and lay the network over it; labels are "clean" or "flipped"."""
    chosen = settings.problem
    if chosen.started:
        return _documents(settings)
    samples, asked = _samples(settings)
    given = samples.labels
    if labels == "flipped":
        given = flip(given, _classes(chosen), chosen.flips.share, settings.seed)
    dtype, where = (
        torch.float64 if chosen.recipe.kind == "newton" else torch.float32,
        device(chosen),
    )
    train = _network(
        chosen,
        torch.from_numpy(samples.inputs).to(where, dtype),
        torch.from_numpy(given).to(where),
    )
    queries = train.with_data(
        torch.from_numpy(asked.inputs).to(where, dtype), torch.from_numpy(asked.labels).to(where)
    )
    return Problem(train, queries, samples, asked)


def _documents(settings: ProblemStage) -> Problem:
    """Return documents under a language model."""
    where = device(settings.problem)
    samples, asked, vocabulary = read_documents(settings)
    train, queries = (torch.from_numpy(one.inputs).to(where) for one in (samples, asked))
    loss = DocumentLoss(new_model(settings, vocabulary), train)
    return Problem(loss, loss.with_data(queries, loss.labels), samples, asked)


def device(chosen: RetrainingProblem) -> torch.device:
    """Return where a problem is computed: what is not large is too small for a GPU."""
    return torch.device("cuda" if chosen.large and torch.cuda.is_available() else "cpu")


def _samples(settings: ProblemStage) -> tuple[Labelled, Labelled]:
    """Return training samples and queries."""
    chosen, source = settings.problem, settings.problem.source
    if source.kind == "cifar10":
        from stagewise.data import cifar  # and torchvision, which digits don't need

        folder = Path(source.folder)
        return cifar.cifar10(folder, settings.seed, chosen.train, chosen.queries)
    return digits.digits(settings.seed, chosen.train, chosen.queries)


def _classes(chosen: RetrainingProblem) -> int:
    """Return how many classes a source of images has."""
    if chosen.source.kind == "cifar10":
        from stagewise.data import cifar

        return cifar.CLASSES
    return digits.CLASSES


def _network(chosen: RetrainingProblem, inputs: Tensor, labels: Tensor) -> ClassifierLoss:
    classes = _classes(chosen)
    if chosen.network.kind == "resnet9":
        from stagewise.data import cifar

        return ResNet9Loss(inputs, labels, cifar.SHAPE, chosen.network.widths, classes)
    if chosen.network.kind == "conv":
        return ConvLoss(inputs, labels, chosen.network.channels, classes)
    widths = (inputs.shape[1], *chosen.network.hidden, classes)
    return MLPLoss(inputs, labels, widths, "tanh")


def recipe_of(chosen: DescentRecipe) -> Recipe:
    """Return how a run descends."""
    crops = None
    if chosen.crops:
        from stagewise.data import cifar

        crops = Crops(cifar.SHAPE, chosen.crops.crop, chosen.crops.flip)
    return Recipe(
        chosen.steps,
        chosen.batch_size,
        chosen.learning_rate,
        chosen.momentum,
        chosen.weight_decay,
        crops,
    )


def read_trained(
    path: Path, problem: Problem, seed: int, folder: Path, queries: ClassifierLoss | None = None
) -> Trained:
    """Return what an attributor is given, of a file of checkpoints."""
    dataset = netcdf.read(path, CHECKPOINTS)
    return Trained(
        problem.train,
        problem.queries if queries is None else queries,
        torch.from_numpy(dataset["weights"].values).to(problem.train.inputs.device),
        tuple(dataset["rate"].values.tolist()),
        seed,
        folder,
    )


def read_start(path: Path, problem: Problem) -> Tensor | None:
    """Return the weights that every training starts from, of a file of checkpoints, if any."""
    dataset = netcdf.read(path, CHECKPOINTS)
    if "start" not in dataset:
        return None
    return torch.from_numpy(dataset["start"].values).to(problem.train.inputs.device)


def signed(
    dataset: xr.Dataset, stage: str, settings: ProblemStage, inputs: Mapping[str, Path]
) -> xr.Dataset:
    """The dataset with the problem's name and its ``provenance`` (JSON)."""
    record: dict[str, Any] = provenance(stage, settings.model_dump(mode="json"), inputs)
    return dataset.assign_attrs(
        problem=settings.name, provenance=json.dumps(record, sort_keys=True)
    )

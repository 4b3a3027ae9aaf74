"""Stage: train the network of one problem on all samples, with clean or with flipped labels."""

import sys
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stagewise.baselines.exact import gauss_newton
from stagewise.cli.retraining_documents import pretrained_weights
from stagewise.cli.retraining_problem import CHECKPOINTS, Problem, load_problem, recipe_of, signed
from stagewise.cli.stage import stage
from stagewise.config.retraining import DescentRecipe, TrainStage
from stagewise.sampling.progress import bar
from stagewise.seeds import generator
from stagewise.storage import netcdf
from stagewise.training.descent import descend, module_init
from stagewise.training.newton import newton


def retraining_train(settings: TrainStage, out: Path) -> None:
    """Trains every member and keeps its weights at some steps."""
    problem, recipe = load_problem(settings, settings.labels), settings.problem.recipe
    start: Tensor | None = None
    if recipe.kind == "newton":
        w = newton(problem.train, gauss_newton, recipe.weight_decay)
        weights, steps, rates = w[None, None], [1], [1.0]
    else:
        start = _start(problem, settings)
        weights = _descended(problem, recipe, settings, start)
        steps = list(recipe.checkpoints)
        rates = [recipe.learning_rate * (1 - (step - 1) / recipe.steps) for step in steps]
    centre = weights[:1, -1:]
    dataset = xr.Dataset(
        {
            "weights": (("member", "checkpoint", "parameter"), weights.cpu().numpy()),
            "rate": ("checkpoint", np.array(rates)),
            "given": ("sample", problem.train.labels.cpu().numpy()),
        },
        coords={"sample": problem.samples.ids, "step": ("checkpoint", steps)},
        attrs={
            "labels": settings.labels,
            "train_loss": float(problem.train.losses(centre).mean()),
            "query_loss": float(problem.queries.losses(centre).mean()),
            "query_accuracy": problem.queries.accuracy(centre[0, 0]),
            "schema": CHECKPOINTS.name,
            "schema_version": CHECKPOINTS.version,
        },
    )
    if start is not None:
        dataset["start"] = ("parameter", start.cpu().numpy())
    CHECKPOINTS.validate(dataset)
    netcdf.write(signed(dataset, "retraining_train", settings, {}), out)


def _start(problem: Problem, settings: TrainStage) -> Tensor | None:
    """Return the weights that every training starts from, or None where each draws its own."""
    if not settings.problem.started:
        return None
    vocabulary = problem.train.vocabulary
    return pretrained_weights(settings, vocabulary, problem.train.inputs.device)


def _descended(
    problem: Problem, recipe: DescentRecipe, settings: TrainStage, given: Tensor | None
) -> Tensor:
    """Return weights (member, checkpoint, parameter)."""
    names = ("retraining", settings.name, settings.labels)
    starts, batches = (
        [generator(settings.seed, *names, purpose, member) for member in range(recipe.members)]
        for purpose in ("init", "batches")
    )
    kept: list[Tensor] = []

    def keep(step: int, w: Tensor) -> None:
        if step in recipe.checkpoints:
            kept.append(w.clone())

    start = module_init(problem.train, starts) if given is None else given.repeat(len(starts), 1)
    descend(problem.train, start, recipe_of(recipe), batches, progress=bar("train"), watch=keep)
    return torch.stack(kept, 1)


main = stage(retraining_train)

if __name__ == "__main__":
    sys.exit(main())

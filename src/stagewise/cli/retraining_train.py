"""Stage: train the network of one problem on all samples, with clean or with flipped labels."""

import sys
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stagewise.baselines.exact import gauss_newton
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
    if recipe.kind == "newton":
        w = newton(problem.train, gauss_newton, recipe.weight_decay)
        weights, steps, rates = w[None, None], [1], [1.0]
    else:
        weights = _descended(problem, recipe, settings)
        steps = list(recipe.checkpoints)
        rates = [recipe.learning_rate * (1 - (step - 1) / recipe.steps) for step in steps]
    centre = weights[:1, -1:]
    right = problem.queries.logits(centre, problem.queries.inputs).argmax(-1)
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
            "query_accuracy": float((right == problem.queries.labels).double().mean()),
            "schema": CHECKPOINTS.name,
            "schema_version": CHECKPOINTS.version,
        },
    )
    CHECKPOINTS.validate(dataset)
    netcdf.write(signed(dataset, "retraining_train", settings, {}), out)


def _descended(problem: Problem, recipe: DescentRecipe, settings: TrainStage) -> Tensor:
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

    start = module_init(problem.train, starts)
    descend(problem.train, start, recipe_of(recipe), batches, progress=bar("train"), watch=keep)
    return torch.stack(kept, 1)


main = stage(retraining_train)

if __name__ == "__main__":
    sys.exit(main())

"""Stage: train the network of one problem to a checkpoint."""

import sys
from pathlib import Path

import torch
import xarray as xr

from stagewise.cli.problem import CHECKPOINT, load_problem, signed
from stagewise.cli.stage import stage
from stagewise.config.calibration import ProblemStage
from stagewise.sampling.progress import bar
from stagewise.seeds import generator
from stagewise.storage import netcdf
from stagewise.training.descent import Recipe, descend, linear_init


def problem_train(settings: ProblemStage, out: Path) -> None:
    """Descends from random weights; the checkpoint is stationary with weight decay, not without."""
    problem, chosen = load_problem(settings.problem, settings.seed), settings.problem
    recipe = Recipe(
        chosen.steps,
        chosen.batch_size,
        chosen.learning_rate,
        chosen.momentum,
        chosen.weight_decay,
    )
    streams = [generator(settings.seed, "problem", settings.name, "train")]
    start = linear_init(problem.train.widths, streams)
    w = descend(problem.train, start, recipe, streams, progress=bar("train"))[None]
    mean, gradient = problem.train.mean_and_gradient(w, None)
    right = problem.queries.logits(w, problem.queries.inputs).argmax(-1) == problem.queries.labels
    dataset = xr.Dataset(
        {"weights": ("parameter", w[0, 0].numpy())},
        attrs={
            "train_loss": float(mean),
            "query_loss": float(problem.queries.losses(w).mean()),
            "query_accuracy": float(right.to(torch.float32).mean()),
            "gradient_norm": float(gradient.norm()),
            "schema": CHECKPOINT.name,
            "schema_version": CHECKPOINT.version,
        },
    )
    netcdf.write(signed(dataset, "problem_train", settings, {}), out)


main = stage(problem_train)

if __name__ == "__main__":
    sys.exit(main())

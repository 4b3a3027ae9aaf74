"""Retraining of one set as targets, resuming where it was interrupted; what its stages share."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float
from torch import Tensor

from stagewise.baselines.exact import gauss_newton
from stagewise.cli.retraining_problem import Problem, load_problem, read_start, recipe_of
from stagewise.config.retraining import ProblemStage
from stagewise.data.subsets import check_subsets
from stagewise.errors import ConfigError
from stagewise.files import scratch_folder, sha256_file, sha256_json
from stagewise.provenance import loaded_code
from stagewise.storage import targets
from stagewise.training.newton import minimise, newton
from stagewise.training.retraining import Retraining, retrain

#: Retrainings whose losses are derived once more from their stored weights.
CHECKED = 4
#: Weights of the stored models, and the losses that they should give.
MODELS = "stagewise.retrained_models"


class Job(NamedTuple):
    """A set of retrainings.

    Attributes:
        name: Of the set.
        role: "scored", "tuning", "loo" or "removal".
        alpha: Share of samples in a random subset.
        masks: True where the subset holds the sample.
        seeds: Retrainings of each.
        first: Number of the first of these subsets in its set.
    """

    name: str
    role: str
    alpha: float
    masks: Bool[np.ndarray, "subset sample"]
    seeds: int
    first: int = 0


def run_set(
    settings: ProblemStage,
    job: Job,
    scratch: Path,
    identity: dict[str, Any],
    checkpoints: Path | None = None,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Retrain on every subset with every seed.

    Args:
        settings: The problem.
        job: The set.
        scratch: Folder under which blocks of subsets that are done are kept.
        identity: What else the set depends on.
        checkpoints: File of the weights that every training starts from; None draws them.

    Returns:
        Targets, and the models that they were checked with.

    Raises:
        ConfigError: A subset misses a class, or there are fewer than two seeds of a random
            training.
        DivergenceError: A retraining has weights that are not finite.
    """
    problem, begun = load_problem(settings), time.monotonic()
    check_subsets(job.masks, problem.samples.labels)
    whole = {
        "settings": settings.model_dump(),
        "set": job.name,
        "first": job.first,
        "code": loaded_code(),
    }
    whole |= {"masks": sha256_json(np.packbits(job.masks).tolist()), **identity}
    start = None
    if checkpoints is not None:
        whole["checkpoints"] = sha256_file(checkpoints)
        start = read_start(checkpoints, problem)
    with scratch_folder(scratch, whole) as folder:
        weights, steps = _trained(settings, problem, job, folder, start)
    losses = problem.queries.losses(weights.flatten(0, 1)[None])[0]
    loss = losses.unflatten(0, weights.shape[:2]).double().cpu().numpy()
    some = checked_places(*weights.shape[:2])
    again = rederived(problem, torch.stack([weights[place] for place in some]))
    stored = np.stack([loss[place] for place in some])
    ids = {"query": problem.asked.ids, "sample": problem.samples.ids}
    attrs = {
        "problem": settings.name,
        "role": job.role,
        "alpha": job.alpha,
        "steps": steps,
        "models_trained": int(np.prod(weights.shape[:2])),
        "wall_seconds": time.monotonic() - begun,
        "self_check": float(np.abs(again - stored).max()),
    }
    found = targets.from_arrays(
        loss=loss, mask=job.masks, seed=np.arange(job.seeds), attrs=attrs, **ids
    )
    models = xr.Dataset(
        {
            "weights": (
                ("model", "parameter"),
                torch.stack([weights[place] for place in some]).cpu().numpy(),
            ),
            "loss": (("model", "query"), stored),
            "subset": ("model", [job.first + subset for subset, _ in some]),
            "seed": ("model", [seed for _, seed in some]),
        },
        coords={"query": problem.asked.ids},
        attrs={"schema": MODELS, "schema_version": 1},
    )
    return found, models


def checked_places(subsets: int, seeds: int) -> list[tuple[int, int]]:
    """Return the (subset, seed) of a few retrainings, spread over all of them."""
    places = np.unique(np.linspace(0, subsets * seeds - 1, CHECKED).astype(int))
    return [divmod(int(place), seeds) for place in places]


def rederived(
    problem: Problem, weights: Float[Tensor, "model parameter"]
) -> Float[np.ndarray, "model query"]:
    """Return the queries' losses of stored models, in float64 and as a torch module."""
    asked = problem.queries
    found = [asked.module_losses(asked.module(w.double())) for w in weights]
    return torch.stack(found).cpu().numpy()


def _trained(
    settings: ProblemStage, problem: Problem, job: Job, folder: Path, start: Tensor | None
) -> tuple[Float[Tensor, "subset seed parameter"], int]:
    """Return the weights, and how many optimiser steps each run took."""
    recipe = settings.problem.recipe
    if recipe.kind == "newton":
        centre = newton(problem.train, gauss_newton, recipe.weight_decay)
        matrix = gauss_newton(problem.train, centre)
        rows = torch.from_numpy(job.masks).to(centre)
        return minimise(problem.train, centre, rows, matrix, recipe.weight_decay).weights[
            :, None
        ], 0
    if job.seeds < 2:
        raise ConfigError(
            f"{job.name} of {settings.name} has {job.seeds} seed; two at least are needed to tell "
            "what a subset does from what a seed does: raise seeds"
        )
    plan = Retraining(
        problem.train,
        recipe_of(recipe),
        job.masks,
        job.seeds,
        job.role in ("loo", "removal"),
        settings.seed,
        ("retraining", settings.name, job.name),
        job.first,
        start,
    )
    return retrain(plan, folder, lambda line: print(line, flush=True)), recipe.steps

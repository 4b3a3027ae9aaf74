"""Retraining on many subsets with several seeds each, block by block of subsets.

All runs of a block are one batched network. A block that is done is kept in a folder, so that an
interrupted retraining goes on with the subsets that are missing.

*Random subsets* S are trained on by batches drawn from S: L_S is the mean over S. Every (subset,
seed) has initial weights and batches of its own. *Left-out samples* have weight 0 and the divisor n
is kept; initial weights and batches of a seed are those of all subsets, so that what differs
between two of them is the samples alone.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from stagewise.errors import ConfigError
from stagewise.models.classifier import ClassifierLoss
from stagewise.seeds import generator
from stagewise.training import saved_state
from stagewise.training.descent import Recipe, descend, module_init

#: Runs that are trained together: their weights, velocities and gradients stay in cache.
BLOCK_RUNS = 64
#: Weights that are trained together, at most: of a large network one subset after another.
BLOCK_WEIGHTS = 2**22


class Retraining(NamedTuple):
    """What is retrained on what.

    Attributes:
        loss: Per-sample losses of the training samples.
        recipe: Steps, batches, step length, momentum, weight decay.
        masks: True where the subset holds the sample.
        seeds: Retrainings of each subset.
        left_out: Whether samples outside a subset have weight 0, with common random numbers, rather
            than batches being drawn from the subset.
        root: Root seed.
        names: Of the random streams, from general to particular.
        first: Number of the first subset in the set that these are a part of.
        start: Weights that every run starts from; None draws some for each.
    """

    loss: ClassifierLoss
    recipe: Recipe
    masks: Bool[np.ndarray, "subset sample"]
    seeds: int
    left_out: bool
    root: int
    names: tuple[str, ...]
    first: int = 0
    start: Float[Tensor, " parameter"] | None = None


def retrain(
    job: Retraining, folder: Path, say: Callable[[str], None] = lambda line: None
) -> Float[Tensor, "subset seed parameter"]:
    """Train every subset with every seed and return the last weights.

    Args:
        job: What is retrained.
        folder: Where blocks are kept; those that are there are not trained again.
        say: Called with a line of text after each block.

    Raises:
        ConfigError: There are no subsets, fewer than one seed, or masks don't fit the samples.
        DivergenceError: A run's weights are not finite at the end.
    """
    subsets, samples = job.masks.shape
    if samples != job.loss.sample_count or subsets < 1 or job.seeds < 1:
        raise ConfigError(
            f"masks of shape {job.masks.shape} with {job.seeds} seeds for {job.loss.sample_count} "
            "samples; pass at least one subset of these samples, and one seed"
        )
    found = []
    for block in blocks(subsets, job.seeds, job.loss.parameter_count):
        path = folder / f"subsets_{block.start:05d}_{block.stop:05d}.pt"
        weights = saved_state.load(path)
        if weights is None:
            weights = _block(job, block).cpu()
            saved_state.save(weights, path)
            say(f"subsets {block.start} to {block.stop - 1} of {subsets} are trained")
        found.append(weights.to(job.loss.inputs.device))
    return torch.cat(found)


def blocks(subsets: int, seeds: int, parameters: int = 1) -> Iterator[range]:
    """Yield the subsets of each block."""
    size = max(1, min(BLOCK_RUNS, BLOCK_WEIGHTS // parameters) // seeds)
    for start in range(0, subsets, size):
        yield range(start, min(start + size, subsets))


def _block(job: Retraining, block: Sequence[int]) -> Float[Tensor, "subset seed parameter"]:
    runs = [(subset, seed) for subset in block for seed in range(job.seeds)]
    masks = job.masks[[subset for subset, _ in runs]]
    if job.start is None:
        start = module_init(job.loss, [_stream(job, "init", *run) for run in runs])
    else:
        start = job.start.repeat(len(runs), 1)
    found = descend(
        job.loss,
        start,
        job.recipe,
        [_stream(job, "batches", *run) for run in runs],
        None if job.left_out else [np.flatnonzero(mask) for mask in masks],
        weights=torch.from_numpy(masks).to(start) if job.left_out else None,
    )
    return found.unflatten(0, (len(block), job.seeds))


def _stream(job: Retraining, purpose: str, subset: int, seed: int) -> np.random.Generator:
    which = (seed,) if job.left_out else (job.first + subset, seed)
    return generator(job.root, *job.names, purpose, *which)

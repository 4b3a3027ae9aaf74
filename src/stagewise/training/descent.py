"""Minibatch gradient descent on any per-sample loss, many runs as one batch.

A run minimises L_S(w) + (lambda / 2)|w|^2, L_S the mean loss over the samples S that the run has:

    m <- mu m + grad L_B(w) + lambda w,   w <- w - lr(t) m,   lr(t) = lr (1 - t / T)

with batches drawn from S with replacement. The step falls to zero, so that the last weights are
close to a stationary point of what is minimised. Runs differ in their initial weights, in their
batches, which each draws from a generator of its own, and in S; nothing that runs beside a run
changes its numbers but for rounding.

Where samples have weights c, L_S is (1/|S|) sum_(i in S) c_i l_i: leaving sample i out is c_i = 0
with the divisor kept, and with the same generator it meets the same batches otherwise.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from stagewise.errors import ConfigError, DivergenceError
from stagewise.models.classifier import ClassifierLoss
from stagewise.models.per_sample import PerSampleLoss
from stagewise.training.crops import Crops, varied


class Recipe(NamedTuple):
    """How a run descends.

    Attributes:
        steps: T, optimiser steps, whatever the number of samples.
        batch_size: Samples in a batch.
        learning_rate: lr at the first step.
        momentum: mu in [0, 1).
        weight_decay: lambda >= 0, in nats per squared unit of weight.
        crops: How images are moved and mirrored on their way into a batch; None leaves them.
    """

    steps: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    crops: Crops | None = None


def descend(
    loss: PerSampleLoss,
    start: Float[Tensor, "run parameter"],
    recipe: Recipe,
    generators: Sequence[np.random.Generator],
    members: Sequence[np.ndarray] | None = None,
    progress: Callable[[int, int], None] | None = None,
    weights: Float[Tensor, "run sample"] | None = None,
    watch: Callable[[int, Tensor], None] | None = None,
) -> Float[Tensor, "run parameter"]:
    """Train all runs and return their last weights.

    Args:
        loss: The per-sample losses.
        start: Initial weights of each run.
        recipe: Steps, batches, step length, momentum, weight decay.
        generators: One for each run; it draws the run's batches.
        members: Indices of the samples that each run has; None gives all to all.
        progress: Called with (steps taken, steps in all).
        weights: c of every sample in each run, for losses that take them; None is 1.
        watch: Called after each step with the steps taken and the weights of all runs, which it
            may copy.

    Raises:
        ConfigError: There are no runs, generators, members or weights don't fit them, a run has no
            samples, the loss takes no weights, or a number of the recipe is out of range.
        DivergenceError: A run's weights are not finite at the end.
    """
    everything = np.arange(loss.sample_count)
    sets = [everything] * len(start) if members is None else list(members)
    least = min(map(len, sets), default=0)
    if not len(generators) == len(sets) == len(start) or least == 0:
        raise ConfigError(
            f"{len(start)} runs, {len(generators)} generators, {len(sets)} sets of samples with "
            f"{least} at least; give each run one generator and a set with samples"
        )
    _check(recipe)
    if weights is not None and len(weights) != len(start):
        raise ConfigError(f"{len(weights)} rows of weights for {len(start)} runs; give each one")
    w, velocity = start.clone()[None], torch.zeros_like(start)[None]
    for step in range(recipe.steps):
        batch = torch.from_numpy(_batches(generators, sets, recipe.batch_size)).to(start.device)
        given, at = _given(loss, batch, recipe.crops, generators)
        counted = None if weights is None else weights.gather(1, batch)
        gradient = _gradient(given, w, at, counted).add_(w, alpha=recipe.weight_decay)
        velocity.mul_(recipe.momentum).add_(gradient)
        w.add_(velocity, alpha=-recipe.learning_rate * (1.0 - step / recipe.steps))
        if watch:
            watch(step + 1, w[0])
        if progress:
            progress(step + 1, recipe.steps)
    finite = torch.isfinite(w[0]).all(-1)
    if not bool(finite.all()):
        raise DivergenceError(
            f"runs {(~finite).nonzero().flatten().tolist()} of {len(start)} have weights that are "
            f"not finite; lower learning_rate ({recipe.learning_rate})"
        )
    return w[0]


def _gradient(
    loss: PerSampleLoss, w: Tensor, batch: Tensor, weights: Tensor | None
) -> Float[Tensor, "1 run parameter"]:
    if weights is None:
        return loss.mean_and_gradient(w, batch)[1]
    if not isinstance(loss, ClassifierLoss):
        raise ConfigError(f"{type(loss).__name__} takes no weights of samples; give none")
    return loss.mean_and_gradient(w, batch, weights)[1]


def _given(
    loss: PerSampleLoss,
    batch: Tensor,
    crops: Crops | None,
    generators: Sequence[np.random.Generator],
) -> tuple[PerSampleLoss, Tensor]:
    """Return the losses that a step sees, and the places of every run's batch in them."""
    if crops is None:
        return loss, batch
    if not isinstance(loss, ClassifierLoss):
        raise ConfigError(f"{type(loss).__name__} has no images to crop; give no crops")
    inputs = varied(loss.inputs[batch], crops, generators).flatten(0, 1)
    own = torch.arange(batch.numel(), device=batch.device).view(batch.shape)
    return loss.with_data(inputs, loss.labels[batch].flatten()), own


def _check(recipe: Recipe) -> None:
    counts = recipe.steps >= 0 and recipe.batch_size >= 1
    if not (counts and 0 <= recipe.momentum < 1 and recipe.weight_decay >= 0):
        raise ConfigError(
            f"{recipe}; steps and weight_decay must be at least 0, batch_size at least 1, momentum "
            "in [0, 1)"
        )


def _batches(
    generators: Sequence[np.random.Generator], sets: Sequence[np.ndarray], size: int
) -> np.ndarray:
    drawn = zip(generators, sets, strict=True)
    return np.stack([chosen[rng.integers(0, len(chosen), size)] for rng, chosen in drawn])


def module_init(
    loss: ClassifierLoss, generators: Sequence[np.random.Generator]
) -> Float[Tensor, "run parameter"]:
    """Initial weights of any classifier of linear and convolutional layers, as `linear_init`.

    What goes into a layer is what one of its outputs sees: a row of its weights. Normalisations
    begin at weight 1 and bias 0.
    """
    rows = [_row(loss.empty_module(), rng) for rng in generators]
    return torch.from_numpy(np.stack(rows)).to(loss.inputs)


def _row(module: nn.Module, rng: np.random.Generator) -> np.ndarray:
    """Return one run's initial weights, in the order of ``module.parameters()``."""
    parts = []
    for layer in module.modules():
        own = [one.numel() for one in layer.parameters(recurse=False)]
        if isinstance(layer, nn.GroupNorm):
            parts += [np.ones(own[0]), np.zeros(own[1])]
        elif own:
            bound = layer.weight[0].numel() ** -0.5
            parts += [rng.uniform(-bound, bound, size) for size in own]
    return np.concatenate(parts)


def linear_init(
    widths: Sequence[int], generators: Sequence[np.random.Generator]
) -> Float[Tensor, "run parameter"]:
    """Weights and biases uniform within 1/sqrt(inputs of the layer), float32, layer after layer.

    What ``torch.nn.Linear`` does, with a generator for each run; the order is that of `MLPLoss`.
    """
    rows = []
    for rng in generators:
        parts = []
        for inputs, outputs in zip(widths[:-1], widths[1:], strict=True):
            bound = 1.0 / math.sqrt(inputs)
            parts += [rng.uniform(-bound, bound, size) for size in (outputs * inputs, outputs)]
        rows.append(np.concatenate(parts))
    return torch.from_numpy(np.stack(rows).astype(np.float32))

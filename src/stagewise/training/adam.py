"""Adam on the full gradient of any per-sample loss, many runs as one batch.

A run minimises L_n(w) + (lambda / 2)|w|^2: with g its gradient,

    m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2,   w <- w - lr(t) m' / (sqrt(v') + 1e-8),

m' and v' corrected for their start at 0, lr(t) = lr (1 - t / T). The step falls to zero, so that
the last weights are close to a stationary point of what is minimised. Nothing is drawn: a run is a
function of its initial weights.

Source: Kingma & Ba 2015, arXiv:1412.6980.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from stagewise.errors import ConfigError, DivergenceError
from stagewise.models.per_sample import PerSampleLoss

EPSILON = 1e-8
#: b1 and b2.
DECAY = (0.9, 0.98)


class AdamRecipe(NamedTuple):
    """How a run descends.

    Attributes:
        steps: T, at least 0.
        learning_rate: lr > 0 at the first step.
        weight_decay: lambda >= 0, in the loss's unit per squared unit of weight.
    """

    steps: int
    learning_rate: float
    weight_decay: float


def descend_adam(
    loss: PerSampleLoss,
    start: Float[Tensor, "checkpoint run parameter"],
    recipe: AdamRecipe,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, "checkpoint run parameter"]:
    """Train all runs and return their last weights.

    Args:
        loss: The per-sample losses; what it holds for a checkpoint belongs to the first dimension.
        start: Initial weights.
        recipe: Steps, step length, weight decay.
        progress: Called with (steps taken, steps in all).

    Raises:
        ConfigError: A number of the recipe is out of range.
        DivergenceError: A run's weights are not finite at the end.
    """
    if recipe.steps < 0 or recipe.learning_rate <= 0 or recipe.weight_decay < 0:
        raise ConfigError(
            f"{recipe}; steps and weight_decay must be at least 0, learning_rate positive"
        )
    w, (one, two) = start.clone(), DECAY
    first, second = torch.zeros_like(w), torch.zeros_like(w)
    for step in range(1, recipe.steps + 1):
        gradient = loss.mean_and_gradient(w, None)[1].add_(w, alpha=recipe.weight_decay)
        first.lerp_(gradient, 1 - one)
        second.mul_(two).addcmul_(gradient, gradient, value=1 - two)
        size = (second / (1 - two**step)).sqrt_().add_(EPSILON)
        rate = recipe.learning_rate * (1 - (step - 1) / recipe.steps)
        w.addcdiv_(first, size, value=-rate / (1 - one**step))
        if progress:
            progress(step, recipe.steps)
    finite = torch.isfinite(w).all(-1)
    if not bool(finite.all()):
        raise DivergenceError(
            f"{int((~finite).sum())} of {finite.numel()} runs have weights that are not finite; "
            f"lower learning_rate ({recipe.learning_rate})"
        )
    return w

"""Windows of training steps in which some tokens weigh more."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from stagewise.seeds import generator
from stagewise.training.language import Weigh

Arm = Literal["during", "before", "after", "random"]


def first_step(middle: float, width: int, branch: int) -> int:
    """Return the step at which the first of three windows of ``width`` steps begins.

    The second one is centred on ``middle``, unless the first would then begin before ``branch``:
    all are moved later until it doesn't.
    """
    return max(branch, round(middle - 1.5 * width))


def raised_steps(
    arm: Arm, first: int, width: int, seed: tuple[int, str, int]
) -> Int[np.ndarray, " step"]:
    """Return the steps at which tokens weigh more, ``width`` of them whatever the arm.

    Args:
        arm: "before", "during" and "after" are three windows one after another; "random" are as
            many steps drawn out of all three.
        first: Step at which the first window begins.
        width: Steps of a window.
        seed: Root seed and names of the stream of the random arm.
    """
    if arm == "random":
        chosen = generator(*seed, "random arm").choice(3 * width, width, replace=False)
        return np.sort(chosen) + first
    start = first + {"before": 0, "during": 1, "after": 2}[arm] * width
    return np.arange(start, start + width)


def weigh_more(steps: Int[np.ndarray, " step"], token_class: int, extra: float) -> Weigh:
    """Return weights of 1 + ``extra`` for the tokens of one class at some steps, 1 elsewhere."""
    raised = set(steps.tolist())

    def weigh(
        step: int, classes: Int[Tensor, "sequence predicted"]
    ) -> Float[Tensor, "sequence predicted"]:
        if step not in raised:
            return torch.ones(classes.shape, device=classes.device)
        return 1.0 + extra * (classes == token_class).float()

    return weigh

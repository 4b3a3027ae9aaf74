"""Training of an image classifier: SGD with momentum under one cycle of the learning rate.

Batches are a permutation of the training set in every epoch. Statistics of BatchNorm are those of
the training; measurements are taken in eval mode.

Source: Smith & Topin 2017, arXiv:1708.07120 (one cycle), by ``torch.optim.lr_scheduler``.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from stagewise.errors import DivergenceError
from stagewise.models.googlenet import flat_state
from stagewise.seeds import generator
from stagewise.training import saved_state

#: Images of a pass in eval mode.
CHUNK = 256


class Recipe(NamedTuple):
    """How a network is trained.

    Attributes:
        epochs: Passes through the training set.
        batch_size: Images of a step; the last, smaller batch of an epoch is left out.
        learning_rate: The largest.
        momentum: In [0, 1).
        weight_decay: In nats per squared unit of weight, times two.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float


class Score(NamedTuple):
    """How well a network does on some images: mean loss in nats, accuracy and its error."""

    loss: float
    accuracy: float
    accuracy_se: float


def train(
    module: nn.Module,
    inputs: Float[Tensor, "sample channel row column"],
    labels: Int[Tensor, " sample"],
    recipe: Recipe,
    seed: int,
    keep: tuple[int, ...],
    *,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[int, Float[Tensor, " entry"]]:
    """Train in place; return the states after the steps of ``keep`` and after the last one.

    Args:
        module: The network.
        inputs: Images.
        labels: Their classes.
        recipe: Of the training.
        seed: Root seed of the batches and of dropout.
        keep: Steps whose states are returned too.
        folder: Where the state is kept after each epoch, to go on from; None keeps nothing.
        progress: Called with (steps taken, steps in all).

    Raises:
        DivergenceError: The loss, or a weight, is not finite.
    """
    per_epoch = max(1, len(labels) // recipe.batch_size)
    total = recipe.epochs * per_epoch
    optimiser = torch.optim.SGD(
        module.parameters(),
        recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
    )
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=total + 1, pct_start=0.3
    )
    module.to(memory_format=torch.channels_last)
    kept = {0: flat_state(module)} if 0 in keep else {}
    first = _resume(folder, module, optimiser, cycle, kept)
    for epoch in range(first, recipe.epochs):
        order = torch.from_numpy(generator(seed, "epoch", epoch).permutation(len(labels)))
        with _dropout(module, seed, epoch):
            for index in range(per_epoch):
                batch = order[index * recipe.batch_size : (index + 1) * recipe.batch_size]
                mean = _step(module.train(), inputs[batch], labels[batch], optimiser)
                cycle.step()
                step = epoch * per_epoch + index + 1
                if not math.isfinite(mean):
                    raise DivergenceError(
                        f"the loss at step {step} is {mean}; lower learning_rate "
                        f"({recipe.learning_rate})"
                    )
                if step in keep or step == total:
                    kept[step] = _finite(flat_state(module), step, recipe)
                if progress:
                    progress(step, total)
        _save(folder, module, optimiser, cycle, kept, epoch + 1)
    module.eval()
    return kept


@contextmanager
def _dropout(module: nn.Module, seed: int, epoch: int) -> Iterator[None]:
    """Give an epoch's dropout a stream of its own, which an interrupted training goes on with."""
    device = next(module.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(generator(seed, "dropout", epoch).integers(2**63)))
        yield


def _finite(state: Tensor, step: int, recipe: Recipe) -> Tensor:
    """Refuse weights that a gradient which is not finite has spoilt after a loss that still was."""
    if not bool(torch.isfinite(state).all()):
        raise DivergenceError(
            f"weights are not finite after step {step}, by a gradient that was not; lower "
            f"learning_rate ({recipe.learning_rate})"
        )
    return state


def score(
    module: nn.Module,
    inputs: Float[Tensor, "sample channel row column"],
    labels: Int[Tensor, " sample"],
) -> Score:
    """Return mean loss and accuracy in eval mode."""
    logits = _logits(module, inputs)
    right = (logits.argmax(-1) == labels).double().cpu().numpy()
    error = right.std(ddof=1) / math.sqrt(len(right)) if len(right) > 1 else float("nan")
    return Score(float(F.cross_entropy(logits, labels)), float(np.mean(right)), float(error))


def _logits(module: nn.Module, inputs: Tensor) -> Tensor:
    module.eval()
    with torch.no_grad():
        return torch.cat([module(part) for part in inputs.split(CHUNK)])


def _step(
    module: nn.Module, inputs: Tensor, labels: Tensor, optimiser: torch.optim.Optimizer
) -> float:
    mean = F.cross_entropy(module(inputs.contiguous(memory_format=torch.channels_last)), labels)
    optimiser.zero_grad(set_to_none=True)
    mean.backward()
    optimiser.step()
    return float(mean.detach())


def _save(folder: Path | None, module: nn.Module, optimiser: Any, cycle: Any, kept: dict,
          epochs: int) -> None:  # fmt: skip
    if folder is None:
        return
    state = {
        "module": module.state_dict(),
        "optimiser": optimiser.state_dict(),
        "cycle": cycle.state_dict(),
        "kept": kept,
        "epochs": epochs,
    }
    saved_state.save(state, folder / "state.pt")


def _resume(folder: Path | None, module: nn.Module, optimiser: Any, cycle: Any, kept: dict) -> int:
    """Return the number of epochs done."""
    state = None if folder is None else saved_state.load(folder / "state.pt")
    if state is None:
        return 0
    module.load_state_dict(state["module"])
    optimiser.load_state_dict(state["optimiser"])
    cycle.load_state_dict(state["cycle"])
    kept.update(state["kept"])
    return state["epochs"]

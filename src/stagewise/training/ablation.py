"""Retraining without an item: during the whole run (leave-one-out) or during a window of it.

The item's loss weight is 0 while it is out and the divisor n stays, so that nothing else changes.
All (seed, item) pairs are one batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from stagewise.errors import ConfigError
from stagewise.training.linear_net import (
    Recorded,
    WeightSchedule,
    constant_weights,
    item_losses,
    train,
)


class WindowAblation(NamedTuple):
    """Loss of query j without item p in a window, less its loss in the full run.

    Positive: p was helping j there.

    Attributes:
        at_end: At the end of the window.
        at_final: At the end of the run, the same step for every window.
        peak: The value of largest size at the recorded steps from the window's end on.
        peak_step: The step of ``peak``.
    """

    at_end: Float[Tensor, "seed window item item"]
    at_final: Float[Tensor, "seed window item item"]
    peak: Float[Tensor, "seed window item item"]
    peak_step: Int[Tensor, "seed window item item"]


def leave_one_out(
    W1: Float[Tensor, "seed hidden item"],
    W2: Float[Tensor, "seed feature hidden"],
    Y: Float[Tensor, "feature item"],
    *,
    learning_rate: float,
    record_steps: Sequence[int],
) -> Float[Tensor, "seed checkpoint item item"]:
    """Losses l_q(t) of the runs from (W1, W2) without item p: result[seed, t, p, q]."""
    first, second, without = _without_each(W1, W2, Y.shape[1])
    run = train(
        first,
        second,
        Y,
        constant_weights(without),
        learning_rate=learning_rate,
        record_steps=record_steps,
    )
    losses = item_losses(*run, Y).unflatten(0, (len(W1), Y.shape[1]))
    return losses.transpose(1, 2)


def equal_windows(
    count: int, width: int, steps: int
) -> tuple[Int[np.ndarray, " window"], Int[np.ndarray, " window"]]:
    """Starts and ends of ``count`` windows of ``width`` steps, evenly placed over [0, steps].

    Raises:
        ConfigError: The windows do not fit, or not all at starts of their own.
    """
    last = steps - width
    if width < 1 or count < 1 or last < count - 1:
        raise ConfigError(
            f"{count} windows of {width} steps do not fit into {steps} steps at different starts; "
            f"allowed are widths of 1 to {max(1, steps - count + 1)}: lower windows.width or count"
        )
    starts = np.rint(np.linspace(0, last, count)).astype(int)
    return starts, starts + width


def window_ablation(
    W1: Float[Tensor, "seed hidden item"],
    W2: Float[Tensor, "seed feature hidden"],
    Y: Float[Tensor, "feature item"],
    windows: Sequence[tuple[int, int]],
    *,
    learning_rate: float,
    record_steps: Sequence[int],
) -> WindowAblation:
    """Drops every item in every window [start, end) of the run from (W1, W2) in turn.

    A run without an item is the full run until its window starts, so it branches off there: the
    same numbers as from the beginning, in half the time.

    Args:
        W1: First layers at step 0.
        W2: Second layers at step 0.
        Y: Targets.
        windows: First step without the item and first step with it again.
        learning_rate: As in `train`.
        record_steps: Steps at which ``peak`` looks; the last one is the end of the run.
    """
    final = max(record_steps)
    stops = sorted({*record_steps, *(step for window in windows for step in window)})
    everything = constant_weights(W1.new_ones(len(W1), Y.shape[1]))
    full = train(W1, W2, Y, everything, learning_rate=learning_rate, record_steps=stops)
    full_losses = item_losses(*full, Y)
    found = []
    for start, end in windows:
        later = [step for step in stops if step == end or end <= step and step in record_steps]
        begin, where = stops.index(start), [stops.index(step) for step in later]
        state = Recorded(full.W1[:, begin], full.W2[:, begin])
        without = _branch(state, Y, (start, end), later, learning_rate)
        found.append(_read(without - full_losses[:, None, where], later, final))
    return WindowAblation(*(torch.stack(parts, dim=1) for parts in zip(*found, strict=True)))


def _branch(
    state: Recorded, Y: Tensor, window: tuple[int, int], later: Sequence[int], learning_rate: float
) -> Float[Tensor, "seed item checkpoint query"]:
    first, second, without = _without_each(*state, Y.shape[1])
    start, end = window
    run = train(
        first,
        second,
        Y,
        WeightSchedule((start, end), torch.stack([without, torch.ones_like(without)])),
        learning_rate=learning_rate,
        record_steps=later,
        first_step=start,
    )
    return item_losses(*run, Y).unflatten(0, (len(state.W1), Y.shape[1]))


def _read(
    change: Float[Tensor, "seed item checkpoint query"], steps: Sequence[int], final: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    largest = change.abs().argmax(dim=2, keepdim=True)
    peak = change.gather(2, largest).squeeze(2)
    return (
        change[:, :, 0],
        change[:, :, steps.index(final)],
        peak,
        torch.tensor(steps)[largest[:, :, 0]],
    )


def _without_each(
    W1: Tensor, W2: Tensor, items: int
) -> tuple[
    Float[Tensor, "run hidden item"], Float[Tensor, "run feature hidden"], Float[Tensor, "run item"]
]:
    """One copy of every state for every item, with that item's weight 0."""
    without = 1 - torch.eye(items, dtype=W1.dtype)
    first, second = (layer.repeat_interleave(items, 0) for layer in (W1, W2))
    return first, second, without.repeat(len(W1), 1)

"""Losses of a module whose passes over many samples go piece by piece.

Activations that wait for a backward pass, or the logits of a large vocabulary, of some thousand
samples at once would not fit in memory.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stagewise.models.module import ModuleLoss


class PiecewiseLoss(ModuleLoss):
    """``ModuleLoss`` in pieces of at most ``at_once`` samples.

    Args:
        args: As for ``ModuleLoss``.
        at_once: Samples of one pass.
        options: As for ``ModuleLoss``.
    """

    def __init__(self, *args: Any, at_once: int, **options: Any) -> None:
        """Hold the size of a piece."""
        super().__init__(*args, **options)
        self.at_once = max(1, at_once)

    def losses(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        samples: Int[Tensor, " sample"] | None = None,
    ) -> Float[Tensor, "checkpoint chain loss"]:
        """Return l_i(w), ``at_once`` samples at a time."""
        if (self.sample_count if samples is None else len(samples)) <= self.at_once:
            return super().losses(w, samples)
        chosen = torch.arange(self.sample_count) if samples is None else samples
        parts = [super(PiecewiseLoss, self).losses(w, part) for part in chosen.split(self.at_once)]
        return torch.cat(parts, dim=-1)

    def mean_and_gradient(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        batch: Int[Tensor, "chain batch"] | None,
    ) -> tuple[
        Float[Tensor, "checkpoint chain"],
        Float[Tensor, "checkpoint chain parameter"],
    ]:
        """Return the mean loss and its gradient, ``at_once`` samples of each chain at a time."""
        if (self.sample_count if batch is None else batch.shape[1]) <= self.at_once:
            return super().mean_and_gradient(w, batch)
        if batch is None:
            batch = torch.arange(self.sample_count, device=w.device).expand(w.shape[1], -1)
        mean, gradient = torch.zeros_like(w[..., 0]), torch.zeros_like(w)
        for part in batch.split(self.at_once, dim=1):
            share = part.shape[1] / batch.shape[1]
            own = super().mean_and_gradient(w, part)
            mean.add_(own[0], alpha=share)
            gradient.add_(own[1], alpha=share)
        return mean, gradient

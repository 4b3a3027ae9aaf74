"""What is recorded of a chain: losses on fixed samples, never on the batch that drove the step."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from stagewise.models.per_sample import PerSampleLoss
from stagewise.sampling.potential import Potential, squared_length

#: A chain whose distance from its checkpoint exceeds this many times the potential's reach has
#: exploded: equilibrium never goes there, and an unstable step passes any bound within steps.
MOST_REACHES = 100.0


class Observed(NamedTuple):
    """One draw of every chain of some checkpoints.

    Attributes:
        excess_loss: l_i(w) - l_i(w*) (checkpoint, chain, sample).
        query_excess_loss: The same of the queries (checkpoint, chain, query), or None.
        train_loss: Mean excess over the recorded samples (checkpoint, chain), float64.
        potential: U(w) - U(w*), L_n taken over the recorded samples (checkpoint, chain), float64.
        distance: |w - w*| (checkpoint, chain), float64.
    """

    excess_loss: Tensor
    query_excess_loss: Tensor | None
    train_loss: Tensor
    potential: Tensor
    distance: Tensor


class Observer:
    """Observables of the chains of some checkpoints.

    Args:
        potential: Their potential.
        samples: Indices of the samples to record, in this order; None for all.
        queries: Losses of further samples under the same parameters, all recorded; or None.
    """

    def __init__(
        self,
        potential: Potential,
        samples: Int[Tensor, " sample"] | None,
        queries: PerSampleLoss | None,
    ) -> None:
        """Evaluate the reference losses."""
        centre, loss = potential.centre, potential.loss
        self._potential, self._all = potential, samples is None
        self._excess = loss.excess_function(centre, samples)
        self._query_excess = None if queries is None else queries.excess_function(centre)
        self.loss_ref = loss.reference(centre, samples)
        self.query_loss_ref = None if queries is None else queries.reference(centre)
        self._bound = MOST_REACHES * potential.reach()[:, None]

    def __call__(self, w: Float[Tensor, "checkpoint chain parameter"]) -> Observed:
        """Return the observables at w."""
        displacement = w - self._potential.centre[:, None]
        excess = self._excess(w)
        losses = excess.double()
        mean = self._potential.loss.mean(losses) if self._all else losses.mean(-1)
        return Observed(
            excess,
            None if self._query_excess is None else self._query_excess(w),
            mean,
            self._potential.from_excess(mean, displacement),
            length(displacement),
        )

    def distance(
        self, w: Float[Tensor, "checkpoint chain parameter"]
    ) -> Float64[Tensor, "checkpoint chain"]:
        """Return |w - w*|."""
        return length(w - self._potential.centre[:, None])

    def exploded(
        self, distance: Float64[Tensor, "checkpoint chain"]
    ) -> Bool[Tensor, "checkpoint chain"]:
        """Say which chains are not finite or beyond a hundred times the potential's reach."""
        return ~(distance <= self._bound)

    def diverged(self, observed: Observed) -> Bool[Tensor, "checkpoint chain"]:
        """Say which chains have exploded, or have a loss that isn't finite."""
        gone = self.exploded(observed.distance) | ~torch.isfinite(observed.train_loss)
        if observed.query_excess_loss is None:
            return gone
        return gone | ~torch.isfinite(observed.query_excess_loss).all(-1)


def length(displacement: Tensor) -> Tensor:
    """Return the norm over parameters, float64."""
    return squared_length(displacement).sqrt()

"""A problem of the conformance suite: a law that is known, and what is compared with it.

A problem holds per-sample losses of a flat parameter vector, the data they are of, a checkpoint w*,
the settings of the chain, and checks: statistics of the recorded losses whose exact values are
known. The target is exp(-U), U(w) = nbeta L(w) + (gamma / 2)|w - w*|^2, with L the mean of the
losses of all samples.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

Array = np.ndarray
Losses = Float[Array, "chain draw sample"]
RowLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Law:
    """Which stationary law a chain has.

    Attributes:
        name: "continuum": not known, and the target stands in for it; "exact": the target itself,
            as Metropolis-adjusted chains have it; or the integrator whose discretisation the exact
            values are to include: "sgld", "underdamped" (position moves with the new momentum),
            "explicit_momentum" (with the old one), "baoab" (on quadratics the target itself).
        friction: f of those that have momentum.
    """

    name: Literal["continuum", "exact", "sgld", "underdamped", "explicit_momentum", "baoab"] = (
        "continuum"
    )
    friction: float = 1.0


CONTINUUM = Law()


@dataclass(frozen=True)
class Settings:
    """What a sampler is told about the chain.

    Attributes:
        n_beta: nbeta, inverse temperature times n.
        localization: gamma.
        step_size: epsilon of w' = w - (epsilon / 2) grad U + sqrt(epsilon) xi.
        chains: Independent chains, all started at the checkpoint.
        burn_in: Steps before the first that counts.
        draws: Recorded positions per chain.
        spacing: Steps per draw.
        batch_size: Samples per minibatch, drawn with replacement, each chain its own; None for the
            full gradient.
    """

    n_beta: float
    localization: float
    step_size: float
    burn_in: int
    chains: int = 512
    draws: int = 60
    spacing: int = 1
    batch_size: int | None = None


def unchanged(losses: Losses) -> Losses:
    """Return the losses themselves as the features of a check."""
    return losses


@dataclass(frozen=True)
class Check:
    """A statistic of the losses whose exact value is known.

    Attributes:
        name: Short, a word of the table.
        statistic: Mean of the features over the law, or their covariance matrix.
        exact: Law -> the values, (feature,) or (feature, feature); None where that law is unknown.
            It always knows "continuum", and is not asked for "exact", which is the same.
        features: Losses less those at the checkpoint (chain, draw, sample) -> functions of them
            (chain, draw, feature).
        note: What else is worth printing, such as an asymptotic limit.
    """

    name: str
    statistic: Literal["mean", "covariance"]
    exact: Callable[[Law], Array | None]
    features: Callable[[Losses], Float[Array, "chain draw feature"]] = unchanged
    note: str = ""


@dataclass(frozen=True)
class Problem:
    """Losses, data, checkpoint, settings and checks.

    Attributes:
        name: A word of lower case letters, digits and underscores.
        title: One line that says what it is.
        loss: (w (parameter,), rows (row, column)) -> the loss of each row, nats. Differentiable,
            and fit for ``torch.vmap`` over w.
        data: One row per sample (sample, column).
        checkpoint: w* (parameter,).
        settings: Of the chain.
        checks: What is compared.
    """

    name: str
    title: str
    loss: RowLoss
    data: Float[Tensor, "sample column"]
    checkpoint: Float[Tensor, " parameter"]
    settings: Settings
    checks: tuple[Check, ...] = field(repr=False)

    @property
    def sample_count(self) -> int:
        """Number of samples."""
        return len(self.data)

    def losses(self, w: Tensor, samples: Tensor | None = None) -> Tensor:
        """Return l_i(w) of all samples, or of those named by index."""
        return self.loss(w, self.data if samples is None else self.data[samples])

    def reference(self) -> Float[Array, " sample"]:
        """Return l_i(w*) in float64."""
        return self.loss(self.checkpoint.double(), self.data.double()).detach().numpy()

    def module(self) -> nn.Module:
        """Return a module with the parameter ``w`` at the checkpoint; rows -> loss of each."""
        return RowModule(self.loss, self.checkpoint)

    def with_length(self, chains: int, draws: int) -> "Problem":
        """Return the same problem with other numbers of chains and draws."""
        return replace(self, settings=replace(self.settings, chains=chains, draws=draws))


class RowModule(nn.Module):
    """A problem's losses as a module, for samplers that want one."""

    def __init__(self, loss: RowLoss, checkpoint: Tensor) -> None:
        """Start at the checkpoint."""
        super().__init__()
        self.w = nn.Parameter(checkpoint.detach().clone())
        self._loss = loss

    def forward(self, rows: Tensor) -> Tensor:
        """Return the loss of each row."""
        return self._loss(self.w, rows)


def row_tensor(rows: Float[Array, "sample column"]) -> Float[Tensor, "sample column"]:
    """Return data as float32, what samplers run in."""
    return torch.from_numpy(np.asarray(rows, dtype=np.float32))

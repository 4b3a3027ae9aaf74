"""A one-dimensional double well with two phases, whose exact law is known by quadrature.

    l_i(w; c) = barrier (w^2 - 1)^2 + slope_i w + offset_i,    L(w; c) = sum_i weight_i l_i(w; c),

in nats. The last sample is the driver: its slope is c * tilt, so the control c moves mass from one
well to the other. The control's values are the checkpoint dimension; there is one parameter.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stagewise.errors import ConfigError
from stagewise.models.per_sample import PerSampleLoss


class DoubleWellLoss(PerSampleLoss):
    """Double-well losses at each control value.

    Args:
        control: c (checkpoint,).
        barrier: Height of every loss at w = 0 over w = 1 and -1, nats.
        slopes: Slopes of the samples but the driver, nats.
        tilt: Slope of the driver at c = 1, nats.
        offsets: One per sample, the driver last, nats; None for zeros.
        weights: One per sample, the driver last, of sum 1; None for equal weights.

    Raises:
        ConfigError: If the numbers of offsets or weights don't fit or weights don't sum to 1.
    """

    thread_safe: ClassVar[bool] = True

    def __init__(
        self,
        control: Float[Tensor, " checkpoint"],
        *,
        barrier: float,
        slopes: Sequence[float],
        tilt: float,
        offsets: Sequence[float] | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        """Hold the settings in float64."""
        self.control = torch.as_tensor(control, dtype=torch.float64)
        self.barrier, self.tilt = float(barrier), float(tilt)
        self.slopes = torch.tensor(tuple(slopes), dtype=torch.float64)
        count = len(self.slopes) + 1
        self.offsets = torch.tensor(tuple(offsets or [0.0] * count), dtype=torch.float64)
        self.weights = torch.tensor(tuple(weights or [1.0 / count] * count), dtype=torch.float64)
        if len(self.offsets) != count or len(self.weights) != count:
            raise ConfigError(
                f"{len(self.offsets)} offsets and {len(self.weights)} weights; both need {count}, "
                "one per slope and one for the driver, which is last"
            )
        if abs(float(self.weights.sum()) - 1.0) > 1e-12:
            raise ConfigError(f"weights sum to {float(self.weights.sum())}; divide by the sum")

    @property
    def sample_count(self) -> int:
        """Number of samples, the driver included."""
        return len(self.weights)

    @property
    def parameter_count(self) -> int:
        """One."""
        return 1

    def losses(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        samples: Int[Tensor, " sample"] | None = None,
    ) -> Float[Tensor, "checkpoint chain sample"]:
        """Return barrier (w^2 - 1)^2 + slope_i w + offset_i."""
        slopes, offsets = self._slopes(w), self.offsets.to(w)
        if samples is not None:
            slopes, offsets = slopes[..., samples], offsets[samples]
        return self.barrier * (w.square() - 1.0).square() + slopes * w + offsets

    def mean_and_gradient(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        batch: Int[Tensor, "chain batch"] | None,
    ) -> tuple[
        Float[Tensor, "checkpoint chain"],
        Float[Tensor, "checkpoint chain parameter"],
    ]:
        """Return sum_i m_i l_i and its derivative.

        m_i is weight_i, or on a batch of m indices n weight_i / m for every time i is drawn, which
        estimates the same without bias.
        """
        share = self._shares(w, batch)
        slope = (share * self._slopes(w)).sum(-1, keepdim=True)
        bend = 4.0 * self.barrier * w * (w.square() - 1.0) * share.sum(-1, keepdim=True)
        return (share * self.losses(w)).sum(-1), bend + slope

    def mean(
        self, losses: Float[Tensor, "checkpoint chain sample"]
    ) -> Float[Tensor, "checkpoint chain"]:
        """Return sum_i weight_i l_i."""
        return losses @ self.weights.to(losses)

    def reference(
        self,
        centre: Float[Tensor, "checkpoint parameter"],
        samples: Int[Tensor, " sample"] | None = None,
    ) -> Float[Tensor, "checkpoint sample"]:
        """Return l_i(w*), evaluated in float64."""
        return self.losses(centre.double()[:, None], samples)[:, 0]

    def select(self, checkpoints: slice) -> "DoubleWellLoss":
        """Return the losses at a range of control values."""
        return DoubleWellLoss(
            self.control[checkpoints],
            barrier=self.barrier,
            slopes=self.slopes.tolist(),
            tilt=self.tilt,
            offsets=self.offsets.tolist(),
            weights=self.weights.tolist(),
        )

    def _slopes(self, w: Tensor) -> Tensor:
        """Return slope_i(c), (checkpoint, 1, sample)."""
        if w.ndim != 3 or w.shape[0] != len(self.control) or w.shape[2] != 1:
            raise ConfigError(
                f"positions have shape {tuple(w.shape)}; the double well needs "
                f"({len(self.control)}, chain, 1), one checkpoint per control value"
            )
        fixed = self.slopes.expand(len(self.control), -1)
        return torch.cat([fixed, self.control[:, None] * self.tilt], dim=1)[:, None].to(w)

    def _shares(self, w: Tensor, batch: Tensor | None) -> Tensor:
        """Return m_i, broadcastable to (checkpoint, chain, sample)."""
        if batch is None:
            return self.weights.to(w)
        counts = torch.nn.functional.one_hot(batch, self.sample_count).sum(1)
        return counts.to(w) * (self.weights.to(w) * (self.sample_count / batch.shape[1]))

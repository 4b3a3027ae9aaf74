"""The potential that a chain descends, the only owner of the inverse temperature and localization.

    plain       U(w) = nb L_n(w) + (g/2) |d|^2,                        d = w - w*
    recentred   U(w) = nb [L_n(w) - grad L_n(w*) . d] + (g/2) |d|^2

with nb = n * inverse temperature (one number), g the localization, w* the checkpoint. On a
minibatch B the recentred gradient uses grad L_B(w) - grad L_B(w*), the same batch in both, so
every checkpoint is stationary and most minibatch noise cancels. The two are different laws.

The plain gradient may use the same difference as a control variate,

    grad L_B(w) - grad L_B(w*) + grad L_n(w*),

which has the expectation of grad L_B(w), so that the law is unchanged, and a variance that is small
near w*: it grows with |d| where the minibatch gradient's own is there at once. It costs a second
minibatch gradient a step.
"""

import math
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from stagewise.errors import ConfigError
from stagewise.models.per_sample import ExcessFunction, PerSampleLoss

Kind = Literal["plain", "recentred"]
DTYPES = (torch.float32, torch.float64)


class LossGradient(NamedTuple):
    """A minibatch's mean loss (checkpoint, chain) and gradient (checkpoint, chain, parameter)."""

    mean: Tensor
    gradient: Tensor


#: Samples from which a length is estimated where there are more of them.
MOST_FOR_REACH = 512


class Potential:
    """U(w) about each checkpoint.

    Args:
        loss: The per-sample losses.
        centre: w*, (checkpoint, parameter), float32 or float64; the dtype of the chain.
        n_beta: nb > 0 (0 is allowed: the prior law N(w*, I/g)), per nat.
        localization: g > 0, per squared unit of weight.
        kind: "plain" or "recentred".
        control_variate: Take minibatch gradients of the plain potential as differences from those
            at the checkpoint. The recentred potential always does.

    Raises:
        ConfigError: If a number is out of range or not a number, ``kind`` is unknown, ``centre``
            has the wrong shape or dtype or isn't finite.
    """

    def __init__(
        self,
        loss: PerSampleLoss,
        centre: Float[Tensor, "checkpoint parameter"],
        n_beta: float,
        localization: float,
        kind: Kind = "plain",
        control_variate: bool = False,
    ) -> None:
        """Check the settings; nothing is evaluated yet."""
        if kind not in get_args(Kind):
            raise ConfigError(f"potential {kind!r}; choose one of {list(get_args(Kind))}")
        self.n_beta = number(n_beta, "n_beta", positive=False)
        self.localization = number(localization, "localization")
        self.loss, self.centre, self.kind = loss, _checked(centre, loss), kind
        self.control_variate = control_variate or kind == "recentred"
        self._centre_gradient: Tensor | None = None
        self._pull: Tensor | None = None
        self._excess: ExcessFunction | None = None

    def gradient(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        batch: Int[Tensor, "chain batch"] | None = None,
    ) -> Float[Tensor, "checkpoint chain parameter"]:
        """Return the gradient of U with L_n replaced by the batch mean; None is the full mean."""
        return self.assemble(self.loss_gradient(w, batch).gradient, w, batch)

    def starting_gradient(
        self, position: Float[Tensor, "checkpoint chain parameter"]
    ) -> Float[Tensor, "checkpoint chain parameter"]:
        """Return the full gradient where chains start: one pass for all that start at w*."""
        at_centre = self.centre[:, None].expand_as(position)
        if position.shape[1] == 1 or not torch.equal(position, at_centre):
            return self.gradient(position)
        if self.kind == "recentred":  # which needs it again: a pass through all samples
            self.centre_gradient()
        known = self._centre_gradient
        one = self.loss_gradient(position[:, :1]).gradient[:, 0] if known is None else known
        return self.assemble(one[:, None].repeat(1, position.shape[1], 1), position)

    def loss_gradient(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        batch: Int[Tensor, "chain batch"] | None = None,
    ) -> LossGradient:
        """Return the raw mean loss of the batch and its gradient at w."""
        return LossGradient(*self.loss.mean_and_gradient(w, batch))

    def assemble(
        self,
        raw: Float[Tensor, "checkpoint chain parameter"],
        w: Float[Tensor, "checkpoint chain parameter"],
        batch: Int[Tensor, "chain batch"] | None = None,
    ) -> Float[Tensor, "checkpoint chain parameter"]:
        """Return grad U(w) from the raw loss gradient at w on that batch.

        ``raw`` is overwritten: it is the largest tensor of a step and its caller is done with it.
        """
        if batch is None or not self.control_variate:
            if raw.is_cuda:  # where memory is dearer than a pass: nothing is kept
                raw.mul_(self.n_beta).add_(w, alpha=self.localization)
                raw.add_(self.centre[:, None], alpha=-self.localization)
                if self.kind == "recentred":
                    raw.add_(self.centre_gradient()[:, None], alpha=-self.n_beta)
                return raw
            torch.add(self._offset(), raw, alpha=self.n_beta, out=raw)
            return raw.add_(w, alpha=self.localization)
        at_centre = self.centre[:, None].expand_as(w)
        raw.sub_(self.loss.mean_and_gradient(at_centre, batch)[1])
        if self.kind == "plain":
            raw.add_(self.centre_gradient()[:, None])
        return raw.mul_(self.n_beta).add_(w - at_centre, alpha=self.localization)

    def value(
        self, w: Float[Tensor, "checkpoint chain parameter"]
    ) -> Float64[Tensor, "checkpoint chain"]:
        """Return U(w) on all samples, accumulated in float64."""
        base = self.loss.mean(self.loss.reference(self.centre)[:, None])
        return self.n_beta * base + self.excess(w)

    def excess(
        self, w: Float[Tensor, "checkpoint chain parameter"]
    ) -> Float64[Tensor, "checkpoint chain"]:
        """Return U(w) - U(w*) on all samples, without the cancellation of two large numbers."""
        if self._excess is None:
            self._excess = self.loss.excess_function(self.centre)
        mean = self.loss.mean(self._excess(w).double())
        return self.from_excess(mean, w - self.centre[:, None])

    def from_excess(
        self,
        mean_excess: Float64[Tensor, "checkpoint chain"],
        displacement: Float[Tensor, "checkpoint chain parameter"],
    ) -> Float64[Tensor, "checkpoint chain"]:
        """Return U(w) - U(w*) from L_n(w) - L_n(w*) and d."""
        if self.kind == "recentred":
            tilt = (displacement * self.centre_gradient()[:, None]).sum(-1)
            mean_excess = mean_excess - tilt.double()
        return self.n_beta * mean_excess + 0.5 * self.localization * squared_length(displacement)

    def centre_gradient(self) -> Float[Tensor, "checkpoint parameter"]:
        """Return grad L_n(w*) on all samples; evaluated once."""
        if self._centre_gradient is None:
            self._centre_gradient = self.loss.mean_and_gradient(self.centre[:, None], None)[1][:, 0]
        return self._centre_gradient

    def reach(self) -> Float[Tensor, " checkpoint"]:
        """Return a length (checkpoint,) that a chain in equilibrium hardly exceeds.

        sqrt(P/g) is the radius of the prior law; where losses are not negative, U(w) <= U(w*) adds
        sqrt(2 nb |L*| / g); a tilt moves the centre by nb |grad L*| / g. Of many samples some stand
        for all: a length is wanted, not a value, and a pass through all of them may cost more than
        the chains.
        """
        count = self.loss.sample_count
        if count <= MOST_FOR_REACH or self._centre_gradient is not None:
            loss = self.loss.mean(self.loss.reference(self.centre)[:, None])[:, 0].abs()
            slope = self.centre_gradient()
        else:
            some = torch.linspace(0, count - 1, MOST_FOR_REACH).long().to(self.centre.device)
            mean, gradient = self.loss.mean_and_gradient(self.centre[:, None], some[None])
            loss, slope = mean[:, 0].abs().double(), gradient[:, 0]
        slope = slope.square().sum(-1).double().sqrt()
        radius = math.sqrt(self.loss.parameter_count / self.localization)
        well = (2.0 * self.n_beta * loss / self.localization).sqrt()
        return radius + well + self.n_beta * slope / self.localization

    def select(self, checkpoints: slice) -> "Potential":
        """Return the potential of a range of checkpoints."""
        return Potential(
            self.loss.select(checkpoints),
            self.centre[checkpoints],
            self.n_beta,
            self.localization,
            self.kind,
            self.control_variate,
        )

    def _offset(self) -> Tensor:
        """Return -g w* [- nb grad L_n(w*)], (checkpoint, 1, parameter): what never changes."""
        if self._pull is None:
            self._pull = -self.localization * self.centre[:, None]
            if self.kind == "recentred":
                self._pull = self._pull - self.n_beta * self.centre_gradient()[:, None]
        return self._pull


def squared_length(displacement: Tensor) -> Tensor:
    """Return the squared norm over parameters, float64.

    ``sum`` adds pairwise, so float32 squares lose nothing (4e-8 at 10^7 parameters), where on a CPU
    ``torch.linalg.vector_norm`` adds one by one and loses four digits. On a GPU it adds as a tree
    does, and needs no memory for the squares.
    """
    if displacement.is_cuda:
        return torch.linalg.vector_norm(displacement, dim=-1).double().square()
    return displacement.square().sum(-1).double()


def number(value: float, name: str, *, positive: bool = True) -> float:
    """Return ``value`` as a float, or raise ConfigError unless it is finite and in range."""
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        raise ConfigError(f"{name} is {value!r}, not a number; write 1.0e-4, not '1e-4'")
    result = float(value)
    if not math.isfinite(result) or result < 0 or (positive and result == 0):
        raise ConfigError(
            f"{name} is {result}; it must be finite and {'positive' if positive else 'at least 0'}"
        )
    return result


def _checked(centre: Tensor, loss: PerSampleLoss) -> Tensor:
    if centre.dtype not in DTYPES:
        raise ConfigError(
            f"positions of dtype {centre.dtype} are refused: with small steps w + dw rounds back "
            "to w; convert the model to float32 (or float64)"
        )
    if centre.ndim != 2 or centre.shape[1] != loss.parameter_count:
        raise ConfigError(
            f"checkpoints have shape {tuple(centre.shape)}; the model needs "
            f"(checkpoint, {loss.parameter_count})"
        )
    if not bool(torch.isfinite(centre).all()):
        raise ConfigError("a checkpoint holds NaN or infinite weights; take an earlier checkpoint")
    return centre.detach()

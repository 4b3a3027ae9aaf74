"""The two-layer linear net yhat = W2 W1 x on one-hot items, in closed form, batched.

Items are one-hot (X = I), so column i of W2 W1 is the prediction for item i and

    l_i(w) = 1/2 |E_i|^2,   E = W2 W1 - Y,   dL/dW1 = W2' E / n,   dL/dW2 = E W1' / n

with W1 (hidden, item), W2 (feature, hidden), Y (feature, item). Flat parameter order:
``[W1.ravel(), W2.ravel()]``.

Source: Saxe, McClelland & Ganguli 2019, arXiv:1810.10531 (the model).
"""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stagewise.errors import ConfigError
from stagewise.models.per_sample import ExcessFunction, PerSampleLoss


class LinearNetLoss(PerSampleLoss):
    """l_i(w) = 1/2 |y_i - W2 W1 e_i|^2 for all checkpoints and chains in three batched products.

    Args:
        targets: Y (feature, item).
        hidden: Number of hidden units.
    """

    thread_safe: ClassVar[bool] = True

    def __init__(self, targets: Float[Tensor, "feature item"], hidden: int) -> None:
        """Hold Y, and its transpose, because residuals are computed as (item, feature)."""
        self.targets = torch.as_tensor(targets).detach()
        self._transposed = self.targets.mT.contiguous()
        self.hidden = int(hidden)
        if self.targets.ndim != 2 or self.hidden < 1:
            raise ConfigError(
                f"targets of shape {tuple(self.targets.shape)} and {hidden} hidden units; "
                "pass Y (feature, item) and at least one hidden unit"
            )

    @property
    def sample_count(self) -> int:
        """Number of items."""
        return self.targets.shape[1]

    @property
    def parameter_count(self) -> int:
        """Hidden * item + feature * hidden."""
        return self.hidden * sum(self.targets.shape)

    def losses(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        samples: Int[Tensor, " sample"] | None = None,
    ) -> Float[Tensor, "checkpoint chain sample"]:
        """Return 1/2 |E_i|^2."""
        residual = self._residual(w, samples)
        return residual.square().sum(-1).mul_(0.5).view(*w.shape[:2], -1)

    def mean_and_gradient(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        batch: Int[Tensor, "chain batch"] | None,
    ) -> tuple[
        Float[Tensor, "checkpoint chain"],
        Float[Tensor, "checkpoint chain parameter"],
    ]:
        """Return sum_i m_i l_i and its gradient, m_i = 1/n or item i's share of the batch."""
        residual = self._residual(w, None)
        if batch is None:
            squares = residual.square().sum((-2, -1)).view(w.shape[:2])
            mean = squares.mul_(0.5 / self.sample_count)
            weighted = residual.mul_(1.0 / self.sample_count)
        else:
            share = self._shares(w, batch)
            mean = 0.5 * (share * residual.square().sum(-1)).sum(-1).view(w.shape[:2])
            weighted = residual.mul_(share[..., None])
        return mean, self._flat_gradient(weighted, *self._matrices(w), w.shape)

    def reference(
        self,
        centre: Float[Tensor, "checkpoint parameter"],
        samples: Int[Tensor, " sample"] | None = None,
    ) -> Float[Tensor, "checkpoint sample"]:
        """Return l_i(w*), evaluated in float64."""
        return self.losses(centre.double()[:, None], samples)[:, 0]

    def excess_function(
        self,
        centre: Float[Tensor, "checkpoint parameter"],
        samples: Int[Tensor, " sample"] | None = None,
    ) -> ExcessFunction:
        """Return w -> E*.D + 1/2 |D|^2, D = E - E* = W2 dW1 + dW2 W1* formed from d = w - w*.

        Nothing cancels: neither two large squares nor two close predictions are subtracted.
        """
        double = centre.double()[:, None]
        reference = self._residual(double, samples)[:, None].to(centre)
        fixed = _columns(split(centre, self.hidden, self.sample_count)[0], samples)

        def excess(w: Tensor) -> Tensor:
            check_parameters(w, self.parameter_count)
            d1, d2 = split(w - centre[:, None], self.hidden, self.sample_count)
            second = split(w, self.hidden, self.sample_count)[1]
            change = _columns(d1, samples).mT @ second.mT
            # W1* is the same for all chains: one product per checkpoint.
            change += (d2.flatten(1, 2) @ fixed).unflatten(1, d2.shape[1:3]).mT
            return (change * torch.add(reference, change, alpha=0.5)).sum(-1)

        return excess

    def _matrices(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """View w as W1 (replica, hidden, item) and W2 (replica, feature, hidden)."""
        return split(w.reshape(-1, w.shape[-1]), self.hidden, self.sample_count)

    def _residual(self, w: Tensor, samples: Tensor | None) -> Tensor:
        """Return E' = W1' W2' - Y' (replica, item, feature)."""
        check_parameters(w, self.parameter_count)
        first, second = self._matrices(w)
        targets = self._transposed.to(w)
        if samples is not None:
            first, targets = first[..., samples], targets[samples]
        # The transposed product has the longer last dimension, where the batched kernel is faster.
        return torch.bmm(first.mT, second.mT).sub_(targets)

    def _shares(self, w: Tensor, batch: Tensor) -> Tensor:
        """Return m_i (replica, item): how often item i stands in the chain's batch, over m."""
        return batch_shares(batch, self.sample_count, w.dtype).repeat(w.shape[0], 1)

    @staticmethod
    def _flat_gradient(
        weighted: Tensor, first: Tensor, second: Tensor, shape: torch.Size
    ) -> Tensor:
        return flatten(torch.bmm(weighted, second), torch.bmm(weighted.mT, first.mT), shape)


def split(w: Tensor, hidden: int, items: int) -> tuple[Tensor, Tensor]:
    """View w (..., parameter) as W1 (..., hidden, item) and W2 (..., feature, hidden)."""
    cut = hidden * items
    lead = w.shape[:-1]
    return w[..., :cut].view(*lead, hidden, items), w[..., cut:].view(*lead, -1, hidden)


def flatten(first_transposed: Tensor, second: Tensor, shape: torch.Size) -> Tensor:
    """Join dL/dW1, given transposed (replica, item, hidden), and dL/dW2 in the flat order.

    W1's part is formed transposed because a batched product with 16 columns runs three times as
    fast as one with 8; the copy made here would be needed anyway.
    """
    flat = first_transposed.new_empty(shape)
    to_first, to_second = split(flat.view(-1, shape[-1]), *first_transposed.shape[:-3:-1])
    to_first.copy_(first_transposed.reshape(-1, *first_transposed.shape[-2:]).mT)
    to_second.copy_(second.reshape(to_second.shape))
    return flat


def batch_shares(
    batch: Int[Tensor, "chain batch"], items: int, dtype: torch.dtype
) -> Float[Tensor, "chain item"]:
    """Return the share of each item in each chain's batch; rows sum to 1."""
    counts = torch.zeros(batch.shape[0], items, dtype=dtype, device=batch.device)
    one = torch.ones((), dtype=dtype, device=batch.device).expand(batch.shape)
    return counts.scatter_add_(1, batch, one) / batch.shape[1]


def check_parameters(w: Tensor, count: int) -> None:
    """Raise ConfigError unless w is (checkpoint, chain, count)."""
    if w.ndim != 3 or w.shape[-1] != count:
        raise ConfigError(
            f"positions have shape {tuple(w.shape)}; the model needs (checkpoint, chain, {count})"
        )


class QuadraticLinearNetLoss(PerSampleLoss):
    """Second-order Taylor expansion of every l_i of the linear net, at each checkpoint.

    With E0 = W2* W1* - Y, E1 = W2* dW1 + dW2 W1* and E2 = dW2 dW1, column by column,

        l_i ~ 1/2 |E0|^2 + E0.E1 + E0.E2 + 1/2 |E1|^2,
        dL/dW1 = (W2*' (E0 + E1) + dW2' E0) M,   dL/dW2 = (E0 + E1) M W1*' + E0 M dW1',

    M the diagonal of the samples' shares (1/n). Its Gaussian law is exact, not an approximation.

    Args:
        targets: Y (feature, item).
        first: W1* (checkpoint, hidden, item).
        second: W2* (checkpoint, feature, hidden).
    """

    thread_safe: ClassVar[bool] = True

    def __init__(
        self,
        targets: Float[Tensor, "feature item"],
        first: Float[Tensor, "checkpoint hidden item"],
        second: Float[Tensor, "checkpoint feature hidden"],
    ) -> None:
        """Hold the checkpoints' weights; residuals are computed when they are needed."""
        self.targets, self.first, self.second = (
            torch.as_tensor(array).detach() for array in (targets, first, second)
        )
        hidden = self.first.shape[1]
        wanted = (len(self.first), hidden, self.targets.shape[1])
        if self.first.shape != wanted or self.second.shape != (
            len(self.first),
            self.targets.shape[0],
            hidden,
        ):
            raise ConfigError(
                f"W1 {tuple(self.first.shape)}, W2 {tuple(self.second.shape)} and "
                f"Y {tuple(self.targets.shape)} don't fit; pass W1 (checkpoint, hidden, item), "
                "W2 (checkpoint, feature, hidden), Y (feature, item)"
            )

    @property
    def centre(self) -> Float[Tensor, "checkpoint parameter"]:
        """The checkpoints as flat positions."""
        return torch.cat([self.first.flatten(1), self.second.flatten(1)], dim=1)

    @property
    def sample_count(self) -> int:
        """Number of items."""
        return self.targets.shape[1]

    @property
    def parameter_count(self) -> int:
        """Hidden * item + feature * hidden."""
        return self.first[0].numel() + self.second[0].numel()

    def losses(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        samples: Int[Tensor, " sample"] | None = None,
    ) -> Float[Tensor, "checkpoint chain sample"]:
        """Return 1/2 |E0|^2 + E0.E1 + E0.E2 + 1/2 |E1|^2."""
        base = 0.5 * self._constants(w)[2].square().sum(-2)
        excess = self._excess(w)
        return _columns(base + excess, samples)

    def mean_and_gradient(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        batch: Int[Tensor, "chain batch"] | None,
    ) -> tuple[
        Float[Tensor, "checkpoint chain"],
        Float[Tensor, "checkpoint chain parameter"],
    ]:
        """Return the mean of the expanded losses and its gradient."""
        first, second, base = self._constants(w)
        d1, d2 = self._displacement(w)
        linear = self._linear(d1, d2)
        share = self._shares(w, batch)
        pull, held = (base + linear) * share, (base * share).expand_as(linear)
        curved = held @ d1.mT
        to_first = _per_checkpoint(pull.mT, second) + held.mT @ d2
        to_second = _per_checkpoint(pull, first.mT) + curved
        # E0.E2 summed over items is dW2 . (E0 M dW1'), which the gradient has at hand.
        inner = (held * (0.5 * base + linear) + 0.5 * share * linear.square()).sum((-2, -1))
        mean = inner + (curved * d2).sum((-2, -1))
        return mean, flatten(to_first, to_second, w.shape)

    def reference(
        self,
        centre: Float[Tensor, "checkpoint parameter"],
        samples: Int[Tensor, " sample"] | None = None,
    ) -> Float[Tensor, "checkpoint sample"]:
        """Return l_i(w*), evaluated in float64."""
        return self.losses(centre.double()[:, None], samples)[:, 0]

    def excess_function(
        self,
        centre: Float[Tensor, "checkpoint parameter"],
        samples: Int[Tensor, " sample"] | None = None,
    ) -> ExcessFunction:
        """Return w -> E0.E1 + E0.E2 + 1/2 |E1|^2, if ``centre`` is the expansion's own centre."""
        if not torch.equal(centre, self.centre.to(centre)):
            return super().excess_function(centre, samples)
        return lambda w: _columns(self._excess(w), samples)

    def select(self, checkpoints: slice) -> "QuadraticLinearNetLoss":
        """Return the expansions at a range of checkpoints."""
        return QuadraticLinearNetLoss(
            self.targets, self.first[checkpoints], self.second[checkpoints]
        )

    def _constants(self, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return W1*, W2*, E0, each (checkpoint, 1, row, column), in the dtype of w."""
        check_parameters(w, self.parameter_count)
        if w.shape[0] != len(self.first):
            raise ConfigError(
                f"positions of {w.shape[0]} checkpoints, expansions at {len(self.first)}; "
                "pass one position per expansion"
            )
        first, second = self.first.to(w)[:, None], self.second.to(w)[:, None]
        return first, second, second @ first - self.targets.to(w)

    def _displacement(self, w: Tensor) -> tuple[Tensor, Tensor]:
        return split(w - self.centre.to(w)[:, None], self.first.shape[1], self.sample_count)

    def _linear(self, d1: Tensor, d2: Tensor) -> Tensor:
        """Return E1 = W2* dW1 + dW2 W1* (checkpoint, chain, feature, item)."""
        first, second = self.first.to(d1)[:, None], self.second.to(d2)[:, None]
        return _per_checkpoint(d1.mT, second.mT).mT + _per_checkpoint(d2, first)

    def _excess(self, w: Tensor) -> Tensor:
        """Return l_i(w) - l_i(w*) for all items, (checkpoint, chain, item)."""
        base = self._constants(w)[2]
        d1, d2 = self._displacement(w)
        linear = self._linear(d1, d2)
        return (base * (linear + d2 @ d1)).sum(-2) + 0.5 * linear.square().sum(-2)

    def _shares(self, w: Tensor, batch: Tensor | None) -> Tensor:
        """Return the samples' shares, broadcastable to (checkpoint, chain, feature, item)."""
        if batch is None:
            return w.new_full((1, 1, 1, self.sample_count), 1.0 / self.sample_count)
        return batch_shares(batch, self.sample_count, w.dtype)[None, :, None, :]


def _per_checkpoint(rows: Tensor, shared: Tensor) -> Tensor:
    """Return rows (checkpoint, chain, row, inner) @ shared (checkpoint, 1, inner, column).

    All chains stand in one tall matrix per checkpoint, which is many times faster than a small
    product for each.
    """
    product = rows.reshape(len(rows), -1, rows.shape[-1]) @ shared[:, 0]
    return product.view(*rows.shape[:-1], -1)


def _columns(losses: Tensor, samples: Tensor | None) -> Tensor:
    return losses if samples is None else losses[..., samples]

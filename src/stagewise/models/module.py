"""Per-sample losses of any ``torch.nn.Module``, batched over checkpoints and chains.

The module runs in eval mode (no dropout) with its buffers frozen: BatchNorm uses the running
statistics that were saved with each checkpoint, whatever the weights of a chain. Losses observed in
train mode would depend on the other samples in the batch and on chance.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from stagewise.errors import ConfigError
from stagewise.models.per_sample import PerSampleLoss

LossFunction = Callable[[Tensor, Tensor], Tensor]
Weights = Mapping[str, Tensor]


class ModuleLoss(PerSampleLoss):
    """l_i(w) = loss_fn(module_w(inputs), targets)_i.

    Parameters keep the order of ``module.named_parameters()``, each flattened in C order. All
    replicas (checkpoint x chain) run as one batched call (``torch.vmap``), and one backward pass
    of the sum of their mean losses gives all gradients, because no replica's loss depends on
    another's weights.

    Buffers and the parameters that don't move belong to the checkpoint: with ``checkpoints`` given
    they come from each state dict (a buffer missing there is an error), else from the module.

    Args:
        module: The network. It is copied, the copy is put in eval mode, yours is left alone.
        loss_fn: (output, targets) -> one loss per sample, 1-D, e.g.
            ``functools.partial(torch.nn.functional.cross_entropy, reduction="none")``.
        inputs: First dimension is the sample.
        targets: First dimension is the sample.
        restrict: ``fnmatch`` pattern or patterns of the names of the parameters that move, such as
            ``"layer4.*"``; None moves all.
        checkpoints: State dicts of the module, one per checkpoint; None is the module as it is.
        vectorize: Run all replicas in one batched call. False runs them one by one: for modules
            that ``vmap`` can't batch (control flow that looks at values), or that are so large that
            the activations of all replicas don't fit in memory.

    Raises:
        ConfigError: If the loss isn't per sample, patterns match nothing, checkpoints don't fit the
            module, samples don't pair up, or dtypes are mixed or below float32.
    """

    def __init__(
        self,
        module: nn.Module,
        loss_fn: LossFunction,
        inputs: Tensor,
        targets: Tensor,
        restrict: str | Sequence[str] | None = None,
        *,
        checkpoints: Sequence[Weights] | None = None,
        vectorize: bool = True,
    ) -> None:
        """Copy the module and stack what belongs to the checkpoints."""
        if len(inputs) != len(targets) or len(inputs) == 0:
            raise ConfigError(
                f"{len(inputs)} inputs and {len(targets)} targets; pass as many, at least one"
            )
        self.inputs, self.targets = inputs, targets
        self._loss_fn, self._vectorize = loss_fn, vectorize
        self._module = copy.deepcopy(module).eval().requires_grad_(False)
        names = [name for name, _ in self._module.named_parameters()]
        moving = [name for name in names if _matches(name, restrict)]
        if not moving:
            raise ConfigError(f"restrict={restrict!r} matches none of the parameters {names}")
        stacked = _stack(self._module, checkpoints)
        self._shapes = {name: stacked[name].shape[1:] for name in moving}
        self._sizes = [math.prod(shape) for shape in self._shapes.values()]
        self.centre = _flat(stacked, moving)
        self._frozen = {name: one for name, one in stacked.items() if name not in self._shapes}
        _check_loss(self, inputs, targets)

    @property
    def sample_count(self) -> int:
        """Number of samples."""
        return len(self.inputs)

    @property
    def parameter_count(self) -> int:
        """Number of numbers in the parameters that move."""
        return sum(self._sizes)

    def weights(self) -> list[Tensor]:
        """Return all that the checkpoints hold: what moves, then what is frozen, by name."""
        return [self.centre, *(self._frozen[name] for name in sorted(self._frozen))]

    def with_data(self, inputs: Tensor, targets: Tensor) -> "ModuleLoss":
        """Return the same network's losses on other samples (queries)."""
        if len(inputs) != len(targets) or len(inputs) == 0:
            raise ConfigError(
                f"{len(inputs)} inputs and {len(targets)} targets; pass as many, at least one"
            )
        other = copy.copy(self)
        other.inputs, other.targets = inputs, targets
        _check_loss(other, inputs, targets)
        return other

    def losses(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        samples: Int[Tensor, " sample"] | None = None,
    ) -> Float[Tensor, "checkpoint chain sample"]:
        """Return l_i(w), without a graph for gradients."""
        chosen = slice(None) if samples is None else samples
        with torch.no_grad():
            return self._evaluate(w, self.inputs[chosen], self.targets[chosen], per_chain=False)

    def mean_and_gradient(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        batch: Int[Tensor, "chain batch"] | None,
    ) -> tuple[
        Float[Tensor, "checkpoint chain"],
        Float[Tensor, "checkpoint chain parameter"],
    ]:
        """Return the batch's mean loss and its gradient, all replicas in one backward pass."""
        chosen = slice(None) if batch is None else batch
        inputs, targets = self.inputs[chosen], self.targets[chosen]
        if self._vectorize:
            return self._backward(w, inputs, targets, per_chain=batch is not None)
        # One by one, so that the activations of one replica are in memory at a time.
        parts = [
            self.select(slice(c, c + 1))._backward(
                w[c : c + 1, k : k + 1],
                inputs if batch is None else inputs[k],
                targets if batch is None else targets[k],
                per_chain=False,
            )
            for c in range(w.shape[0])
            for k in range(w.shape[1])
        ]
        means, gradients = (torch.cat(one) for one in zip(*parts, strict=True))
        return means.view(w.shape[:2]), gradients.view(w.shape)

    def select(self, checkpoints: slice) -> "ModuleLoss":
        """Return the loss with the buffers and frozen parameters of a range of checkpoints."""
        part = copy.copy(self)
        part.centre = self.centre[checkpoints]
        part._frozen = {name: one[checkpoints] for name, one in self._frozen.items()}
        return part

    def _backward(
        self, w: Tensor, inputs: Tensor, targets: Tensor, *, per_chain: bool
    ) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            position = w.detach().requires_grad_()
            mean = self._evaluate(position, inputs, targets, per_chain=per_chain).mean(-1)
            (gradient,) = torch.autograd.grad(mean.sum(), position)
        return mean.detach(), gradient

    def _evaluate(self, w: Tensor, inputs: Tensor, targets: Tensor, *, per_chain: bool) -> Tensor:
        """Return losses (checkpoint, chain, sample); with ``per_chain`` each chain has its own."""
        self._check_positions(w)
        if not self._vectorize:
            replicas = [
                self._one(w[c, k], {name: one[c] for name, one in self._frozen.items()}, x, y)
                for c in range(w.shape[0])
                for k in range(w.shape[1])
                for x, y in [(inputs[k], targets[k]) if per_chain else (inputs, targets)]
            ]
            return torch.stack(replicas).view(*w.shape[:2], -1)
        data = 0 if per_chain else None
        if not per_chain:
            # mse_loss and its like broadcast no shared targets under two vmaps. Nothing is copied.
            targets = targets.expand(w.shape[1], *targets.shape)
        over_chains = torch.vmap(self._one, in_dims=(0, None, data, 0))
        if w.shape[0] == 1:  # frozen weights that aren't batched keep convolutions ungrouped
            frozen = {name: one[0] for name, one in self._frozen.items()}
            return over_chains(w[0], frozen, inputs, targets)[None]
        return torch.vmap(over_chains, in_dims=(0, 0, None, None))(w, self._frozen, inputs, targets)

    def _one(self, w: Tensor, frozen: Weights, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the losses of one replica, w (parameter,)."""
        parts = w.split(self._sizes)
        shapes = self._shapes.items()
        moving = {name: part.view(shape) for (name, shape), part in zip(shapes, parts, strict=True)}
        output = torch.func.functional_call(self._module, {**frozen, **moving}, (inputs,))
        return self._loss_fn(output, targets)

    def _check_positions(self, w: Tensor) -> None:
        if w.ndim != 3 or w.shape[0] != len(self.centre) or w.shape[2] != self.parameter_count:
            raise ConfigError(
                f"positions have shape {tuple(w.shape)}; the module needs "
                f"({len(self.centre)}, chain, {self.parameter_count})"
            )


def _matches(name: str, restrict: str | Sequence[str] | None) -> bool:
    patterns = ["*"] if restrict is None else [restrict] if isinstance(restrict, str) else restrict
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _stack(module: nn.Module, checkpoints: Sequence[Weights] | None) -> dict[str, Tensor]:
    """Return every parameter and buffer with a leading checkpoint dimension."""
    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    if checkpoints is None:
        return {name: tensor.detach()[None] for name, tensor in own.items()}
    if len(checkpoints) == 0:
        raise ConfigError("checkpoints is empty; pass at least one state dict, or None")
    saved = set(module.state_dict())
    for index, checkpoint in enumerate(checkpoints):
        _check_checkpoint(index, checkpoint, {n: t for n, t in own.items() if n in saved})
    return {
        # A non-persistent buffer is in no state dict; the module's own is every checkpoint's.
        name: torch.stack([one.get(name, tensor).detach().to(tensor) for one in checkpoints])
        for name, tensor in own.items()
    }


def _check_checkpoint(index: int, checkpoint: Weights, own: Weights) -> None:
    missing = [name for name in own if name not in checkpoint]
    if missing:
        raise ConfigError(
            f"checkpoint {index} lacks {missing}; pass state dicts of this very module, "
            "buffers included"
        )
    for name, tensor in own.items():
        if checkpoint[name].shape != tensor.shape:
            raise ConfigError(
                f"checkpoint {index} has {name} of shape {tuple(checkpoint[name].shape)}, the "
                f"module {tuple(tensor.shape)}; pass state dicts of this very module"
            )


def _flat(stacked: Weights, moving: Sequence[str]) -> Tensor:
    dtypes = {stacked[name].dtype for name in moving}
    if len(dtypes) != 1 or not dtypes <= {torch.float32, torch.float64}:
        raise ConfigError(
            f"parameters of dtype {sorted(map(str, dtypes))}; with small steps half precision "
            "rounds w + dw back to w: convert the module with .float() (or .double())"
        )
    return torch.cat([stacked[name].flatten(1) for name in moving], dim=1)


def _check_loss(loss: ModuleLoss, inputs: Tensor, targets: Tensor) -> None:
    """Raise ConfigError unless loss_fn returns one number per sample."""
    count = min(2, len(inputs))
    probe = loss.select(slice(0, 1))
    with torch.no_grad():
        frozen = {name: one[0] for name, one in probe._frozen.items()}
        values = probe._one(probe.centre[0], frozen, inputs[:count], targets[:count])
    if values.shape != (count,):
        raise ConfigError(
            f"loss_fn returned shape {tuple(values.shape)} for {count} samples; it must return one "
            f"loss per sample, shape ({count},): use reduction='none', and sum over any further "
            "dimension"
        )

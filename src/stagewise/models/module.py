"""Per-sample losses of any ``torch.nn.Module``, batched over checkpoints and chains.

The module runs in eval mode (no dropout) with its buffers frozen: BatchNorm uses the running
statistics that were saved with each checkpoint, whatever the weights of a chain. Losses observed in
train mode would depend on the other samples in the batch and on chance.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from stagewise.errors import ConfigError
from stagewise.models.per_sample import PerSampleLoss
from stagewise.models.replicas import Inputs, Job, LossFunction, Replicas, Weights, call
from stagewise.models.small_maps import use_small_maps

#: Largest module, in parameters, whose replicas run as one batched call by default. Measured on two
#: cores: with 4,800 the batched call is many times faster than one replica after another, with
#: 110,000 (a transformer) they are level, with 1,600,000 it is three times slower.
MOST_BATCHED = 2**16


class ModuleLoss(PerSampleLoss):
    """l_i(w) = loss_fn(module_w(inputs), targets)_i.

    Parameters keep the order of ``module.named_parameters()``, each flattened in C order. The
    replicas (checkpoint x chain) of a small module run as one batched call (``torch.vmap``), and
    one backward pass of the sum of their mean losses gives all gradients, because no replica's loss
    depends on another's weights. Those of a large one run one by one, a thread each.

    Buffers and the parameters that don't move belong to the checkpoint: with ``checkpoints`` given
    they come from each state dict (a buffer missing there is an error), else from the module.

    Args:
        module: The network. It is copied, the copy is put in eval mode, yours is left alone.
        loss_fn: (output, targets) -> one loss per sample, 1-D, e.g.
            ``functools.partial(torch.nn.functional.cross_entropy, reduction="none")``. The output
            is whatever the module returns.
        inputs: First dimension is the sample; or a mapping of such tensors, which the module takes
            as keyword arguments.
        targets: First dimension is the sample.
        restrict: ``fnmatch`` pattern or patterns of the names of the parameters that move, such as
            ``"layer4.*"``; None moves all.
        checkpoints: State dicts of the module, one per checkpoint; None is the module as it is.
        vectorize: Run all replicas in one batched call. False runs them one by one, as many at a
            time as torch has threads: for modules that ``vmap`` can't batch (control flow that
            looks at values), or that are large. None decides by the number of parameters.
        per_token: loss_fn returns (sample, token) losses. All of them are recorded, flat with the
            token fastest, and L_n is the mean over all of them.

    Attributes:
        per_token: Whether they are of tokens.
        tokens: Losses per sample: 1 unless ``per_token``.

    Raises:
        ConfigError: If the loss isn't per sample, patterns match nothing, checkpoints don't fit the
            module, samples don't pair up, or dtypes are mixed or below float32.
    """

    def __init__(
        self,
        module: nn.Module,
        loss_fn: LossFunction,
        inputs: Inputs,
        targets: Tensor,
        restrict: str | Sequence[str] | None = None,
        *,
        checkpoints: Sequence[Weights] | None = None,
        vectorize: bool | None = None,
        per_token: bool = False,
    ) -> None:
        """Copy the module and stack what belongs to the checkpoints."""
        _check_pairs(inputs, targets)
        self.inputs, self.targets = inputs, targets
        self._loss_fn, self.per_token = loss_fn, per_token
        self._module = copy.deepcopy(module).eval().requires_grad_(False)
        size = sum(one.numel() for one in self._module.parameters())
        self._vectorize = size <= MOST_BATCHED if vectorize is None else vectorize
        if not self._vectorize:
            use_small_maps(self._module)
        names = [name for name, _ in self._module.named_parameters()]
        moving = [name for name in names if _matches(name, restrict)]
        if not moving:
            raise ConfigError(f"restrict={restrict!r} matches none of the parameters {names}")
        stacked = _stack(self._module, checkpoints)
        self._shapes = {name: stacked[name].shape[1:] for name in moving}
        self._sizes = [math.prod(shape) for shape in self._shapes.values()]
        self.centre = _flat(stacked, moving)
        # Positions are written over the copy's own weights, which needn't take memory of their own.
        own = dict(self._module.named_parameters())
        for name, part in zip(moving, self.centre[0].split(self._sizes), strict=True):
            own[name].data = part.view(self._shapes[name])
        self._frozen = {name: one for name, one in stacked.items() if name not in self._shapes}
        self.tokens = _check_loss(self)
        self._replicas = Replicas(self._module, loss_fn, moving)
        self._channels_last = not self._vectorize and _faster_channels_last(self)

    @property
    def sample_count(self) -> int:
        """Number of samples, which minibatches are drawn from."""
        return len(self.targets)

    @property
    def loss_count(self) -> int:
        """Number of losses that are recorded: samples times tokens."""
        return self.sample_count * self.tokens

    @property
    def parameter_count(self) -> int:
        """Number of numbers in the parameters that move."""
        return sum(self._sizes)

    def weights(self) -> list[Tensor]:
        """Return all that the checkpoints hold: what moves, then what is frozen, by name."""
        return [self.centre, *(self._frozen[name] for name in sorted(self._frozen))]

    def with_data(self, inputs: Inputs, targets: Tensor) -> "ModuleLoss":
        """Return the same network's losses on other samples (queries)."""
        _check_pairs(inputs, targets)
        other = copy.copy(self)
        other.inputs, other.targets = inputs, targets
        other.tokens = _check_loss(other)
        return other

    def losses(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        samples: Int[Tensor, " sample"] | None = None,
    ) -> Float[Tensor, "checkpoint chain loss"]:
        """Return l_i(w), without a graph for gradients; per token, all tokens of each sample."""
        chosen = slice(None) if samples is None else samples
        inputs, targets = _take(self.inputs, chosen), self.targets[chosen]
        with torch.no_grad():
            return self._evaluate(w, inputs, targets, per_chain=False)

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
        inputs, targets = _take(self.inputs, chosen), self.targets[chosen]
        if self._vectorize:
            return self._backward(w, inputs, targets, per_chain=batch is not None)
        jobs = self._jobs(w, inputs, targets, per_chain=batch is not None)
        means, gradients = self._replicas.mean_and_gradient(jobs)
        return means.view(w.shape[:2]), gradients.view(w.shape)

    def select(self, checkpoints: slice) -> "ModuleLoss":
        """Return the loss with the buffers and frozen parameters of a range of checkpoints."""
        part = copy.copy(self)
        part.centre = self.centre[checkpoints]
        part._frozen = {name: one[checkpoints] for name, one in self._frozen.items()}
        return part

    def _backward(
        self, w: Tensor, inputs: Inputs, targets: Tensor, *, per_chain: bool
    ) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            position = w.detach().requires_grad_()
            mean = self._evaluate(position, inputs, targets, per_chain=per_chain).mean(-1)
            (gradient,) = torch.autograd.grad(mean.sum(), position)
        return mean.detach(), gradient

    def _evaluate(self, w: Tensor, inputs: Inputs, targets: Tensor, *, per_chain: bool) -> Tensor:
        """Return losses (checkpoint, chain, sample); with ``per_chain`` each chain has its own."""
        self._check_positions(w)
        if not self._vectorize:
            jobs = self._jobs(w, inputs, targets, per_chain=per_chain)
            return self._replicas.losses(jobs).view(*w.shape[:2], -1)
        try:
            return self._batched(w, inputs, targets, per_chain=per_chain)
        except RuntimeError as error:
            if "vmap" not in str(error):
                raise
            raise ConfigError(
                f"torch.vmap can't batch {type(self._module).__name__} over chains ({error}); pass "
                "vectorize=False, or change what looks at values (for a Transformers model: "
                "attn_implementation='eager', and no attention mask of ones)"
            ) from error

    def _batched(self, w: Tensor, inputs: Inputs, targets: Tensor, *, per_chain: bool) -> Tensor:
        data = 0 if per_chain else None
        if not per_chain:
            # mse_loss and its like broadcast no shared targets under two vmaps. Nothing is copied.
            targets = targets.expand(w.shape[1], *targets.shape)
        over_chains = torch.vmap(self._one, in_dims=(0, None, data, 0))
        if w.shape[0] == 1:  # frozen weights that aren't batched keep convolutions ungrouped
            frozen = {name: one[0] for name, one in self._frozen.items()}
            return over_chains(w[0], frozen, inputs, targets)[None]
        return torch.vmap(over_chains, in_dims=(0, 0, None, None))(w, self._frozen, inputs, targets)

    def _jobs(self, w: Tensor, inputs: Inputs, targets: Tensor, *, per_chain: bool) -> list[Job]:
        """Return a job per replica, checkpoint by checkpoint."""
        chains = range(w.shape[1])
        data = [(_take(inputs, k), targets[k]) if per_chain else (inputs, targets) for k in chains]
        if self._channels_last:
            data = [(x.contiguous(memory_format=torch.channels_last), y) for x, y in data]
        return [
            Job(w[c, k], {name: one[c] for name, one in self._frozen.items()}, *data[k])
            for c in range(w.shape[0])
            for k in chains
        ]

    def _one(self, w: Tensor, frozen: Weights, inputs: Inputs, targets: Tensor) -> Tensor:
        """Return the losses of one replica, w (parameter,), flat."""
        return self._unflattened(w, frozen, inputs, targets).flatten()

    def _unflattened(self, w: Tensor, frozen: Weights, inputs: Inputs, targets: Tensor) -> Tensor:
        parts = w.split(self._sizes)
        shapes = self._shapes.items()
        moving = {name: part.view(shape) for (name, shape), part in zip(shapes, parts, strict=True)}
        weights = {**frozen, **moving}

        def module(*args: Tensor, **kwargs: Tensor) -> Any:
            return torch.func.functional_call(self._module, weights, args, kwargs)

        return self._loss_fn(call(module, inputs), targets)

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


def _take(inputs: Inputs, chosen: Any) -> Inputs:
    """Return some of the samples (or, of one batch per chain, one chain's)."""
    if isinstance(inputs, Mapping):
        return {name: tensor[chosen] for name, tensor in inputs.items()}
    return inputs[chosen]


def _check_pairs(inputs: Inputs, targets: Tensor) -> None:
    tensors = inputs.values() if isinstance(inputs, Mapping) else [inputs]
    counts = {len(one) for one in tensors}
    if counts != {len(targets)} or len(targets) == 0:
        found = " or ".join(str(one) for one in sorted(counts)) or "no"
        raise ConfigError(f"{found} inputs and {len(targets)} targets; pass as many, at least one")


def _check_loss(loss: ModuleLoss) -> int:
    """Return the losses per sample; raise ConfigError unless loss_fn returns what it should."""
    count = min(2, loss.sample_count)
    probe, first = loss.select(slice(0, 1)), slice(0, count)
    with torch.no_grad():
        frozen = {name: one[0] for name, one in probe._frozen.items()}
        inputs, targets = _take(loss.inputs, first), loss.targets[first]
        values = probe._unflattened(probe.centre[0], frozen, inputs, targets)
    if loss.per_token:
        if values.ndim != 2 or len(values) != count or values.shape[1] == 0:
            raise ConfigError(
                f"loss_fn returned shape {tuple(values.shape)} for {count} samples; with "
                f"per_token=True it must return one loss per token, shape ({count}, token)"
            )
        return int(values.shape[1])
    if values.shape != (count,):
        raise ConfigError(
            f"loss_fn returned shape {tuple(values.shape)} for {count} samples; it must return one "
            f"loss per sample, shape ({count},): use reduction='none', and sum over any further "
            "dimension, or pass per_token=True if that dimension is the token"
        )
    return 1


def _faster_channels_last(loss: ModuleLoss) -> bool:
    """Say whether images should be laid out with their channels last.

    Convolutions on a CPU are faster so (GoogLeNet at 32 pixels: by a third). Not every module can:
    ``view`` refuses activations that are laid out in another order.
    """
    inputs, targets = loss.inputs, loss.targets[:2]
    images = isinstance(inputs, Tensor) and inputs.ndim == 4 and inputs.device.type == "cpu"
    if not images or not any(isinstance(one, nn.Conv2d) for one in loss._module.modules()):
        return False
    frozen = {name: one[0] for name, one in loss._frozen.items()}
    with torch.no_grad():
        usual = loss._one(loss.centre[0], frozen, inputs[:2], targets)
        try:
            laid_out = inputs[:2].contiguous(memory_format=torch.channels_last)
            found = loss._one(loss.centre[0], frozen, laid_out, targets)
        except RuntimeError:
            return False
    return torch.allclose(found, usual, rtol=1e-3, atol=1e-4, equal_nan=True)

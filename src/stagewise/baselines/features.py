"""What one checkpoint of a classifier says of its samples: features, gradients, error norms.

Everything is read in eval mode, BatchNorm's statistics frozen, and the module is left as it was.

The Gram matrix of gradients is exact and never holds samples × parameters: it is a sum over
layers, and a layer's share needs only its inputs and the gradients at its outputs. For a layer
that is linear in its weights over T places (T = 1 for nn.Linear, the pixels of a convolution),

    g_i · g_j = Σ_ts (a_it · a_js)(d_it · d_js),    g_i = Σ_t d_it a_it'

with a the inputs (patches, and 1 for the bias) and d the gradients at the outputs: the cheaper of
the two forms is taken, layer by layer. Every other layer's g_i comes from its own Jacobian.

Source: Goodfellow 2015, arXiv:1510.01799 (per-sample gradients from a and d); Li et al. 2022,
arXiv:2110.05679 (inner products without them); Paul et al. 2021, arXiv:2107.07075 (EL2N).
"""

import copy
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from stagewise.errors import ConfigError

#: Columns of gradients that are multiplied at once in float64.
COLUMNS = 2**14


class _Call(NamedTuple):
    """One call of a layer in the forward pass: inputs and gradients at outputs, of all samples."""

    inputs: Tensor
    slopes: Tensor


class _Recorder:
    """Keeps what goes into some layers and the gradients that come back to their outputs.

    Args:
        layers: The layers by name; their hooks live until ``close``.
        count: Number of samples.
    """

    def __init__(self, layers: dict[str, nn.Module], count: int) -> None:
        self.calls: dict[str, list[_Call]] = {name: [] for name in layers}
        self._count, self._rows = count, slice(0, 0)
        # Added to what has no gradient yet, so that gradients reach every layer but no weight.
        self._root = torch.zeros((), requires_grad=True)
        self._handles = [
            layer.register_forward_hook(partial(self._record, name))
            for name, layer in layers.items()
        ]

    def run(self, module: nn.Module, inputs: Tensor, labels: Tensor, chunk: int) -> None:
        """Record all samples, ``chunk`` at a time."""
        for start in range(0, len(inputs), chunk):
            self._rows = slice(start, min(start + chunk, len(inputs)))
            self._seen = dict.fromkeys(self.calls, 0)
            total = F.cross_entropy(module(inputs[self._rows]), labels[self._rows], reduction="sum")
            if total.requires_grad:
                torch.autograd.grad(total, self._root)

    def close(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()

    def _record(self, name: str, layer: nn.Module, inputs: tuple, output: object) -> Tensor:
        if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or not isinstance(output, Tensor):
            raise ConfigError(
                f"layer {name!r} ({type(layer).__name__}) does not map one tensor to one tensor; "
                "leave it out with a pattern of layers"
            )
        index, calls = self._seen[name], self.calls[name]
        self._seen[name] += 1
        if index == len(calls):
            calls.append(_Call(*(self._empty(one) for one in (inputs[0], output))))
        calls[index].inputs[self._rows] = inputs[0].detach()
        output = output if output.requires_grad else output + self._root.to(output.device)
        # A tensor's hook sees the gradient at its value of now, whatever changes it in place.
        output.register_hook(partial(self._keep, calls[index].slopes, self._rows))
        return output

    def _empty(self, one: Tensor) -> Tensor:
        return one.new_zeros(self._count, *one.shape[1:])

    @staticmethod
    def _keep(slopes: Tensor, rows: slice, gradient: Tensor) -> None:
        slopes[rows] = gradient


def penultimate(
    module: nn.Module, inputs: Float[Tensor, "sample ..."], batch: int = 256
) -> Float[Tensor, "sample feature"]:
    """Return what goes into the last nn.Linear that the forward pass calls.

    Args:
        module: A classifier. Heads that are off in eval mode are not called.
        inputs: Samples.
        batch: Samples per forward pass.

    Raises:
        ConfigError: No nn.Linear is called, or a feature is not finite.
    """
    features, last = [], []

    def remember(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        last[:] = [given[0].detach().flatten(1).clone()]

    handles = [
        layer.register_forward_pre_hook(remember)
        for layer in module.modules()
        if isinstance(layer, nn.Linear)
    ]
    try:
        with torch.no_grad(), _evaluating(module):
            for chunk in inputs.split(_positive(batch, "batch")):
                module(chunk)
                features += last
                last.clear()
    finally:
        for handle in handles:
            handle.remove()
    if not features:
        raise ConfigError(
            f"no nn.Linear is called by {type(module).__name__}; penultimate features are the "
            "inputs of the last one: end the classifier in an nn.Linear"
        )
    return _finite(torch.cat(features), "features")


def sample_losses(
    module: nn.Module,
    inputs: Float[Tensor, "sample ..."],
    labels: Int[Tensor, " sample"],
    batch: int = 256,
) -> Float[Tensor, " sample"]:
    """Return l_i = -log softmax(z_i)_(y_i), nats, in float64.

    Raises:
        ConfigError: Inputs and labels don't fit, or a loss is not finite.
    """
    logits = _logits(module, inputs, labels, batch)
    return _finite(F.cross_entropy(logits, labels, reduction="none"), "losses")


def el2n(
    module: nn.Module,
    inputs: Float[Tensor, "sample ..."],
    labels: Int[Tensor, " sample"],
    batch: int = 256,
) -> Float[Tensor, " sample"]:
    """Return ‖softmax(z_i) - onehot(y_i)‖₂, between 0 and √2, in float64.

    The published score is the mean over some ten networks early in training; this is one term.

    Raises:
        ConfigError: Inputs and labels don't fit, or a score is not finite.

    Source: Paul et al. 2021, arXiv:2107.07075.
    """
    logits = _logits(module, inputs, labels, batch)
    errors = logits.softmax(1) - F.one_hot(labels, logits.shape[1])
    return _finite(errors.norm(dim=1), "error norms")


def gradient_gram(
    module: nn.Module,
    inputs: Float[Tensor, "sample ..."],
    labels: Int[Tensor, " sample"],
    *,
    chunk: int = 50,
    most_bytes: int = 2**30,
    layers: str | None = None,
) -> Float[Tensor, "sample other_sample"]:
    """Return g_i · g_j, g_i the gradient of sample i's cross-entropy, in float64.

    All parameters count, whether they require a gradient or not, of all layers or of those that
    ``layers`` names. Products of the module's own precision are summed in float64. Gradients of
    queries with samples are a corner of the matrix of both together.

    Args:
        module: A classifier.
        inputs: Samples.
        labels: Their classes.
        chunk: Samples per forward and backward pass.
        most_bytes: What may be held at once beside the passes themselves; less costs more passes.
        layers: Regular expression, searched for in the names of ``module.named_modules()``.

    Returns:
        The Gram matrix, nats² per squared unit of weight; symmetric.

    Raises:
        ConfigError: Inputs and labels don't fit; no layer with parameters is called; a layer has
            several inputs or outputs; one layer's inputs alone take more than ``most_bytes``; a
            product is not finite.
    """
    _check_labels(inputs, labels)
    copied = copy.deepcopy(module).eval().requires_grad_(False)
    wanted = {
        name: layer
        for name, layer in copied.named_modules()
        if next(layer.parameters(recurse=False), None) is not None
        and (layers is None or re.search(layers, name))
    }
    gram = torch.zeros(len(inputs), len(inputs), dtype=torch.float64, device=inputs.device)
    for names in _groups(copied, inputs, labels, wanted, most_bytes):
        group = {name: wanted[name] for name in names}
        calls = _recorded(copied, inputs, labels, group, _positive(chunk, "chunk"))
        for name in names:
            _add_layer(gram, wanted[name], calls.pop(name), most_bytes // 2)
    return _finite((gram + gram.mT) / 2, "products of gradients")


def _groups(
    module: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    wanted: dict[str, nn.Module],
    most_bytes: int,
) -> list[list[str]]:
    """Pack layers, in order, into groups whose recordings fit into half of ``most_bytes``."""
    groups: list[list[str]] = [[]]
    held = 0
    for name, calls in _recorded(module, inputs[:1], labels[:1], wanted, 1).items():
        size = len(inputs) * sum(one.nbytes for call in calls for one in call)
        if size > most_bytes // 2:
            raise ConfigError(
                f"inputs and outputs of layer {name!r} take {size} bytes for {len(inputs)} "
                f"samples, half of most_bytes is {most_bytes // 2}; raise it or pass fewer samples"
            )
        if held + size > most_bytes // 2:
            groups.append([])
            held = 0
        if calls:
            groups[-1].append(name)
            held += size
    if not groups[0]:
        raise ConfigError(
            f"none of {len(wanted)} layers with parameters is called by {type(module).__name__}; "
            "widen the pattern of layers, or pass a module that has some"
        )
    return groups


def _recorded(
    module: nn.Module, inputs: Tensor, labels: Tensor, layers: dict[str, nn.Module], chunk: int
) -> dict[str, list[_Call]]:
    recorder = _Recorder(layers, len(inputs))
    try:
        recorder.run(module, inputs, labels, chunk)
    finally:
        recorder.close()
    return recorder.calls


def _add_layer(gram: Tensor, layer: nn.Module, calls: list[_Call], budget: int) -> None:
    """Add one layer's share of the products, block of samples by block of samples."""
    product, size = _product_of_blocks(layer, calls, budget)
    blocks = torch.arange(len(gram)).split(size)
    for first, rows in enumerate(blocks):
        left = slice(int(rows[0]), int(rows[-1]) + 1)
        for columns in blocks[first:]:
            right = slice(int(columns[0]), int(columns[-1]) + 1)
            found = product(left, right)
            gram[left, right] += found
            if left != right:
                gram[right, left] += found.mT


def _product_of_blocks(
    layer: nn.Module, calls: list[_Call], budget: int
) -> tuple[Callable[[slice, slice], Tensor], int]:
    """Return the cheaper way to a block of products, and how many samples a block may have."""
    width = sum(one.numel() for one in layer.parameters(recurse=False))
    unit = calls[0].slopes.element_size()
    if _is_linear(layer) and len(calls) == 1:
        places, outputs = _factors(layer, calls[0], slice(0, 1))[1].shape[1:]
        # Both forms by the multiplications that a pair of samples takes.
        if places**2 * (width // outputs + outputs) < width:
            needed = 3 * 8 * places**2
            return partial(_places_product, layer, calls[0]), max(int((budget / needed) ** 0.5), 1)
    return partial(_rows_product, layer, calls), max(budget // (2 * unit * width), 1)


def _is_linear(layer: nn.Module) -> bool:
    if type(layer) is nn.Conv2d:
        plain = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        return plain and layer.groups == 1
    return type(layer) is nn.Linear


def _factors(layer: nn.Module, call: _Call, rows: slice) -> tuple[Tensor, Tensor]:
    """Return a (sample, place, input) and d (sample, place, output) of a linear layer."""
    given, slopes = call.inputs[rows], call.slopes[rows]
    if isinstance(layer, nn.Conv2d):
        given = F.unfold(given, layer.kernel_size, layer.dilation, layer.padding, layer.stride).mT
        slopes = slopes.flatten(2).mT
    else:
        given, slopes = (one.reshape(len(one), -1, one.shape[-1]) for one in (given, slopes))
    if layer.bias is not None:
        given = torch.cat([given, given.new_ones(*given.shape[:2], 1)], 2)
    return given, slopes


def _places_product(layer: nn.Module, call: _Call, left: slice, right: slice) -> Tensor:
    """Return Σ_ts (a_it · a_js)(d_it · d_js) without a single gradient."""
    pairs = zip(_factors(layer, call, left), _factors(layer, call, right), strict=True)
    inner, outer = (a.flatten(0, 1) @ b.flatten(0, 1).mT for a, b in pairs)
    places = len(inner) // (left.stop - left.start)
    summed = (inner.double() * outer.double()).unflatten(1, (-1, places)).sum(2)
    return summed.unflatten(0, (-1, places)).sum(1)


def _rows_product(layer: nn.Module, calls: list[_Call], left: slice, right: slice) -> Tensor:
    """Return g_i · g_j from the gradients of both blocks of samples."""
    a = _rows(layer, calls, left)
    b = a if right == left else _rows(layer, calls, right)
    found = a.new_zeros(len(a), len(b), dtype=torch.float64)
    for one, other in zip(a.split(COLUMNS, 1), b.split(COLUMNS, 1), strict=True):
        found += one.double() @ other.double().mT
    return found


def _rows(layer: nn.Module, calls: list[_Call], rows: slice) -> Tensor:
    """Return the gradients (sample, parameter) in one layer's parameters, over all its calls."""
    if _is_linear(layer):
        factors = (_factors(layer, call, rows) for call in calls)
        return sum(slopes.mT @ given for given, slopes in factors).flatten(1)
    weights = dict(layer.named_parameters(recurse=False))

    def gradient(given: Tensor, slopes: Tensor) -> Tensor:
        def output(weights: dict[str, Tensor]) -> Tensor:
            return torch.func.functional_call(layer, weights, (given[None],))[0]

        (found,) = torch.func.vjp(output, weights)[1](slopes)
        return torch.cat([one.flatten() for one in found.values()])

    each = torch.func.vmap(gradient)
    return sum(each(call.inputs[rows], call.slopes[rows]) for call in calls)


def _logits(module: nn.Module, inputs: Tensor, labels: Tensor, batch: int) -> Tensor:
    _check_labels(inputs, labels)
    with torch.no_grad(), _evaluating(module):
        chunks = inputs.split(_positive(batch, "batch"))
        return torch.cat([module(chunk) for chunk in chunks]).double()


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put the module into eval mode and every part of it back as it was."""
    modes = {one: one.training for one in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for one, training in modes.items():
            one.training = training


def _check_labels(inputs: Tensor, labels: Tensor) -> None:
    if not len(inputs) or len(inputs) != len(labels) or int(labels.min()) < 0:
        raise ConfigError(
            f"{len(inputs)} inputs and {len(labels)} labels; pass one label, 0 or more, for each "
            "of at least one input"
        )


def _positive(value: int, what: str) -> int:
    if value < 1:
        raise ConfigError(f"{what} is {value}; it must be 1 or more")
    return value


def _finite(values: Tensor, what: str) -> Tensor:
    if not values.isfinite().all():
        wrong = int((~values.isfinite()).any(tuple(range(1, values.ndim))).sum())
        raise ConfigError(
            f"{what} of {wrong} of {len(values)} samples are not finite; look for such weights or "
            "inputs: a diverged training, an image that was not scaled"
        )
    return values

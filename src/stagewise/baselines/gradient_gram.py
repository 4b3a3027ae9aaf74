"""Inner products of samples' gradients at one checkpoint of a classifier.

Everything is read in eval mode, BatchNorm's statistics frozen, and the module is left as it was.

The Gram matrix of gradients is exact and never holds samples × parameters: it is a sum over
layers, and a layer's share needs only its inputs and the gradients at its outputs. For a layer
that is linear in its weights over T places (T = 1 for nn.Linear, the pixels of a convolution),

    g_i · g_j = Σ_ts (a_it · a_js)(d_it · d_js),    g_i = Σ_t d_it a_it'

with a the inputs (patches, and 1 for the bias) and d the gradients at the outputs: the cheaper of
the two forms is taken, layer by layer. Every other layer's g_i comes from its own Jacobian. Where
not even one layer of all samples can be held, samples are taken two blocks at a time.

Source: Goodfellow 2015, arXiv:1510.01799 (per-sample gradients from a and d); Li et al. 2022,
arXiv:2110.05679 (inner products without them).
"""

import copy
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from stagewise.baselines.checks import check_labels, finite, positive
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
        most_bytes: What may be held at once beside the passes themselves and the matrix; less costs
            more passes, and where a layer of all samples is larger, one for each pair of blocks of
            samples.
        layers: Regular expression, searched for in the names of ``module.named_modules()``.

    Returns:
        The Gram matrix, nats² per squared unit of weight; symmetric.

    Raises:
        ConfigError: Inputs and labels don't fit; no layer with parameters is called; a layer has
            several inputs or outputs; a layer of two samples takes more than ``most_bytes``; a
            product is not finite.
    """
    check_labels(inputs, labels)
    positive(chunk, "chunk")
    copied = copy.deepcopy(module).eval().requires_grad_(False)
    wanted = {
        name: layer
        for name, layer in copied.named_modules()
        if next(layer.parameters(recurse=False), None) is not None
        and (layers is None or re.search(layers, name))
    }
    sizes = _sizes(copied, inputs, labels, wanted)
    gram = torch.zeros(len(inputs), len(inputs), dtype=torch.float64, device=inputs.device)
    for rows in _pairs_of_blocks(len(inputs), _most_samples(sizes, most_bytes)):
        part = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=inputs.device)
        for names in _groups(sizes, len(rows), most_bytes):
            group = {name: wanted[name] for name in names}
            calls = _recorded(copied, inputs[rows], labels[rows], group, chunk)
            for name in names:
                _add_layer(part, wanted[name], calls.pop(name), most_bytes // 2)
        gram[rows[:, None], rows] = (part + part.mT) / 2
    return finite(gram, "products of gradients")


def _sizes(
    module: nn.Module, inputs: Tensor, labels: Tensor, wanted: dict[str, nn.Module]
) -> dict[str, int]:
    """Return the bytes of one sample's recordings in each layer that is called."""
    recorded = _recorded(module, inputs[:1], labels[:1], wanted, 1)
    found = {
        name: sum(one.nbytes for call in calls for one in call)
        for name, calls in recorded.items()
        if calls
    }
    if not found:
        raise ConfigError(
            f"none of {len(wanted)} layers with parameters is called by {type(module).__name__}; "
            "widen the pattern of layers, or pass a module that has some"
        )
    return found


def _most_samples(sizes: dict[str, int], most_bytes: int) -> int:
    """Return how many samples of the largest layer fit into half of ``most_bytes``."""
    name = max(sizes, key=sizes.__getitem__)
    count = most_bytes // 2 // sizes[name]
    if count < 2:
        raise ConfigError(
            f"inputs and outputs of layer {name!r} take {sizes[name]} bytes a sample, half of "
            f"most_bytes is {most_bytes // 2}; raise it, so that two samples fit"
        )
    return count


def _pairs_of_blocks(count: int, most: int) -> Iterator[Tensor]:
    """Yield indices, ``most`` at most, so that every pair of samples is among some of them."""
    if count <= most:
        yield torch.arange(count)
        return
    blocks = torch.arange(count).split(most // 2)
    for first, rows in enumerate(blocks):
        for columns in blocks[first + 1 :]:
            yield torch.cat([rows, columns])


def _groups(sizes: dict[str, int], count: int, most_bytes: int) -> list[list[str]]:
    """Pack layers, in order, into groups whose recordings fit into half of ``most_bytes``."""
    groups: list[list[str]] = [[]]
    held = 0
    for name, one in sizes.items():
        size = count * one
        if held + size > most_bytes // 2:
            groups.append([])
            held = 0
        groups[-1].append(name)
        held += size
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

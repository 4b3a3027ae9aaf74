"""A small convolutional net with cross-entropy loss, batched over checkpoints and chains.

    a_0 = x,  z_k = K_k * a_(k-1) + b_k,  a_k = tanh(z_k),  logits = W vec(a_K) + b

with 3 x 3 kernels, a border of zeros and stride 2, so that every layer halves the side. Flat
parameter order ``[K_1.ravel(), b_1, ..., W.ravel(), b]``, that of an ``nn.Sequential`` of
``nn.Conv2d`` and ``nn.Linear``. A convolution whose weights differ between replicas is a batched
product of weights with patches (``torch.vmap`` makes grouped convolutions of it, which are many
times slower on a CPU). As in ``stagewise.models.mlp`` forward and backward are written out and the
sample is the last dimension.
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from stagewise.errors import ConfigError
from stagewise.models.classifier import ClassifierLoss

#: Side of a kernel, and how far it moves.
KERNEL, STRIDE = 3, 2
#: Samples whose patches are held at once: all of a thousand take twice as long as a tenth of them.
CHUNK = 100
OFFSETS = [(y, x) for y in range(KERNEL) for x in range(KERNEL)]


class _Forward(NamedTuple):
    """What a pass keeps: patches that enter each layer, activations of each, and the logits."""

    patches: list[Tensor]
    activations: list[Tensor]
    logits: Tensor


class ConvLoss(ClassifierLoss):
    """Cross-entropy of a convolutional net on square images of one channel.

    Args:
        inputs: x (sample, side²), rows of an image one after another.
        labels: y (sample,), classes from 0.
        channels: Of each convolution.
        classes: Number of classes.

    Raises:
        ConfigError: Images are not square, or inputs, labels and classes don't fit.
    """

    thread_safe: ClassVar[bool] = True

    def __init__(
        self,
        inputs: Float[Tensor, "sample input"],
        labels: Int[Tensor, " sample"],
        channels: Sequence[int],
        classes: int,
    ) -> None:
        """Check that the data fit the network."""
        side = round(inputs.shape[-1] ** 0.5)
        if inputs.ndim != 2 or side**2 != inputs.shape[1] or not channels:
            raise ConfigError(
                f"inputs {tuple(inputs.shape)} and channels {list(channels)}; pass square images "
                "as (sample, side²) and at least one convolution"
            )
        if len(inputs) != len(labels) or not len(labels) or int(labels.min()) < 0:
            raise ConfigError(
                f"{len(inputs)} inputs and {len(labels)} labels; pass one label, 0 or more, each"
            )
        if int(labels.max()) >= classes:
            raise ConfigError(f"label {int(labels.max())} of {classes} classes; raise classes")
        self.inputs, self.labels = inputs, labels
        self.channels, self.classes = tuple(channels), classes
        self._sides = [side]
        for _ in channels:
            self._sides.append((self._sides[-1] + 1) // STRIDE)
        before = (1, *channels[:-1])
        kernels = [(b, a * KERNEL**2) for a, b in zip(before, channels, strict=True)]
        kernels.append((classes, channels[-1] * self._sides[-1] ** 2))
        self._shapes = [shape for b, a in kernels for shape in ((b, a), (b,))]
        self._sizes = [torch.Size(shape).numel() for shape in self._shapes]

    @property
    def parameter_count(self) -> int:
        """Weights and biases of all layers."""
        return sum(self._sizes)

    def with_data(
        self, inputs: Float[Tensor, "sample input"], labels: Int[Tensor, " sample"]
    ) -> "ConvLoss":
        """Return the same network's losses on other samples (queries)."""
        return ConvLoss(inputs, labels, self.channels, self.classes)

    def logits(
        self, w: Float[Tensor, "checkpoint chain parameter"], inputs: Float[Tensor, "sample input"]
    ) -> Float[Tensor, "checkpoint chain sample class"]:
        """Return the logits of shared inputs."""
        found = self._forward(self._layers(w), inputs[None]).logits
        return found.mT.unflatten(0, w.shape[:2])

    def losses(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        samples: Int[Tensor, " sample"] | None = None,
    ) -> Float[Tensor, "checkpoint chain sample"]:
        """Return l_i(w)."""
        layers, found = self._layers(w), []
        data = (part.split(CHUNK) for part in self._data(samples))
        for inputs, labels in zip(*data, strict=True):
            logits = self._forward(layers, inputs[None]).logits
            chosen = logits.gather(1, labels.expand(len(logits), 1, -1))[:, 0]
            found.append(logits.logsumexp(1) - chosen)
        return torch.cat(found, 1).view(*w.shape[:2], -1)

    def mean_and_gradient(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        batch: Int[Tensor, "chain batch"] | None,
        weights: Float[Tensor, "chain batch"] | None = None,
    ) -> tuple[
        Float[Tensor, "checkpoint chain"],
        Float[Tensor, "checkpoint chain parameter"],
    ]:
        """Return the batch's mean loss and its gradient, backpropagated by hand."""
        inputs, labels = self._data(batch)
        if batch is None:
            inputs, labels = inputs[None], labels[None]
        elif w.shape[0] > 1:  # every checkpoint's chain k has batch k
            inputs, labels = inputs.repeat(w.shape[0], 1, 1), labels.repeat(w.shape[0], 1)
            weights = weights if weights is None else weights.repeat(w.shape[0], 1)
        layers = self._layers(w)
        found = self._forward(layers, inputs)
        labels = labels[:, None].expand(len(found.logits), 1, -1)
        logits = found.logits - found.logits.logsumexp(1, keepdim=True)
        chosen = logits.gather(1, labels)
        chosen = chosen if weights is None else chosen * weights[:, None]
        error = logits.exp_()
        error.scatter_add_(1, labels, error.new_full((), -1.0).expand(labels.shape))
        error *= 1.0 / labels.shape[-1]
        if weights is not None:
            error *= weights[:, None]
        gradient = torch.empty_like(w, memory_format=torch.contiguous_format)
        self._backward(error, layers, found, self._layers(gradient))
        return chosen.mean((1, 2)).neg().view(w.shape[:2]), gradient

    def empty_module(self) -> nn.Sequential:
        """Return nn.Conv2d layers with tanh between them, and one nn.Linear."""
        layers: list[nn.Module] = [nn.Unflatten(1, (1, self._sides[0], self._sides[0]))]
        for before, after in zip((1, *self.channels[:-1]), self.channels, strict=True):
            layers += [nn.Conv2d(before, after, KERNEL, STRIDE, padding=1), nn.Tanh()]
        flat = self.channels[-1] * self._sides[-1] ** 2
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, self.classes))

    def _data(self, chosen: Tensor | None) -> tuple[Tensor, Tensor]:
        if chosen is None:
            return self.inputs, self.labels
        return self.inputs[chosen], self.labels[chosen]

    def _layers(self, w: Tensor) -> list[tuple[Tensor, Tensor]]:
        """View w as (weights (replica, out, in), bias (replica, out)) for every layer."""
        if w.ndim != 3 or w.shape[-1] != self.parameter_count:
            raise ConfigError(
                f"positions have shape {tuple(w.shape)}; the network needs "
                f"(checkpoint, chain, {self.parameter_count})"
            )
        parts = w.reshape(-1, w.shape[-1]).split(self._sizes, dim=1)
        views = [part.unflatten(1, shape) for part, shape in zip(parts, self._shapes, strict=True)]
        return list(zip(views[::2], views[1::2], strict=True))

    def _forward(self, layers: list[tuple[Tensor, Tensor]], inputs: Tensor) -> _Forward:
        """Return a pass over inputs (1 or replica, sample, side²)."""
        images = inputs.mT.unflatten(1, (1, self._sides[0], self._sides[0]))
        patches, activations = [], []
        for (weight, bias), side in zip(layers[:-1], self._sides[1:], strict=True):
            patches.append(_patches(images, side))
            above = torch.matmul(weight, patches[-1]) + bias[..., None]
            activations.append(torch.tanh(above))
            images = activations[-1].unflatten(2, (side, side, -1))
        patches.append(images.flatten(1, 3))
        weight, bias = layers[-1]
        return _Forward(patches, activations, torch.matmul(weight, patches[-1]) + bias[..., None])

    def _backward(
        self,
        error: Tensor,
        layers: list[tuple[Tensor, Tensor]],
        found: _Forward,
        gradients: list[tuple[Tensor, Tensor]],
    ) -> None:
        """Write the gradients of all layers; error is that at the logits."""
        for index in reversed(range(len(layers))):
            to_weight, to_bias = gradients[index]
            to_weight.copy_(torch.matmul(error, found.patches[index].mT))
            torch.sum(error, dim=2, out=to_bias)
            if index == 0:
                return
            error = torch.bmm(layers[index][0].mT, error)
            side = self._sides[index]
            if index < len(layers) - 1:
                error = _folded(error, self.channels[index - 1], side, self._sides[index + 1])
            error = error.reshape(len(error), self.channels[index - 1], -1)
            error *= 1 - found.activations[index - 1].square()


def _patches(images: Tensor, side: int) -> Tensor:
    """Return (replica, channel · 9, place · sample) of images (replica, channel, y, x, sample)."""
    padded = F.pad(images, (0, 0, 1, 1, 1, 1))
    last = STRIDE * (side - 1) + 1
    parts = [padded[:, :, y : y + last : STRIDE, x : x + last : STRIDE] for y, x in OFFSETS]
    return torch.stack(parts, 2).flatten(1, 2).flatten(2)


def _folded(patches: Tensor, channels: int, below: int, above: int) -> Tensor:
    """Add patches up where they came from; the transpose of `_patches`."""
    parts = patches.unflatten(1, (channels, len(OFFSETS))).unflatten(3, (above, above, -1))
    images = parts.new_zeros(len(parts), channels, below + 2, below + 2, parts.shape[-1])
    last = STRIDE * (above - 1) + 1
    for place, (y, x) in enumerate(OFFSETS):
        images[:, :, y : y + last : STRIDE, x : x + last : STRIDE] += parts[:, :, place]
    return images[:, :, 1:-1, 1:-1]

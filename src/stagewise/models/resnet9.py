"""ResNet-9 for small colour images, with cross-entropy loss.

    conv 3x3 w_0 · conv 5x5/2 w_1 · residual(conv, conv) w_1 · conv 3x3 w_2 · max-pool 2
    · residual(conv, conv) w_2 · conv 3x3 (no border) w_3 · global max-pool · linear · 0.2

each conv without bias, followed by a normalisation and ReLU; residual(f)(x) = x + f(x). The layers
are those of the network in TRAK's CIFAR-10 example (after the DAWNBench entry of David Page), at
widths 64, 128, 256, 128 with 2,274,880 weights.

**GroupNorm in place of BatchNorm**, 32 groups (as many as divide a narrow layer). In a network that
trains with BatchNorm a sample's loss depends on the batch that it came in, and running statistics
are a second state that no gradient sees: the loss that retraining minimises is then not the sum
over samples that an influence differentiates, and a retrained network is not its weights. With
GroupNorm l_i(w) is one function in training, in sampling and in every attributor, and w is all
there is. Accuracies are therefore not those that are published for BatchNorm.

Replicas run one after another: convolutions whose weights differ become grouped ones under
``torch.vmap``, which are slower than the plain ones of a GPU that one network fills.

Source: He et al. 2016, arXiv:1512.03385 (residuals); Park et al. 2023, arXiv:2303.14186, and its
code (the network); Wu & He 2018, arXiv:1803.08494 (GroupNorm).
"""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from stagewise.errors import ConfigError
from stagewise.models.classifier import ClassifierLoss

#: Groups of channels that are normalised together.
GROUPS = 32
#: Factor of the logits.
SCALE = 0.2
#: Samples of one pass: of forward passes alone, and of passes with a gradient of the mean.
CHUNK = 1024


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, inner: nn.Module) -> None:
        """Hold f."""
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Add."""
        return x + self.inner(x)


class Scale(nn.Module):
    """A constant factor."""

    def __init__(self, factor: float) -> None:
        """Hold it."""
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Multiply."""
        return self.factor * x


def resnet9(shape: Sequence[int], widths: Sequence[int], classes: int) -> nn.Sequential:
    """Return the network for flat images.

    Args:
        shape: Channels, rows, columns of an image.
        widths: Channels of the first, second, third and last convolution.
        classes: Number of classes.
    """
    a, b, c, d = widths
    return nn.Sequential(
        nn.Unflatten(1, tuple(shape)),
        _conv(shape[0], a),
        _conv(a, b, 5, 2, 2),
        Residual(nn.Sequential(_conv(b, b), _conv(b, b))),
        _conv(b, c),
        nn.MaxPool2d(2),
        Residual(nn.Sequential(_conv(c, c), _conv(c, c))),
        _conv(c, d, padding=0),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(d, classes, bias=False),
        Scale(SCALE),
    )


def _conv(before: int, after: int, side: int = 3, stride: int = 1, padding: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, after, side, stride, padding, bias=False),
        nn.GroupNorm(math.gcd(GROUPS, after), after),
        nn.ReLU(),
    )


class ResNet9Loss(ClassifierLoss):
    """Cross-entropy of ResNet-9.

    Args:
        inputs: x (sample, channel · row · column).
        labels: y (sample,), classes from 0.
        shape: Channels, rows, columns of an image.
        widths: Channels of the first, second, third and last convolution.
        classes: Number of classes.

    Raises:
        ConfigError: Inputs, labels, shape and classes don't fit.
    """

    def __init__(
        self,
        inputs: Float[Tensor, "sample input"],
        labels: Int[Tensor, " sample"],
        shape: Sequence[int],
        widths: Sequence[int],
        classes: int,
    ) -> None:
        """Check that the data fit the network."""
        if inputs.shape[1:] != (math.prod(shape),) or len(inputs) != len(labels) or not len(labels):
            raise ConfigError(
                f"inputs {tuple(inputs.shape)} and {len(labels)} labels; pass at least one image "
                f"of {tuple(shape)}, flat, and one label each"
            )
        if int(labels.min()) < 0 or int(labels.max()) >= classes:
            raise ConfigError(
                f"labels from {int(labels.min())} to {int(labels.max())} of {classes} classes; "
                "allowed are 0 and up, below classes"
            )
        self.inputs, self.labels = inputs, labels
        self.shape, self.widths, self.classes = tuple(shape), tuple(widths), classes
        # Without storage: each call brings all weights with it.
        with torch.device("meta"):
            self._module = self.empty_module().eval()
        self._shapes = {name: one.shape for name, one in self._module.named_parameters()}
        self._sizes = [one.numel() for one in self._shapes.values()]

    @property
    def parameter_count(self) -> int:
        """Weights of all layers."""
        return sum(self._sizes)

    def empty_module(self) -> nn.Sequential:
        """Return the network with torch's own initial weights."""
        return resnet9(self.shape, self.widths, self.classes)

    def with_data(
        self, inputs: Float[Tensor, "sample input"], labels: Int[Tensor, " sample"]
    ) -> "ResNet9Loss":
        """Return the same network's losses on other samples (queries)."""
        return ResNet9Loss(inputs, labels, self.shape, self.widths, self.classes)

    def logits(
        self, w: Float[Tensor, "checkpoint chain parameter"], inputs: Float[Tensor, "sample input"]
    ) -> Float[Tensor, "checkpoint chain sample class"]:
        """Return the logits of shared inputs, with a graph for gradients."""
        each = [self._call(one, inputs) for one in self._replicas(w)]
        return torch.stack(each).unflatten(0, w.shape[:2])

    def losses(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        samples: Int[Tensor, " sample"] | None = None,
    ) -> Float[Tensor, "checkpoint chain sample"]:
        """Return l_i(w), without a graph."""
        chosen = slice(None) if samples is None else samples
        data = list(self._chunks(self.inputs[chosen], self.labels[chosen]))
        with torch.no_grad():
            each = [
                torch.cat([self._losses(one, x, y) for x, y in data]) for one in self._replicas(w)
            ]
        return torch.stack(each).unflatten(0, w.shape[:2])

    def mean_and_gradient(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        batch: Int[Tensor, "chain batch"] | None,
        weights: Float[Tensor, "chain batch"] | None = None,
    ) -> tuple[
        Float[Tensor, "checkpoint chain"],
        Float[Tensor, "checkpoint chain parameter"],
    ]:
        """Return the batch's mean loss and its gradient, replica by replica."""
        means, gradient = w.new_empty(w.shape[:2]), torch.empty_like(w).contiguous()
        for index, one in enumerate(self._replicas(w)):
            place = divmod(index, w.shape[1])
            chosen = slice(None) if batch is None else batch[place[1]]
            own = None if weights is None else weights[place[1]]
            means[place], gradient[place] = self._mean(one, chosen, own)
        return means, gradient

    def sample_gradients(
        self, w: Float[Tensor, " parameter"], samples: Int[Tensor, " sample"]
    ) -> Float[Tensor, "sample parameter"]:
        """Return the gradients of single samples' losses, as one batch."""

        def loss(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(self._call(w, x[None]), y[None])

        each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
        return each(w, self.inputs[samples].to(w), self.labels[samples])

    def _mean(
        self, w: Tensor, chosen: Tensor | slice, weights: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return (1/B) Σ_b c_b l_b and its gradient, of one replica."""
        inputs, labels = self.inputs[chosen], self.labels[chosen]
        weights = inputs.new_ones(len(inputs)) if weights is None else weights
        total, gradient = w.new_zeros(()), torch.zeros_like(w)
        for x, y, c in self._chunks(inputs, labels, weights):
            with torch.enable_grad():
                position = w.detach().requires_grad_()
                part = (c * self._losses(position, x, y)).sum() / len(inputs)
                gradient += torch.autograd.grad(part, position)[0]
            total += part.detach()
        return total, gradient

    def _losses(self, w: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self._call(w, inputs), labels, reduction="none")

    def _call(self, w: Tensor, inputs: Tensor) -> Tensor:
        parts = w.split(self._sizes)
        named = zip(self._shapes.items(), parts, strict=True)
        state = {name: part.view(shape) for (name, shape), part in named}
        return torch.func.functional_call(self._module, state, (inputs,))

    def _replicas(self, w: Tensor) -> Sequence[Tensor]:
        if w.ndim != 3 or w.shape[-1] != self.parameter_count:
            raise ConfigError(
                f"positions have shape {tuple(w.shape)}; the network needs "
                f"(checkpoint, chain, {self.parameter_count})"
            )
        return w.flatten(0, 1).unbind(0)

    @staticmethod
    def _chunks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
        return zip(*(one.split(CHUNK) for one in tensors), strict=True)

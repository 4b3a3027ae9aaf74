"""A multilayer perceptron with cross-entropy loss, batched over checkpoints and chains.

    a_0 = x,  z_k = W_k a_(k-1) + b_k,  a_k = phi(z_k),  l_i(w) = -log softmax(z_K)_(y_i)

in nats. Flat parameter order ``[W_1.ravel(), b_1, W_2.ravel(), b_2, ...]``, W_k (out, in): that of
an ``nn.Sequential`` of ``nn.Linear``. Forward and backward are written out, so that a step is a
handful of batched products: no graph, no per-replica call, and no second pass through the loss.
Activations are held (replica, unit, sample): the last dimension of every product is then the long
one, where batched products are several times faster than on ten classes.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from stagewise.errors import ConfigError
from stagewise.models.classifier import ClassifierLoss

Activation = Literal["relu", "tanh"]


class MLPLoss(ClassifierLoss):
    """Cross-entropy of an MLP on a fixed set of samples.

    Args:
        inputs: x (sample, input).
        labels: y (sample,), classes from 0.
        widths: Units of the input, of each hidden layer, and of the output.
        activation: "relu" or "tanh", of the hidden layers.

    Raises:
        ConfigError: If inputs, labels and widths don't fit.
    """

    thread_safe: ClassVar[bool] = True

    def __init__(
        self,
        inputs: Float[Tensor, "sample input"],
        labels: Int[Tensor, " sample"],
        widths: Sequence[int],
        activation: Activation = "relu",
    ) -> None:
        """Check that the data fit the network."""
        if activation not in get_args(Activation):
            raise ConfigError(
                f"activation {activation!r}; choose one of {list(get_args(Activation))}"
            )
        if len(widths) < 2 or inputs.ndim != 2 or inputs.shape[1] != widths[0]:
            raise ConfigError(
                f"inputs {tuple(inputs.shape)} for widths {list(widths)}; pass (sample, input) and "
                "at least the widths of input and output"
            )
        classes = range(widths[-1])
        if (
            len(inputs) != len(labels)
            or not len(labels)
            or int(labels.min()) not in classes
            or int(labels.max()) not in classes
        ):
            raise ConfigError(
                f"{len(inputs)} inputs, {len(labels)} labels, {widths[-1]} classes; pass one label "
                "in 0 … classes - 1 for each input"
            )
        self.inputs, self.labels = inputs, labels
        self.widths, self.activation = tuple(widths), activation
        self._shapes = [shape for a, b in pairwise(widths) for shape in ((b, a), (b,))]
        self._sizes = [torch.Size(shape).numel() for shape in self._shapes]

    @property
    def parameter_count(self) -> int:
        """Weights and biases of all layers."""
        return sum(self._sizes)

    def with_data(
        self, inputs: Float[Tensor, "sample input"], labels: Int[Tensor, " sample"]
    ) -> "MLPLoss":
        """Return the same network's losses on other samples (queries)."""
        return MLPLoss(inputs, labels, self.widths, self.activation)

    def logits(
        self, w: Float[Tensor, "checkpoint chain parameter"], inputs: Float[Tensor, "sample input"]
    ) -> Float[Tensor, "checkpoint chain sample class"]:
        """Return z_K of shared inputs."""
        return self._forward(self._layers(w), inputs.mT)[-1].mT.unflatten(0, w.shape[:2])

    def losses(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        samples: Int[Tensor, " sample"] | None = None,
    ) -> Float[Tensor, "checkpoint chain sample"]:
        """Return l_i(w)."""
        inputs, labels = self._data(samples)
        logits = self._forward(self._layers(w), inputs.mT)[-1]
        chosen = logits.gather(1, labels.expand(len(logits), 1, -1))[:, 0]
        return logits.logsumexp(1).sub_(chosen).view(*w.shape[:2], -1)

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
        if batch is not None and w.shape[0] > 1:  # every checkpoint's chain k has batch k
            inputs, labels = inputs.repeat(w.shape[0], 1, 1), labels.repeat(w.shape[0], 1)
            weights = weights if weights is None else weights.repeat(w.shape[0], 1)
        layers = self._layers(w)
        activations = self._forward(layers, inputs.mT)
        logits = activations.pop()
        labels = labels.view(-1, 1, labels.shape[-1]).expand(len(logits), 1, -1)
        logits -= logits.logsumexp(1, keepdim=True)
        chosen = logits.gather(1, labels)
        chosen = chosen if weights is None else chosen * weights[:, None]
        mean = chosen.mean((1, 2)).neg()
        error = logits.exp_()
        error.scatter_add_(1, labels, error.new_full((), -1.0).expand(labels.shape))
        error *= 1.0 / labels.shape[-1]
        if weights is not None:
            error *= weights[:, None]
        # Contiguous whatever the strides of w, since the layers below are views of it.
        gradient = torch.empty_like(w, memory_format=torch.contiguous_format)
        self._backward(error, layers, activations, self._layers(gradient))
        return mean.view(w.shape[:2]), gradient

    def empty_module(self) -> nn.Sequential:
        """Return nn.Linear layers with the activation between them."""
        between = {"relu": nn.ReLU, "tanh": nn.Tanh}[self.activation]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(self.widths):
            layers += [nn.Linear(inputs, outputs), between()]
        return nn.Sequential(*layers[:-1])

    def _data(self, chosen: Tensor | None) -> tuple[Tensor, Tensor]:
        if chosen is None:
            return self.inputs, self.labels
        return self.inputs[chosen], self.labels[chosen]

    def _layers(self, w: Tensor) -> list[tuple[Tensor, Tensor]]:
        """View w as (W_k (replica, out, in), b_k (replica, out)) for every layer."""
        if w.ndim != 3 or w.shape[-1] != self.parameter_count:
            raise ConfigError(
                f"positions have shape {tuple(w.shape)}; the network needs "
                f"(checkpoint, chain, {self.parameter_count})"
            )
        parts = w.reshape(-1, w.shape[-1]).split(self._sizes, dim=1)
        views = [part.unflatten(1, shape) for part, shape in zip(parts, self._shapes, strict=True)]
        return list(zip(views[::2], views[1::2], strict=True))

    def _forward(self, layers: list[tuple[Tensor, Tensor]], inputs: Tensor) -> list[Tensor]:
        """Return a_0 … a_(K-1), z_K; inputs are shared (input, sample) or one set a replica."""
        found = [inputs]
        for index, (weight, bias) in enumerate(layers):
            found.append(_affine(found[-1], weight, bias))
            if index < len(layers) - 1:
                found[-1] = found[-1].relu_() if self.activation == "relu" else found[-1].tanh_()
        return found

    def _backward(
        self,
        error: Tensor,
        layers: list[tuple[Tensor, Tensor]],
        activations: list[Tensor],
        gradients: list[tuple[Tensor, Tensor]],
    ) -> None:
        """Write dL/dW_k, dL/db_k into ``gradients``; error is dL/dz_K (replica, class, sample)."""
        for index in reversed(range(len(layers))):
            below, (to_weight, to_bias) = activations[index], gradients[index]
            to_weight.copy_(error @ below.mT)
            torch.sum(error, dim=2, out=to_bias)
            if index == 0:
                return
            error = torch.bmm(layers[index][0].mT, error)
            # The activations are not needed any more: their slope is written over them.
            if self.activation == "relu":
                error.mul_(below.sign_())
            else:
                error.mul_(below.square_().neg_().add_(1.0))


def _affine(below: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return W below + b (replica, out, sample)."""
    if below.ndim == 3:
        return torch.baddbmm(bias[..., None], weight, below)
    # Shared inputs: all replicas' weights one under another make one tall product.
    flat = weight.reshape(-1, weight.shape[-1])
    product = torch.mm(flat, below).view(*weight.shape[:2], -1)
    return product.add_(bias[..., None])

"""What one checkpoint of a classifier says of its samples: features, losses, error norms.

Everything is read in eval mode, BatchNorm's statistics frozen, and the module is left as it was.

Source: Paul et al. 2021, arXiv:2107.07075 (EL2N).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from stagewise.baselines.checks import check_labels, finite, positive
from stagewise.errors import ConfigError


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
            for chunk in inputs.split(positive(batch, "batch")):
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
    return finite(torch.cat(features), "features")


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
    return finite(F.cross_entropy(logits, labels, reduction="none"), "losses")


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
    return finite(errors.norm(dim=1), "error norms")


def _logits(module: nn.Module, inputs: Tensor, labels: Tensor, batch: int) -> Tensor:
    check_labels(inputs, labels)
    with torch.no_grad(), _evaluating(module):
        chunks = inputs.split(positive(batch, "batch"))
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

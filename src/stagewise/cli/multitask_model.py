"""What the two-task stages share: their data, the networks at given weights, their losses."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot

from stagewise.config.multitask import ModularSettings
from stagewise.data.modular import Modular, modular
from stagewise.models.module import ModuleLoss
from stagewise.models.two_tasks import TwoTaskNet, shared_units


def load_data(settings: ModularSettings, seed: int) -> tuple[Modular, Modular]:
    """Return the training samples and the others."""
    return modular(settings.modulus, settings.tasks, seed, settings.train_share)


def squared_error(logits: Tensor, labels: Tensor) -> Float[Tensor, " sample"]:
    """Return 1/2 |y - yhat|^2 with y one-hot: nats, for a Gaussian of variance 1."""
    wanted = one_hot(labels, logits.shape[-1]).to(logits.dtype)
    return 0.5 * (logits - wanted).square().sum(-1)


def network_loss(
    samples: Modular,
    width: int,
    shared: Sequence[float],
    weights: Float[Tensor, "fraction parameter"] | None = None,
) -> ModuleLoss:
    """Return the losses of a network for each shared fraction; each has its own masks.

    Args:
        samples: What the losses are of.
        width: Hidden units of a task.
        shared: Fractions, one for each checkpoint.
        weights: Flat weights of each checkpoint; zero by default.
    """
    modulus = (samples.inputs.shape[1] - 2) // 2
    nets = [TwoTaskNet(modulus, width, shared_units(width, one)) for one in shared]
    if weights is not None:
        for net, flat in zip(nets, weights, strict=True):
            torch.nn.utils.vector_to_parameters(flat, net.parameters())
    inputs, labels = torch.from_numpy(samples.inputs), torch.from_numpy(samples.labels)
    states = [net.state_dict() for net in nets]
    return ModuleLoss(nets[0], squared_error, inputs, labels, checkpoints=states)


def accuracy(
    samples: Modular, width: int, shared: float, weights: Float[Tensor, " parameter"]
) -> tuple[float, float]:
    """Return the share of right answers in each task, by the largest logit."""
    modulus = (samples.inputs.shape[1] - 2) // 2
    net = TwoTaskNet(modulus, width, shared_units(width, shared))
    torch.nn.utils.vector_to_parameters(weights, net.parameters())
    with torch.no_grad():
        answers = net(torch.from_numpy(samples.inputs)).argmax(-1).numpy()
    right = answers == samples.labels
    return float(right[samples.task == 0].mean()), float(right[samples.task == 1].mean())

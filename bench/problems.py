"""The networks and data that samplers are timed on, the same for every one of them."""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stagewise.data.digits import digits
from stagewise.data.trees import from_branching

Loss = Callable[[Any, Tensor], Tensor]


class Problem(NamedTuple):
    """A network, its data, and the checkpoints that chains start from.

    Attributes:
        model: In eval mode.
        loss_fn: (output, targets) -> losses, per sample or (sample, token).
        inputs: First dimension the sample.
        targets: First dimension the sample.
        checkpoints: State dicts.
        recorded: The first so many samples are recorded at each draw.
        chains: Chains per checkpoint.
        batch: Samples per minibatch, or None for full gradients.
        n_beta: Inverse temperature times n.
        localization: Per squared unit of weight.
        step_size: Of Langevin steps.
        burn_in: Steps before the first draw's own.
        spacing: Steps per draw.
    """

    model: nn.Module
    loss_fn: Loss
    inputs: Tensor
    targets: Tensor
    checkpoints: list[dict[str, Tensor]]
    recorded: int
    chains: int
    batch: int | None
    n_beta: float
    localization: float
    step_size: float
    burn_in: int
    spacing: int

    def mean_loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return what a minibatch's gradient is taken of."""
        return self.loss_fn(model(inputs), targets).mean()


def make(job: dict[str, Any]) -> Problem:
    """Make the problem that a job names; equal jobs give equal problems."""
    torch.manual_seed(0)
    model, loss_fn, inputs, targets, states = MAKERS[job["workload"]](job)
    return Problem(
        model.eval(),
        loss_fn,
        inputs,
        targets,
        states or [copy.deepcopy(model.state_dict())],
        **{name: job[name] for name in Problem._fields[5:]},
    )


def cross_entropy(output: Tensor, targets: Tensor) -> Tensor:
    """Return -log p of the class, one per sample."""
    return F.cross_entropy(output, targets, reduction="none")


def token_losses(output: Any, targets: Tensor) -> Tensor:
    """Return -log p of each next token (sample, token)."""
    logits = output.logits[:, :-1]
    losses = F.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten(), reduction="none")
    return losses.view(len(targets), -1)


def squared_error(output: Tensor, targets: Tensor) -> Tensor:
    """Return half the squared distance, one per sample."""
    return 0.5 * (output - targets).square().sum(-1)


def toy(job: dict[str, Any]) -> tuple:
    """Two-layer linear net on a balanced tree; checkpoints along gradient descent."""
    tree = from_branching([2, 2, 2])
    targets = torch.from_numpy(tree.feature_matrix([1.0] * 4).T).float().contiguous()
    items, features = targets.shape
    net = nn.Sequential(
        nn.Linear(items, job["hidden"], bias=False), nn.Linear(job["hidden"], features, bias=False)
    )
    inputs, states = torch.eye(items), []
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.01)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.02)
    for step in range(20 * job["checkpoints"]):
        if step % 20 == 0:
            states.append(copy.deepcopy(net.state_dict()))
        optimiser.zero_grad()
        squared_error(net(inputs), targets).mean().backward()
        optimiser.step()
    return net, squared_error, inputs, targets, states


def mlp(job: dict[str, Any]) -> tuple:
    """A perceptron with one hidden layer on handwritten digits, trained for a moment."""
    train, _ = digits(0)
    inputs, targets = torch.from_numpy(train.inputs), torch.from_numpy(train.labels)
    net = nn.Sequential(nn.Linear(64, job["hidden"]), nn.ReLU(), nn.Linear(job["hidden"], 10))
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        cross_entropy(net(inputs), targets).mean().backward()
        optimiser.step()
    return net, cross_entropy, inputs, targets, None


def neox(job: dict[str, Any]) -> tuple:
    """GPT-NeoX of two layers and four heads on random tokens, weights as initialised."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    width, length, vocabulary = job["hidden"], job["length"], 100
    config = GPTNeoXConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=4 * width,
        max_position_embeddings=length,
        use_cache=False,
    )
    tokens = torch.randint(0, vocabulary, (job["samples"], length))
    return GPTNeoXForCausalLM(config), token_losses, tokens, tokens, None


def googlenet(job: dict[str, Any]) -> tuple:
    """GoogLeNet at 32 pixels, weights as initialised, statistics of BatchNorm those of its data."""
    from torchvision.models import googlenet as make_googlenet

    net = make_googlenet(
        num_classes=200, aux_logits=False, init_weights=False, transform_input=False
    )
    images, labels = torch.randn(job["samples"], 3, 32, 32), torch.arange(job["samples"]) % 200
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics of these very images, or the signal dies away
    with torch.no_grad():
        net.train()(images[:64])
    return net, cross_entropy, images, labels, None


MAKERS = {"toy": toy, "mlp": mlp, "neox": neox, "googlenet": googlenet}

"""Inception-v1 (torchvision's ``googlenet``), its weights as one vector, and its per-image losses.

Source: Szegedy et al. 2015, arXiv:1409.4842; with BatchNorm, as torchvision has it.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchvision.models import GoogLeNet_Weights
from torchvision.models import googlenet as torchvision_googlenet

from stagewise.errors import ConfigError
from stagewise.models.module import ModuleLoss
from stagewise.models.pieces import PiecewiseLoss

#: Images of one pass: the held-out images of the default run take two.
CHUNK = 260


def build(classes: int, seed: int = 0) -> nn.Module:
    """Return an untrained network for RGB images, without auxiliary classifiers.

    Weights are torch's own initial ones (those of torchvision's constructor take minutes).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torchvision_googlenet(
            num_classes=classes, aux_logits=False, transform_input=False, init_weights=False
        )


def load(weights: str, classes: int, *, transform_input: bool = True) -> nn.Module:
    """Return a network with weights from elsewhere, in eval mode.

    Args:
        weights: A name of ``torchvision.models.GoogLeNet_Weights`` or a file with a state dict;
            auxiliary classifiers in it are left out.
        classes: Classes that it must have.
        transform_input: The weights expect inputs in [-1, 1], as torchvision's do; the network
            rescales what was normalised with ImageNet's means and deviations.

    Raises:
        ConfigError: There is no such file or name, or its shapes are not this network's.
    """
    if Path(weights).is_file():
        try:
            state = torch.load(weights, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ConfigError(f"{weights} holds no state dict ({error}); save one there") from error
    elif weights in GoogLeNet_Weights.__members__:
        state = GoogLeNet_Weights[weights].get_state_dict(progress=False, check_hash=True)
    else:
        raise ConfigError(
            f"weights {weights!r} are neither a file nor one of "
            f"{list(GoogLeNet_Weights.__members__)}; give the path of a state dict"
        )
    module = build(classes)
    own = {name: one for name, one in state.items() if not name.startswith("aux")}
    found = own.get("fc.weight")
    if found is not None and len(found) != classes:
        raise ConfigError(
            f"{weights} has {len(found)} classes, the images have {classes}; give the weights of a "
            "network for these classes"
        )
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        raise ConfigError(f"{weights} does not fit GoogLeNet: {error}") from error
    module.transform_input = transform_input
    return module.eval()


def flat_state(module: nn.Module) -> Float[Tensor, " entry"]:
    """Return all floating-point tensors of the state dict, one after another."""
    return torch.cat([one.detach().flatten().float() for one in _floats(module).values()])


def set_flat_state(module: nn.Module, flat: Float[Tensor, " entry"]) -> None:
    """Put them back.

    Raises:
        ConfigError: Another number of entries.
    """
    into = _floats(module)
    sizes = [one.numel() for one in into.values()]
    if sum(sizes) != len(flat):
        raise ConfigError(
            f"{len(flat)} numbers for a network of {sum(sizes)}; train it again with these classes"
        )
    with torch.no_grad():
        for one, values in zip(into.values(), flat.split(sizes), strict=True):
            one.copy_(values.view_as(one))


def image_loss(
    module: nn.Module,
    inputs: Float[Tensor, "sample channel row column"],
    labels: Int[Tensor, " sample"],
    states: Sequence[Mapping[str, Tensor]] | None = None,
) -> ModuleLoss:
    """Return l_i(w) = -log p_w(y_i | x_i), nats, with statistics of BatchNorm frozen."""
    loss = partial(F.cross_entropy, reduction="none")
    return PiecewiseLoss(
        module, loss, inputs, labels, checkpoints=states, vectorize=False, at_once=CHUNK
    )


def _floats(module: nn.Module) -> dict[str, Tensor]:
    state = module.state_dict()
    return {name: one for name, one in state.items() if one.is_floating_point()}

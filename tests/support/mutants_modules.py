"""Bugs between a user's module and the trace, planted into the real code."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from stagewise import api
from stagewise.models.module import ModuleLoss
from support.mutants import planted, summed_losses


@planted("a module's gradient is of the sum of losses, not of their mean")
def module_sums_losses(patch: pytest.MonkeyPatch) -> None:
    summed_losses(patch, ModuleLoss)


@planted("the module stays in train mode")
def module_in_train_mode(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(nn.Module, "eval", lambda self: self)
    # As it stands the batched call refuses dropout; a sampler that allowed it would go on.
    patch.setattr(torch, "vmap", partial(torch.vmap, randomness="different"))


@planted("ids are written in another order than the losses")
def ids_reversed(patch: pytest.MonkeyPatch) -> None:
    original = api._dataset

    def dataset(result: Any, labels: Any, *rest: Any) -> Any:
        return original(result, labels._replace(samples=labels.samples[::-1]), *rest)

    patch.setattr(api, "_dataset", dataset)

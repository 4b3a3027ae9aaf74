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
    original = api._trace

    def trace(result: Any, names: Any, attrs: Any) -> Any:
        return original(result, names._replace(samples=names.samples[::-1]), attrs)

    patch.setattr(api, "_trace", trace)

"""Products of gradients of classes of tokens."""

import numpy as np
import pytest
import torch

from stagewise.baselines import class_gradients
from stagewise.baselines.class_gradients import group_products, groups_of
from stagewise.errors import ConfigError
from stagewise.models.neox import build, token_losses

TOKENS = torch.from_numpy(np.random.default_rng(0).integers(7, size=(3, 7)))
CLASSES = torch.tensor([[0, 0, 1, 1, 2, 2], [2, 2, 2, 2, 2, 2], [1, 0, 1, 0, 1, 0]])


def model():
    return build(
        7, 6, layers=1, width=8, heads=2, expansion=2, rotary=1.0, parallel_residual=True, seed=0
    )


def test_products_are_those_of_gradients_taken_one_by_one() -> None:
    net, found = model(), group_products(model(), TOKENS, CLASSES)
    groups = groups_of(CLASSES)
    assert list(zip(*(one.tolist() for one in groups), strict=True)) == [
        (0, 0), (0, 1), (0, 2), (1, 2), (2, 0), (2, 1),
    ]  # fmt: skip
    rows = []
    for sequence, one in zip(*groups, strict=True):
        net.zero_grad()
        losses = token_losses(
            net(input_ids=TOKENS[sequence, None, :-1]).logits, TOKENS[sequence, None, 1:]
        )
        net.requires_grad_(True)
        losses[0, CLASSES[sequence] == int(one)].sum().backward()
        rows.append(torch.cat([p.grad.flatten().double() for p in net.parameters()]))
    flat = torch.stack(rows)
    np.testing.assert_allclose(found, (flat @ flat.T).numpy(), rtol=1e-5, atol=1e-8)


def test_what_does_not_fit_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_gradients, "MOST_BYTES", 100)
    with pytest.raises(ConfigError, match="record fewer sequences"):
        group_products(model(), TOKENS, CLASSES)

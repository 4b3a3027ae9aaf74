"""EK-FAC on sequences of tokens.

Caught: the sign; a mean over tokens for their sum; the first token predicted or the last left out;
factors of the text's tokens for the model's own; the embeddings tracked; a model left changed.
"""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stagewise.baselines.ekfac_language import (
    ALL_BLOCKS,
    FIRST_BLOCK,
    plain_pass,
    sequence_influence,
)
from stagewise.baselines.factors import FactorSettings
from stagewise.errors import ConfigError
from stagewise.models.neox import build

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device"))]  # fmt: skip
SMALL = FactorSettings(layers=ALL_BLOCKS, factor_batch=4, query_batch=2, score_batch=4)


def model() -> nn.Module:
    return build(13, 8, layers=2, width=8, heads=2, expansion=2, rotary=0.5,
                 parallel_residual=True, init_scale=0.2, seed=1)  # fmt: skip


@pytest.fixture
def tokens() -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 13, (9, 6)))


def gradients(net: nn.Module, tokens: Tensor) -> Tensor:
    """Gradients of sequences' summed losses in the blocks' matrices and biases."""
    layers = [one for one in net.gpt_neox.layers.modules() if type(one) is nn.Linear]
    weights = [one for layer in layers for one in layer.parameters()]
    rows = []
    for one in tokens:
        logits = net(input_ids=one[None, :-1]).logits[0]
        summed = F.cross_entropy(logits, one[1:], reduction="sum")
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(summed, weights)]))
    return torch.stack(rows)


def test_without_curvature_influence_is_a_product_of_gradients(
    tokens: Tensor, tmp_path: Path
) -> None:
    """-g_q' g_i by kronfluence's identity strategy, float32 against the same in float32."""
    net = model()
    settings = SMALL._replace(strategy="identity")
    found = sequence_influence(
        net, tokens[:6], tokens[6:], damping=None, folder=tmp_path, settings=settings
    )
    wanted = -gradients(net, tokens[6:]) @ gradients(net, tokens[:6]).T
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))


def test_large_damping_leaves_the_product_of_gradients(tokens: Tensor, tmp_path: Path) -> None:
    """(F + δ I)^-1 is I/δ to F/δ; F's eigenvalues are below the squared size of a gradient."""
    net = model()
    damping = 1e4 * float(gradients(net, tokens).square().sum(1).max())
    found = sequence_influence(
        net, tokens[:6], tokens[6:], damping=damping, folder=tmp_path, settings=SMALL
    )
    wanted = -gradients(net, tokens[6:]) @ gradients(net, tokens[:6]).T / damping
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))


@pytest.mark.parametrize("device", DEVICES)
def test_a_sequence_helps_itself(device: str, tokens: Tensor, tmp_path: Path) -> None:
    """-g' (F + δ I)^-1 g is negative for any gradient that is not 0; the model stays as it was."""
    net, told = model().to(device), []
    before = copy.deepcopy(net.state_dict())
    given = tokens[:5].to(device)
    found = sequence_influence(
        net, given, given, damping=None, folder=tmp_path, settings=SMALL, clock=told.append
    )
    assert found.device.type == device
    assert (found.diagonal() < 0).all()
    assert told == ["covariances", "eigenvectors", "eigenvalues", "scores"]
    assert list(tmp_path.iterdir()) == []
    after = net.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(one, after[name]) for name, one in before.items())


def test_one_block_is_a_part_of_all(tokens: Tensor, tmp_path: Path) -> None:
    net = model()
    settings = SMALL._replace(strategy="identity")
    one, every = (
        sequence_influence(
            net,
            tokens,
            tokens,
            damping=None,
            folder=tmp_path,
            settings=settings._replace(layers=layers),
        )  # fmt: skip
        for layers in (FIRST_BLOCK, ALL_BLOCKS)
    )
    assert (one.diagonal() > every.diagonal()).all()


def test_all_labels_are_refused(tokens: Tensor, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="draw 1 or more"):
        sequence_influence(model(), tokens, tokens, damping=None, folder=tmp_path,
                           settings=SMALL._replace(draws=0))  # fmt: skip


def test_a_plain_pass_leaves_the_model_as_it_was(tokens: Tensor) -> None:
    net = model()
    assert plain_pass(net, tokens, 4) > 0
    assert all(one.requires_grad and one.grad is None for one in net.parameters())
    assert not net.get_input_embeddings()._forward_hooks

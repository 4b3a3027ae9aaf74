"""Adam on the full gradient, many runs as one batch."""

import pytest
import torch

from stagewise.errors import ConfigError, DivergenceError
from stagewise.models.mlp import MLPLoss
from stagewise.training.adam import AdamRecipe, descend_adam


def problem() -> MLPLoss:
    generator = torch.Generator().manual_seed(0)
    return MLPLoss(torch.randn(12, 3, generator=generator), torch.arange(12) % 2, (3, 4, 2), "tanh")


def start(loss: MLPLoss) -> torch.Tensor:
    return torch.randn(2, 3, loss.parameter_count, generator=torch.Generator().manual_seed(1))


def test_a_run_is_that_of_torch() -> None:
    """torch.optim.Adam with coupled weight decay and the same falling step, in double precision."""
    loss = problem()
    loss = loss.with_data(loss.inputs.double(), loss.labels)
    w = start(loss).double()
    found = descend_adam(loss, w, AdamRecipe(30, 0.05, 0.01))
    theirs = w[1, 2].clone().requires_grad_()
    optimiser = torch.optim.Adam([theirs], lr=0.05, betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(30):
        optimiser.param_groups[0]["lr"] = 0.05 * (1 - step / 30)
        theirs.grad = loss.mean_and_gradient(theirs.detach()[None, None], None)[1][0, 0]
        optimiser.step()
    torch.testing.assert_close(found[1, 2], theirs.detach(), rtol=1e-10, atol=1e-12)


def test_runs_do_not_see_each_other() -> None:
    loss = problem()
    w = start(loss)
    together = descend_adam(loss, w, AdamRecipe(20, 0.05, 0.0))
    alone = descend_adam(loss, w[1:, :1], AdamRecipe(20, 0.05, 0.0))
    torch.testing.assert_close(together[1:, :1], alone, rtol=1e-4, atol=1e-5)
    assert torch.equal(w, start(loss)), "the caller's weights were changed"


def test_bad_recipes_and_runs_that_explode_are_refused() -> None:
    loss = problem()
    with pytest.raises(ConfigError, match="learning_rate positive"):
        descend_adam(loss, start(loss), AdamRecipe(1, 0.0, 0.0))
    with pytest.raises(DivergenceError, match="lower learning_rate"):
        descend_adam(loss, start(loss) * torch.nan, AdamRecipe(1, 0.1, 0.0))

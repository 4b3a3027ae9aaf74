"""Per-token losses, mappings of inputs, and outputs that are not tensors."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stagewise.errors import ConfigError
from stagewise.models.module import ModuleLoss
from stagewise.models.neox import build, language_loss

SEQUENCES, LENGTH, WORDS = 5, 4, 6


class Speaker(nn.Module):
    """Returns its logits under a name, as language models do; an offset may be given."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.read = nn.Embedding(WORDS, 3), nn.Linear(3, WORDS)

    def forward(self, ids: Tensor, offset: Tensor | None = None) -> dict[str, Tensor]:
        hidden = self.embed(ids).cumsum(-2)
        return {"logits": self.read(hidden if offset is None else hidden + offset)}


def token_losses(output: dict[str, Tensor], targets: Tensor) -> Tensor:
    return F.cross_entropy(output["logits"].transpose(1, 2), targets, reduction="none")


@pytest.fixture
def made() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    ids = torch.randint(WORDS, (SEQUENCES, LENGTH + 1))
    return Speaker().double(), ids[:, :-1], ids[:, 1:]


@pytest.mark.parametrize("vectorize", [True, False])
def test_tokens_are_flat_with_the_position_fastest(
    made: tuple[nn.Module, Tensor, Tensor], vectorize: bool
) -> None:
    """Catches a transposed flattening, and tokens of the wrong sequences."""
    net, ids, targets = made
    loss = ModuleLoss(net, token_losses, ids, targets, vectorize=vectorize, per_token=True)
    expected = token_losses(net(ids), targets).detach()
    found = loss.losses(loss.centre[:, None])
    torch.testing.assert_close(found[0, 0], expected.flatten())
    chosen = loss.losses(loss.centre[:, None], torch.tensor([3, 0]))
    torch.testing.assert_close(chosen[0, 0], expected[[3, 0]].flatten())
    assert (loss.sample_count, loss.tokens, loss.loss_count) == (5, 4, 20)


@pytest.mark.parametrize("vectorize", [True, False])
@pytest.mark.parametrize("batch", [None, torch.tensor([[0, 4, 4], [1, 2, 3]])])
def test_the_mean_is_that_of_the_mean_per_sequence(
    made: tuple[nn.Module, Tensor, Tensor], batch: Tensor | None, vectorize: bool
) -> None:
    """Catches a sum over tokens, and minibatches of tokens instead of sequences."""
    net, ids, targets = made
    tokens = ModuleLoss(net, token_losses, ids, targets, vectorize=vectorize, per_token=True)
    whole = ModuleLoss(net, lambda o, t: token_losses(o, t).mean(-1), ids, targets)
    w = tokens.centre[:, None] + 0.1 * torch.randn(1, 2, tokens.parameter_count).double()
    for one, other in zip(
        tokens.mean_and_gradient(w, batch), whole.mean_and_gradient(w, batch), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("vectorize", [True, False])
def test_a_mapping_is_taken_as_keyword_arguments(
    made: tuple[nn.Module, Tensor, Tensor], vectorize: bool
) -> None:
    """Catches keyword inputs that are not cut with the batch."""
    net, ids, targets = made
    offset = torch.randn(SEQUENCES, LENGTH, 3).double()
    inputs = {"ids": ids, "offset": offset}
    loss = ModuleLoss(net, token_losses, inputs, targets, vectorize=vectorize, per_token=True)
    expected = token_losses(net(ids, offset), targets).detach()
    w = loss.centre[:, None].repeat(1, 2, 1)
    torch.testing.assert_close(loss.losses(w)[0, 1], expected.flatten())
    mean, _ = loss.mean_and_gradient(w, torch.tensor([[0, 0], [1, 4]]))
    torch.testing.assert_close(mean[0], torch.stack([expected[0].mean(), expected[[1, 4]].mean()]))
    queries = loss.with_data({"ids": ids[:2], "offset": offset[:2]}, targets[:2])
    torch.testing.assert_close(queries.losses(w)[0, 0], expected[:2].flatten())


def test_tokens_are_not_taken_for_samples_unasked(made: tuple[nn.Module, Tensor, Tensor]) -> None:
    """Catches a forgotten sum over outputs that silently becomes a token dimension."""
    net, ids, targets = made
    with pytest.raises(ConfigError, match="per_token=True if that dimension is the token"):
        ModuleLoss(net, token_losses, ids, targets)
    with pytest.raises(ConfigError, match=r"one loss per token, shape \(2, token\)"):
        ModuleLoss(net, lambda o, t: token_losses(o, t).mean(-1), ids, targets, per_token=True)
    with pytest.raises(ConfigError, match="4 or 5 inputs and 5 targets"):
        ModuleLoss(net, token_losses, {"ids": ids, "offset": ids[:4]}, targets, per_token=True)


def test_what_vmap_cannot_batch_is_named_with_the_remedy() -> None:
    """Catches a functorch message that says nothing of what to pass."""

    class Looks(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * (2.0 if bool(self.weight.sum() > 0) else 1.0)

    loss = ModuleLoss(Looks(2, 1), lambda o, t: o[:, 0] - t, torch.ones(3, 2), torch.ones(3))
    with pytest.raises(ConfigError, match="vectorize=False"):
        loss.losses(loss.centre[:, None].repeat(1, 2, 1))


def test_a_language_model_batched_has_the_losses_of_one_run_by_one() -> None:
    """Catches another attention under vmap (its mask or scale), and weights of the wrong replica.

    In single precision the two orders of summation differ by a few units in the last place of the
    logits, which are of order 1, times the operations on the way: 1e-4 leaves room for a hundred.
    """
    net = build(7, 5, layers=2, width=8, heads=2, expansion=2, rotary=0.5, parallel_residual=False,
                seed=3)  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(7, (4, 6), generator=generator)
    one, other = (language_loss(net, ids, batched=batched) for batched in (False, True))
    w = one.centre[:, None] + 0.3 * torch.randn(1, 3, one.parameter_count, generator=generator)
    batch = torch.tensor([[0, 1], [2, 2], [3, 0]])
    torch.testing.assert_close(other.losses(w), one.losses(w), rtol=1e-4, atol=1e-4)
    for found, expected in zip(
        other.mean_and_gradient(w, batch), one.mean_and_gradient(w, batch), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert net.config._attn_implementation != "eager"  # the caller's model is left as it was

"""Training of language models: weights of tokens, branches, and scores of what was learned."""

import numpy as np
import pytest
import torch

from stagewise.errors import DivergenceError
from stagewise.models.neox import build, flat_weights, token_losses
from stagewise.training.intervention import first_step, raised_steps, weigh_more
from stagewise.training.language import Recipe, Trainer
from stagewise.training.language_scores import Held, accuracy, attention_scores, score

RECIPE = Recipe(batch_size=4, learning_rate=1e-2, warmup=2, weight_decay=0.1)
TOKENS = torch.from_numpy(np.random.default_rng(0).integers(7, size=(20, 9)))
CLASSES = torch.from_numpy(np.random.default_rng(1).integers(3, size=(20, 8)))


def model(seed: int = 0):
    return build(
        7, 8, layers=2, width=16, heads=2, expansion=2, rotary=1.0, parallel_residual=False,
        seed=seed,
    )  # fmt: skip


def trainer(recipe: Recipe = RECIPE) -> Trainer:
    return Trainer(model(), TOKENS, CLASSES, recipe, (3, "test", 0))


def test_a_branch_goes_on_bit_for_bit() -> None:
    whole = trainer()
    for _ in range(4):
        whole.advance()
    state = whole.state()
    for _ in range(3):
        whole.advance()
    branch = trainer()
    branch.load(state)
    for _ in range(3):
        branch.advance()
    assert torch.equal(flat_weights(branch.model), flat_weights(whole.model))


def test_a_branch_without_its_moments_is_another_run() -> None:
    """The planted bug: only the weights are carried over."""
    whole = trainer()
    for _ in range(4):
        whole.advance()
    branch = trainer()
    branch.load(whole.state()._replace(first=torch.zeros(0), step=0))
    branch.step = 4
    whole.advance()
    branch.advance()
    assert not torch.allclose(flat_weights(branch.model), flat_weights(whole.model), atol=1e-5)


def test_a_branch_leaves_the_run_it_left_alone() -> None:
    whole = trainer()
    for _ in range(3):
        whole.advance()
    state = whole.state()
    before = [one.clone() for one in state[1:]]
    branch = trainer()
    branch.load(state)
    branch.advance()
    for one, kept in zip(state[1:], before, strict=True):
        assert torch.equal(one, kept)


def test_weights_of_tokens_take_nothing_from_others() -> None:
    """The gradient is that of sum(weight * loss) / tokens, by autograd on the same minibatch."""
    one = trainer(Recipe(4, 1e-2, 1, 0.0))
    tokens, classes = one._batch()
    weigh = weigh_more(np.array([0]), token_class=2, extra=3.0)
    expected = model()
    losses = token_losses(expected(input_ids=tokens[:, :-1]).logits, tokens[:, 1:])
    weight = torch.where(classes == 2, 4.0, 1.0)
    ((losses * weight).sum() / losses.numel()).backward()
    one.advance(weigh)
    for mine, theirs in zip(one.model.parameters(), expected.parameters(), strict=True):
        scale = mine.grad.norm() / theirs.grad.norm()  # long gradients are shortened
        torch.testing.assert_close(mine.grad, theirs.grad * scale, rtol=1e-4, atol=1e-7)


def test_outside_its_window_an_arm_is_the_run_itself() -> None:
    plain, arm = trainer(), trainer()
    weigh = weigh_more(np.array([5, 6]), token_class=2, extra=3.0)
    for _ in range(5):
        plain.advance()
        arm.advance(weigh)
    assert torch.equal(flat_weights(plain.model), flat_weights(arm.model))
    plain.advance()
    arm.advance(weigh)
    assert not torch.equal(flat_weights(plain.model), flat_weights(arm.model))


@pytest.mark.parametrize("arm", ["before", "during", "after", "random"])
def test_all_arms_weigh_as_many_steps(arm: str) -> None:
    steps = raised_steps(arm, 100, 30, (1, "run", 2))
    assert len(set(steps.tolist())) == 30
    assert steps.min() >= 100
    assert steps.max() < 190


def test_windows_lie_around_the_middle_and_not_before_the_branch() -> None:
    assert first_step(500.0, 100, 200) == 350
    assert first_step(300.0, 100, 200) == 200


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    broken = trainer()
    with torch.no_grad():
        next(broken.model.parameters()).fill_(torch.nan)
    with pytest.raises(DivergenceError, match="lower learning_rate"):
        broken.advance()


def held() -> Held:
    uniform = torch.full((7,), 1 / 7).log()
    return Held(TOKENS, CLASSES, 3, 2, uniform, uniform.expand(7, 7))


def test_scores_are_sums_over_the_tokens_of_a_class() -> None:
    net, data = model(), held()
    found = score(net, data)
    with torch.no_grad():
        logits = net(input_ids=TOKENS[:, :-1]).logits
    losses = token_losses(logits, TOKENS[:, 1:])
    expected = torch.stack([(losses * (CLASSES == k)).sum(1) for k in range(3)], 1)
    torch.testing.assert_close(found["loss_sum"].float(), expected, rtol=1e-5, atol=1e-5)
    hits = (logits.argmax(-1) == TOKENS[:, 1:]) & (CLASSES == 2)
    assert torch.equal(accuracy(net, data), hits.sum(1).double())
    assert torch.equal(data.count().sum(1), torch.full((20,), 8))


def test_divergences_vanish_for_the_reference_itself() -> None:
    class Uniform(torch.nn.Module):
        def forward(self, input_ids):
            return type("Output", (), {"logits": torch.zeros(*input_ids.shape, 7)})

        def set_attn_implementation(self, name):
            pass

    from stagewise.training import language_scores

    piece = language_scores._score_piece(Uniform(), held())
    torch.testing.assert_close(
        piece["bigram_divergence"], torch.zeros(20).double(), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(
        piece["unigram_divergence"], torch.zeros(20).double(), atol=1e-6, rtol=0
    )


def test_places_after_copies() -> None:
    """Of 1 2 1 3 1 the last 1 may look at 2 and 3, which followed it before."""
    from stagewise.training.language_scores import _after_copies

    found = _after_copies(torch.tensor([[1, 2, 1, 3, 1]]))[0]
    assert found[4].tolist() == [False, True, False, True, False]
    assert found[2].tolist() == [False, True, False, False, False]
    assert not found[3].any()


def test_attention_of_each_head_is_a_share() -> None:
    found = attention_scores(model(), held())
    for values in found.values():
        assert values.shape == (2, 2)
        assert (values >= 0).all()
        assert (values <= 1).all()

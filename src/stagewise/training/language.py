"""Training of a small causal language model, with weights of single tokens' losses.

AdamW with a linear warm-up and a constant rate. Minibatches are drawn with replacement by step, so
that a run that branches off at step t sees the batches that the run it left would have seen.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from stagewise.errors import DivergenceError
from stagewise.models.neox import flat_weights, set_flat_weights, token_losses
from stagewise.seeds import block_generator

#: Names of AdamW's moments in its state.
MOMENTS = ("exp_avg", "exp_avg_sq")
#: Gradients longer than this are shortened to it.
CLIP = 1.0

Weigh = Callable[[int, Int[Tensor, "sequence predicted"]], Float[Tensor, "sequence predicted"]]


class Recipe(NamedTuple):
    """How a model is trained.

    Attributes:
        batch_size: Sequences of a minibatch.
        learning_rate: After the warm-up.
        warmup: Steps over which the rate rises from 0.
        weight_decay: Of AdamW, on matrices only.
    """

    batch_size: int
    learning_rate: float
    warmup: int
    weight_decay: float

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        return self.learning_rate * min(1.0, (step + 1) / self.warmup)


class State(NamedTuple):
    """A training at one step; vectors are flat, in the order of the model's parameters.

    Attributes:
        step: Steps taken.
        weights: (parameter,).
        first: First moments of AdamW.
        second: Second moments.
    """

    step: int
    weights: Float[Tensor, " parameter"]
    first: Float[Tensor, " parameter"]
    second: Float[Tensor, " parameter"]


class Trainer:
    """A model in training; ``step`` counts the steps that were taken.

    Args:
        model: Is trained in place.
        tokens: Training set (sequence, position).
        token_class: Of the predicted tokens (sequence, predicted).
        recipe: Rates and sizes.
        stream: Root seed and names of the stream of minibatches.
    """

    def __init__(
        self,
        model: nn.Module,
        tokens: Int[Tensor, "sequence position"],
        token_class: Int[Tensor, "sequence predicted"],
        recipe: Recipe,
        stream: tuple[int, str, int],
    ) -> None:
        """Start at step 0."""
        self.model, self.step = model, 0
        self._tokens, self._classes, self._recipe = tokens, token_class, recipe
        self._stream, self._parameters = stream, list(model.parameters())
        self.optimizer = torch.optim.AdamW(_groups(model, recipe.weight_decay), betas=(0.9, 0.98))

    def state(self) -> State:
        """Return all that a branch needs to go on from here."""
        empty = torch.zeros_like(flat_weights(self.model))
        first, second = (
            torch.cat([self.optimizer.state[one][name].flatten() for one in self._parameters])
            if self.step
            else empty
            for name in MOMENTS
        )
        return State(self.step, flat_weights(self.model), first, second)

    def load(self, state: State) -> None:
        """Go on from such a state, bit for bit."""
        set_flat_weights(self.model, state.weights)
        sizes = [one.numel() for one in self._parameters]
        self.optimizer.state.clear()
        if state.step:
            moments = zip(state.first.split(sizes), state.second.split(sizes), strict=True)
            for one, both in zip(self._parameters, moments, strict=True):
                named = {
                    name: part.view_as(one).clone()
                    for name, part in zip(MOMENTS, both, strict=True)
                }
                self.optimizer.state[one] = {"step": torch.tensor(float(state.step)), **named}
        self.step = state.step

    def advance(self, weigh: Weigh | None = None) -> float:
        """Take one step and return the minibatch's mean loss, unweighted.

        Args:
            weigh: (step, classes of the predicted tokens) -> weight of each one's loss; the
                gradient is that of sum(weight * loss) / number of tokens, so that a token's extra
                weight takes nothing from the others.

        Raises:
            DivergenceError: The loss, or its gradient, is not finite; no step is taken then.
        """
        tokens, classes = self._batch()
        logits = self.model(input_ids=tokens[:, :-1]).logits
        losses = token_losses(logits, tokens[:, 1:])
        weighted = losses if weigh is None else losses * weigh(self.step, classes)
        for group in self.optimizer.param_groups:
            group["lr"] = self._recipe.rate(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        weighted.mean().backward()
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP))
        mean = float(losses.detach().mean())
        if not (mean < float("inf") and norm < float("inf")):
            raise DivergenceError(
                f"at step {self.step + 1} the training loss is {mean} and its gradient has size "
                f"{norm}; lower learning_rate ({self._recipe.learning_rate:g}) or lengthen warmup "
                f"({self._recipe.warmup})"
            )
        self.optimizer.step()
        self.step += 1
        return mean

    def _batch(self) -> tuple[Tensor, Tensor]:
        rng = block_generator(*self._stream, "batch", block=self.step)
        count = self._recipe.batch_size
        chosen = torch.from_numpy(rng.integers(len(self._tokens), size=count))
        chosen = chosen.to(self._tokens.device)
        return self._tokens[chosen], self._classes[chosen]


def _groups(model: nn.Module, decay: float) -> list[dict]:
    """Matrices decay; biases and the scales of norms don't."""
    matrices = [one for one in model.parameters() if one.ndim >= 2]
    others = [one for one in model.parameters() if one.ndim < 2]
    return [
        {"params": matrices, "weight_decay": decay, "lr": 0.0},
        {"params": others, "weight_decay": 0.0, "lr": 0.0},
    ]

"""What a language model can do, measured without any influence: the stages of its training.

Losses and hits are sums over the tokens of a class in each held-out sequence, so that errors come
from a bootstrap over sequences. Attention is measured by head, as a mean over sequences.
"""

import copy
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from stagewise.models.neox import token_losses

#: Sequences of one forward pass.
PIECE = 64
#: Sequences that attention is measured on.
ATTENDED = 32


class Held(NamedTuple):
    """Held-out sequences.

    Attributes:
        tokens: (sequence, position).
        token_class: Class of each predicted token (sequence, predicted).
        classes: Number of classes.
        repeated: Index of the class of tokens that an induction head predicts.
        unigram: log p of each token, or None.
        bigram: log p of each token after each other, or None.
    """

    tokens: Int[Tensor, "sequence position"]
    token_class: Int[Tensor, "sequence predicted"]
    classes: int
    repeated: int
    unigram: Float[Tensor, " token"] | None = None
    bigram: Float[Tensor, "token next_token"] | None = None

    def count(self) -> Int[Tensor, "sequence class"]:
        """Return how many tokens of each class each sequence has."""
        return _by_class(torch.ones_like(self.token_class, dtype=torch.float64), self).long()


@torch.no_grad()
def score(model: nn.Module, held: Held) -> dict[str, Tensor]:
    """Return measurements of one checkpoint.

    ``loss_sum`` and ``correct`` (held, class); ``previous_token`` and ``induction_attention``
    (layer, head); with reference predictions, ``unigram_divergence`` and ``bigram_divergence``
    (held,): mean over tokens of KL(reference || model), in nats. Tokens that the context decides
    (the first and the repeated outputs of triggers) are left out of these.
    """
    parts: dict[str, list[Tensor]] = {}
    for start in range(0, len(held.tokens), PIECE):
        piece = _piece(held, slice(start, start + PIECE))
        for name, values in _score_piece(model, piece).items():
            parts.setdefault(name, []).append(values)
    found = {name: torch.cat(values) for name, values in parts.items()}
    return found | attention_scores(model, _piece(held, slice(0, ATTENDED)))


@torch.no_grad()
def accuracy(model: nn.Module, held: Held) -> Float[Tensor, " sequence"]:
    """Return the hits among each sequence's repeated outputs."""
    hits = []
    for start in range(0, len(held.tokens), PIECE):
        piece = _piece(held, slice(start, start + PIECE))
        right = _logits(model, piece).argmax(-1) == piece.tokens[:, 1:]
        hits.append((right & (piece.token_class == piece.repeated)).sum(1).double())
    return torch.cat(hits)


def attention_scores(model: nn.Module, held: Held) -> dict[str, Tensor]:
    """Return the mean attention of each head (layer, head), where it can be had.

    ``previous_token``: from each place to the one before it. ``induction_attention``: from a token
    whose successor is of the repeated class to all places that stand after an earlier copy of it.
    """
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    with torch.no_grad():
        layers = eager(input_ids=held.tokens[:, :-1], output_attentions=True).attentions
    after_copy = _after_copies(held.tokens[:, :-1])
    asks = (held.token_class == held.repeated).double()
    previous, induction = [], []
    for weights in layers:  # (sequence, head, from, to)
        previous.append(weights.diagonal(-1, 2, 3).double().mean((0, 2)))
        found = torch.einsum("shft,sft->shf", weights.double(), after_copy.double())
        induction.append((found * asks[:, None]).sum((0, 2)) / asks.sum().clamp(min=1))
    return {"previous_token": torch.stack(previous), "induction_attention": torch.stack(induction)}


def _after_copies(tokens: Int[Tensor, "sequence place"]) -> Tensor:
    """Say of (from, to) whether ``to`` stands right after an earlier copy of the token at ``from``.

    Its own place counts where the token before it is the same.
    """
    same = tokens[:, :, None] == tokens[:, None, :]
    after = torch.zeros_like(same)
    after[:, :, 1:] = same[:, :, :-1]
    return after.tril()


def _piece(held: Held, which: slice) -> Held:
    return held._replace(tokens=held.tokens[which], token_class=held.token_class[which])


def _logits(model: nn.Module, held: Held) -> Tensor:
    return model(input_ids=held.tokens[:, :-1]).logits


def _score_piece(model: nn.Module, held: Held) -> dict[str, Tensor]:
    logits, targets = _logits(model, held), held.tokens[:, 1:]
    losses = token_losses(logits, targets)
    found = {
        "loss_sum": _by_class(losses.double(), held),
        "correct": _by_class((logits.argmax(-1) == targets).double(), held),
    }
    predicted = logits.log_softmax(-1)
    free = (held.token_class != held.repeated).double()
    before = held.tokens[:, :-1]
    for name, table in (("unigram", held.unigram), ("bigram", held.bigram)):
        if table is not None:
            reference = table[before] if table.ndim == 2 else table
            divergence = (reference.exp() * (reference - predicted)).sum(-1).double()
            found[f"{name}_divergence"] = (divergence * free).sum(1) / free.sum(1).clamp(min=1)
    return found


def _by_class(values: Tensor, held: Held) -> Tensor:
    """Return sums over the tokens of each class (sequence, class)."""
    sums = torch.zeros(len(values), held.classes, dtype=values.dtype, device=values.device)
    return sums.scatter_add_(1, held.token_class, values)

"""Losses of whole documents under a causal language model: the mean loss of their tokens.

A document is a sample as an image is one, so that what trains, samples and attributes classifiers
does so for language models. Documents have no classes: all labels are 0.
"""

import copy
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from stagewise.errors import ConfigError
from stagewise.models.classifier import ClassifierLoss
from stagewise.models.module import MOST_BATCHED
from stagewise.models.neox import NextTokens, sequences_at_once, set_flat_weights, token_losses
from stagewise.models.pieces import PiecewiseLoss

#: Documents whose activations are held at once, of every chain.
AT_ONCE = 32


class DocumentLoss(ClassifierLoss):
    """l_i(w) = mean over positions of -log p(next token), nats per token.

    Args:
        model: A Transformers model; its weights don't matter, w has them.
        tokens: Ids (document, position); the first of each is not predicted.

    Attributes:
        inputs: The tokens.
        labels: 0 for every document.
    """

    def __init__(self, model: nn.Module, tokens: Int[Tensor, "document position"]) -> None:
        """Copy the model, with plain attention: fused kernels are not batched over chains."""
        self.inputs = tokens
        self.labels = torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device)
        self._model = copy.deepcopy(model).to(tokens.device)
        self._model.set_attn_implementation("eager")
        size = sum(one.numel() for one in model.parameters())
        most = min(AT_ONCE, sequences_at_once(model.config.vocab_size, tokens.shape[1] - 1))
        self._losses = PiecewiseLoss(
            NextTokens(self._model),
            document_losses,
            tokens[:, :-1],
            tokens[:, 1:],
            vectorize=size <= MOST_BATCHED,
            at_once=most,
        )

    @property
    def parameter_count(self) -> int:
        """Number of weights."""
        return self._losses.parameter_count

    @property
    def vocabulary(self) -> int:
        """Number of tokens that the model knows."""
        return int(self._model.config.vocab_size)

    def with_data(
        self, inputs: Int[Tensor, "other position"], labels: Int[Tensor, "..."]
    ) -> "DocumentLoss":
        """Return the same model's losses on other documents; labels say nothing."""
        return DocumentLoss(self._model, inputs)

    def like(self, w: Tensor) -> "DocumentLoss":
        """Return these losses: tokens are whole numbers whatever the precision of w."""
        return self

    def logits(
        self, w: Float[Tensor, "checkpoint chain parameter"], inputs: Tensor
    ) -> Float[Tensor, "checkpoint chain document class"]:
        """Refuse: a document has logits for each token."""
        raise ConfigError("a document has no single logits; ask for its losses or its margin")

    def losses(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        samples: Int[Tensor, " document"] | None = None,
    ) -> Float[Tensor, "checkpoint chain document"]:
        """Return l_i(w)."""
        return self._losses.losses(w, samples)

    def mean_and_gradient(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        batch: Int[Tensor, "chain batch"] | None,
        weights: Float[Tensor, "chain batch"] | None = None,
    ) -> tuple[Float[Tensor, "checkpoint chain"], Float[Tensor, "checkpoint chain parameter"]]:
        """Return the batch's mean loss and its gradient.

        Raises:
            ConfigError: Weights are given.
        """
        if weights is not None:
            raise ConfigError("documents take no weights; retrain on subsets of them")
        return self._losses.mean_and_gradient(w, batch)

    def accuracy(self, w: Float[Tensor, " parameter"]) -> float:
        """Return the share of tokens that w thinks likeliest."""
        module, right = self.module(w), []
        with torch.no_grad():
            for part in self.inputs.split(self._losses.at_once):
                right.append(module(part[:, :-1]).argmax(-1) == part[:, 1:])
        return float(torch.cat(right).double().mean())

    def margin(
        self, w: Float[Tensor, " parameter"], x: Int[Tensor, " position"], y: Tensor
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Return the means over tokens of log(p / (1 - p)) and of 1 - p; torch.func goes in."""
        module = NextTokens(self._model)
        parts, start = {}, 0
        for name, one in module.named_parameters():
            parts[name] = w[start : start + one.numel()].view(one.shape)
            start += one.numel()
        (logits,) = torch.func.functional_call(module, parts, (x[None, :-1],))
        own = torch.arange(logits.shape[-1], device=x.device) == x[1:, None]
        others = logits.masked_fill(own, -torch.inf).logsumexp(-1)
        chosen = (logits * own).sum(-1)
        return (chosen - others).mean(), torch.sigmoid(others - chosen).mean()

    def features(self, w: Float[Tensor, " parameter"]) -> Float[Tensor, "document feature"]:
        """Return what goes into the last layer, mean over the positions that predict a token."""
        model, found = cast(NextTokens, self.module(w)).model, []
        with torch.no_grad():
            for part in self.inputs.split(self._losses.at_once):
                state = model.base_model(input_ids=part[:, :-1]).last_hidden_state
                found.append(state.mean(1))
        return torch.cat(found)

    def module_losses(self, module: nn.Module) -> Float[Tensor, " document"]:
        """Return the losses of a module that `module` returned, in its own precision."""
        with torch.no_grad():
            found = [
                document_losses(module(part[:, :-1]), part[:, 1:])
                for part in self.inputs.split(self._losses.at_once)
            ]
        return torch.cat(found)

    def empty_module(self) -> nn.Module:
        """Return the model as a map from tokens to logits."""
        return NextTokens(copy.deepcopy(self._model))

    def module(self, w: Float[Tensor, " parameter"]) -> nn.Module:
        """Return such a module that has the weights w, in the dtype of w."""
        module = self.empty_module().to(w)
        set_flat_weights(module, w)
        return module.eval()


def document_losses(
    logits: Float[Tensor, "document position token"], targets: Int[Tensor, "document position"]
) -> Float[Tensor, " document"]:
    """Return the mean over positions of -log p of each target, nats per token."""
    return token_losses(logits, targets).mean(-1)

"""What training, influence and attribution need of a small classifier: logits, and its module."""

import abc

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from stagewise.models.per_sample import PerSampleLoss


class ClassifierLoss(PerSampleLoss):
    """Cross-entropies of a classifier on labelled samples, in nats; see `PerSampleLoss`.

    Attributes:
        inputs: x (sample, input), flat.
        labels: y (sample,), classes from 0.
    """

    inputs: Float[Tensor, "sample input"]
    labels: Int[Tensor, " sample"]

    @property
    def sample_count(self) -> int:
        """Number of samples."""
        return len(self.inputs)

    @property
    def parameter_count(self) -> int:
        """Weights and biases of all layers."""
        return sum(one.numel() for one in self.empty_module().parameters())

    @abc.abstractmethod
    def with_data(
        self, inputs: Float[Tensor, "sample input"], labels: Int[Tensor, " sample"]
    ) -> "ClassifierLoss":
        """Return the same network's losses on other samples (queries)."""

    def like(self, w: Tensor) -> "ClassifierLoss":
        """Return the same losses with inputs in the precision of w."""
        return self.with_data(self.inputs.to(w), self.labels)

    @abc.abstractmethod
    def logits(
        self, w: Float[Tensor, "checkpoint chain parameter"], inputs: Float[Tensor, "sample input"]
    ) -> Float[Tensor, "checkpoint chain sample class"]:
        """Return the logits of shared inputs; torch.func goes through it."""

    @abc.abstractmethod
    def mean_and_gradient(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        batch: Int[Tensor, "chain batch"] | None,
        weights: Float[Tensor, "chain batch"] | None = None,
    ) -> tuple[
        Float[Tensor, "checkpoint chain"],
        Float[Tensor, "checkpoint chain parameter"],
    ]:
        """Return (1/B) Σ_b c_b l_b and its gradient, c = ``weights``, 1 if None.

        The divisor is the size of the batch whatever the weights are; those of a chain need a batch
        of its own.
        """

    def sample_gradients(
        self, w: Float[Tensor, " parameter"], samples: Int[Tensor, " sample"]
    ) -> Float[Tensor, "sample parameter"]:
        """Return the gradients of single samples' losses: each a batch of one, of its own chain."""
        return self.mean_and_gradient(w.expand(1, len(samples), -1), samples[:, None])[1][0]

    def accuracy(self, w: Float[Tensor, " parameter"]) -> float:
        """Return the share of samples whose class w thinks likeliest."""
        right = self.logits(w[None, None], self.inputs)[0, 0].argmax(-1) == self.labels
        return float(right.double().mean())

    def margin(
        self, w: Float[Tensor, " parameter"], x: Float[Tensor, " input"], y: Int[Tensor, ""]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Return log(p_y / (1 - p_y)) and 1 - p_y of one sample; torch.func goes through it."""
        logits = self.logits(w[None, None], x[None])[0, 0, 0]
        own = torch.arange(len(logits), device=y.device) == y
        others = logits.masked_fill(own, -torch.inf).logsumexp(0)
        chosen = (logits * own).sum()
        return chosen - others, torch.sigmoid(others - chosen)

    def module_losses(self, module: nn.Module) -> Float[Tensor, " sample"]:
        """Return the losses of a module that `module` returned, in its own precision."""
        inputs = self.inputs.to(next(module.parameters()))
        with torch.no_grad():
            return F.cross_entropy(module(inputs), self.labels, reduction="none")

    @abc.abstractmethod
    def empty_module(self) -> nn.Sequential:
        """Return the network as a module, with weights that nobody chose."""

    def module(self, w: Float[Tensor, " parameter"]) -> nn.Sequential:
        """Return the network as a module that has the weights w, in the dtype of w."""
        module = self.empty_module().to(w)
        nn.utils.vector_to_parameters(w.clone(), module.parameters())
        return module.eval()

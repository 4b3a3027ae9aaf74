"""What a sampler needs to know of a model: per-sample losses and their mean gradient."""

import abc
from collections.abc import Callable
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

ExcessFunction = Callable[[Tensor], Tensor]


class PerSampleLoss(abc.ABC):
    """Per-sample losses l_i(w) of one model on one fixed, ordered set of samples.

    Positions are ``w`` of shape (checkpoint, chain, parameter). Checkpoint and chain are plain
    batch dimensions: entry (c, k) of every result depends on ``w[c, k]`` alone (and on what the
    loss itself holds for checkpoint c). Losses are negative log-likelihoods in nats.

    Attributes:
        thread_safe: Whether losses that ``select`` made may be evaluated in several threads at
            once. Not so by default: calling a module with other weights writes them into it.
    """

    thread_safe: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def sample_count(self) -> int:
        """Number n of samples."""

    @property
    @abc.abstractmethod
    def parameter_count(self) -> int:
        """Number P of parameters that move."""

    @abc.abstractmethod
    def losses(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        samples: Int[Tensor, " sample"] | None = None,
    ) -> Float[Tensor, "checkpoint chain sample"]:
        """Return l_i(w) for the samples named by index (all of them if None)."""

    @abc.abstractmethod
    def mean_and_gradient(
        self,
        w: Float[Tensor, "checkpoint chain parameter"],
        batch: Int[Tensor, "chain batch"] | None,
    ) -> tuple[
        Float[Tensor, "checkpoint chain"],
        Float[Tensor, "checkpoint chain parameter"],
    ]:
        """Return the mean loss over the batch and its gradient.

        Each chain has its own batch of sample indices, shared by all checkpoints; None means all
        samples. An index that stands in a batch twice counts twice.

        Returns:
            The mean loss (checkpoint, chain) and a new tensor, its gradient in ``w``. The caller
            owns the gradient and may overwrite it.
        """

    def mean(
        self, losses: Float[Tensor, "checkpoint chain sample"]
    ) -> Float[Tensor, "checkpoint chain"]:
        """Return L_n from all n losses: their mean, unless the loss weighs its samples."""
        return losses.mean(-1)

    def reference(
        self,
        centre: Float[Tensor, "checkpoint parameter"],
        samples: Int[Tensor, " sample"] | None = None,
    ) -> Float[Tensor, "checkpoint loss"]:
        """Return l_i(w*) in float64 at each checkpoint; per token, all tokens of each sample.

        The default evaluates in the dtype of ``centre`` and casts, because most modules run in one
        dtype only; closed forms evaluate in float64.
        """
        return self.losses(centre[:, None], samples)[:, 0].double()

    def excess_function(
        self,
        centre: Float[Tensor, "checkpoint parameter"],
        samples: Int[Tensor, " sample"] | None = None,
    ) -> ExcessFunction:
        """Return the function w -> l_i(w) - l_i(w*), (checkpoint, chain, sample).

        Both terms are evaluated in the dtype of ``w`` by the same code, so the rounding they share
        cancels and the subtraction of two close numbers is itself exact. A float64 reference under
        a float32 loss would instead leave a constant error in every draw, which biases E[L] - L*.
        Closed forms override this with a difference that doesn't cancel at all.
        """
        reference = self.losses(centre[:, None], samples)
        return lambda w: self.losses(w, samples) - reference

    def select(self, checkpoints: slice) -> "PerSampleLoss":
        """Return the loss restricted to a range of checkpoints; itself if it holds none."""
        return self

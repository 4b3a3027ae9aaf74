"""Influence between sequences of tokens with EK-FAC: an adapter to kronfluence for causal models.

    BIF(i, q) = -Σ_layers g_q' (F_layer + δ I)^-1 g_i

as in ``stagewise.baselines.ekfac``, with g the gradient of a sequence's loss, the sum over its
tokens, and labels of F drawn from the model's own predictions of every token. The blocks' matrices
are tracked, not the embeddings: the second moment of the gradients at the logits alone would have
as many rows as there are tokens (10 GB for 50,304, float32).

Source: Grosse et al. 2023, arXiv:2308.03296.
"""

import copy
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from kronfluence.task import Task
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from stagewise.baselines.factors import Factors, FactorSettings, check_settings, quiet, tracked
from stagewise.errors import ConfigError
from stagewise.models.neox import NextTokens
from stagewise.seeds import generator

#: Layers of all blocks, and of the first alone: names of Transformers' GPT-NeoX.
ALL_BLOCKS, FIRST_BLOCK = r"\.layers\.\d+\.", r"\.layers\.0\."


def sequence_influence(
    model: nn.Module,
    train: Int[Tensor, "sample position"],
    queries: Int[Tensor, "query position"],
    *,
    damping: float | None,
    folder: Path,
    settings: FactorSettings | None = None,
    consume: bool = False,
    clock: Callable[[str], None] | None = None,
) -> Float[Tensor, "query sample"]:
    """Return BIF(i, q): negative where more weight on sequence i lowers the loss of q.

    Args:
        model: A causal model of Transformers, in float32 or float64.
        train: Token ids; the first of each sequence is not predicted.
        queries: Token ids.
        damping: δ > 0 of every layer; None for a tenth of the mean eigenvalue, layer by layer.
        folder: Where a scratch folder with the factors is made and removed.
        settings: Defaults, and all blocks' layers, if None. One draw at least.
        consume: Wrap the model's own layers rather than a copy's, which saves its size in memory;
            the model is of no use afterwards.
        clock: Called with a name at the end of each phase: "covariances", "eigenvectors",
            "eigenvalues", "scores".

    Returns:
        Influences, nats: nβ times a covariance of the sequences' summed losses.

    Raises:
        ConfigError: A damping or a setting is out of range, no layer is left to track, or a score
            is not finite.
    """
    settings = settings or FactorSettings(layers=ALL_BLOCKS)
    check_settings([damping], settings)
    tell = clock or (lambda phase: None)
    folder.mkdir(parents=True, exist_ok=True)
    module = NextTokens(model if consume else copy.deepcopy(model)).eval()
    with tempfile.TemporaryDirectory(dir=folder, prefix="ekfac-") as scratch:
        score = fitted_sequences(
            module, train, queries, folder=Path(scratch), settings=settings, clock=tell
        )
        found = score(damping)
        tell("scores")
    return found


def fitted_sequences(
    module: NextTokens,
    train: Int[Tensor, "sample position"],
    queries: Int[Tensor, "query position"],
    *,
    folder: Path,
    settings: FactorSettings,
    clock: Callable[[str], None] = lambda phase: None,
) -> Callable[[float | None], Float[Tensor, "query sample"]]:
    """Fit the factors into a folder, and return the influences as a function of the damping.

    Arguments and errors are those of ``sequence_influence``, but that the module's own layers are
    wrapped; the folder is the caller's to remove.
    """
    check_settings([None], settings)
    if settings.draws < 1:
        raise ConfigError(
            f"draws {settings.draws}; all labels of every token are too many: draw 1 or more"
        )
    first = next(iter(module.parameters()))
    task = _NextTokenLosses(tracked(module, train[:1, :-1], settings.layers))
    with quiet():
        factors = Factors(
            module, task, dtype=first.dtype, device=first.device, folder=folder, settings=settings
        )
        factors.fit_covariances(_own(train, settings, "factors"))
        clock("covariances")
        factors.decompose()
        clock("eigenvectors")
        factors.fit_eigenvalues(_own(train, settings, "eigenvalues"))
        clock("eigenvalues")

    def score(damping: float | None) -> Tensor:
        check_settings([damping], settings)
        with quiet():
            found = factors.scores(TensorDataset(train), TensorDataset(queries), damping)
        return -found.to(first.device)

    return score


class _NextTokenLosses(Task):
    """Summed losses of next tokens, of the text's own or of tokens that the model draws."""

    def __init__(self, layers: list[str]) -> None:
        self._layers = layers

    def compute_train_loss(
        self, batch: Sequence[Tensor], model: nn.Module, sample: bool = False
    ) -> Tensor:
        """Return Σ l; where ``sample``, the batch's second part says which tokens to take."""
        tokens = batch[0]
        logits = model(tokens[:, :-1])
        targets = tokens[:, 1:]
        if sample:
            with torch.no_grad():
                below = logits.softmax(-1).cumsum(-1) < batch[1][..., None].to(logits)
                targets = below.sum(-1).clamp(max=logits.shape[-1] - 1)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")

    def compute_measurement(self, batch: Sequence[Tensor], model: nn.Module) -> Tensor:
        """Return the queries' summed losses."""
        return self.compute_train_loss(batch, model)

    def get_influence_tracked_modules(self) -> list[str]:
        """Name the layers."""
        return self._layers


def _own(tokens: Tensor, settings: FactorSettings, purpose: str) -> Dataset:
    """Return every sequence ``draws`` times with uniform numbers that choose its tokens."""
    stream = generator(settings.seed, "ekfac", purpose)
    shape = (settings.draws, len(tokens), tokens.shape[1] - 1)
    chosen = torch.from_numpy(stream.random(shape)).flatten(0, 1).to(tokens.device)
    return TensorDataset(tokens.repeat(settings.draws, 1), chosen)


def plain_pass(model: nn.Module, tokens: Int[Tensor, "sample position"], at_once: int) -> float:
    """Return the seconds of a forward and backward pass that no factor is taken of.

    The backward pass goes as far as the first block's inputs and leaves weights out, as one that
    factors are taken of does: what of such a pass doesn't grow with the layers that are tracked.
    """
    embedding = model.get_input_embeddings()
    hook = embedding.register_forward_hook(lambda layer, given, out: out.requires_grad_())
    held = [one.requires_grad for one in model.parameters()]
    try:
        model.requires_grad_(False)
        begun = time.perf_counter()
        for piece in tokens.split(at_once):
            logits = model(input_ids=piece[:, :-1]).logits
            loss = F.cross_entropy(logits.flatten(0, 1), piece[:, 1:].flatten(), reduction="sum")
            loss.backward()
        if tokens.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - begun
    finally:
        hook.remove()
        for one, before in zip(model.parameters(), held, strict=True):
            one.requires_grad_(before)

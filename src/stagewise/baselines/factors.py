"""kronfluence's phases, on any module and task: factors, their eigenvectors, eigenvalues, scores.

``stagewise.baselines.ekfac`` says what they compute and what kronfluence 1.0.1 gets wrong, which is
refused here.
"""

import gc
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import scipy.linalg
import torch
from jaxtyping import Float
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task
from kronfluence.utils.state import State
from torch import Tensor, nn
from torch.utils.data import Dataset

from stagewise.errors import ConfigError

Strategy = Literal["ekfac", "kfac", "diagonal", "identity"]


class FactorSettings(NamedTuple):
    """How the Fisher matrix is estimated and how much is held at once.

    Attributes:
        strategy: "ekfac"; "kfac" (products of the factors' eigenvalues: a convolution's are too
            small by its number of places, for kronfluence takes means over places of both);
            "diagonal"; "identity" (similarity of gradients, without damping).
        draws: Labels drawn for each sample from the module's own predictions, anew for the
            factors and for their eigenvalues; 0 for all classes, weighted by their probability:
            no noise, at the cost of as many draws as there are classes.
        seed: Root seed of the draws, which don't depend on the sizes of batches.
        layers: Regular expression, searched for in names of layers; None for all that can be.
        factor_batch: Samples per pass; each holds its gradient of one layer.
        query_batch: Queries whose gradients of all layers are held; each batch of them is another
            pass over the samples.
        score_batch: Samples per such pass.
    """

    strategy: Strategy = "ekfac"
    draws: int = 1
    seed: int = 0
    layers: str | None = None
    factor_batch: int = 128
    query_batch: int = 128
    score_batch: int = 128


class Factors:
    """The phases on one module; use within ``quiet``.

    Args:
        module: Changed: its layers are wrapped. Pass a copy.
        task: Its losses, summed over a batch.
        dtype: Of all that is computed.
        device: Where the module is.
        folder: Existing; what is computed lies there.
        settings: How much is held at once.
    """

    def __init__(
        self,
        module: nn.Module,
        task: Task,
        *,
        dtype: torch.dtype,
        device: torch.device,
        folder: str | Path,
        settings: FactorSettings,
    ) -> None:
        """Wrap the layers."""
        State._reset_state()  # a process keeps the device of its first analysis otherwise
        self._analyzer = Analyzer(
            "ekfac",
            prepare_model(module, task),
            task,
            cpu=device.type == "cpu",
            disable_tqdm=True,
            output_dir=str(folder),
        )
        self._dtype, self._settings = dtype, settings
        arguments = FactorArguments(
            strategy=settings.strategy,
            covariance_max_examples=None,
            lambda_max_examples=None,
            activation_covariance_dtype=dtype,
            gradient_covariance_dtype=dtype,
            per_sample_gradient_dtype=dtype,
            lambda_dtype=dtype,
        )
        self._names: dict[str, Any] = {"factors_name": "all", "factor_args": arguments}

    def fit_covariances(self, data: Dataset) -> None:
        """Second moments of every layer's inputs and of the gradients at its outputs."""
        batch = self._settings.factor_batch
        self._analyzer.fit_covariance_matrices(
            dataset=data, per_device_batch_size=batch, **self._names
        )

    def decompose(self) -> None:
        """Eigenvectors of the second moments."""
        with _second_driver():
            self._analyzer.perform_eigendecomposition(**self._names)

    def fit_eigenvalues(self, data: Dataset) -> None:
        """Second moments of the gradients in the eigenvectors' basis."""
        batch = self._settings.factor_batch
        self._analyzer.fit_lambda_matrices(dataset=data, per_device_batch_size=batch, **self._names)

    def scores(
        self, train: Dataset, queries: Dataset, damping: float | None
    ) -> Float[Tensor, "query sample"]:
        """Return kronfluence's own scores: positive = helpful.

        Raises:
            ConfigError: A score is not finite.
        """
        arguments = ScoreArguments(
            damping_factor=damping,
            per_sample_gradient_dtype=self._dtype,
            precondition_dtype=self._dtype,
            score_dtype=self._dtype,
        )
        self._analyzer.compute_pairwise_scores(
            scores_name="all",
            factors_name="all",
            query_dataset=queries,
            train_dataset=train,
            per_device_query_batch_size=self._settings.query_batch,
            per_device_train_batch_size=self._settings.score_batch,
            score_args=arguments,
            overwrite_output_dir=True,
        )
        found = self._analyzer.load_pairwise_scores(scores_name="all")["all_modules"]
        if not found.isfinite().all():
            wrong = int((~found.isfinite()).sum())
            raise ConfigError(
                f"{wrong} of {found.numel()} scores are not finite at damping {damping}, though "
                "all losses are; raise the damping"
            )
        return found


@contextmanager
def _second_driver() -> Iterator[None]:
    """Let another algorithm of LAPACK answer where torch's gives up.

    Torch asks for divide and conquer, which does not converge on some matrices that are mostly
    exact zeros: those of a 3 x 3 convolution on a map of one place, eight ninths of whose inputs
    are padding. Where it converges nothing changes.
    """
    usual = torch.linalg.eigh

    def eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
        try:
            return usual(matrix)
        except torch.linalg.LinAlgError:
            found = scipy.linalg.eigh(matrix.cpu().numpy(), driver="ev")
            return torch.from_numpy(found[0]).to(matrix), torch.from_numpy(found[1]).to(matrix)

    torch.linalg.eigh = eigh
    try:
        yield
    finally:
        torch.linalg.eigh = usual


@contextmanager
def quiet() -> Iterator[None]:
    """Keep kronfluence's log and its uses of old torch names off the screen, and torch's state.

    It collects garbage twice for every batch of queries, a fifth of a second each beside all that
    is imported: what is there already is kept out of that.
    """
    log = logging.getLogger("kronfluence")
    level, frozen = log.level, gc.get_freeze_count()
    log.setLevel(logging.CRITICAL)
    gc.freeze()
    try:
        with warnings.catch_warnings(), torch.random.fork_rng():
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", message=".*CUDA is not available.*")
            yield
    finally:
        log.setLevel(level)
        if not frozen:
            gc.unfreeze()


def tracked(module: nn.Module, one: Tensor, pattern: str | None) -> list[str]:
    """Return the names of layers to track: those of a kind that is supported, called once.

    Args:
        module: In eval mode.
        one: Its input for one sample.
        pattern: Regular expression, searched for in names; None for all.

    Raises:
        ConfigError: There is none, or one whose gradients kronfluence gets wrong.
    """
    layers = {
        name: layer
        for name, layer in module.named_modules()
        if type(layer) in (nn.Linear, nn.Conv2d) and (not pattern or re.search(pattern, name))
    }
    calls = _calls(module, one, layers)
    found = [name for name in layers if calls[name]]
    if not found:
        raise ConfigError(
            f"{type(module).__name__} calls no nn.Linear or nn.Conv2d with a name that matches "
            f"{pattern!r}; only these two kinds are supported: widen the pattern of layers"
        )
    for name in found:
        layer = layers[name]
        plain = getattr(layer, "groups", 1) == 1 and getattr(layer, "padding_mode", "zeros")
        if calls[name] > 1 or plain != "zeros":
            raise ConfigError(
                f"layer {name!r} is called {calls[name]} times by a forward pass, or is a "
                "convolution in groups or without zero padding, where kronfluence 1.0.1's scores "
                "are wrong; leave it out with a pattern of layers"
            )
    return found


def _calls(module: nn.Module, one: Tensor, layers: dict[str, nn.Module]) -> dict[str, int]:
    """Count how often each layer is called for one sample."""
    counts = dict.fromkeys(layers, 0)

    def counter(name: str) -> object:
        def count(*_: object) -> None:
            counts[name] += 1

        return count

    hooks = [layer.register_forward_hook(counter(name)) for name, layer in layers.items()]
    try:
        with torch.no_grad():
            module(one)
    finally:
        for hook in hooks:
            hook.remove()
    return counts


def check_settings(dampings: Sequence[float | None], settings: FactorSettings) -> None:
    """Raise ConfigError unless dampings and settings are in range."""
    allowed = all(one is None or 0 < one < float("inf") for one in dampings)
    if not dampings or not allowed:
        raise ConfigError(
            f"dampings {list(dampings)}; each must be positive and finite, or None for a tenth of "
            "the mean eigenvalue"
        )
    if settings.strategy not in get_args(Strategy):
        raise ConfigError(
            f"strategy {settings.strategy!r}; choose one of {list(get_args(Strategy))}"
        )
    batches = (settings.factor_batch, settings.query_batch, settings.score_batch)
    if settings.draws < 0 or min(batches) < 1:
        raise ConfigError(
            f"draws {settings.draws} and batches {batches}; draws must be 0 (all classes) or more "
            "and batches 1 or more"
        )

"""Calibration of a user's own model: the settings that ``stagewise.sample_losses`` takes."""

import sys
from collections.abc import Callable, Sequence

import torch
from torch import nn

from stagewise.calibration.calibrate import Goal
from stagewise.calibration.calibrate import calibrate as choose
from stagewise.calibration.settings import Calibration
from stagewise.data.pairs import Data, tensors
from stagewise.models.module import LossFunction, ModuleLoss
from stagewise.sampling.kernels.by_name import Name
from stagewise.sampling.potential import Kind

Say = Callable[[str], None]


def calibrate(
    model: nn.Module,
    loss_fn: LossFunction,
    data: Data,
    *,
    queries: Data | None = None,
    restrict: str | Sequence[str] | None = None,
    per_token: bool = False,
    vectorize: bool | None = None,
    potential: Kind = "recentred",
    kernel: Name = "baoab",
    batch_sizes: Sequence[int | None] = (None,),
    damping: float | None = None,
    seconds: float | None = None,
    locality: float = 0.95,
    bias: float = 0.05,
    reliability: float = 0.98,
    chains: int = 64,
    pilot_chains: int = 16,
    seed: int = 0,
    progress: bool | Say | None = None,
) -> Calibration:
    """Choose by measurement the settings with which ``sample_losses`` samples a model as it is.

        found = stagewise.calibrate(model, loss_fn, data, seconds=60)
        trace = stagewise.sample_losses(model, loss_fn, data, **found.settings())

    Short pilots find nβ, γ, ε, the friction, burn-in, spacing and draws; how is said in
    ``stagewise.calibration.calibrate``. What changes the losses (``queries``, ``restrict``,
    ``per_token``) must be given to both.

    Args:
        model: Any module, on any device; it is copied and run in eval mode with its buffers frozen.
        loss_fn: (output, targets) -> one loss per sample, 1-D, in nats.
        data: (inputs, targets), first dimension the sample; or a dataset of pairs.
        queries: Further data whose influences count; None takes those of the samples themselves.
        restrict: ``fnmatch`` pattern(s) of names of parameters that move; None moves all.
        per_token: loss_fn returns (sample, token).
        vectorize: Run all replicas in one batched call; None decides by the size of the model.
        potential: "recentred" (every checkpoint stationary) or "plain": another law off a minimum.
        kernel: "baoab", "underdamped" or "sgld".
        batch_sizes: Batch sizes to choose from; None is the full gradient.
        damping: γ/nβ, nats per squared unit of weight; None takes the least at which the law is
            local and that leaves a tenth as many directions to the loss as there are samples.
        seconds: Most seconds of the run, on this machine; the pilots come on top. None sets no
            limit.
        locality: Least correlation of influences with those of a law ten times as narrow.
        bias: Most relative bias of the loss covariance.
        reliability: Expected correlation of a query's influences with their limit of many draws.
        chains: Chains of the run, at least 8.
        pilot_chains: Chains of the pilots, at least 8.
        seed: Root seed of the pilots.
        progress: True writes a line to the terminal's error stream at each stage, False nothing;
            None does so on a terminal only. Or a function of such a line.

    Returns:
        ``settings()``, what was measured (``evidence``) and all that was tried (``table``);
        ``stagewise.calibration.settings`` writes and reads it as a file.

    Raises:
        ConfigError: If a setting is out of range, data don't fit the model, loss_fn isn't per
            sample, the damping is not local, or nothing rises above the null. The message names
            the remedy.
        DivergenceError: Chains diverge at every step tried.
    """
    device = next(iter([*model.parameters(), *model.buffers(), torch.empty(0)])).device
    inputs, targets = tensors(data, "data", device)
    loss = ModuleLoss(
        model, loss_fn, inputs, targets, restrict, vectorize=vectorize, per_token=per_token
    )
    goal = Goal(
        damping=damping,
        locality=locality,
        bias=bias,
        reliability=reliability,
        seconds=seconds,
        chains=chains,
        pilot_chains=pilot_chains,
    )
    return choose(
        loss,
        loss.centre,
        queries=None if queries is None else loss.with_data(*tensors(queries, "queries", device)),
        kind=potential,
        kernel=kernel,
        batch_sizes=batch_sizes,
        goal=goal,
        seed=seed,
        say=_said(progress),
    )


def _said(progress: bool | Say | None) -> Say:
    if progress is None:
        progress = sys.stderr.isatty()
    if isinstance(progress, bool):
        return _write if progress else lambda line: None
    return progress


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")

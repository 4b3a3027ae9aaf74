"""What chains cost on a model: seconds of a step, of a draw, and of what comes before the first."""

import statistics
import time
from typing import NamedTuple

import torch
from torch import Tensor

from stagewise.models.per_sample import PerSampleLoss
from stagewise.sampling.kernels import sgld
from stagewise.sampling.potential import Potential
from stagewise.sampling.records import Schedule
from stagewise.sampling.runner import run
from stagewise.sampling.streams import NoiseStreams


class ChainCost(NamedTuple):
    """Seconds, of one chain.

    Attributes:
        setup: Reference losses and the potential's reach, once for all chains of a job.
        step: Median of the steps after the first: noise, gradient, move.
        draw: Median of what a draw adds to its step: losses of all samples and queries.
        all: All that was run.
        steps: Steps that were run, draws' included.
        draws: Draws that were run.
    """

    setup: float
    step: float
    draw: float
    all: float
    steps: int
    draws: int


class Chosen(NamedTuple):
    """The chains.

    Attributes:
        n_beta: Inverse temperature times n.
        localization: Per squared unit of weight.
        step_size: Squared units of weight.
        batch: Samples of a minibatch.
        chains: Run together.
    """

    n_beta: float
    localization: float
    step_size: float
    batch: int
    chains: int = 1


def chain_cost(
    loss: PerSampleLoss,
    centre: Tensor,
    queries: PerSampleLoss,
    chosen: Chosen,
    *,
    steps: int,
    draws: int,
    seed: int = 0,
) -> ChainCost:
    """Run SGLD with the project's runner and time it, one block of noise after another.

    A block is one step of a model of more than 2^18 parameters. Blocks that record nothing give the
    cost of a step; blocks that record after each, what a draw adds.

    Args:
        loss: Losses of the training samples, all recorded.
        centre: Checkpoint (1, parameter).
        queries: Losses of the queries, all recorded.
        chosen: The chains.
        steps: Steps without a draw, rounded up to blocks, of which the first is left out of the
            median; at least two blocks.
        draws: Steps with one, rounded up to blocks.
        seed: Root seed.
    """
    begun = _now(centre)
    streams = NoiseStreams(
        seed,
        "cost",
        chosen.chains,
        loss.parameter_count,
        batch_size=chosen.batch,
        sample_count=loss.sample_count,
        device=centre.device,
    )
    block, marks = streams.steps, []
    steps, draws = max(2, -(-steps // block)), -(-draws // block)
    schedule = Schedule(steps * block, draws * block)
    target = Potential(loss, centre, chosen.n_beta, chosen.localization)
    run(
        sgld.Kernel(chosen.step_size),
        target,
        streams,
        schedule,
        queries=queries,
        progress=lambda done, total: marks.append(_now(centre)),
    )
    spans = [b - a for a, b in zip([begun, *marks], marks, strict=False)]
    step = statistics.median(spans[1:steps]) / block
    draw = statistics.median(spans[steps:]) / block - step
    return ChainCost(
        setup=max(0.0, spans[0] - step * block),
        step=step,
        draw=draw,
        all=marks[-1] - begun,
        steps=schedule.steps,
        draws=schedule.draws,
    )


def _now(like: Tensor) -> float:
    """Return the time when the device has done what it was told."""
    if like.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()

"""Independent draws of the law that no data enters, N(w*, I/gamma).

Its loss covariance is (1/gamma) times the inner products of gradients plus second order: what the
local posterior is compared with, never a null.
"""

import time
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from stagewise.models.per_sample import PerSampleLoss
from stagewise.sampling.records import RunResult
from stagewise.seeds import block_generator


def independent_draws(
    loss: PerSampleLoss,
    centre: Float[Tensor, "checkpoint parameter"],
    localization: float,
    chains: Sequence[int],
    draws: int,
    stream: tuple[int, str],
    samples: Int[Tensor, " sample"] | None = None,
) -> RunResult:
    """Record losses at w* + xi / sqrt(gamma), xi ~ N(0, I).

    "Chains" are groups of draws with a stream each, named as a sampler's are; all checkpoints share
    them.

    Args:
        loss: Per-sample losses.
        centre: w*, a row for each checkpoint.
        localization: gamma, per squared unit of weight.
        chains: Ids of the groups.
        draws: Of each group.
        stream: Root seed and name of the streams.
        samples: Indices of the samples to record; None for all.
    """
    begun, (checkpoints, size) = time.monotonic(), centre.shape
    with torch.no_grad():
        reference = loss.losses(centre[:, None], samples)[:, 0]
        shape = (checkpoints, len(chains), draws, reference.shape[1])
        excess, distance = np.empty(shape, np.float32), np.empty(shape[:3])
        for draw in range(draws):
            noise = [block_generator(*stream, "prior", chain, block=draw) for chain in chains]
            moved = np.stack([one.standard_normal(size, np.float32) for one in noise])
            step = torch.from_numpy(moved).to(centre) / localization**0.5
            found = loss.losses(centre[:, None] + step, samples) - reference[:, None]
            excess[:, :, draw] = found.cpu().numpy()
            distance[:, :, draw] = step.norm(dim=1).cpu().numpy()
    train = excess.mean(-1, dtype=np.float64)
    return RunResult(
        excess_loss=excess,
        loss_ref=reference.double().cpu().numpy(),
        query_excess_loss=None,
        query_loss_ref=None,
        train_loss=train,
        potential=0.5 * localization * distance**2,
        distance=distance,
        status=np.zeros(shape[:2], np.int8),
        diverged_step=np.full(shape[:2], -1, np.int32),
        info={},
        wall_seconds=time.monotonic() - begun,
        chain_steps=checkpoints * len(chains) * draws,
        new_draws=draws,
    )

"""Traces with a known law: autoregressive Gaussian chains of known covariance."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from stagewise.storage import trace

#: Two-sided normal quantile of a false-fail rate of 1e-6: the limit of every |z| in these tests.
Z_LIMIT = 4.89

#: Three losses: the first two correlated, the third against the second. Covariance MIX @ MIX.T.
MIX = np.array([[1.0, 0.0, 0.0], [0.7, 0.7, 0.0], [0.3, -0.5, 1.0]])

ATTRS = {
    "n_beta": 100.0,
    "localization": 1000.0,
    "step_size": 1e-4,
    "friction": 1.0,
    "kernel": "sgld",
    "potential": "plain",
    "loss": "real",
    "batch_size": 0,
    "n": 8,
    "seed": 1,
    "experiment": "toy",
    "checkpoint_hash": "c" * 64,
    "data_hash": "d" * 64,
    "settings_hash": "e" * 64,
    "versions": {"numpy": "2"},
    "wall_seconds": 1.5,
    "chain_steps": 1000,
}


def autoregressive(
    rng: np.random.Generator,
    lead: Sequence[int],
    chains: int,
    draws: int,
    relaxation: float,
    *,
    mix: np.ndarray = MIX,
    from_zero: bool = False,
) -> np.ndarray:
    """Returns (…, chain, draw, n): x = mix z, z AR(1) of unit variance and this relaxation time.

    Stationary from the first draw on, or started at zero one step before it, as a sampler is.
    """
    keep = np.exp(-1.0 / relaxation)
    shape = (*lead, chains, mix.shape[1])
    state = np.zeros(shape) if from_zero else rng.normal(size=shape)
    out = np.empty((*lead, chains, draws, mix.shape[0]))
    for draw in range(draws):
        if draw or from_zero:
            state = keep * state + np.sqrt(1 - keep**2) * rng.normal(size=shape)
        out[..., draw, :] = state @ mix.T
    return out


def make_trace(
    losses: np.ndarray,
    *,
    queries: np.ndarray | None = None,
    status: np.ndarray | None = None,
    ids: Sequence[str] | None = None,
    query_ids: Sequence[str] | None = None,
    step: Sequence[int] | None = None,
    **attrs: Any,
) -> xr.Dataset:
    """Returns a trace of these excess losses, ([checkpoint,] chain, draw, sample)."""
    lead, draws = losses.shape[:-3], losses.shape[:-1]
    status = np.zeros(losses.shape[:-2], int) if status is None else status
    asked: dict[str, Any] = {}
    if queries is not None:
        names = query_ids or [f"q{index}" for index in range(queries.shape[-1])]
        asked = {"query_excess_loss": queries, "query": list(names)}
        asked["query_loss_ref"] = np.ones((*lead, queries.shape[-1]))
    return trace.from_arrays(
        excess_loss=losses,
        loss_ref=np.ones((*lead, losses.shape[-1])),
        train_loss=np.zeros(draws),
        potential=np.zeros(draws),
        distance=np.zeros(draws),
        status=status,
        diverged_step=np.where(status == 0, -1, 7),
        sample=list(ids or [f"s{index}" for index in range(losses.shape[-1])]),
        step=step,
        attrs=ATTRS | attrs,
        **asked,
    )


def mean_z(values: np.ndarray, expected: np.ndarray | float) -> np.ndarray:
    """Returns z of the mean over the leading (replicate) dimension, error from its spread."""
    se = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return (values.mean(axis=0) - expected) / se

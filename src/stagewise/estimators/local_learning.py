"""The local learning coefficient: how fast the loss rises around a checkpoint."""

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float

from stagewise.errors import ConfigError, SchemaError
from stagewise.estimators import accumulated
from stagewise.estimators.chains import (
    inherited,
    lead_coords,
    lead_dims,
    over_survivors,
    survivors,
)
from stagewise.estimators.covariance import Estimate
from stagewise.storage.sums import is_sums
from stagewise.storage.trace import sample_losses


def llc(trace: xr.Dataset, samples: Sequence[str] | None = None) -> xr.Dataset:
    """Estimate the local learning coefficient λ̂ = nβ (E[L_n(w)] - L_n(w*)).

    L_n is the mean over a declared sample set. Its reference values are those at finite (nβ, γ):
    ½ Σ nβλ_k/(nβλ_k + γ) for a quadratic, with discretisation on top; the asymptotic RLCT is a
    limit only.

    Args:
        trace: A loss trace, or sums.
        samples: Ids of the sample set; all samples of the trace by default.

    Returns:
        ``value`` and ``se`` ([checkpoint]), in units of nβ nats; ``n_samples`` in attrs.

    Raises:
        SchemaError: An id is not in the trace.
        DivergenceError: Fewer than two chains are left.
        ConfigError: One chain of fewer than four draws.
    """
    chosen = trace if samples is None else _select(trace, samples)
    valid = survivors(chosen)
    if is_sums(chosen):
        value, se = accumulated.mean_loss(chosen)
    else:
        value, se = over_survivors(mean_loss, valid, sample_losses(chosen))
    scale, lead = float(trace.attrs["n_beta"]), lead_dims(trace)
    return xr.Dataset(
        {"value": (lead, scale * value), "se": (lead, scale * se)},
        coords=lead_coords(trace),
        attrs=inherited(trace, valid) | {"method": "llc", "n_samples": chosen.sizes["sample"]},
    )


def _select(trace: xr.Dataset, samples: Sequence[str]) -> xr.Dataset:
    known = set(trace["sample"].values.tolist())
    unknown = [one for one in samples if one not in known]
    if unknown or not len(samples):
        raise SchemaError(
            f"samples {unknown[:5]} are not in the trace, which has {sorted(known)[:5]} …; "
            "name at least one of the trace's own"
        )
    return trace.sel(sample=list(samples))


def mean_loss(losses: Float[np.ndarray, "*lead chain draw n"]) -> Estimate:
    """Return the mean over chains, draws and losses, with its error over chains.

    The error of one chain is that of √T batch means.
    """
    chains, draws = losses.shape[-3:-1]
    units = losses.mean(axis=(-2, -1), dtype=np.float64)
    value = units.mean(axis=-1)
    if chains == 1:
        if draws < 4:
            raise ConfigError(f"one chain of {draws} draws gives no error; need 4 or 2 chains")
        parts = np.array_split(losses[..., 0, :, :], math.isqrt(draws), axis=-2)
        units = np.stack([part.mean(axis=(-2, -1), dtype=np.float64) for part in parts], axis=-1)
    se = units.std(axis=-1, ddof=1) / math.sqrt(units.shape[-1])
    return Estimate(np.asarray(value), np.asarray(se))

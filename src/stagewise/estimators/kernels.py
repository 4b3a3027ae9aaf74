"""The loss kernel: K(x, x') = Cov(l(x), l(x')) over the posterior, and its correlation."""

import numpy as np
import xarray as xr

from stagewise.estimators.chains import (
    centring_for,
    centring_report,
    inherited,
    lead_coords,
    lead_dims,
    over_survivors,
    survivors,
)
from stagewise.estimators.covariance import Centring, correlation, covariance
from stagewise.storage.trace import sample_losses


def loss_kernel(trace: xr.Dataset, centring: Centring = "auto") -> xr.Dataset:
    """Estimate the loss kernel of the trace's samples.

    Symmetric and positive semidefinite by construction: a sum over chains of Gram matrices.

    Args:
        trace: A loss trace.
        centring: See ``stagewise.estimators.covariance``.

    Returns:
        ``covariance``, nats², ``correlation``, and their standard errors ``covariance_se`` and
        ``correlation_se``, over ([checkpoint,] sample, partner), both dimensions with the samples'
        ids; ``n_zero_variance`` ([checkpoint]).

    Raises:
        DivergenceError: Fewer than two chains are left.
        ConfigError: Too few chains or draws.
    """
    valid, losses = survivors(trace), sample_losses(trace)
    rule = centring_for(centring, trace)
    *arrays, zero = over_survivors(lambda x: _kernel(x, rule(x)), valid, losses)
    lead, ids = lead_dims(trace), trace["sample"].values
    names = ("covariance", "covariance_se", "correlation", "correlation_se")
    dims = (*lead, "sample", "partner")
    data = {name: (dims, array) for name, array in zip(names, arrays, strict=True)}
    return xr.Dataset(
        data | {"n_zero_variance": (lead, zero)},
        coords=lead_coords(trace) | {"sample": ids, "partner": ids},
        attrs=inherited(trace, valid) | centring_report(trace, valid, centring, losses),
    )


def _kernel(losses: np.ndarray, centring: Centring) -> tuple[np.ndarray, ...]:
    correlated, zero = correlation(losses, centring=centring)
    return (*covariance(losses, centring=centring), *correlated, zero)

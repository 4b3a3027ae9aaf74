"""The loss kernel: K(x, x') = Cov(l(x), l(x')) over the posterior, and its correlation."""

from typing import Any

import numpy as np
import xarray as xr

from stagewise.errors import ConfigError
from stagewise.estimators import accumulated
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
from stagewise.storage.sums import is_sums
from stagewise.storage.trace import sample_losses, token_coords


def loss_kernel(trace: xr.Dataset, centring: Centring = "auto") -> xr.Dataset:
    """Estimate the loss kernel of the trace's samples.

    Symmetric and positive semidefinite by construction: a sum over chains of Gram matrices.

    Args:
        trace: A loss trace, or sums taken without queries.
        centring: See ``stagewise.estimators.covariance``.

    Returns:
        ``covariance``, nats², ``correlation``, and their standard errors ``covariance_se`` and
        ``correlation_se``, over ([checkpoint,] sample, partner), both dimensions with the samples'
        ids; ``n_zero_variance`` ([checkpoint]).

    Raises:
        DivergenceError: Fewer than two chains are left.
        ConfigError: Too few chains or draws, or sums of queries.
    """
    valid = survivors(trace)
    if is_sums(trace):
        report, (*arrays, zero) = accumulated.report(trace, centring), _from_sums(trace)
    else:
        losses, rule = sample_losses(trace), centring_for(centring, trace)
        *arrays, zero = over_survivors(lambda x: _kernel(x, rule(x)), valid, losses)
        report = centring_report(trace, valid, centring, losses)
    lead, ids = lead_dims(trace), trace["sample"].values
    names = ("covariance", "covariance_se", "correlation", "correlation_se")
    dims = (*lead, "sample", "partner")
    data = {name: (dims, array) for name, array in zip(names, arrays, strict=True)}
    return xr.Dataset(
        data | {"n_zero_variance": (lead, zero)},
        coords=lead_coords(trace) | _tokens(trace) | {"sample": ids, "partner": ids},
        attrs=inherited(trace, valid) | report,
    )


def _from_sums(sums: xr.Dataset) -> tuple[np.ndarray, ...]:
    if not accumulated.is_own(sums):
        raise ConfigError(
            "these sums are of queries with samples, the kernel is of samples with samples; record "
            "without queries"
        )
    correlated, zero = accumulated.correlation(sums)
    return (*accumulated.covariance(sums), *correlated, zero)


def _tokens(trace: xr.Dataset) -> dict[str, Any]:
    """Return which tokens the samples and their partners are."""
    own = {name: one for name, one in token_coords(trace).items() if one[0] == ("sample",)}
    return own | {f"partner_{name}": (("partner",), values) for name, (_, values) in own.items()}


def _kernel(losses: np.ndarray, centring: Centring) -> tuple[np.ndarray, ...]:
    correlated, zero = correlation(losses, centring=centring)
    return (*covariance(losses, centring=centring), *correlated, zero)

"""Bayesian influence of samples on queries: BIF(i, φ) = -Cov(l_i, φ)."""

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
from stagewise.storage import scores
from stagewise.storage.sums import is_sums
from stagewise.storage.trace import query_ids, query_losses, sample_losses, token_coords


def derivative_factor(n_beta: float, n: int) -> float:
    """Return nβ/n, which turns a covariance into a derivative with respect to a loss weight.

    The posterior weighs sample i by β = nβ/n, so multiplying its loss by (1 + η) moves the
    posterior mean of φ by dE[φ]/dη = -(nβ/n) Cov(l_i, φ) = (nβ/n) BIF(i, φ).

    Args:
        n_beta: nβ, inverse temperature times the number of training samples.
        n: Number of training samples.

    Raises:
        ConfigError: n < 1 or nβ < 0.
    """
    if n < 1 or n_beta < 0:
        raise ConfigError(f"n_beta {n_beta} and n {n}: need n_beta ≥ 0 and n ≥ 1")
    return n_beta / n


def bif(trace: xr.Dataset, centring: Centring = "auto") -> xr.Dataset:
    """Estimate the Bayesian influence of every sample on every query.

    value(query, sample) = -Cov(l_query, l_sample), nats²; negative = more weight on the sample
    lowers the query's loss. Multiply by ``derivative_factor`` for the derivative itself.

    Args:
        trace: A loss trace, or sums; without queries the samples are their own.
        centring: See ``stagewise.estimators.covariance``.

    Returns:
        Scores: ``value`` and ``se`` ([checkpoint,] query, sample), float64.

    Raises:
        DivergenceError: Fewer than two chains are left.
        ConfigError: Too few chains or draws.
    """
    valid = survivors(trace)
    if is_sums(trace):
        report = accumulated.report(trace, centring)
        value, se = accumulated.covariance(trace)
        value = -value
    else:
        samples, queries = sample_losses(trace), _queries(trace)
        rule = centring_for(centring, trace)
        value, se = over_survivors(lambda x, q: _influence(x, q, rule(x)), valid, samples, queries)
        report = centring_report(trace, valid, centring, samples)
    return scores.from_arrays(
        value=value,
        se=se,
        query=query_ids(trace).tolist(),
        sample=trace["sample"].values.tolist(),
        method="bif",
        lead=lead_dims(trace),
        coords=lead_coords(trace) | token_coords(trace),
        attrs=inherited(trace, valid) | report,
    )


def _queries(trace: xr.Dataset) -> np.ndarray | None:
    return query_losses(trace) if "query_excess_loss" in trace else None


def _influence(
    samples: np.ndarray, queries: np.ndarray | None, centring: Centring
) -> tuple[np.ndarray, ...]:
    if queries is None:
        value, se = covariance(samples, centring=centring)
    else:
        value, se = covariance(queries, samples, centring=centring)
    return -value, se


def posterior_correlation(trace: xr.Dataset, centring: Centring = "auto") -> xr.Dataset:
    """Estimate the posterior correlation of every sample's loss with every query's.

    Cov(l_query, l_sample) over both standard deviations; 0 where one of them is 0, and counted. Its
    sign is that of a similarity, the opposite of BIF's, so its variable is not called ``value``.

    Args:
        trace: A loss trace, or sums; without queries the samples are their own.
        centring: See ``stagewise.estimators.covariance``.

    Returns:
        ``correlation`` and ``correlation_se`` ([checkpoint,] query, sample), and
        ``n_zero_variance`` ([checkpoint]).

    Raises:
        DivergenceError: Fewer than two chains are left.
        ConfigError: Too few chains or draws.
    """
    valid = survivors(trace)
    if is_sums(trace):
        report = accumulated.report(trace, centring)
        (value, se), zero = accumulated.correlation(trace)
    else:
        samples, queries = sample_losses(trace), _queries(trace)
        rule = centring_for(centring, trace)
        value, se, zero = over_survivors(
            lambda x, q: _correlation(x, q, rule(x)), valid, samples, queries
        )
        report = centring_report(trace, valid, centring, samples)
    lead = lead_dims(trace)
    dims = (*lead, "query", "sample")
    return xr.Dataset(
        {
            "correlation": (dims, value),
            "correlation_se": (dims, se),
            "n_zero_variance": (lead, zero),
        },
        coords=lead_coords(trace)
        | token_coords(trace)
        | {"query": query_ids(trace), "sample": trace["sample"].values},
        attrs=inherited(trace, valid) | report,
    )


def _correlation(
    samples: np.ndarray, queries: np.ndarray | None, centring: Centring
) -> tuple[np.ndarray, ...]:
    if queries is None:
        (value, se), zero = correlation(samples, centring=centring)
    else:
        (value, se), zero = correlation(queries, samples, centring=centring)
    return value, se, zero

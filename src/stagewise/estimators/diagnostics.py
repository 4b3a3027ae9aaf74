"""Can an estimate be trusted? Mixing, a null, a drift, and the errors of the influences themselves.

R-hat and effective sample size say how well chains mix; they are taken of the losses and of the
*products* of centred losses, since the mean of products is what is estimated. The null and the
drift (``stagewise.estimators.crosschain``) say whether chains are independent and stationary, and
carry the gates (``stagewise.estimators.gates``).
"""

import importlib
import warnings
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import xarray as xr
from jaxtyping import Float64, Int

from stagewise.errors import ConfigError
from stagewise.estimators.chains import (
    centring_for,
    inherited,
    lead_coords,
    lead_dims,
    need_draws,
    over_survivors,
    survivors,
)
from stagewise.estimators.covariance import CentredChains, Centring, resolve_centring
from stagewise.estimators.crosschain import (
    LARGEST_Z,
    drift_covariance,
    normal_deviates,
    null_covariance,
)
from stagewise.estimators.influence import bif
from stagewise.storage.schema import CHECKPOINT
from stagewise.storage.trace import query_ids, query_losses, sample_losses

Series = Float64[np.ndarray, "chain draw"]


def rhat_ess(
    trace: xr.Dataset,
    checkpoints: Sequence[int] | None = None,
    max_pairs: int = 200,
    centring: Centring = "auto",
) -> xr.Dataset:
    """Measure rank-normalised split R-hat and bulk effective sample size (ArviZ).

    Args:
        trace: A loss trace.
        checkpoints: Positions of the checkpoints to measure; all by default. Each series takes
            milliseconds.
        max_pairs: Most products of centred losses i ≤ j per checkpoint, evenly spaced over all.
        centring: See ``stagewise.estimators.covariance``.

    Returns:
        ``rhat_loss``, ``ess_loss`` ([checkpoint,] sample) and ``rhat_product``, ``ess_product``
        ([checkpoint,] pair) with the ids ``first`` and ``second`` of a pair; NaN for a loss that
        does not vary.

    Raises:
        ConfigError: Fewer than four draws, or a checkpoint that is not in the trace.
        DivergenceError: Fewer than two chains are left.
    """
    need_draws(trace, "R-hat")
    chosen = trace if checkpoints is None else _at(trace, checkpoints)
    if trace.sizes["draw"] < 4:
        raise ConfigError(f"R-hat needs at least 4 draws, got {trace.sizes['draw']}; draw more")
    valid, losses = survivors(chosen), sample_losses(chosen)
    pairs = _pairs(losses.shape[-1], max_pairs)
    rule = centring_for(centring, chosen)
    arrays = over_survivors(lambda x: _mixing(x, pairs, rule(x)), valid, losses)
    lead, ids = lead_dims(chosen), chosen["sample"].values
    names = ("rhat_loss", "ess_loss", "rhat_product", "ess_product")
    over = ("sample", "sample", "pair", "pair")
    return xr.Dataset(
        {name: ((*lead, dim), one) for name, dim, one in zip(names, over, arrays, strict=True)},
        coords=lead_coords(chosen)
        | {"sample": ids, "first": ("pair", ids[pairs[0]]), "second": ("pair", ids[pairs[1]])},
        attrs=inherited(chosen, valid),
    )


def _at(trace: xr.Dataset, checkpoints: Sequence[int]) -> xr.Dataset:
    count = trace.sizes.get(CHECKPOINT, 0)
    wrong = [one for one in checkpoints if not 0 <= one < count]
    if wrong or not len(checkpoints):
        raise ConfigError(
            f"checkpoints {wrong} are not among the trace's {count}; allowed are 0 to {count - 1}, "
            "at least one"
        )
    return trace.isel({CHECKPOINT: list(checkpoints)})


def _pairs(count: int, most: int) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    first, second = np.triu_indices(count)
    taken = np.linspace(0, len(first) - 1, min(most, len(first))).round().astype(int)
    return first[taken], second[taken]


def _mixing(
    losses: np.ndarray, pairs: tuple[np.ndarray, np.ndarray], centring: Centring
) -> tuple[np.ndarray, ...]:
    if losses.ndim > 3:
        parts = [_mixing(one, pairs, centring) for one in losses]
        return tuple(np.stack(arrays) for arrays in zip(*parts, strict=True))
    centred = CentredChains(losses, resolve_centring(centring, losses.shape[-3]))
    blocks = np.stack([centred.block(chain) for chain in range(centred.chains)])
    # Of the losses themselves, not centred: a chain that sits elsewhere must show.
    single = [_rhat_and_ess(losses[..., one].astype(float)) for one in range(losses.shape[-1])]
    product = [_rhat_and_ess(blocks[..., i] * blocks[..., j]) for i, j in zip(*pairs, strict=True)]
    return (*np.transpose(single), *np.transpose(product))


def _rhat_and_ess(series: Series) -> tuple[float, float]:
    """Return R-hat and bulk ESS of one quantity, NaN where it does not vary."""
    arviz = _arviz()
    if np.ptp(series) == 0:
        return np.nan, np.nan
    return float(arviz.rhat(series, method="rank")), float(arviz.ess(series, method="bulk"))


def _arviz() -> ModuleType:
    """Import ArviZ when it is used (seconds), without its notice of a coming refactor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return importlib.import_module("arviz")


def null_statistic(trace: xr.Dataset, centring: Centring = "auto", shift: int = 1) -> xr.Dataset:
    """Test the independence of chains: covariance of sample i in chain c with j in chain π(c).

    Args:
        trace: A loss trace; without queries the samples are their own.
        centring: See ``stagewise.estimators.covariance``.
        shift: π(c) = c + shift (mod C).

    Returns:
        ``value``, ``se`` and the normal deviate ``z`` over ([checkpoint,] query, sample);
        expectation 0.

    Raises:
        ConfigError: Fewer than three chains.
        DivergenceError: Fewer than two chains are left.
    """
    need_draws(trace, "the null statistic")
    valid, samples = survivors(trace), sample_losses(trace)
    queries = query_losses(trace) if "query_excess_loss" in trace else None
    rule = centring_for(centring, trace)

    def core(x: np.ndarray, q: np.ndarray | None) -> tuple[np.ndarray, ...]:
        left, right = (x, None) if q is None else (q, x)
        value, se = null_covariance(left, right, rule(x), shift)
        return value, se, normal_deviates(value, se, x.shape[-3] - 1)

    arrays = over_survivors(core, valid, samples, queries)
    dims = (*lead_dims(trace), "query", "sample")
    return xr.Dataset(
        {name: (dims, one) for name, one in zip(("value", "se", "z"), arrays, strict=True)},
        coords=lead_coords(trace) | {"query": query_ids(trace), "sample": trace["sample"].values},
        attrs=inherited(trace, valid) | {"shift": shift},
    )


def drift_statistic(trace: xr.Dataset) -> xr.Dataset:
    """Test stationarity: covariance over draws of the mean loss that all chains share.

    Args:
        trace: A loss trace.

    Returns:
        ``value`` and ``se`` over ([checkpoint,] sample, partner), with expectation 0; ``z``, the
        normal deviate of each loss's own entry (only a positive one says that its mean moves), and
        ``relative``, that entry over the variance within a chain, both over ([checkpoint,] sample).

    Raises:
        ConfigError: Fewer than three chains, or fewer than two draws.
        DivergenceError: Fewer than two chains are left.
    """
    need_draws(trace, "the drift statistic")
    valid, losses = survivors(trace), sample_losses(trace)
    arrays = over_survivors(_drift, valid, losses)
    lead, ids = lead_dims(trace), trace["sample"].values
    names, last = ("value", "se", "z", "relative"), ("sample", "partner")
    dims = ((*lead, *last), (*lead, *last), (*lead, "sample"), (*lead, "sample"))
    return xr.Dataset(
        {name: (dim, one) for name, dim, one in zip(names, dims, arrays, strict=True)},
        coords=lead_coords(trace) | {"sample": ids, "partner": ids},
        attrs=inherited(trace, valid),
    )


def _drift(losses: np.ndarray) -> tuple[np.ndarray, ...]:
    value, se, relative = drift_covariance(losses)
    moved, error = (np.diagonal(one, axis1=-2, axis2=-1) for one in (value, se))
    z = normal_deviates(moved, error, losses.shape[-3] - 1)
    # Chains with all their noise in common move as one: then no spread is left to compare with.
    rounding = 8 * np.finfo(np.float64).eps * np.abs(losses).max(axis=(-3, -2)).astype(np.float64)
    as_one = (error == 0) & (moved > np.square(rounding))
    return value, se, np.where(as_one, LARGEST_Z, z), relative


def influence_errors(
    trace: xr.Dataset, centring: Centring = "auto"
) -> tuple[Float64[np.ndarray, "*checkpoint"], Float64[np.ndarray, "*checkpoint"]]:
    """Return the share of influences with |value| > 2 se, and the median of se/|value|.

    Pairs whose influence is exactly zero without error (a loss that does not vary) are left out;
    NaN where all are.

    Args:
        trace: A loss trace, or sums.
        centring: See ``stagewise.estimators.covariance``.

    Raises:
        DivergenceError: Fewer than two chains are left.
    """
    scores = bif(trace, centring)
    value, se = np.abs(scores["value"].values), scores["se"].values
    counted = (value > 0) | (se > 0)
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a checkpoint where all is left out
        resolved = np.nanmean(np.where(counted, value > 2 * se, np.nan), axis=(-2, -1))
        relative = np.nanmedian(np.where(counted, se / value, np.nan), axis=(-2, -1))
    return np.asarray(resolved, float), np.asarray(relative, float)


def diagnose(
    trace: xr.Dataset,
    checkpoints: Sequence[int] | None = None,
    max_pairs: int = 200,
    centring: Centring = "auto",
) -> xr.Dataset:
    """Summarise all diagnostics, worst over losses and pairs, one value per checkpoint.

    Args:
        trace: A loss trace.
        checkpoints: Positions of the checkpoints to summarise; all by default.
        max_pairs: As for ``rhat_ess``.
        centring: See ``stagewise.estimators.covariance``.

    Returns:
        ``rhat_loss_max``, ``rhat_product_max``, ``ess_product_min``; of the influences,
        ``resolved_fraction`` (share with |value| > 2 se) and ``relative_se_median`` (of se/|value|,
        the Monte Carlo error in units of the influence); ``acceptance`` where the trace says it;
        and with three chains or more ``null_max_abs_z``, ``drift_max_z``, ``drift_relative_max``
        ([checkpoint]; ``acceptance`` has no dimension). The attributes
        ``null_entries`` and ``drift_entries`` count what each maximum was taken over, all
        checkpoints together.

    Raises:
        ConfigError: Fewer than four draws, or a checkpoint that is not in the trace.
        DivergenceError: Fewer than two chains are left.
    """
    chosen = trace if checkpoints is None else _at(trace, checkpoints)
    mixing = rhat_ess(chosen, None, max_pairs, centring)
    summary = xr.Dataset(
        {
            "rhat_loss_max": mixing["rhat_loss"].max("sample"),
            "rhat_product_max": mixing["rhat_product"].max("pair"),
            "ess_product_min": mixing["ess_product"].min("pair"),
        },
        attrs=mixing.attrs,
    )
    resolved, relative = influence_errors(chosen, centring)
    summary["resolved_fraction"] = (lead_dims(chosen), resolved)
    summary["relative_se_median"] = (lead_dims(chosen), relative)
    if "acceptance" in chosen.attrs:
        summary["acceptance"] = float(chosen.attrs["acceptance"])
    if int(mixing.attrs["n_chains_left_min"]) < 3:
        return summary
    null, drift = null_statistic(chosen, centring), drift_statistic(chosen)
    summary["null_max_abs_z"] = np.abs(null["z"]).max(["query", "sample"])
    summary["drift_max_z"] = drift["z"].max("sample")
    summary["drift_relative_max"] = drift["relative"].max("sample")
    summary.attrs |= {"null_entries": null["z"].size, "drift_entries": drift["z"].size}
    return summary

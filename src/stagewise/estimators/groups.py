"""Mean covariance over groups of pairs of losses, with the error of the mean.

Entries of one covariance matrix share their chains, so the error of a mean over entries is not that
of independent entries: it is taken from the chains again.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float64

from stagewise.errors import ConfigError
from stagewise.estimators.chains import (
    centring_for,
    lead_coords,
    lead_dims,
    need_draws,
    over_survivors,
    survivors,
)
from stagewise.estimators.covariance import Centring, Moments, Products
from stagewise.storage.trace import sample_losses


def group_influence(
    trace: xr.Dataset,
    groups: Mapping[str, Bool[np.ndarray, "sample sample"]],
    centring: Centring = "auto",
) -> xr.Dataset:
    """Estimate the mean influence −Cov(l_i, l_j) over each group of pairs (i, j).

    The mean is linear in the products of centred losses, so its jackknife over chains costs no
    second estimate, as in ``stagewise.estimators.covariance.covariance``.

    Args:
        trace: A loss trace; its samples are their own queries.
        groups: Name to mask of the pairs averaged over.
        centring: See ``stagewise.estimators.covariance``.

    Returns:
        ``group`` and ``group_se`` ([checkpoint,] relation), nats²; dimension ``relation`` holds the
        groups' names.

    Raises:
        ConfigError: A mask has another shape than (sample, sample), or no pair.
        DivergenceError: Fewer than two chains are left.
    """
    need_draws(trace, "a mean over groups")
    samples = trace.sizes["sample"]
    for name, mask in groups.items():
        if mask.shape != (samples, samples) or not mask.any():
            raise ConfigError(
                f"group {name!r} has a mask of shape {mask.shape} with {int(mask.sum())} pairs; "
                f"need shape {(samples, samples)} and at least one pair"
            )
    valid, rule = survivors(trace), centring_for(centring, trace)
    weights = np.stack([mask / mask.sum() for mask in groups.values()])
    value, se = over_survivors(
        lambda x: _group_means(x, weights, rule(x)), valid, sample_losses(trace)
    )
    dims = (*lead_dims(trace), "relation")
    return xr.Dataset(
        {"group": (dims, -value), "group_se": (dims, se)},
        coords=lead_coords(trace) | {"relation": list(groups)},
    )


def _group_means(
    losses: np.ndarray, weights: Float64[np.ndarray, "group n n"], centring: Centring
) -> tuple[np.ndarray, np.ndarray]:
    products = Products(losses, None, centring)
    moments = Moments()
    for block in products.each():
        moments.add(np.einsum("...ij,gij->...g", block, weights))
    scale = products.count * products.scale
    return np.asarray(moments.mean) * scale, moments.se * (scale * products.inflate)

"""Leaving one sample out: what retraining says, and what scores say of it."""

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from stagewise.errors import SchemaError
from stagewise.evaluation.lds import aligned, describe


def left_out(targets: xr.Dataset) -> Int[np.ndarray, " left"]:
    """Return the place of the sample that each retraining but the first leaves out.

    Raises:
        SchemaError: The first does not hold everything, or another does not leave out one.
    """
    missing = ~targets["mask"].values.astype(bool)
    counts = missing.sum(axis=1)
    if counts[0] or (counts[1:] != 1).any() or len(counts) < 4:
        raise SchemaError(
            f"{describe(targets)}: retrainings leave out {counts[:5].tolist()} … samples; the "
            "first must leave out none, at least three others one each: run the stage again"
        )
    return missing[1:].argmax(axis=1)


def changes(targets: xr.Dataset) -> Float[np.ndarray, "left seed query"]:
    """Return the loss without a sample less the loss with all, by seed; positive: it helped."""
    loss = targets["loss"].values
    return loss[1:] - loss[:1]


def predicted_changes(scores: xr.Dataset, targets: xr.Dataset) -> Float[np.ndarray, "left query"]:
    """Return −s(q, i) for every left-out sample: its weight falls from one to zero.

    Raises:
        SchemaError: As in `aligned` and `left_out`.
    """
    return -aligned(scores, targets)[:, left_out(targets)].T


def left_out_effect(targets: xr.Dataset) -> xr.DataArray:
    """Return (query, sample) the loss with all samples less that without one; negative: it helps.

    Mean over seeds; NaN for samples that were never left out.
    """
    effect = np.full((targets.sizes["query"], targets.sizes["sample"]), np.nan)
    effect[:, left_out(targets)] = -changes(targets).mean(axis=1).T
    ids = {name: targets[name].values.astype(str) for name in ("query", "sample")}
    return xr.DataArray(effect, ids, ("query", "sample"))

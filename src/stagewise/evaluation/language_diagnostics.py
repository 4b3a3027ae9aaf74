"""Diagnostics of chains whose samples are tokens, through the mean losses of their classes."""

from typing import Any

import numpy as np
import xarray as xr

from stagewise.config.token_classes import CLASSES
from stagewise.estimators.chains import survivors
from stagewise.estimators.diagnostics import drift_statistic, null_statistic, rhat_ess
from stagewise.estimators.local_learning import llc
from stagewise.estimators.token_groups import Layout
from stagewise.storage import trace as trace_file


def class_trace(trace: xr.Dataset, layout: Layout) -> xr.Dataset:
    """Return the trace of one checkpoint with the mean loss of each class for samples."""
    present = np.flatnonzero(layout.counts().sum(axis=0))
    share = (layout.token_class[:, None] == present).astype(np.float64)
    share /= share.sum(axis=0)
    kept = ("train_loss", "potential", "distance", "status", "diverged_step")
    attrs = {k: v for k, v in trace.attrs.items() if k not in ("schema", "schema_version")}
    return trace_file.from_arrays(
        excess_loss=trace_file.sample_losses(trace).astype(np.float64) @ share,
        loss_ref=trace_file.loss_reference(trace) @ share,
        sample=[CLASSES[index] for index in present],
        chain=trace["chain"].values.tolist(),
        attrs=attrs,
        **{name: trace[name].values for name in kept},
    )


def diagnostics(trace: xr.Dataset, layout: Layout, mixing: bool) -> dict[str, Any]:
    """Measure if one checkpoint's chains can be trusted, and how fast the loss rises around it.

    Null, drift and mixing are those of the classes' mean losses: of single tokens there are too
    many for an error over few chains.

    Args:
        trace: One checkpoint.
        layout: Where its tokens stand.
        mixing: Whether to take R-hat and effective sample size as well, which costs most.

    Returns:
        Name to (dimensions, array); NaN for classes without tokens and for what is not measured.

    Raises:
        DivergenceError: Fewer than two chains are left.
    """
    classes = class_trace(trace, layout)
    place = [CLASSES.index(name) for name in classes["sample"].values.tolist()]
    one: dict[str, Any] = {"loss": (("class",), _placed(classes["loss_ref"].values, place))}
    one |= _crossed(classes, place)
    one |= {"rhat": ((), np.float64(np.nan)), "effective_draws": ((), np.float64(np.nan))}
    if mixing:
        measured = rhat_ess(classes)
        one["rhat"] = ((), measured["rhat_loss"].values.max())
        one["effective_draws"] = ((), measured["ess_product"].values.min())
    whole = llc(trace)
    one |= {"llc": ((), whole["value"].values), "llc_se": ((), whole["se"].values)}
    own = [llc(classes, [name]) for name in classes["sample"].values.tolist()]
    for name, stored in (("value", "llc_class"), ("se", "llc_class_se")):
        one[stored] = (("class",), _placed(np.array([float(a[name]) for a in own]), place))
    return one


def _crossed(classes: xr.Dataset, place: list[int]) -> dict[str, Any]:
    """Return null and drift; NaN where fewer than three chains are left."""
    enough = int(survivors(classes).sum()) >= 3
    null = null_statistic(classes) if enough else None
    drift = drift_statistic(classes) if enough else None
    found: dict[str, Any] = {}
    for name, stored in (("value", "null"), ("se", "null_se"), ("z", "null_z")):
        filled = np.full((len(CLASSES), len(CLASSES)), np.nan)
        if null is not None:
            filled[np.ix_(place, place)] = null[name].values
        found[stored] = (("class", "other_class"), filled)
    for name, stored in (("z", "drift_z"), ("relative", "drift_relative")):
        own = np.full(len(place), np.nan) if drift is None else drift[name].values
        found[stored] = (("class",), _placed(own, place))
    return found


def _placed(values: np.ndarray, place: list[int]) -> np.ndarray:
    filled = np.full(len(CLASSES), np.nan)
    filled[place] = values
    return filled

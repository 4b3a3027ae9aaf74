"""Removal curves: what a query loses without the samples that a method calls most helpful to it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from stagewise.errors import SchemaError
from stagewise.evaluation.bootstrap import interval
from stagewise.evaluation.lds import describe

NOTHING = "none"
COLUMNS = ("method", "about", "k")


def loss_changes(targets: xr.Dataset) -> pd.DataFrame:
    """Return rows method, about, k, change: the query's loss less that with all samples, nats.

    Means over seeds; positive: the removed samples helped.

    Raises:
        SchemaError: A coordinate is missing, no retraining holds everything, or a query is unknown.
    """
    lacking = [name for name in COLUMNS if name not in targets.coords]
    if lacking:
        raise SchemaError(
            f"{describe(targets)} lack the coordinate(s) {lacking}; run the removals again"
        )
    method = targets["method"].values.astype(str)
    whole = np.flatnonzero(method == NOTHING)
    if not len(whole):
        raise SchemaError(
            f"{describe(targets)} have no row {NOTHING!r}, the training with all samples; run the "
            "removals again"
        )
    loss = targets["loss"].values.mean(axis=1)
    return pd.DataFrame(list(_rows(targets, method, loss, loss[whole[0]])))


def _rows(
    targets: xr.Dataset, method: np.ndarray, loss: np.ndarray, base: np.ndarray
) -> Iterator[dict[str, Any]]:
    place = {query: at for at, query in enumerate(targets["query"].values.astype(str))}
    about, k = targets["about"].values.astype(str).tolist(), targets["k"].values
    for row, name in enumerate(method):
        if name == NOTHING:
            continue
        if about[row] not in place:
            raise SchemaError(
                f"{describe(targets)}: row {row} is about {about[row]!r}, which is no query of the "
                "file; run the removals again"
            )
        query = place[about[row]]
        change = float(loss[row, query] - base[query])
        yield {"method": name, "about": about[row], "k": int(k[row]), "change": change}


def removal_table(
    targets: xr.Dataset, resamplings: int, level: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Return rows method, k, value, se, low, high, n: mean change over queries, drawn anew.

    All methods and sizes share the resamples of queries.
    """
    changes = loss_changes(targets)
    queries = sorted(set(changes["about"]))
    drawn = rng.integers(0, len(queries), (resamplings, len(queries)))
    rows = []
    for (method, k), found in changes.groupby(["method", "k"], sort=False):
        each = found.set_index("about")["change"].reindex(queries).to_numpy()
        if np.isnan(each).any():
            raise SchemaError(
                f"{describe(targets)}: {method} at k = {k} lacks some of the {len(queries)} "
                "queries; run the removals again"
            )
        one = interval(float(each.mean()), each[drawn].mean(axis=1), level)
        rows.append({"method": method, "k": k, **one._asdict(), "n": len(queries)})
    return pd.DataFrame(rows)

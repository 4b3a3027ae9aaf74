"""Sums of products of losses: what is kept of a run whose trace would be too large.

Written by ``sample_losses(..., record="covariance")``; the same estimators read them as read a
trace (covariance, correlation, kernel, learning coefficient), with their standard errors. What
needs the draws themselves (R-hat, effective sample size, the null and drift statistics) is gone.

``product(query, sample)`` is S, the sum of products of centred losses over ``freedom`` degrees of
freedom, and ``*_out(group)`` is what leaving a group of chains out takes away
(``stagewise.estimators.accumulator``).
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from stagewise.errors import SchemaError
from stagewise.storage import netcdf
from stagewise.storage.blocks import check_disjoint_chains, check_same, joined_attrs
from stagewise.storage.schema import CHECKPOINT, Schema
from stagewise.storage.trace import TOKENS, TRACE

_LEAD = f"{CHECKPOINT}?"
_SIDES = {
    side: {
        f"{side}_square": ((_LEAD, side), "f"),
        f"{side}_square_out": ((_LEAD, "group", side), "f"),
        f"{side}_mean": ((_LEAD, "chain", side), "f"),
        f"{side}_size": ((_LEAD, side), "f"),
    }
    for side in ("sample", "query")
}
_KEPT = ("loss_ref", "train_loss", "potential", "distance", "status", "diverged_step")

SUMS = Schema(
    name="stagewise.sums",
    version=1,
    variables={
        "product": ((_LEAD, "query", "sample"), "f"),
        "product_out": ((_LEAD, "group", "query", "sample"), "f"),
        "freedom": ((_LEAD,), "f"),
        "freedom_out": ((_LEAD, "group"), "f"),
        "draws": ((_LEAD,), "i"),
        "chain_group": (("chain",), "i"),
        **_SIDES["sample"],
        **{name: TRACE.variables[name] for name in _KEPT},
    },
    optional={**_SIDES["query"], "query_loss_ref": ((_LEAD, "query"), "f"), **TOKENS},
    coords={
        "sample": (("sample",), "U"),
        "query": (("query",), "U"),
        "chain": (("chain",), "i"),
        "draw": (("draw",), "i"),
    },
    attrs=(*TRACE.attrs, "centring", "centring_blocks"),
)

_ADDED = ("product", "freedom", "sample_square", "query_square")
_LARGEST = ("sample_size", "query_size")
_SHARED = ("draw", "sample", "query", "step", "loss_ref", "query_loss_ref", *TOKENS)


def from_arrays(
    sums: Mapping[str, np.ndarray],
    kept: Mapping[str, np.ndarray | None],
    *,
    chain_group: np.ndarray,
    centring: str,
    sample: Sequence[str],
    chain: Sequence[int],
    attrs: Mapping[str, Any],
    query: Sequence[str] | None = None,
    step: Sequence[int] | None = None,
    tokens: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Make a dataset from a run's sums.

    Args:
        sums: The accumulator's arrays, with a leading checkpoint dimension or all without.
        kept: What a run records beside the losses: reference losses, (chain, draw) series, status.
        chain_group: Group of each chain.
        centring: "across" or "within".
        sample: Ids of the samples.
        chain: Ids of the chains.
        attrs: As for a trace.
        query: Ids of the queries; None where the samples are their own.
        step: Optimiser step of each checkpoint, where there is a checkpoint dimension.
        tokens: Coordinates of ``TOKENS`` by name, where samples are tokens.

    Raises:
        SchemaError: Shapes or ids disagree, an attribute is missing, or a sum is not finite.
    """
    lead = (CHECKPOINT,) if np.ndim(sums["product"]) == 3 else ()
    given = {**sums, **{name: array for name, array in kept.items() if array is not None}}
    integers = {"draws": np.int64, "status": np.int8, "diverged_step": np.int32}
    known = {**SUMS.variables, **SUMS.optional}
    data = {
        name: ((*lead, *known[name][0][1:]), np.asarray(array).astype(integers.get(name, "f8")))
        for name, array in given.items()
    }
    data["chain_group"] = (("chain",), np.asarray(chain_group))
    coords: dict[str, Any] = {
        "sample": np.array(list(sample), dtype=object),
        "query": np.array(list(sample if query is None else query), dtype=object),
        "chain": np.asarray(chain),
        "draw": np.arange(data["train_loss"][1].shape[-1]),
    }
    coords |= {name: (TOKENS[name][0], array) for name, array in (tokens or {}).items()}
    if lead:
        coords["step"] = (CHECKPOINT, np.asarray(step))
    labels = {"centring": centring, "centring_blocks": 1}
    labels |= {"schema": SUMS.name, "schema_version": SUMS.version}
    try:
        made = xr.Dataset(data, coords=coords, attrs={**attrs, **labels})
    except ValueError as error:
        raise SchemaError(f"sums: shapes disagree ({error}); pass arrays of one run") from error
    validate(made)
    return made


def is_sums(data: xr.Dataset) -> bool:
    """Say whether a dataset holds sums rather than draws."""
    return data.attrs.get("schema") == SUMS.name


def validate(sums: xr.Dataset, source: str = "sums") -> None:
    """Check sums: their schema, and that every sum is finite.

    Raises:
        SchemaError: The message names what is wrong and the remedy.
    """
    SUMS.validate(sums, source)
    for name in (*_SIDES["sample"], *_SIDES["query"], "product", "product_out", "freedom"):
        if name in sums and not np.isfinite(sums[name].values).all():
            raise SchemaError(f"{source}: {name} is not finite; sample again")
    if ("query_square" in sums) != ("query_loss_ref" in sums):
        raise SchemaError(f"{source}: the query_* variables come together; add all or none")


def merge(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Join the sums of blocks of chains of one run, sampled as separate jobs.

    Each block stays centred in itself. Within chains that changes nothing. Across chains each block
    has a mean of its own at every draw, so that B blocks of C chains in all leave T(C - B) degrees
    of freedom instead of T(C - 1): still unbiased, with a variance larger by (C - 1)/(C - B).

    Raises:
        SchemaError: Attributes, ids, references or scheduled draws differ, or chains overlap.
    """
    for index, part in enumerate(parts):
        validate(part, f"sums {index}")
    check_same(parts, _SHARED, "block")
    check_disjoint_chains(parts, "block")
    data: dict[Any, Any] = {}
    for name, variable in parts[0].data_vars.items():
        arrays = [part[name] for part in parts]
        if name in _ADDED:
            data[name] = sum(arrays[1:], start=arrays[0])
        elif name in _LARGEST:
            largest = np.maximum.reduce([array.values for array in arrays])
            data[name] = (variable.dims, largest)
        elif name == "draws":  # fewer where a chain diverged
            data[name] = (variable.dims, np.minimum.reduce([array.values for array in arrays]))
        elif name == "chain_group":
            starts = np.cumsum([0, *(part.sizes["group"] for part in parts[:-1])])
            groups = [part + start for part, start in zip(arrays, starts, strict=True)]
            data[name] = xr.concat(groups, "chain")
        elif {"chain", "group"} & set(variable.dims):
            along = "chain" if "chain" in variable.dims else "group"
            data[name] = xr.concat(arrays, along)
        else:
            data[name] = variable
    whole = xr.Dataset(data, attrs=joined_attrs(parts)).sortby("chain")
    whole = whole[list(parts[0].data_vars)].assign_coords(
        {name: one for name, one in parts[0].coords.items() if name not in whole.coords}
    )
    validate(whole, "merged sums")
    return whole


def write(sums: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Check sums and write them atomically.

    Raises:
        SchemaError: They are not valid.
    """
    validate(sums)
    netcdf.write(sums, path)


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read sums into memory and check them.

    Raises:
        SchemaError: The file is missing, truncated, of another schema version, or no such file.
    """
    sums = netcdf.read(path)
    validate(sums, str(path))
    return sums

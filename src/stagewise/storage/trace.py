"""The loss trace: what a sampler saw of the losses, and all that is needed to interpret it.

``excess_loss(chain, draw, sample)`` is l_i(w) - l_i(w*) in nats, stored as float32: the reference
``loss_ref`` is kept apart in float64, so a small fluctuation about a large loss loses no digits.
A leading ``checkpoint`` dimension (with the optimiser ``step`` along it) is optional everywhere.
The coordinate ``chain`` holds the chains' ids, by which their random numbers are named. Where the
samples are tokens, ``sequence`` and ``position`` along them say which.
"""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Float64, Int

from stagewise.errors import SchemaError
from stagewise.storage import netcdf
from stagewise.storage.blocks import check_disjoint_chains, check_same, joined_attrs
from stagewise.storage.schema import CHECKPOINT, Schema

OK, DIVERGED = 0, 1

#: Coordinates of samples and queries that are tokens.
TOKENS = {
    "sequence": (("sample",), "U"),
    "position": (("sample",), "i"),
    "query_sequence": (("query",), "U"),
    "query_position": (("query",), "i"),
}

_LEAD = f"{CHECKPOINT}?"
_CHAINS = (_LEAD, "chain")
_DRAWS = (_LEAD, "chain", "draw")

TRACE = Schema(
    name="stagewise.trace",
    version=1,
    variables={
        "excess_loss": ((*_DRAWS, "sample"), "f"),
        "loss_ref": ((_LEAD, "sample"), "f"),
        "train_loss": (_DRAWS, "f"),
        "potential": (_DRAWS, "f"),
        "distance": (_DRAWS, "f"),
        "status": (_CHAINS, "i"),
        "diverged_step": (_CHAINS, "i"),
    },
    optional={
        "query_excess_loss": ((*_DRAWS, "query"), "f"),
        "query_loss_ref": ((_LEAD, "query"), "f"),
        **TOKENS,
    },
    coords={
        "sample": (("sample",), "U"),
        "chain": (("chain",), "i"),
        "draw": (("draw",), "i"),
    },
    attrs=(
        "n_beta",
        "localization",
        "step_size",
        "friction",
        "kernel",
        "potential",
        "loss",
        "batch_size",
        "n",
        "seed",
        "experiment",
        "checkpoint_hash",
        "data_hash",
        "settings_hash",
        "versions",
        "wall_seconds",
        "chain_steps",
    ),
)


#: What blocks of chains of one run have in common.
_SHARED = ("draw", "sample", "query", "step", "loss_ref", "query_loss_ref", *TOKENS)


def from_arrays(
    *,
    excess_loss: Float[np.ndarray, "*checkpoint chain draw sample"],
    loss_ref: Float[np.ndarray, "*checkpoint sample"],
    train_loss: Float[np.ndarray, "*checkpoint chain draw"],
    potential: Float[np.ndarray, "*checkpoint chain draw"],
    distance: Float[np.ndarray, "*checkpoint chain draw"],
    status: Int[np.ndarray, "*checkpoint chain"],
    diverged_step: Int[np.ndarray, "*checkpoint chain"],
    sample: Sequence[str] | np.ndarray,
    attrs: Mapping[str, Any],
    query_excess_loss: Float[np.ndarray, "*checkpoint chain draw query"] | None = None,
    query_loss_ref: Float[np.ndarray, "*checkpoint query"] | None = None,
    query: Sequence[str] | np.ndarray | None = None,
    step: Sequence[int] | np.ndarray | None = None,
    chain: Sequence[int] | None = None,
    tokens: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Make a trace from a sampler's arrays.

    Args:
        excess_loss: l_i(w) - l_i(w*), nats.
        loss_ref: l_i(w*), nats.
        train_loss: L_n(w) - L_n(w*) over the recorded samples, nats.
        potential: U(w) - U(w*), L_n taken over the recorded samples.
        distance: ‖w - w*‖.
        status: 0 ok, 1 diverged.
        diverged_step: Step at which a chain diverged, -1 where it did not.
        sample: Permanent ids of the samples.
        attrs: Every attribute of ``TRACE.attrs``; n_beta = nβ, localization = γ, step_size = ε,
            batch_size 0 for full gradients. ``versions`` may be a mapping.
        query_excess_loss: As ``excess_loss``, for the queries.
        query_loss_ref: As ``loss_ref``, for the queries.
        query: Permanent ids of the queries.
        step: Optimiser step of each checkpoint, where there is a checkpoint dimension.
        chain: Ids of the chains; 0, 1, ... by default.
        tokens: Coordinates of ``TOKENS`` by name, where samples are tokens.

    Returns:
        A dataset that satisfies ``TRACE``.

    Raises:
        SchemaError: Shapes or ids disagree, an attribute is missing, or a chain marked ok holds a
            value that is not finite.
    """
    lead = (CHECKPOINT,) if np.ndim(excess_loss) == 4 else ()
    draws = (*lead, "chain", "draw")
    data: dict[str, Any] = {
        "excess_loss": ((*draws, "sample"), np.asarray(excess_loss, np.float32)),
        "loss_ref": ((*lead, "sample"), np.asarray(loss_ref, np.float64)),
        "train_loss": (draws, np.asarray(train_loss)),
        "potential": (draws, np.asarray(potential)),
        "distance": (draws, np.asarray(distance)),
        "status": ((*lead, "chain"), np.asarray(status, np.int8)),
        "diverged_step": ((*lead, "chain"), np.asarray(diverged_step, np.int32)),
    }
    coords = _coords(np.shape(excess_loss), sample, step, chain)
    coords |= {name: (TOKENS[name][0], array) for name, array in (tokens or {}).items()}
    if query is not None:
        data["query_excess_loss"] = (
            (*draws, "query"),
            np.asarray(query_excess_loss, np.float32),
        )
        data["query_loss_ref"] = ((*lead, "query"), np.asarray(query_loss_ref, np.float64))
        coords["query"] = _ids(query)
    try:
        trace = xr.Dataset(data, coords=coords, attrs=_attrs(attrs))
    except ValueError as error:
        raise SchemaError(f"trace: shapes disagree ({error}); pass arrays of one run") from error
    validate(trace)
    return trace


def _coords(
    shape: tuple[int, ...],
    sample: Sequence[str] | np.ndarray,
    step: Sequence[int] | np.ndarray | None,
    chain: Sequence[int] | None,
) -> dict[str, Any]:
    *lead, chains, draws, _ = shape
    coords: dict[str, Any] = {
        "chain": np.arange(chains) if chain is None else np.asarray(chain),
        "draw": np.arange(draws),
        "sample": _ids(sample),
    }
    if lead:
        coords["step"] = (CHECKPOINT, np.arange(lead[0]) if step is None else np.asarray(step))
    return coords


def _ids(ids: Sequence[str] | np.ndarray) -> np.ndarray:
    return np.array([str(one) for one in ids], dtype=object)


def _attrs(attrs: Mapping[str, Any]) -> dict[str, Any]:
    plain = dict(attrs)
    if isinstance(plain.get("versions"), Mapping):
        plain["versions"] = json.dumps(dict(plain["versions"]), sort_keys=True)
    return {**plain, "schema": TRACE.name, "schema_version": TRACE.version}


def validate(trace: xr.Dataset, source: str = "trace") -> None:
    """Check a trace: its schema, and that every chain marked ok is finite.

    Raises:
        SchemaError: The message names what is wrong and the remedy.
    """
    TRACE.validate(trace, source)
    if ("query_excess_loss" in trace) != ("query_loss_ref" in trace):
        raise SchemaError(f"{source}: query_excess_loss and query_loss_ref come together; add both")
    keep = valid_chains(trace)
    for name in ("excess_loss", "query_excess_loss"):
        if name in trace:
            bad = keep & ~finite_chains(trace[name].values)
            if bad.any():
                raise SchemaError(
                    f"{source}: {name} is not finite in {int(bad.sum())} chain(s) with status {OK}"
                    f"; a chain that diverged needs status {DIVERGED}: sample it again"
                )


def finite_chains(
    values: Float[np.ndarray, "*checkpoint chain draw sample"],
) -> Bool[np.ndarray, "*checkpoint chain"]:
    """Say which chains hold finite numbers only."""
    return np.isfinite(values).all(axis=(-2, -1))


def valid_chains(trace: xr.Dataset) -> Bool[np.ndarray, "*checkpoint chain"]:
    """Say which chains did not diverge (status 0)."""
    return trace["status"].values == OK


def sample_losses(trace: xr.Dataset) -> Float[np.ndarray, "*checkpoint chain draw sample"]:
    """Return the samples' excess losses, nats."""
    return trace["excess_loss"].values


def query_losses(trace: xr.Dataset) -> Float[np.ndarray, "*checkpoint chain draw query"]:
    """Return the queries' excess losses, nats; where there are no queries, the samples are."""
    return trace["query_excess_loss" if "query_excess_loss" in trace else "excess_loss"].values


def query_ids(trace: xr.Dataset) -> np.ndarray:
    """Return the ids that belong to ``query_losses``."""
    return trace["query" if "query" in trace.coords else "sample"].values


def loss_reference(trace: xr.Dataset) -> Float64[np.ndarray, "*checkpoint sample"]:
    """Return l_i(w*), nats."""
    return trace["loss_ref"].values


def token_coords(trace: xr.Dataset) -> dict[str, Any]:
    """Return the coordinates that say which tokens samples and queries are, in xarray's form.

    Where there are no queries the samples are, and their tokens are the queries'.
    """
    known = {name: dims for name, (dims, _) in TOKENS.items() if name in trace.coords}
    found = {name: (dims, trace[name].values) for name, dims in known.items()}
    if "query_loss_ref" not in trace:
        own = [name for name in ("sequence", "position") if name in found]
        found |= {f"query_{name}": (("query",), found[name][1]) for name in own}
    return found


def require(trace: xr.Dataset, **expected: Any) -> None:
    """Check that a trace is the one that is wanted, by its attributes.

    Example: ``require(trace, checkpoint_hash=sha256_file(path), n_beta=100.0)``.

    Raises:
        SchemaError: An attribute differs; the message names both values.
    """
    for name, wanted in expected.items():
        found = trace.attrs.get(name)
        if found != wanted:
            raise SchemaError(
                f"the trace has {name} {found!r}, expected {wanted!r}: it was sampled from another "
                f"{name.removesuffix('_hash')}; delete it and sample again"
            )


def merge(traces: Sequence[xr.Dataset]) -> xr.Dataset:
    """Join blocks of chains of one run, sampled as separate jobs, into the trace of all chains.

    A chain's random numbers are a function of its id alone, so the result is what one run of all
    these chains would have recorded (bit for bit where a loss doesn't depend on what is batched
    with it). Chains are put in the order of their ids.

    Args:
        traces: Traces that differ in their chains only.

    Raises:
        SchemaError: Attributes, ids, references or numbers of draws differ, or chains overlap; the
            message names the difference.
    """
    for index, trace in enumerate(traces):
        validate(trace, f"trace {index}")
    check_same(traces, _SHARED, "trace")
    check_disjoint_chains(traces, "trace")
    along = [name for name, variable in traces[0].data_vars.items() if "chain" in variable.dims]
    parts = [trace[along] for trace in traces]
    whole = xr.concat(parts, "chain", coords="minimal", compat="override", join="exact")
    rest = traces[0].drop_vars([*along, "chain"])
    whole = rest.merge(whole, join="exact").sortby("chain")
    whole.attrs = joined_attrs(traces)
    validate(whole, "merged trace")
    return whole


def write(trace: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Check a trace and write it atomically.

    Raises:
        SchemaError: It is not a valid trace.
        StagewiseError: The disk is full; the old file is intact.
    """
    validate(trace)
    netcdf.write(trace, path)


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a trace into memory and check it.

    Raises:
        SchemaError: The file is missing, truncated, of another schema version, or not a trace.
    """
    trace = netcdf.read(path)
    validate(trace, str(path))
    return trace

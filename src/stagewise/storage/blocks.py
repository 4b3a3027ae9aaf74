"""What two parts of one run must agree in before they are joined."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from stagewise.errors import SchemaError

#: Attributes that add up: what a part cost, and how many means its chains were centred on.
SPENT = ("wall_seconds", "chain_steps", "centring_blocks")
#: Attributes that are averaged over chains.
AVERAGED = ("acceptance",)


def check_same(parts: Sequence[xr.Dataset], shared: Sequence[str], what: str) -> None:
    """Check that the parts are of one run.

    Args:
        parts: At least one dataset.
        shared: Variables and coordinates that must be equal in all.
        what: What the parts are called in messages.

    Raises:
        SchemaError: There is none; an attribute, an id or a reference differs.
    """
    if not parts:
        raise SchemaError(f"no {what} to merge; pass at least one")
    first = parts[0]
    for index, part in enumerate(parts[1:], start=1):
        # Hashes last: a setting by its name says more.
        names = sorted({*first.attrs, *part.attrs} - {*SPENT, *AVERAGED})
        for name in sorted(names, key=lambda name: name.endswith("_hash")):
            one, other = first.attrs.get(name), part.attrs.get(name)
            if not np.array_equal(one, other):
                raise SchemaError(
                    f"{what} 0 has {name} {one!r}, {what} {index} {other!r}; merge parts of one "
                    "run only: the same settings, data, checkpoints and versions"
                )
        if set(first.variables) != set(part.variables):
            odd = sorted(map(str, set(first.variables) ^ set(part.variables)))
            raise SchemaError(f"{what}s 0 and {index} don't both have {odd}; merge parts alike")
        for name in shared:
            if name in first.variables and not _same(first[name].values, part[name].values):
                cut = ", or cut the longer: trace.isel(draw=slice(n))" if name == "draw" else ""
                raise SchemaError(
                    f"{what}s 0 and {index} differ in {name}; merge parts of one run only{cut}"
                )


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool((one == other).all())


def check_disjoint_chains(parts: Sequence[xr.Dataset], what: str) -> None:
    """Check that no chain stands in two parts.

    Raises:
        SchemaError: One does.
    """
    ids = np.concatenate([part["chain"].values for part in parts])
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise SchemaError(
            f"chains {values[counts > 1].tolist()} stand in more than one {what}; each chain's "
            "noise is a function of its id, so they are the same draws: give blocks distinct ids"
        )


def joined_attrs(parts: Sequence[xr.Dataset]) -> dict[str, Any]:
    """Return the attributes of the whole: costs added, rates averaged over chains."""
    attrs = dict(parts[0].attrs)
    for name in set(SPENT) & set(attrs):
        attrs[name] = sum(part.attrs[name] for part in parts)
    for name in AVERAGED:
        if name in attrs:
            chains = [part.sizes["chain"] for part in parts]
            attrs[name] = float(np.average([part.attrs[name] for part in parts], weights=chains))
    return attrs

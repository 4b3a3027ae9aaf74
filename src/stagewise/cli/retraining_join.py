"""Stage: one set of retrainings from the blocks of subsets that it was made in."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from stagewise.cli.stage import stage
from stagewise.errors import SchemaError
from stagewise.provenance import provenance
from stagewise.storage import netcdf
from stagewise.storage import targets as targets_file

#: What all blocks of a set have in common.
SHARED = ("problem", "role", "alpha", "steps")


def retraining_join(targets: list[Path], models: list[Path], out: Path, out_models: Path) -> None:
    """Joins targets, and the models that they were checked with, in the order given."""
    joined = joined_targets([targets_file.read(path) for path in targets], targets)
    kept = [netcdf.read(path) for path in models]
    inputs = {path.stem: path for path in targets}
    record = json.dumps(provenance("retraining_join", {}, inputs), sort_keys=True)
    whole = xr.concat(kept, "model", data_vars="minimal", combine_attrs="override")
    netcdf.write(whole.assign_attrs(provenance=record), out_models)
    targets_file.write(joined.assign_attrs(provenance=record), out)


def joined_targets(blocks: Sequence[xr.Dataset], paths: Sequence[Path]) -> xr.Dataset:
    """Return the targets of all blocks; times and counts add up, the worst self-check counts.

    Raises:
        SchemaError: Blocks are of different sets, seeds, queries or samples.
    """
    first = blocks[0]
    for one, path in zip(blocks, paths, strict=True):
        same = all(one.attrs.get(name) == first.attrs.get(name) for name in SHARED)
        same &= all(
            np.array_equal(one[name].values, first[name].values)
            for name in ("seed", "query", "sample")
        )
        if not same:
            raise SchemaError(
                f"{path} and {paths[0]} are blocks of different retrainings; delete both and run "
                "retraining_block again"
            )
    attrs = {name: first.attrs[name] for name in SHARED}
    for name in ("models_trained", "wall_seconds"):
        attrs[name] = sum(one.attrs[name] for one in blocks)
    attrs["self_check"] = max(float(one.attrs["self_check"]) for one in blocks)
    return targets_file.from_arrays(
        loss=np.concatenate([one["loss"].values for one in blocks]),
        mask=np.concatenate([one["mask"].values for one in blocks]),
        seed=first["seed"].values,
        query=first["query"].values,
        sample=first["sample"].values,
        attrs=attrs,
    )


main = stage(retraining_join)

if __name__ == "__main__":
    sys.exit(main())

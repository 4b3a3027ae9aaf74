"""Which computed file belongs to which tree, sampling row and training seed.

Every file of the toy carries ``tree`` (and, where they apply, ``row`` and ``training_seed``) as
attributes, so that a stage can take any number of files in any order.
"""

from collections.abc import Iterable
from pathlib import Path

import xarray as xr

from stagewise.errors import SchemaError
from stagewise.storage import netcdf, scores


def by_tree(paths: Iterable[Path]) -> dict[str, xr.Dataset]:
    """Datasets by the name of their tree."""
    return _unique((str(_attribute(data, "tree", path)), data, path) for path, data in _read(paths))


def by_row(paths: Iterable[Path]) -> dict[tuple[str, str], xr.Dataset]:
    """Datasets by (tree, row)."""
    return _unique(
        ((str(_attribute(data, "tree", path)), str(_attribute(data, "row", path))), data, path)
        for path, data in _read(paths)
    )


def scores_by_row(paths: Iterable[Path]) -> dict[tuple[str, str], dict[int, xr.Dataset]]:
    """Scores by (tree, row), then by training seed."""
    found: dict[tuple[str, str], dict[int, xr.Dataset]] = {}
    for path in paths:
        data = scores.read(path)
        key = (str(_attribute(data, "tree", path)), str(_attribute(data, "row", path)))
        seed = int(_attribute(data, "training_seed", path))
        if seed in found.setdefault(key, {}):
            raise SchemaError(f"{path}: scores of {key}, seed {seed}, were given twice")
        found[key][seed] = data
    return {key: dict(sorted(seeds.items())) for key, seeds in found.items()}


def _read(paths: Iterable[Path]) -> Iterable[tuple[Path, xr.Dataset]]:
    return ((path, netcdf.read(path)) for path in paths)


def _attribute(data: xr.Dataset, name: str, path: Path) -> object:
    if name not in data.attrs:
        raise SchemaError(f"{path} does not say its {name!r}; delete it and run its stage again")
    return data.attrs[name]


def _unique(entries: Iterable[tuple]) -> dict:
    found = {}
    for key, data, path in entries:
        if key in found:
            raise SchemaError(f"{path}: a file of {key} was given twice")
        found[key] = data
    return found

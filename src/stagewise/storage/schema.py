"""What a stored dataset must look like, and errors that name what is wrong and what to do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from stagewise.errors import SchemaError

CHECKPOINT = "checkpoint"
_KINDS = {
    "f": "floating point",
    "i": "integer",
    "b": "boolean",
    "U": "string",
}


@dataclass(frozen=True)
class Schema:
    """A named, versioned layout of variables, coordinates and attributes.

    Attributes:
        name: What files of this kind call themselves, in the attribute ``schema``.
        version: Raised whenever old files can no longer be read, in ``schema_version``.
        variables: Name -> (dimensions, dtype kind). Kinds: "f" float, "i" integer, "b" boolean,
            "U" string. Dimensions that start with "checkpoint?" may begin with a checkpoint or not.
        optional: As ``variables``, for those that may be absent.
        coords: Name -> (dimensions, dtype kind) of coordinates that must be there.
        attrs: Attributes that must be there.
        open_dims: True where further leading dimensions are allowed in every variable.
        open_names: True where further variables are allowed.
    """

    name: str
    version: int
    variables: Mapping[str, tuple[tuple[str, ...], str]]
    optional: Mapping[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    coords: Mapping[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    attrs: tuple[str, ...] = ()
    open_dims: bool = False
    open_names: bool = False

    def validate(self, dataset: xr.Dataset, source: str = "dataset") -> None:
        """Check a dataset against this schema.

        Args:
            dataset: What to check.
            source: What to call it in messages (its path).

        Raises:
            SchemaError: Another schema or version; a variable, coordinate or attribute is missing,
                unknown, or has other dimensions or another type; duplicate ids.
        """
        self._check_identity(dataset, source)
        self._check_names(dataset, source)
        allowed = {**self.variables, **self.optional, **self.coords}
        for name, (dims, kind) in allowed.items():
            if name in dataset.variables:
                self._check_variable(dataset[name], dims, kind, source)
        for name in dataset.indexes:
            _check_unique(dataset[name], source)

    def _check_identity(self, dataset: xr.Dataset, source: str) -> None:
        name, version = dataset.attrs.get("schema"), dataset.attrs.get("schema_version")
        if name != self.name:
            raise SchemaError(
                f"{source} has schema {name!r}, expected {self.name!r}; pass a file of that kind"
            )
        if version is None or int(version) != self.version:
            raise SchemaError(
                f"{source} has {self.name} schema_version {version}, this package reads "
                f"{self.version}; delete the file and run the stage that makes it again"
            )

    def _check_names(self, dataset: xr.Dataset, source: str) -> None:
        _require_all(self.variables, dataset.data_vars, "variable", source)
        _require_all(self.coords, dataset.coords, "coordinate", source)
        _require_all(self.attrs, dataset.attrs, "attribute", source)
        known = {**self.variables, **self.optional}
        unknown = sorted(str(name) for name in dataset.data_vars if name not in known)
        if unknown and not self.open_names:
            raise SchemaError(
                f"{source} has unknown variable(s) {unknown}; {self.name} allows {sorted(known)}: "
                "drop or rename them"
            )

    def _check_variable(
        self, array: xr.DataArray, dims: tuple[str, ...], kind: str, source: str
    ) -> None:
        found = tuple(str(dim) for dim in array.dims)
        wanted = dims
        if dims[:1] == (f"{CHECKPOINT}?",):
            wanted = dims[1:] if found[:1] != (CHECKPOINT,) else (CHECKPOINT, *dims[1:])
        matches = found[-len(wanted) :] == wanted if self.open_dims and wanted else found == wanted
        if not matches:
            raise SchemaError(
                f"{source}: {array.name} has dimensions {found}, expected {wanted}; transpose or "
                "rename them"
            )
        if _kind(array.dtype) != kind:
            raise SchemaError(
                f"{source}: {array.name} has type {array.dtype}, expected {_KINDS[kind]}; cast it"
            )


def _kind(dtype: np.dtype) -> str:
    # Strings come back from netCDF as objects or variable-width strings.
    return {"O": "U", "T": "U", "S": "U", "u": "i"}.get(dtype.kind, dtype.kind)


def _require_all(wanted: Iterable[str], present: Iterable[object], what: str, source: str) -> None:
    have = {str(name) for name in present}
    missing = [name for name in wanted if name not in have]
    if missing:
        raise SchemaError(
            f"{source} lacks the {what}(s) {missing}; it has {sorted(have)}: "
            "add them, or run the stage that makes the file again"
        )


def _check_unique(coordinate: xr.DataArray, source: str) -> None:
    values, counts = np.unique(coordinate.values.astype(str), return_counts=True)
    if (counts > 1).any():
        raise SchemaError(
            f"{source}: coordinate {coordinate.name} repeats {values[counts > 1][:5].tolist()}; "
            "ids must be unique: rename the copies"
        )

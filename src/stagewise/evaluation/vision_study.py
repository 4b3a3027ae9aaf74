"""How the loss kernel of images depends on the sampler's settings, and what many draws add."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from stagewise.config.vision_study import StudiedKernel
from stagewise.errors import SchemaError
from stagewise.estimators.gates import familywise_z
from stagewise.evaluation.alignment import spearman
from stagewise.evaluation.curves import Summary, summarize
from stagewise.evaluation.records import exact
from stagewise.evaluation.vision import (
    Layout,
    Similarity,
    alignment_rows,
    depth_rows,
    relation_rows,
)
from stagewise.evaluation.vision_numbers import RATE
from stagewise.evaluation.vision_tables import FOLLOWED, matrix_of

LONG = "long"
#: Attributes of a kernel's file that go into the table as they are.
CHECKS = ("mean_excess", "null_max_abs_z", "drift_max_z", "rhat_loss_max", "chains_dropped")


class Studied(NamedTuple):
    """Files of kernels by the name of their job.

    Attributes:
        main: Those that the paper is about, one a sampling seed; one may also be a cell.
        grid: At other settings; empty in the study of many draws.
        long: With many draws; None in the study of settings.
    """

    main: Mapping[str, xr.Dataset]
    grid: Mapping[str, xr.Dataset]
    long: xr.Dataset | None

    def of(self, job: str) -> xr.Dataset:
        """Return the kernel of a cell of the grid."""
        return self.grid[job] if job in self.grid else self.main[job]


def studied(kernels: Sequence[xr.Dataset], grid: Sequence[StudiedKernel], of: Layout) -> Studied:
    """Sort the files of a study: of a grid, or without one of many draws.

    Raises:
        SchemaError: A file is of other images, or is missing.
    """
    if any(one["sample"].values.astype(str).tolist() != of.ids for one in kernels):
        raise SchemaError("a kernel is of other images than the recorded ones; sample it again")
    named = {str(one.attrs["name"]): one for one in kernels}
    main = {name: one for name, one in named.items() if name.startswith("main_")}
    cells = [cell.name for cell in grid]
    absent = sorted(set(cells or [LONG]) - named.keys())
    if absent or not main:
        raise SchemaError(
            f"there are kernels {sorted(named)}; pass those of main runs and {absent or cells}"
        )
    own = {name: named[name] for name in cells if name not in main}
    return Studied(main, own, None if cells else named[LONG])


def sensitivity_table(found: Studied, grid: Sequence[StudiedKernel], of: Layout) -> pd.DataFrame:
    """Rows kind, job, n_beta, localization, draws, quantity, value, se.

    Quantities: ``auroc <relation>`` with its error over classes, ``agreement``, the rank
    correlation with the mean of the main kernels of other sampling seeds, and `CHECKS`. The grid
    and the long kernel are of the first seed, and share its noise.
    Of the long kernel a row for each number of its draws.
    """
    main = {name: matrix_of(one, "kernel") for name, one in found.main.items()}
    first = next(iter(main))
    rows: list[dict] = []
    for name, one in found.main.items():
        tags = {"kind": "main", "job": name, "n_beta": np.nan, "localization": np.nan}
        rows += _rows(one, "kernel", of, _others(main, name), tags)
    for cell in grid:
        tags = {"kind": "grid", "job": cell.name, "n_beta": cell.n_beta}
        tags |= {"localization": cell.localization, "step_size": cell.step_size}
        rows += _rows(found.of(cell.name), "kernel", of, _others(main, first), tags)
    if found.long is not None:
        tags = {"kind": LONG, "job": LONG, "n_beta": np.nan, "localization": np.nan}
        for method in found.long["method"].values.astype(str):
            rows += _rows(found.long, method, of, _others(main, first), tags)
    return pd.DataFrame(rows)


def _others(main: Mapping[str, Similarity], name: str) -> Similarity | None:
    """Return the mean of the main kernels but one, None where there is no other."""
    rest = [value for other, value in main.items() if other != name]
    return np.mean(rest, axis=0) if rest else None


def _rows(
    one: xr.Dataset,
    method: str,
    of: Layout,
    other: Similarity | None,
    tags: Mapping[str, object],
) -> list[dict]:
    """Return the rows of one matrix of a file: of all draws, or of a part of them."""
    value = matrix_of(one, method)
    part = method.rpartition("_")[2]
    draws = int(part) if part.isdigit() else int(one.attrs["draws"])
    head = {**tags, "draws": draws * int(one.attrs["chains"])}
    rows = [
        {**head, "quantity": f"auroc {row['relation']}", "value": row["value"], "se": row["se"]}
        for row in relation_rows(value, of, FOLLOWED)
    ]
    if other is not None:
        agreed = spearman(value, other)
        rows.append({**head, "quantity": "agreement", "value": agreed, "se": np.nan})
    if method == "kernel":
        checks = ((name, float(one.attrs[name])) for name in CHECKS)
        rows += [{**head, "quantity": name, "value": seen, "se": np.nan} for name, seen in checks]
    return rows


def study_numbers(
    table: pd.DataFrame, found: Studied, of: Layout, permutations: int, seed: int
) -> dict[str, Summary]:
    """Return every cell of the grid and its extremes, or what the long kernel knows."""
    if found.long is not None:
        return _long(table, found.long, of, permutations, seed) | _bounds("long", [found.long])
    main = table[(table["kind"] == "main") & (table["quantity"] == "agreement")]
    numbers = {"grid.main.agreement": summarize(main["value"].to_numpy())}
    grid = table[table["kind"] == "grid"]
    cells = [found.of(job) for job in grid["job"].unique()]
    return numbers | _grid(grid) | _cells(grid) | _bounds("grid", cells)


def _key(quantity: object) -> str:
    """Return how keys name a quantity of the table."""
    return str(quantity).replace(" ", "_").replace("auroc_", "auroc.")


def _cells(grid: pd.DataFrame) -> dict[str, Summary]:
    """Return all that is known of each cell, in the order of the grid."""
    numbers = {}
    for place, (_, rows) in enumerate(grid.groupby("job", sort=False)):
        for name in ("n_beta", "localization", "step_size"):
            numbers[f"grid.cell{place}.{name}"] = exact(float(rows[name].iloc[0]))
        for row in rows.itertuples(index=False):
            found = Summary(float(row.value), float(row.se), 0)
            numbers[f"grid.cell{place}.{_key(row.quantity)}"] = found
    return numbers


def _grid(grid: pd.DataFrame) -> dict[str, Summary]:
    numbers = {"grid.cells": exact(grid["job"].nunique())}
    for quantity, cells in grid.groupby("quantity", sort=False):
        name = _key(quantity)
        cells = cells.sort_values("value", kind="stable")
        for side, cell in (("least", cells.iloc[0]), ("most", cells.iloc[-1])):
            key = f"grid.{name}.{side}"
            numbers[key] = Summary(float(cell["value"]), float(cell["se"]), 0)
            if name.startswith("auroc.") or name == "agreement":
                numbers[f"{key}.n_beta"] = exact(float(cell["n_beta"]))
                numbers[f"{key}.localization"] = exact(float(cell["localization"]))
    return numbers


def _bounds(part: str, kernels: Sequence[xr.Dataset]) -> dict[str, Summary]:
    """Return what the largest z-scores of the kernels of one study are compared with."""
    numbers = {}
    for name, sides in (("null", 2), ("drift", 1)):
        entries = sum(int(one.attrs[f"{name}_entries"]) for one in kernels)
        numbers[f"{part}.{name}.bound"] = exact(familywise_z(entries, RATE, sides))
    return numbers


def _long(
    table: pd.DataFrame, long: xr.Dataset, of: Layout, permutations: int, seed: int
) -> dict[str, Summary]:
    own = table[table["kind"] == LONG]
    most = own["draws"].max()
    numbers = {}
    for row in own.itertuples(index=False):
        found = Summary(float(row.value), float(row.se), 0)
        numbers[f"long.part{row.draws}.{_key(row.quantity)}"] = found
        if row.draws == most:
            numbers[f"long.{_key(row.quantity)}"] = found
    numbers["long.draws"] = exact(int(most))
    numbers["long.correlation.se"] = exact(float(np.median(long["se"].values)))
    value = matrix_of(long, "kernel")
    for row in alignment_rows(value, of, permutations, seed):
        if row["measure"] == "spearman" and row["tree"] == "wu_palmer":
            scope = "" if row["scope"] == "all" else f".{row['scope']}"
            numbers[f"long.alignment.spearman{scope}"] = exact(row["value"])
            numbers[f"long.alignment.spearman{scope}_null"] = exact(row["null"])
            numbers[f"long.alignment.spearman{scope}_p"] = exact(row["p"])
    for row in depth_rows(value, of, permutations, seed):
        key = f"long.{row['measure']}.depth{row['depth']}"
        numbers[key] = exact(row["value"])
        numbers[f"{key}_null"] = exact(row["null"])
    return numbers

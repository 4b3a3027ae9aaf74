"""Tables and numbers of the calibration experiments."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from stagewise.errors import SchemaError
from stagewise.evaluation.curves import Summary
from stagewise.evaluation.records import exact

QUANTITIES = (
    "rhat_loss_max",
    "rhat_product_max",
    "ess_product_min",
    "null_max_abs_z",
    "drift_max_z",
)
CALIBRATED = "calibrated"


def identity(scores: xr.Dataset) -> tuple[str, str]:
    """Return the problem and the row that a file of scores belongs to.

    Raises:
        SchemaError: It was not made by a sampling run on a problem.
    """
    parts = str(scores.attrs.get("experiment", "")).split("/")
    if len(parts) != 3 or parts[0] != "problem":
        raise SchemaError(
            f"scores of experiment {scores.attrs.get('experiment')!r} are of no problem's run; "
            "pass the outputs of problem_sample"
        )
    return parts[1], parts[2]


def row_table(found: Sequence[xr.Dataset]) -> pd.DataFrame:
    """One row for each run: its settings, its agreement with the exact answer, and its cost."""
    return pd.DataFrame([_row(scores) for scores in found])


def _row(scores: xr.Dataset) -> dict[str, Any]:
    problem, row = identity(scores)
    at = scores.attrs
    return {
        "problem": problem,
        "row": row,
        **{name: at[name] for name in ("kernel", "potential", "batch_size", "n_beta")},
        "damping": at["localization"] / at["n_beta"],
        **{name: at[name] for name in ("step_size", "friction", "n_chains", "n_draws")},
        **{name: at[name] for name in ("agreement", "agreement_se", "halves", "reliability")},
        **{name: at[name] for name in ("spread", "spread_se", "wall_seconds", "chain_steps")},
        "chains_dropped": at["chains_dropped"],
        **{name: float(scores[f"diagnosed_{name}"]) for name in QUANTITIES},
    }


def search_table(calibrations: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """What each calibration tried, and which of it was chosen."""
    rows = []
    for problem, found in calibrations.items():
        for tried in found["table"]:
            chosen = _is_chosen(tried, found)
            rows.append({"problem": problem, **tried, "chosen": chosen})
    return pd.DataFrame(rows)


def _is_chosen(tried: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    names = ["n_beta"] if tried["phase"] == "locality" else ["n_beta", "step_size", "batch_size"]
    return all(tried[name] == found[name] for name in names)


def summaries(
    rows: pd.DataFrame, calibrations: Mapping[str, Mapping[str, Any]], exact_seconds: Mapping
) -> dict[str, Summary]:
    """Numbers of the default experiments: each row's agreement, and the calibrations' evidence."""
    found: dict[str, Summary] = {}
    for row in rows.to_dict("records"):
        key = f"{row['problem']}.{row['row']}"
        count = int(row["n_chains"])
        found[f"{key}.agreement"] = Summary(row["agreement"], row["agreement_se"], count)
        found[f"{key}.reliability"] = exact(row["reliability"], count)
        found[f"{key}.seconds"] = exact(row["wall_seconds"])
    for problem, calibration in calibrations.items():
        names = ("n_beta", "localization", "step_size", "friction", "draws", "spacing")
        evidence = {name: calibration[name] for name in names} | dict(calibration["evidence"])
        for name, value in evidence.items():
            if value is not None and math.isfinite(float(value)):
                found[f"{problem}.chosen.{name}"] = exact(float(value))
        found[f"{problem}.exact.seconds"] = exact(exact_seconds[problem])
    return found


def variance_reduction(rows: pd.DataFrame, names: Mapping[str, str]) -> dict[str, Summary]:
    """What a gradient estimator costs in bias and buys per second, against full gradients.

    With r the correlation of halves, an estimate's noise over its signal is (1 - r)/r, and draws
    or seconds divide it. So the gain per second is the ratio of r/(1 - r) per second, the bias that
    of the traces of the loss covariance, less one.

    Args:
        rows: Runs with equal kernel, step, temperature and schedule, by problem and row.
        names: Row by estimator: "full", "minibatch", "control_variate".
    """
    own = {name: rows[rows["row"] == row].iloc[0] for name, row in names.items()}
    full, found = own["full"], {}
    for name, row in own.items():
        spread = row["spread"] / full["spread"]
        error = spread * math.hypot(
            row["spread_se"] / row["spread"], full["spread_se"] / full["spread"]
        )
        count = int(row["n_chains"])
        found[f"variance_reduction.{name}.bias"] = Summary(spread - 1, error, count)
        found[f"variance_reduction.{name}.gain"] = exact(_power(row) / _power(full), count)
        found[f"variance_reduction.{name}.agreement"] = Summary(
            row["agreement"], row["agreement_se"], count
        )
    return found


def _power(row: pd.Series) -> float:
    return row["halves"] / (1 - row["halves"]) / row["wall_seconds"]


def grid_summaries(rows: pd.DataFrame, grids: Mapping[str, str]) -> dict[str, Summary]:
    """How a calibrated run compares with a sweep by hand of the same budget.

    Args:
        rows: Runs of all grids; the calibrated row of grid ``g`` is called ``g_calibrated``.
        grids: The problem of every grid.

    Raises:
        SchemaError: A grid has no cells or no calibrated row.
    """
    found: dict[str, Summary] = {}
    for grid, problem in grids.items():
        calibrated, cells = _grid(rows[rows["problem"] == problem], grid)
        value, se = calibrated["agreement"], calibrated["agreement_se"]
        found |= {
            f"{grid}.calibrated": Summary(value, se, int(calibrated["n_chains"])),
            f"{grid}.median": exact(np.median(cells), len(cells)),
            f"{grid}.best": exact(cells[-1], len(cells)),
            f"{grid}.of_best": Summary(value / cells[-1], se / cells[-1], len(cells)),
            f"{grid}.better_cells": exact(float((cells > value).sum()), len(cells)),
        }
    return found


def _grid(rows: pd.DataFrame, grid: str) -> tuple[pd.Series, np.ndarray]:
    """Return a grid's calibrated row, and the agreement of its cells in order."""
    # One grid's name may begin with another's: what follows it must be the cell.
    cells = rows[rows["row"].str.fullmatch(rf"{re.escape(grid)}_\d+")]
    calibrated = rows[rows["row"] == f"{grid}_{CALIBRATED}"]
    if cells.empty or calibrated.empty:
        raise SchemaError(
            f"grid {grid!r} has {len(cells)} cells and {len(calibrated)} calibrated rows among "
            f"{sorted(rows['row'])[:5]} …; pass all of its runs"
        )
    return calibrated.iloc[0], np.sort(cells["agreement"].to_numpy())


def judged(found: Sequence[xr.Dataset]) -> Iterator[tuple[str, dict[str, float], int, int]]:
    """Yield the name, the diagnostics and the counts of every calibrated run."""
    for scores in found:
        problem, row = identity(scores)
        if row == CALIBRATED:
            values = {name: float(scores[f"diagnosed_{name}"]) for name in QUANTITIES}
            counts = (int(scores.attrs[name]) for name in ("null_entries", "drift_entries"))
            yield (problem, values, *counts)

"""Sensitivity of BIF to (nβ, γ, εγ): agreement with its law, with training, with retraining."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from stagewise.config.toy import SamplingSettings
from stagewise.evaluation.curves import Summary, correlation, summarize
from stagewise.evaluation.records import exact

#: What a cell of the grid is a setting of.
GRID = ("n_beta", "localization", "relaxation")


class SweepRow(NamedTuple):
    """One setting: its law and its sampled influence of every seed."""

    settings: SamplingSettings
    law: xr.Dataset
    bif: dict[int, xr.Dataset]


def sweep_table(rows: list[SweepRow], trajectory: xr.Dataset, retrain: xr.Dataset) -> pd.DataFrame:
    """Correlation of BIF with each target over all pairs of different items and checkpoints.

    Targets: ``law`` (the setting's own second-order law, where it exists), ``trajectory`` (the
    derivative of the training run) and ``leave_one_out``. Mean and standard error over seeds;
    ``local_fraction`` is the fraction of checkpoints with γ > nβ·|λ_min|, where the law exists;
    ``relaxation`` is the product εγ, to 12 digits, so that rounding does not part what belongs
    together.
    """
    return pd.concat([_row_table(row, trajectory, retrain) for row in rows], ignore_index=True)


def sweep_summaries(table: pd.DataFrame) -> dict[str, Summary]:
    """Best and worst cell of a sweep by target, and the median over its local cells.

    Args:
        table: Rows of `sweep_table`.

    Returns:
        By target: ``{target}.best_r`` and ``{target}.worst_r``; ``{target}.best.{setting}``, the
        setting of the best cell; ``{target}.median_r_local``, the median of r over the cells at
        whose checkpoints the law exists without exception, with their number. NaN where no cell
        has a correlation.
    """
    found = {}
    for target, cells in table.groupby("target"):
        cells = cells[np.isfinite(cells["r"])].sort_values("r", kind="stable", ignore_index=True)
        for extreme, at in (("best", -1), ("worst", 0)):
            found[f"{target}.{extreme}_r"] = _cell(cells, at)
        for name in GRID:
            found[f"{target}.best.{name}"] = exact(np.nan if cells.empty else cells[name].iloc[-1])
        local = cells["r"][cells["local_fraction"] == 1]
        found[f"{target}.median_r_local"] = exact(local.median(), n=len(local))
    return found


def _cell(cells: pd.DataFrame, at: int) -> Summary:
    if cells.empty:
        return Summary(float("nan"), float("nan"), 0)
    row = cells.iloc[at]
    return Summary(float(row["r"]), float(row["se"]), int(row["n"]))


def _row_table(row: SweepRow, trajectory: xr.Dataset, retrain: xr.Dataset) -> pd.DataFrame:
    found: dict[str, list[float]] = {"law": [], "trajectory": [], "leave_one_out": []}
    for seed, scores in row.bif.items():
        step = scores["step"].values
        sampled = _off_diagonal(scores["value"])
        law = row.law.sel(seed=seed)["second_order"]
        found["law"].append(correlation(sampled, _off_diagonal(law)))
        for name, source in (("trajectory", trajectory), ("leave_one_out", retrain)):
            at = np.searchsorted(source["step"].values, step)
            target = source["value"].sel(seed=seed).isel(checkpoint=at)
            found[name].append(correlation(sampled, _off_diagonal(target)))
    settings = row.settings
    rows = []
    for target, values in found.items():
        r = summarize(values)
        rows.append(
            {
                "n_beta": settings.n_beta,
                "localization": settings.localization,
                "step_size": settings.step_size,
                "relaxation": float(f"{settings.step_size * settings.localization:.12g}"),
                "target": target,
                "r": r.value,
                "se": r.se,
                "n": r.n,
                "local_fraction": float(row.law["local"].mean()),
            }
        )
    return pd.DataFrame(rows)


def _off_diagonal(array: xr.DataArray) -> np.ndarray:
    values = array.transpose("checkpoint", "sample", "query").values
    return values[:, ~np.eye(values.shape[-1], dtype=bool)].ravel()

"""Small tables with the shape of the calibration experiments', made from formulas, not results."""

import numpy as np
import pandas as pd

PROBLEMS = ("net", "convex")
#: nβ of the rungs, and which of them is chosen.
RUNGS, CHOSEN = (1e2, 1e3, 1e4), 1
#: ε of the steps at the chosen rung, halved; the first is chosen, the last was not halved.
STEPS = (4e-4, 2e-4, 1e-4)
BATCHES = (np.nan, 20.0)
#: Problem, row, agreement, its error, reliability, seconds.
ROWS = (
    ("net", "calibrated", 0.9, 0.02, 0.95, 12.0),
    ("net", "by_hand", 0.6, 0.03, 0.7, 40.0),
    ("convex", "calibrated", 0.97, 0.01, 0.98, 3.0),
)
#: Agreement of the cells of two grids, the calibrated row last. One name begins with the other.
CELLS = {"net": (0.1, 0.5, 0.3, 0.6), "net_wide": (0.2, -0.1, 0.8)}


def search() -> pd.DataFrame:
    """Two searches: three rungs, then three steps with full gradients and with minibatches."""
    rows = []
    for place, problem in enumerate(PROBLEMS):
        empty = {"agreement": np.nan, "bias": np.nan, "bias_se": np.nan, "batch_size": np.nan}
        for k, n_beta in enumerate(RUNGS):
            agreement = 1 - 0.5 / (k + 1) - 0.1 * place if k < len(RUNGS) - 1 else np.nan
            rows.append(
                {"problem": problem, "phase": "locality", **empty, "n_beta": n_beta}
                | {"step_size": 0.4 / n_beta, "snr": 3.0 / (k + 1), "agreement": agreement}
                | {"chosen": k == CHOSEN}
            )
        for size in BATCHES:
            for k, step in enumerate(STEPS):
                measured = k < len(STEPS) - 1
                rows.append(
                    {"problem": problem, "phase": "step", **empty, "n_beta": RUNGS[CHOSEN]}
                    | {"step_size": step, "snr": 2.0, "batch_size": size}
                    | {"bias": step * 500 if measured else np.nan}
                    | {"bias_se": 0.01 if measured else np.nan}
                    | {"chosen": k == 0 and bool(np.isnan(size))}
                )
    return pd.DataFrame(rows)


def rows() -> pd.DataFrame:
    """Every run of the default experiments."""
    names = "problem row agreement agreement_se reliability wall_seconds"
    return pd.DataFrame(ROWS, columns=names.split())


def grid() -> pd.DataFrame:
    """Two grids on one problem."""
    found = []
    for name, values in CELLS.items():
        cells = [f"{name}_00{k}" for k in range(len(values) - 1)]
        for row, agreement in zip([*cells, f"{name}_calibrated"], values, strict=True):
            found.append(
                {"problem": "net", "row": row, "agreement": agreement}
                | {"agreement_se": 0.02, "n_chains": 16}
            )
    return pd.DataFrame(found)


def calibration_tables() -> dict[str, pd.DataFrame]:
    """Every table of the calibration experiments by name."""
    return {
        "calibration_search": search(),
        "calibration_rows": rows(),
        "calibration_grid": grid(),
    }

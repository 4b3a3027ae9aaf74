"""Tables and numbers of the toy's training runs, which no sampling enters."""

import numpy as np
import pandas as pd
import xarray as xr

from stagewise.evaluation.curves import Summary, half_step
from stagewise.evaluation.records import exact

#: Key of each initialisation's largest error; the Gaussian one has no exact solution.
_ERRORS = {
    "aligned": "modes.max_rel_error",
    "balanced": "modes.matrix_solution.max_rel_error",
    "gaussian": "modes.gaussian.max_rel_error",
}


def mode_table(tree: str, modes: xr.Dataset) -> pd.DataFrame:
    """Measured and predicted strength of every mode: (init, seed, mode, step)."""
    frame = modes[["strength", "predicted"]].to_dataframe().reset_index()
    singular = modes["singular_value"].to_series()
    frame["singular_value"] = frame["mode"].map(singular)
    columns = ["init", "seed", "mode", "singular_value", "step", "strength", "predicted"]
    frame = frame[columns]
    frame.insert(0, "tree", tree)
    return frame


def plane_table(tree: str, planes: xr.Dataset) -> pd.DataFrame:
    """Hidden representation of every item in the plane: (seed, item, step)."""
    frame = planes[["x", "y"]].to_dataframe().reset_index()
    frame = frame[["seed", "item", "branch", "step", "x", "y"]]
    frame.insert(0, "tree", tree)
    return frame


def _half_steps(modes: xr.Dataset, name: str, init: str) -> np.ndarray:
    """Step at which each mode of each seed reaches half its singular value, (seed, mode)."""
    strength = modes[name].sel(init=init).transpose("seed", "mode", "checkpoint").values
    half, step = modes["singular_value"].values / 2, modes["step"].values
    return np.array(
        [[half_step(step, k, h) for k, h in zip(s, half, strict=True)] for s in strength]
    )


def run_numbers(modes: xr.Dataset, trajectory: xr.Dataset) -> dict[str, Summary]:
    """Largest errors against exact solutions and finite differences; n counts what was compared."""
    compared = int(np.prod([modes.sizes[name] for name in ("seed", "mode", "checkpoint")]))
    numbers = {
        key: exact(float(modes["max_rel_error"].sel(init=init)), compared)
        for init, key in _ERRORS.items()
    }
    for init in _ERRORS:
        measured, predicted = (_half_steps(modes, name, init) for name in ("strength", "predicted"))
        worst = float(np.nanmax(np.abs(measured / predicted - 1)))
        numbers[f"modes.transition.max_rel_error.{init}"] = exact(worst, measured.size)
    entries = trajectory["value"].size
    numbers["trajectory_vs_finite_difference.max_rel_error"] = exact(
        trajectory.attrs["finite_difference_max_rel_error"], entries
    )
    numbers["published_vs_finite_difference.max_rel_error"] = exact(
        trajectory.attrs["published_finite_difference_max_rel_error"],
        trajectory["published"].size,
    )
    return numbers

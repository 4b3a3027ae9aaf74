"""How the Bayesian influence's score depends on the sampler's settings, and what accuracy costs.

Every cell is a sampling run whose predictions are scored on the same retrainings, in the same
resamples, so that differences of two cells are paired.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from stagewise.config.retraining_study import CALIBRATED, Cell
from stagewise.errors import SchemaError
from stagewise.evaluation.bootstrap import interval
from stagewise.evaluation.curves import Summary
from stagewise.evaluation.lds import lds, realised, resampled
from stagewise.evaluation.records import as_numbers, exact
from stagewise.evaluation.retraining_gap import gap_numbers
from stagewise.evaluation.retraining_tables import BIF, Plan

PREFIX, SOURCE = "retraining.sensitivity", "retraining_sensitivity_table"


def sensitivity_tables(
    cells: Sequence[Cell],
    found: xr.Dataset,
    targets: xr.Dataset,
    steps: Sequence[int],
    plan: Plan,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the score of every cell, and paired differences of some.

    Columns of the first are those of `Cell`, then optimiser_step, sampled_damping, seconds,
    seconds_all, passes, dropped, value, se, low, high, n_subsets; of the second difference, first,
    second, value, se, low, high, n_subsets. A cell whose chains diverged has no value.

    Args:
        cells: Sampling runs.
        found: What they predict: see `PREDICTIONS` of the stage that makes it.
        targets: Retrainings on subsets.
        steps: Optimiser step of every stored checkpoint.
        plan: How intervals are made.

    Raises:
        SchemaError: A cell was not sampled.
    """
    names = found["cell"].values.astype(str).tolist()
    if lacking := [one.name for one in cells if one.name not in names]:
        raise SchemaError(
            f"no predictions of the cells {lacking}; run retraining_sensitivity again"
        )
    loss = realised(targets)
    predictions = {
        name: found["prediction"].values[place]
        for place, name in enumerate(names)
        if np.isfinite(found["prediction"].values[place]).all()
    }
    drawn = resampled(loss, predictions, plan.draws(*loss.shape, "sensitivity"))
    value = {name: lds(loss, one) for name, one in predictions.items()}
    rows = []
    for cell in cells:
        at, place = cell.name, names.index(cell.name)
        nothing = dict.fromkeys(("value", "se", "low", "high"), float("nan"))
        ends = interval(value[at], drawn[at], plan.level)._asdict() if at in value else nothing
        cost = {
            name: found[name].values[place].item()
            for name in ("seconds", "seconds_all", "passes", "dropped")
        }
        more = {"optimiser_step": steps[cell.checkpoint]}
        more["sampled_damping"] = float(found["damping"].values[place])
        rows.append({**cell.model_dump(), **more, **cost, **ends, "n_subsets": len(loss)})
    gaps = _gaps(_pairs(cells), value, drawn, plan.level, len(loss))
    return pd.DataFrame(rows), gaps


def _pairs(cells: Sequence[Cell]) -> list[tuple[str, Cell, Cell]]:
    """Return what is compared: gradients at the same settings, settings at the full gradient."""
    own = [one for one in cells if one.axis == "gradients"]
    full = {(one.settings, one.potential): one for one in own if not one.batch_size}
    pairs = []
    for one in own:
        whole = full.get((one.settings, one.potential))
        if one.batch_size and whole is not None:
            pairs.append((one.name.removeprefix("gradients_") + "_less_full", one, whole))
        elif one.settings != CALIBRATED and (CALIBRATED, one.potential) in full:
            word = f"{one.settings}_less_{CALIBRATED}_full_{one.potential}"
            pairs.append((word, one, full[CALIBRATED, one.potential]))
    return pairs


def _gaps(
    pairs: Sequence[tuple[str, Cell, Cell]],
    value: dict[str, float],
    drawn: dict[str, Float[np.ndarray, " resampling"]],
    level: float,
    subsets: int,
) -> pd.DataFrame:
    rows = []
    for name, one, other in pairs:
        if one.name not in value or other.name not in value:
            continue
        first, second = one.name, other.name
        gap = interval(value[first] - value[second], drawn[first] - drawn[second], level)
        names = {"difference": name, "first": first, "second": second}
        rows.append({**names, **gap._asdict(), "n_subsets": subsets})
    columns = ["difference", "first", "second", "value", "se", "low", "high", "n_subsets"]
    return pd.DataFrame(rows, columns=columns)


def speed_table(scores: pd.DataFrame, cost: pd.DataFrame, problem: str) -> pd.DataFrame:
    """Return score against seconds: every method's chosen setting, and BIF at several budgets.

    Columns method, kind (chosen, budget), label, seconds, value, se, low, high. Seconds of a budget
    hold those of the calibration, as those of the chosen settings do.

    Args:
        scores: Every cell's score.
        cost: Table `retraining_cost` of the default run.
        problem: The study's.
    """
    ends = ["value", "se", "low", "high"]
    own = cost[cost["problem"] == problem].assign(kind="chosen")
    budget = scores[scores["axis"] == "budget"]
    budget = budget.assign(
        method=BIF,
        kind="budget",
        label=[f"{c} × {d}" for c, d in zip(budget["chains"], budget["draws"], strict=True)],
        seconds=budget["seconds_all"],
    )
    columns = ["method", "kind", "label", "seconds", *ends]
    return pd.concat([own[columns], budget[columns]], ignore_index=True)


def sensitivity_numbers(
    scores: pd.DataFrame, gaps: pd.DataFrame, speed: pd.DataFrame, behind: pd.DataFrame
) -> dict[str, dict[str, Any]]:
    """Return ``{axis}.{cell}``, ``difference.{one}_less_{other}``, seconds, the grid's range, gaps.

    n counts subsets; every key begins with ``retraining.sensitivity``.
    """
    found: dict[str, Summary] = {}
    for row in scores.itertuples(index=False):
        word = row.name.removeprefix(f"{row.axis}_")
        found[f"{row.axis}.{word}"] = Summary(row.value, row.se, int(row.n_subsets))
        found[f"seconds.{row.name}"] = exact(row.seconds_all)
        if row.dropped:
            found[f"dropped.{row.name}"] = exact(row.dropped, int(row.chains))
    for row in gaps.itertuples(index=False):
        found[f"difference.{row.difference}"] = Summary(row.value, row.se, int(row.n_subsets))
    for row in speed[speed["kind"] == "chosen"].itertuples(index=False):
        found[f"speed.{row.method}"] = Summary(row.value, row.se, 0)
        found[f"seconds.{row.method}"] = exact(row.seconds)
    grid = scores[scores["axis"] == "grid"]["value"].dropna()
    if len(grid):
        for word in ("min", "median", "max"):
            found[f"grid_{word}"] = exact(float(getattr(grid, word)()), len(grid))
    found |= gap_numbers(behind)
    units = {"seconds": "s"}
    return as_numbers(found, PREFIX, SOURCE, units)

"""Stage: the two-task experiment as tables and numbers; its chains pass gates here."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from stagewise.cli.gating import thresholds
from stagewise.cli.stage import stage
from stagewise.config.multitask import TwoTaskTableStage
from stagewise.errors import DivergenceError, SchemaError
from stagewise.estimators.gates import gate
from stagewise.evaluation.multitask_tables import (
    coupling_numbers,
    coupling_table,
    kernel_table,
    law_numbers,
    map_table,
    separation_numbers,
    separation_table,
)
from stagewise.evaluation.records import as_numbers, exact
from stagewise.files import atomic_path
from stagewise.storage import multitask
from stagewise.storage.metrics import write_numbers

_JUDGED = (
    "rhat_loss_max",
    "rhat_product_max",
    "ess_product_min",
    "null_max_abs_z",
    "drift_max_z",
)
#: Of them, those of which small values are bad.
_SMALLEST = ("ess_product_min",)


def multitask_tables(
    settings: TwoTaskTableStage, training: Path, kernels: list[Path], tables: Path, numbers: Path
) -> None:
    """Puts all rows and seeds together; chains that fail a gate of the config end the stage."""
    trained = multitask.read(training, multitask.TRAINING)
    found = [multitask.read(path, multitask.KERNEL) for path in kernels]
    main, law = (_row(found, name) for name in (settings.main, settings.exact))
    coupled = {kind: _row(found, name) for kind, name in settings.coupling.items()}
    made = {
        "multitask_separation": separation_table(main, trained),
        "multitask_kernel": kernel_table(main[0]),
        "multitask_map": map_table(main[0]),
        "multitask_coupling": coupling_table(coupled),
    }
    judged = _gate(settings, found)
    for name, table in made.items():
        _write(table, tables / f"{name}.csv")
    summaries = separation_numbers(main, trained) | law_numbers(law) | coupling_numbers(coupled)
    summaries |= {f"diagnostics.{name}": exact(value) for name, value in judged.items()}
    write_numbers(as_numbers(summaries, "multitask", "multitask_tables"), numbers)


def _row(kernels: list[xr.Dataset], name: str) -> list[xr.Dataset]:
    """Returns the kernels of one row, each seed's by itself, in the order of their seeds."""
    own = {}
    for one in kernels:
        if one.attrs["row"] == name:
            for seed in np.unique(one["run_seed"].values).tolist():
                part = one.isel(checkpoint=one["run_seed"].values == seed)
                own[seed] = part.assign_attrs(run_seed=seed)
    if not own:
        raise SchemaError(f"no kernel is of row {name!r}; pass those of every row")
    return [own[seed] for seed in sorted(own)]


def _gate(settings: TwoTaskTableStage, kernels: list[xr.Dataset]) -> dict[str, float]:
    """Judges all chains together and returns the worst of every diagnostic."""
    entries = [
        sum(int(one.attrs[f"{name}_entries"]) for one in kernels) for name in ("null", "drift")
    ]
    values = {name: np.concatenate([one[name].values for one in kernels]) for name in _JUDGED}
    found = gate(values, thresholds(settings.diagnostics, *entries))
    for finding in found.values():
        print(f"{finding.verdict}: {finding.message}")
    failed = [one.message for one in found.values() if one.verdict == "fail"]
    if failed:
        raise DivergenceError("the sampler's gates failed:\n" + "\n".join(failed))
    return {
        name: float(array.min() if name in _SMALLEST else array.max())
        for name, array in values.items()
    }


def _write(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


main = stage(multitask_tables)

if __name__ == "__main__":
    sys.exit(main())

"""Stage: loss kernels and diagnostics of one row on some seeds; the exact law of regressions."""

import json
import sys
from pathlib import Path

import numpy as np
import xarray as xr

from stagewise.cli.stage import stage
from stagewise.config.multitask import TwoTaskSampleStage
from stagewise.data.modular import Modular, evenly, modular, select
from stagewise.errors import SchemaError
from stagewise.estimators.diagnostics import diagnose
from stagewise.estimators.kernels import loss_kernel
from stagewise.evaluation.multitask_law import features, regression_law, targets
from stagewise.provenance import provenance
from stagewise.storage import multitask
from stagewise.storage import trace as trace_file

#: Samples between those that are diagnosed, and most pairs of them: each series takes milliseconds.
STRIDE, MOST_PAIRS = 10, 40
_DIAGNOSTICS = (
    "rhat_loss_max",
    "rhat_product_max",
    "ess_product_min",
    "null_max_abs_z",
    "drift_max_z",
)


def multitask_kernel(settings: TwoTaskSampleStage, trace: Path, out: Path) -> None:
    """Estimates covariance and correlation of the recorded losses at every shared fraction."""
    losses = trace_file.read(trace)
    train, _ = modular(
        settings.data.modulus, settings.data.tasks, settings.seed, settings.data.train_share
    )
    chosen = evenly(train.task, settings.data.recorded)
    recorded = select(train, chosen)
    if losses["sample"].values.tolist() != recorded.ids:
        raise SchemaError(f"{trace} has other samples than these settings; sample it again")
    kernel = loss_kernel(losses).drop_vars(("n_zero_variance", "step"), errors="ignore")
    measured = diagnose(losses.isel(sample=slice(None, None, STRIDE)), max_pairs=MOST_PAIRS)
    rise = losses["train_loss"].mean(["chain", "draw"]).values
    made = kernel.assign({name: measured[name] for name in _DIAGNOSTICS})
    made = made.assign(rise=("checkpoint", rise)).assign_coords(_coordinates(losses, recorded))
    if settings.row.model == "regressions":
        law = _law(settings, train, chosen)
        every = np.repeat(law[None], losses.sizes["checkpoint"], axis=0)
        made = made.assign(law=(("checkpoint", "sample", "partner"), every))
    record = provenance("multitask_kernel", settings.model_dump(mode="json"), {"trace": trace})
    made.attrs |= {
        "row": settings.name,
        "chains": int(made.attrs["n_chains_left_min"]),
        "null_entries": measured.attrs["null_entries"],
        "drift_entries": measured.attrs["drift_entries"],
        "provenance": json.dumps(record, sort_keys=True),
    }
    multitask.write(made, multitask.KERNEL, out)


def _coordinates(losses: xr.Dataset, recorded: Modular) -> dict[str, tuple]:
    return {
        "shared": ("checkpoint", losses["shared"].values),
        "run_seed": ("checkpoint", losses["run_seed"].values),
        "task": ("sample", recorded.task),
        "a": ("sample", recorded.numbers[:, 0]),
        "b": ("sample", recorded.numbers[:, 1]),
        "answer": ("sample", recorded.labels),
    }


def _law(settings: TwoTaskSampleStage, train: Modular, chosen: np.ndarray) -> np.ndarray:
    row = settings.row
    z, y = features(train.inputs), targets(train.labels, settings.data.modulus)
    return regression_law(z, y, chosen, row.n_beta, row.localization, row.step_size)


main = stage(multitask_kernel)

if __name__ == "__main__":
    sys.exit(main())

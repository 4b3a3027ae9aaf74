"""Stage: influence, learning coefficient and diagnostics of one trace."""

import sys
from pathlib import Path

import xarray as xr

from stagewise.cli.stage import stage
from stagewise.config.toy import DiagnosticsSettings
from stagewise.config.toy_stages import EstimateStage
from stagewise.data.trees import from_settings
from stagewise.estimators.diagnostics import diagnose
from stagewise.estimators.groups import group_influence
from stagewise.estimators.influence import bif
from stagewise.estimators.local_learning import llc
from stagewise.evaluation.curves import RELATIONS
from stagewise.storage import scores as scores_file
from stagewise.storage import trace as trace_file


def toy_estimate(settings: EstimateStage, trace: Path, out: Path) -> None:
    """Estimates BIF of every pair and its means over relations, each with its standard error."""
    losses = trace_file.read(trace)
    relation = from_settings(settings.tree).relations()
    present = [name for name in RELATIONS if (relation == name).any()]
    scores = bif(losses)
    groups = group_influence(losses, {name: relation == name for name in present})
    own = group_influence(losses, {"self": relation == "self"})
    coefficient = llc(losses)
    scores = scores.assign(
        relation_value=groups["group"],
        relation_se=groups["group_se"],
        self_value=own["group"].isel(relation=0, drop=True),
        self_se=own["group_se"].isel(relation=0, drop=True),
        llc=coefficient["value"],
        llc_se=coefficient["se"],
        **({} if settings.diagnostics is None else _diagnosed(losses, settings.diagnostics)),
    )
    scores_file.write(scores, out)


def _diagnosed(losses: xr.Dataset, settings: DiagnosticsSettings) -> dict[str, xr.DataArray]:
    """Diagnostics of some checkpoints, along a dimension of their own."""
    found = diagnose(losses, list(range(0, losses.sizes["checkpoint"], settings.stride)))
    renamed = found.rename({"checkpoint": "diagnosed"}).reset_coords("step", drop=False)
    arrays = {str(name): array for name, array in renamed.data_vars.items() if name != "step"}
    counts = {name: found.attrs[name] for name in ("null_entries", "drift_entries")}
    return arrays | {
        "diagnosed_step": renamed["step"],
        **{name: xr.DataArray(count) for name, count in counts.items()},
    }


main = stage(toy_estimate)

if __name__ == "__main__":
    sys.exit(main())

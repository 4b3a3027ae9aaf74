"""Stage: influence between classes of tokens along one training, from its traces."""

import json
import sys
from pathlib import Path

import numpy as np
import xarray as xr

from stagewise.cli.gating import thresholds
from stagewise.cli.stage import stage
from stagewise.config.language import InfluenceStage
from stagewise.errors import DivergenceError
from stagewise.estimators.gates import gate
from stagewise.evaluation.language_influence import influence_dataset
from stagewise.provenance import provenance
from stagewise.storage import class_gradients, trace
from stagewise.storage import corpus as corpus_file
from stagewise.storage import language_influence as influence_file


def language_influence(
    settings: InfluenceStage,
    corpus: Path,
    traces: list[Path],
    priors: list[Path],
    gradients: Path,
    out: Path,
) -> None:
    """Estimates class-to-class influence at every checkpoint; chains that share noise end it."""
    made = influence_dataset(
        settings,
        corpus_file.read(corpus),
        [trace.read(path) for path in traces],
        [trace.read(path) for path in priors],
        class_gradients.read(gradients),
    )
    _gate(settings, made)
    inputs = {"corpus": corpus, "gradients": gradients}
    inputs |= {f"trace{index}": path for index, path in enumerate(traces)}
    inputs |= {f"prior{index}": path for index, path in enumerate(priors)}
    record = provenance("language_influence", settings.model_dump(mode="json"), inputs)
    influence_file.write(made.assign_attrs(provenance=json.dumps(record, sort_keys=True)), out)


def _gate(settings: InfluenceStage, made: xr.Dataset) -> None:
    """Prints every verdict; only a null that cannot be chance ends the stage.

    A drift is a property of the checkpoint as well (off a minimum all losses rise at first), and
    the tables show it beside the influence.
    """
    null, drift = made["null_z"].values, made["drift_z"].values
    null, drift = null[np.isfinite(null)], drift[np.isfinite(drift)]
    if not null.size:
        print("fewer than three chains are left: neither null nor drift was measured")
        return
    measured = {"null_max_abs_z": np.abs(null).max(), "drift_max_z": drift.max()}
    measured |= {"rhat_loss_max": np.nanmax(made["rhat"].values)}
    measured |= {"ess_product_min": np.nanmin(made["effective_draws"].values)}
    limits = thresholds(settings.diagnostics, null.size, drift.size)
    del limits["rhat_product_max"]
    found = gate(xr.Dataset(measured), limits)
    for finding in found.values():
        print(f"{finding.verdict}: {finding.message}")
    if found["null_max_abs_z"].verdict == "fail":
        raise DivergenceError(f"chains are not independent: {found['null_max_abs_z'].message}")


main = stage(language_influence)

if __name__ == "__main__":
    sys.exit(main())

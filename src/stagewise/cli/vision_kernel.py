"""Stage: the loss kernel of one run, from the traces of its blocks of chains, with diagnostics."""

import json
import sys
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Int

from stagewise.cli.gating import thresholds
from stagewise.cli.stage import stage
from stagewise.config.vision import KernelStage
from stagewise.errors import DivergenceError
from stagewise.estimators.diagnostics import diagnose
from stagewise.estimators.gates import gate
from stagewise.estimators.kernels import loss_kernel
from stagewise.provenance import provenance
from stagewise.storage import similarity, trace

#: The kernel is also made of fewer draws of every chain, halving their number down to this many.
FEWEST_DRAWS = 4
#: Chains that the null, which pairs each with the next ones, is made of at least.
FEWEST_CHAINS = 3


def vision_kernel(settings: KernelStage, traces: list[Path], out: Path) -> None:
    """Estimates the kernel, of all draws and of a half, quarter, ... of them, evenly spread."""
    whole = trace.merge([trace.read(path) for path in traces])
    _check_chains(settings, whole)
    found = loss_kernel(whole)
    values = {"kernel": found["correlation"].values}
    draws = whole.sizes["draw"] // 2
    while draws >= FEWEST_DRAWS:
        part = loss_kernel(whole.isel(draw=spread(whole.sizes["draw"], draws)))
        values[f"kernel_{draws}"] = part["correlation"].values
        draws //= 2
    inputs = {f"trace{index}": path for index, path in enumerate(traces)}
    record = provenance("vision_kernel", settings.model_dump(mode="json"), inputs)
    attrs = {
        "name": settings.name,
        "chains": whole.sizes["chain"],
        "draws": whole.sizes["draw"],
        "n_zero_variance": int(found["n_zero_variance"]),
        "chains_dropped": int((whole["status"].values != trace.OK).sum()),
        "mean_excess": float(np.nanmean(whole["excess_loss"].values)),
        "chain_steps": int(whole.attrs["chain_steps"]),
        "wall_seconds": float(whole.attrs["wall_seconds"]),
        "retained_fraction": float(found.attrs.get("retained_fraction_median", np.nan)),
        **_diagnosed(settings, whole),
        "provenance": json.dumps(record, sort_keys=True),
    }
    made = similarity.from_arrays(values, whole["sample"].values.tolist(), _step(whole), attrs)
    made["variance"] = ("sample", np.diag(found["covariance"].values))
    made["se"] = (("sample", "partner"), found["correlation_se"].values.astype(np.float32))
    similarity.write(made, out)


def _check_chains(settings: KernelStage, whole: xr.Dataset) -> None:
    left = int((whole["status"].values == trace.OK).sum())
    if left < FEWEST_CHAINS:
        raise DivergenceError(
            f"{left} of {whole.sizes['chain']} chains of {settings.name} stayed finite; a kernel "
            f"takes {FEWEST_CHAINS} or more: lower step_size or n_beta, raise localization, "
            "or leave that checkpoint out of `early`"
        )


def spread(count: int, some: int) -> Int[np.ndarray, " some"]:
    """Return which of ``count`` draws are taken for ``some``: evenly spread, from the whole chain.

    The first ones alone would be of another time since the start, too.
    """
    return (np.arange(some) * count + count // 2) // some


def _step(whole: xr.Dataset) -> int:
    return int(whole.attrs["step"])


def _diagnosed(settings: KernelStage, whole: xr.Dataset) -> dict[str, float]:
    """Print every verdict; only a null that cannot be chance ends the stage."""
    limits = settings.diagnostics
    chosen = whole.isel(sample=slice(None, None, limits.stride))
    measured = diagnose(chosen.drop_dims("query", errors="ignore"))
    entries = int(measured.attrs["null_entries"]), int(measured.attrs["drift_entries"])
    found = gate(measured, thresholds(limits, *entries))
    for finding in found.values():
        print(f"{finding.verdict}: {finding.message}")
    if found["null_max_abs_z"].verdict == "fail":
        raise DivergenceError(f"chains are not independent: {found['null_max_abs_z'].message}")
    names = ("rhat_loss_max", "rhat_product_max", "ess_product_min", "null_max_abs_z")
    values = {name: float(measured[name]) for name in (*names, "drift_max_z")}
    return values | {"null_entries": entries[0], "drift_entries": entries[1]}


main = stage(vision_kernel)

if __name__ == "__main__":
    sys.exit(main())

"""Stage: Langevin chains at every checkpoint of one training run, recorded as a loss trace."""

import sys
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from stagewise.cli.stage import stage
from stagewise.config.toy import SamplingSettings
from stagewise.config.toy_stages import SampleStage
from stagewise.errors import ConfigError
from stagewise.files import scratch_folder, sha256_file, sha256_json
from stagewise.models.linear_net import LinearNetLoss, QuadraticLinearNetLoss
from stagewise.models.per_sample import PerSampleLoss
from stagewise.provenance import loaded_code, versions
from stagewise.sampling.kernels.by_name import Kernel, make
from stagewise.sampling.potential import Potential
from stagewise.sampling.progress import bar
from stagewise.sampling.records import RunResult, Schedule, trace_bytes
from stagewise.sampling.runner import run
from stagewise.sampling.streams import NoiseStreams
from stagewise.storage import netcdf
from stagewise.storage import trace as trace_file

#: Largest trace that is written: beyond it the run is refused before it starts.
CEILING_BYTES = 2 * 2**30


def toy_sample(settings: SampleStage, training: Path, scratch: Path, out: Path) -> None:
    """Samples at every checkpoint and chain as one batch; resumes where it was interrupted."""
    row = settings.sampling
    chosen = (
        netcdf.read(training)
        .sel(seed=settings.training_seed)
        .isel(checkpoint=slice(None, None, row.stride))
    )
    _announce(chosen, row)
    potential = toy_potential(chosen, row)
    streams = NoiseStreams(
        settings.seed,
        f"toy/{settings.name}/{settings.row}/{settings.training_seed}",
        row.chains,
        potential.loss.parameter_count,
    )
    schedule = Schedule(row.burn_in, row.draws, row.spacing)
    identity = {
        "settings": settings.model_dump(),
        "training": sha256_file(training),
        "code": loaded_code(),
        "schema": trace_file.TRACE.version,
    }
    with scratch_folder(scratch, identity) as folder:
        result = run(
            make_kernel(row),
            potential,
            streams,
            schedule,
            scratch=folder,
            progress=bar("toy_sample"),
        )
        trace_file.write(_trace(settings, chosen, result, sha256_file(training)), out)


def make_kernel(row: SamplingSettings) -> Kernel:
    """The kernel that a row of the sampling table names; RMSProp adapts in burn-in, then freezes.

    Raises:
        ConfigError: The row gives a friction to a kernel that has none.
    """
    if row.kernel != "underdamped" and row.friction != 1.0:
        raise ConfigError(
            f"kernel {row.kernel!r} takes no friction, the config gives {row.friction}; "
            "leave it out or choose kernel: underdamped"
        )
    return make(
        row.kernel,
        row.step_size,
        friction=row.friction if row.kernel == "underdamped" else None,
        adapt_steps=row.burn_in if row.kernel == "rmsprop_sgld" else None,
    )


def _announce(chosen: xr.Dataset, row: SamplingSettings) -> None:
    size = trace_bytes(
        chosen.sizes["checkpoint"], row.chains, row.draws, samples=chosen.sizes["item"]
    )
    print(f"the trace will take {size / 2**20:.0f} MiB", flush=True)
    if size > CEILING_BYTES:
        raise ConfigError(
            f"the trace would take {size / 2**30:.1f} GiB, more than {CEILING_BYTES / 2**30:.0f}: "
            "lower chains or draws, or raise stride or spacing"
        )


def toy_potential(chosen: xr.Dataset, row: SamplingSettings) -> Potential:
    """The potential of a row about the checkpoints of one training seed."""
    target, first, second = (
        torch.from_numpy(np.ascontiguousarray(chosen[name].values)).float()
        for name in ("Y", "W1", "W2")
    )
    centre = torch.cat([first.flatten(1), second.flatten(1)], dim=1)
    loss: PerSampleLoss = (
        LinearNetLoss(target, first.shape[1])
        if row.loss == "exact"
        else QuadraticLinearNetLoss(target, first, second)
    )
    return Potential(loss, centre, row.n_beta, row.localization, row.potential)


def _trace(
    settings: SampleStage, chosen: xr.Dataset, result: RunResult, checkpoint_hash: str
) -> xr.Dataset:
    row = settings.sampling
    return trace_file.from_arrays(
        excess_loss=result.excess_loss,
        loss_ref=result.loss_ref,
        train_loss=result.train_loss.astype(np.float32),
        potential=result.potential.astype(np.float32),
        distance=result.distance.astype(np.float32),
        status=result.status,
        diverged_step=result.diverged_step,
        sample=chosen["item"].values.tolist(),
        step=chosen["step"].values.tolist(),
        attrs={
            "n_beta": row.n_beta,
            "localization": row.localization,
            "step_size": row.step_size,
            "friction": row.friction,
            "kernel": row.kernel,
            "potential": row.potential,
            "loss": row.loss,
            "batch_size": 0,
            "n": chosen.sizes["item"],
            "seed": settings.seed,
            "experiment": "toy",
            "checkpoint_hash": checkpoint_hash,
            "data_hash": sha256_json(chosen["Y"].values.tolist()),
            "settings_hash": sha256_json(settings.model_dump()),
            "versions": versions(),
            "wall_seconds": result.wall_seconds,
            "chain_steps": result.chain_steps,
            "tree": settings.name,
            "row": settings.row,
            "training_seed": settings.training_seed,
            "burn_in": row.burn_in,
            "spacing": row.spacing,
            "acceptance": _acceptance(result),
        },
    )


def _acceptance(result: RunResult) -> float:
    """Mean Metropolis acceptance; 1 for a kernel that accepts everything."""
    found = result.info.get("accepted")
    return 1.0 if found is None else float(np.nanmean(found))


main = stage(toy_sample)

if __name__ == "__main__":
    sys.exit(main())

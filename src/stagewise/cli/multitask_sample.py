"""Stage: one sampling row on some seeds: networks at all shared fractions, or the regressions."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from stagewise.cli.multitask_model import load_data, network_loss
from stagewise.cli.stage import stage
from stagewise.config.multitask import TwoTaskSampleStage
from stagewise.data.modular import Modular, evenly, select
from stagewise.data.pairs import content_hash
from stagewise.errors import ConfigError
from stagewise.evaluation.multitask_law import features, targets
from stagewise.files import scratch_folder, sha256_file, sha256_json
from stagewise.models.module import ModuleLoss
from stagewise.provenance import loaded_code, versions
from stagewise.sampling.kernels import by_name
from stagewise.sampling.potential import Potential
from stagewise.sampling.progress import bar
from stagewise.sampling.records import RunResult, Schedule
from stagewise.sampling.runner import run
from stagewise.sampling.stratified import StratifiedStreams
from stagewise.sampling.streams import NoiseStreams
from stagewise.storage import multitask
from stagewise.storage import trace as trace_file


def multitask_sample(
    settings: TwoTaskSampleStage, training: Path, scratch: Path, out: Path
) -> None:
    """Samples seed after seed and writes one trace, a checkpoint for each seed and fraction."""
    train, _ = load_data(settings.data, settings.seed)
    results = [_sampled(settings, seed, train, training, scratch) for seed in settings.run_seeds]
    trace_file.write(_trace(results, settings, train, training), out)


def _sampled(
    settings: TwoTaskSampleStage, seed: int, train: Modular, training: Path, scratch: Path
) -> RunResult:
    """Run one seed's chains at all fractions, resuming where they were interrupted."""
    row = settings.row
    regressions = row.model == "regressions"
    loss = _regressions(train) if regressions else _networks(settings, seed, train, training)
    potential = Potential(loss, loss.centre, row.n_beta, row.localization)
    chosen = evenly(train.task, settings.data.recorded)
    identity = {
        "settings": settings.model_dump(),
        "run_seed": seed,
        "training": sha256_file(training),
        "code": loaded_code(),
    }
    with scratch_folder(scratch, identity) as folder:
        return run(
            by_name.make("sgld", row.step_size),
            potential,
            _streams(settings, seed, loss, train),
            Schedule(row.burn_in, row.draws, row.spacing),
            samples=torch.from_numpy(chosen),
            scratch=folder,
            progress=bar(f"{settings.name} {seed}"),
        )


def _networks(
    settings: TwoTaskSampleStage, seed: int, train: Modular, training: Path
) -> ModuleLoss:
    """Return the losses of one seed's networks, a checkpoint for each fraction."""
    trained = multitask.read(training, multitask.TRAINING)
    known = trained["shared"].values.tolist()
    if seed not in trained["seed"].values:
        raise ConfigError(
            f"seed {seed} is not among the trained {trained['seed'].values.tolist()}; "
            "add it to multitask.seeds"
        )
    places = [known.index(one) for one in settings.row.shared]
    weights = trained["weights"].sel(seed=seed).values[places].astype(np.float32)
    return network_loss(
        train, settings.training.width, settings.row.shared, torch.from_numpy(weights)
    )


def _regressions(train: Modular) -> ModuleLoss:
    """Return the squared loss of both regressions, all weights 0."""
    modulus = (train.inputs.shape[1] - 2) // 2
    z, y = features(train.inputs), targets(train.labels, modulus)
    line = nn.Linear(z.shape[1], 1, bias=False)
    nn.init.zeros_(line.weight)
    inputs, wanted = torch.from_numpy(z), torch.from_numpy(y).float()
    return ModuleLoss(line, _half_square, inputs, wanted)


def _half_square(found: Tensor, wanted: Tensor) -> Tensor:
    return 0.5 * (found[..., 0] - wanted).square()


def _streams(
    settings: TwoTaskSampleStage, seed: int, loss: ModuleLoss, train: Modular
) -> NoiseStreams:
    row = settings.row
    # Rows that differ by their batches alone have the same Langevin noise.
    experiment = f"multitask/{row.model}/{seed}"
    named = (settings.seed, experiment, row.chains, loss.parameter_count)
    if row.batches == "stratified" and row.batch_size is not None:
        return StratifiedStreams(*named, stratum=train.task, batch_size=row.batch_size)
    return NoiseStreams(*named, batch_size=row.batch_size, sample_count=loss.sample_count)


def _trace(
    results: Sequence[RunResult], settings: TwoTaskSampleStage, train: Modular, training: Path
) -> xr.Dataset:
    row = settings.row
    names = [
        field.name
        for field in dataclasses.fields(RunResult)
        if isinstance(getattr(results[0], field.name), np.ndarray)
    ]
    seeds = np.repeat(settings.run_seeds, len(results[0].status))
    shared = np.tile(row.shared or (0.0,), len(results))
    made = trace_file.from_arrays(
        **{name: np.concatenate([getattr(one, name) for one in results]) for name in names},
        sample=select(train, evenly(train.task, settings.data.recorded)).ids,
        attrs={
            "n_beta": row.n_beta,
            "localization": row.localization,
            "step_size": row.step_size,
            "friction": 1.0,
            "kernel": "sgld",
            "potential": "plain",
            "loss": f"{row.model}/squared_error",
            "batch_size": row.batch_size or 0,
            "n": len(train.ids),
            "seed": settings.seed,
            "row": settings.name,
            "experiment": f"multitask/{row.model}",
            "versions": versions(),
            "checkpoint_hash": sha256_file(training),
            "data_hash": content_hash(_tensors(train)),
            "settings_hash": sha256_json(settings.model_dump()),
            "wall_seconds": sum(one.wall_seconds for one in results),
            "chain_steps": sum(one.chain_steps for one in results),
        },
    )
    return made.assign_coords(run_seed=("checkpoint", seeds), shared=("checkpoint", shared))


def _tensors(samples: Modular) -> list[Tensor]:
    return [torch.from_numpy(samples.inputs), torch.from_numpy(samples.labels)]


main = stage(multitask_sample)

if __name__ == "__main__":
    sys.exit(main())

"""Stage: Langevin steps a second of the toy, all checkpoints and chains as one batch."""

import statistics
import sys
from pathlib import Path

import torch

from stagewise.cli.stage import stage
from stagewise.cli.toy_sample import make_kernel, toy_potential
from stagewise.config.toy_stages import SampleStage
from stagewise.evaluation.curves import Summary
from stagewise.evaluation.records import as_numbers
from stagewise.sampling.records import Schedule
from stagewise.sampling.runner import run
from stagewise.sampling.streams import NoiseStreams
from stagewise.storage import netcdf
from stagewise.storage.metrics import write_numbers

#: Timed repetitions, after one that is not counted.
REPEATS = 5
#: Recorded draws of a repetition: with the row's spacing, some seconds.
DRAWS = 20


def toy_throughput(settings: SampleStage, training: Path, numbers: Path) -> None:
    """Times the sampler on the main row: wall time of whole runs, recording included."""
    row = settings.sampling
    chosen = netcdf.read(training).sel(seed=settings.training_seed)
    potential = toy_potential(chosen, row)
    rates = []
    for repeat in range(REPEATS + 1):
        streams = NoiseStreams(
            settings.seed,
            f"toy/throughput/{repeat}",
            row.chains,
            potential.loss.parameter_count,
            threads=torch.get_num_threads() - 1,
        )
        result = run(make_kernel(row), potential, streams, Schedule(0, DRAWS, row.spacing))
        rates.append(result.chain_steps / result.wall_seconds)
    counted = rates[1:]
    spread = statistics.stdev(counted) / len(counted) ** 0.5
    summary = Summary(statistics.median(counted), spread, len(counted))
    entries = as_numbers(
        {"chain_steps_per_second": summary}, "toy", "toy_throughput", "chain-steps/s"
    )
    write_numbers(entries, numbers)


main = stage(toy_throughput)

if __name__ == "__main__":
    sys.exit(main())

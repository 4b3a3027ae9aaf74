"""Stage: what common random numbers across checkpoints buy, on the exact second-order model."""

import sys
from pathlib import Path

from stagewise.cli.stage import stage
from stagewise.errors import SchemaError
from stagewise.evaluation.records import as_numbers
from stagewise.evaluation.toy_streams import common_numbers_gain
from stagewise.storage import netcdf, scores
from stagewise.storage.metrics import write_numbers


def toy_streams(bif: list[Path], law: Path, numbers: Path) -> None:
    """Compares two runs that differ in their streams alone, as deviations from their law."""
    if len(bif) != 2:
        raise SchemaError(f"{len(bif)} files of scores; pass two runs that differ by their streams")
    found = [scores.read(path) for path in bif]
    seed = int(found[0].attrs["training_seed"])
    exact = (
        netcdf.read(law).sel(seed=seed)["second_order"].transpose("checkpoint", "query", "sample")
    )
    gain = common_numbers_gain(*(one["value"].values - exact.values for one in found))
    record = {"common_random_numbers.gain": gain}
    write_numbers(as_numbers(record, "sampling", "toy_streams"), numbers)


main = stage(toy_streams)

if __name__ == "__main__":
    sys.exit(main())

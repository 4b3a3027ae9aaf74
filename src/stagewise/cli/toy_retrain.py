"""Stage toy_retrain: influence (c), every item left out in turn."""

import sys
from pathlib import Path

import xarray as xr

from stagewise.cli.stage import stage
from stagewise.cli.trained import read_trained
from stagewise.cli.training_file import pair_coordinates, signed
from stagewise.config.toy_stages import TreeStage
from stagewise.storage import netcdf
from stagewise.training.ablation import leave_one_out


def toy_retrain(settings: TreeStage, training: Path, out: Path) -> None:
    """Retrains every seed without every item (weight 0, divisor n kept), as one batch.

    value = l_query(all items) - l_query(without the sample): negative where the sample helps.
    """
    trained = read_trained(training)
    without = leave_one_out(
        trained.W1,
        trained.W2,
        trained.Y,
        learning_rate=trained.learning_rate,
        record_steps=trained.steps,
    )
    value = trained.loss[:, :, None, :] - without
    dataset = xr.Dataset(
        {"value": (("seed", "checkpoint", "sample", "query"), value.numpy())},
        coords=pair_coordinates(trained.dataset),
        attrs={"sense": "bif"},
    )
    netcdf.write(signed(dataset, "toy_retrain", settings, {"training": training}), out)


main = stage(toy_retrain)

if __name__ == "__main__":
    sys.exit(main())

"""Stage toy_windows: an item is dropped only during a window of the run."""

import sys
from pathlib import Path

import xarray as xr

from stagewise.cli.stage import stage
from stagewise.cli.trained import read_trained
from stagewise.cli.training_file import pair_coordinates, signed
from stagewise.config.toy_stages import WindowsStage
from stagewise.storage import netcdf
from stagewise.training.ablation import equal_windows, window_ablation


def toy_windows(settings: WindowsStage, training: Path, out: Path) -> None:
    """Drops every item in every window in turn; positive changes mean that the item was helping.

    Three readings of l_query(dropped) - l_query(full): ``at_end`` of the window; ``peak``, the one
    of largest size from there on (a window before a transition delays it, which shows only later);
    ``at_final``, at the run's last step (a run that converges forgets every window).
    """
    trained = read_trained(training)
    windows = settings.windows
    start, end = equal_windows(windows.count, windows.width, trained.steps[-1])
    found = window_ablation(
        trained.W1,
        trained.W2,
        trained.Y,
        list(zip(start.tolist(), end.tolist(), strict=True)),
        learning_rate=trained.learning_rate,
        record_steps=trained.steps,
    )
    dims = ("seed", "window", "sample", "query")
    coords = pair_coordinates(trained.dataset)
    del coords["step"]
    dataset = xr.Dataset(
        {name: (dims, values.numpy()) for name, values in found._asdict().items()},
        coords=coords | {"window_start": ("window", start), "window_end": ("window", end)},
        attrs={"final_step": trained.steps[-1]},
    )
    netcdf.write(signed(dataset, "toy_windows", settings, {"training": training}), out)


main = stage(toy_windows)

if __name__ == "__main__":
    sys.exit(main())

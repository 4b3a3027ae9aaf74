"""Stage: exponents, crossing and checks of the scaling study from its measurements."""

import sys
from pathlib import Path

from stagewise.cli.stage import stage
from stagewise.config.scaling import ScalingSettings
from stagewise.evaluation import scaling
from stagewise.files import read_json
from stagewise.storage.metrics import write_numbers


def scaling_numbers(settings: ScalingSettings, measured: list[Path], numbers: Path) -> None:
    """Puts protocols together from measurements, files named as their jobs are, and fits them."""
    found = {path.stem: read_json(path) for path in measured}
    write_numbers(scaling.scaling_numbers(found, settings), numbers)


main = stage(scaling_numbers)

if __name__ == "__main__":
    sys.exit(main())

"""Stage: one measurement of the scaling study, a process of its own."""

import sys
import tempfile
from pathlib import Path

import torch

from stagewise.cli.scaling_measure import measure
from stagewise.cli.stage import stage
from stagewise.config.scaling import ScalingJob
from stagewise.files import write_json


def scaling(settings: ScalingJob, out: Path) -> None:
    """Measures one method at one size on the processor: seconds of its parts and peak memory.

    On the processor also where there is a GPU, for which there is ``bench/gpu.py``: two records of
    one name on different devices would not be told apart.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".scaling-") as folder:
        found = measure(settings, torch.device("cpu"), Path(folder))
    write_json(out, found)


main = stage(scaling)

if __name__ == "__main__":
    sys.exit(main())
